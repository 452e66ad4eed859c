//! One cell of the matrix: a fault, a method and a variant of the config, and what came of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::clients::{Clients, Method, Plan, Tally};
use super::fault::{Failing, Fault};
use crate::support::gateway::{Gateway, Setup};
use crate::support::wait;

/// What every cell's route has beside the time of a try.
const ROUTE: &str = "idle_timeout = \"1s\"\nretry.attempts = 3\n\
                     retry.on = [\"connect\", \"reset\", \"timeout\", \"5xx\"]";
/// Of a try, on a machine that may be busy with other things.
pub(super) const LONG_TRY: &str = "1s";
/// Of a try, on one that is not.
pub(super) const TRY: &str = "300ms";
/// Times short enough for a test; the counts are the defaults, or near them.
const EJECTION: &str = "outlier = { consecutive = 5, eject = \"500ms\", max_eject = \"1s\" }";
/// As long as a breaker stays open.
pub(super) const OPEN: Duration = Duration::from_millis(500);
const BREAKER: &str = "breaker = { kind = \"consecutive\", failures = 5, open = \"500ms\" }";
/// Bound on a recovery on a machine that is busy with other things.
const RECOVERY: Duration = Duration::from_secs(30);
/// Retries that the budget has in any case, by default.
const FLOOR: u64 = 100;
/// Right answers through an instance that say that it is back.
const BACK: u64 = 10;

/// What differs between the services of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) ejection: bool,
    pub(super) breaker: bool,
}

/// All of them.
pub(super) const VARIANTS: [Variant; 4] = [
    Variant { ejection: false, breaker: false },
    Variant { ejection: true, breaker: false },
    Variant { ejection: false, breaker: true },
    Variant { ejection: true, breaker: true },
];

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) fault: Fault,
    pub(super) method: Method,
    pub(super) variant: Variant,
    pub(super) instances: usize,
    pub(super) faulty: usize,
    /// Exchanges while the fault is on.
    pub(super) exchanges: u64,
    pub(super) clients: usize,
    /// `per_try_timeout`.
    pub(super) per_try: &'static str,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cell: Cell,
    /// Of the exchanges while the fault was on.
    pub(super) tally: Tally,
    /// Of those before and after.
    pub(super) around: Tally,
    pub(super) counted: Counted,
    /// From the start to the very end.
    pub(super) total: Counted,
    /// Requests that had begun by the fault's end, also those before the fault.
    pub(super) begun: u64,
    /// What `/services` said of the faulty instances while the fault was on.
    pub(super) states: BTreeSet<String>,
    pub(super) breakers: BTreeSet<String>,
    pub(super) took: Duration,
    /// From the switch until [`BACK`] right answers of each instance that was faulty.
    pub(super) recovery: Duration,
    /// How often one request came to instances at most, and the numbers of those that came to a faulty one.
    pub(super) most_sent: u32,
    pub(super) met: BTreeSet<u64>,
    /// Requests or, when none can arrive, connections that met the fault.
    pub(super) hits: f64,
}

/// What the counters of the gateway say, all at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) attempts: f64,
    /// Those that got no connection.
    pub(super) unconnected: f64,
    pub(super) retries: f64,
    pub(super) suppressed: f64,
}

impl Counted {
    pub(super) async fn now(gateway: &Gateway) -> Self {
        let page = gateway.admin("/metrics").await.text();
        let sum = |name: &str, label: &str| {
            let of_name =
                page.lines().filter(|line| line.starts_with(name) && line.contains(label));
            of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Self {
            attempts: sum("frontgate_attempts_total{", ""),
            unconnected: sum("frontgate_attempts_total{", "\"connect\""),
            retries: sum("frontgate_retries_total{", ""),
            suppressed: sum("frontgate_retries_suppressed_total{", ""),
        }
    }

    /// What came since then.
    pub(super) fn since(self, then: Self) -> Self {
        Self {
            attempts: self.attempts - then.attempts,
            unconnected: self.unconnected - then.unconnected,
            retries: self.retries - then.retries,
            suppressed: self.suppressed - then.suppressed,
        }
    }
}

impl Cell {
    pub(super) fn setup(&self, backends: &[Failing]) -> Setup {
        let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
        let or = |on, key, text| if on { text } else { format!("{key} = false") };
        Setup::to(&addresses)
            .top("workers = 2")
            .route(ROUTE)
            .route(&format!("retry.per_try_timeout = \"{}\"", self.per_try))
            .service(&or(self.variant.ejection, "outlier", EJECTION.to_owned()))
            .service(&or(self.variant.breaker, "breaker", BREAKER.to_owned()))
    }

    /// What of all that is counted met the fault.
    fn hits(&self, counted: Counted, accepted: u64, asked: u64) -> f64 {
        if self.fault == Fault::Refuse {
            counted.unconnected
        } else if self.fault == Fault::ResetOnAccept {
            accepted as f64
        } else {
            asked as f64
        }
    }

    /// Load, the fault, its end, and what was seen of it.
    pub(super) async fn run(self) -> Row {
        let mut backends = Vec::new();
        for _ in 0..self.instances {
            backends.push(Failing::new().await);
        }
        let faulty = &backends[..self.faulty];
        let gateway = self.setup(&backends).start().await;
        let (method, clients) = (self.method, self.clients);
        let (pause, next) = (Duration::ZERO, Arc::default());
        let plan = Plan { server: gateway.web(), method, clients, pause, next };
        let mut load = Clients::start(&plan);
        load.goes_on(10 * self.instances as u64).await;
        // What is lost of a POST when an instance dies under it is lost; only what begins later is held against anybody.
        let quiet = method == Method::Post && self.fault.kills();
        let mut around = if quiet { load.end().await } else { load.take() };
        let before = Counted::now(&gateway).await;
        let (asked, accepted) = (sum(faulty, Failing::asked), sum(faulty, Failing::accepted));
        for backend in faulty {
            backend.fail(self.fault).await;
        }
        if quiet {
            unconnected(&gateway, faulty).await;
            load = Clients::start(&plan);
        }
        around = around.and(load.take());
        let (began, mut seen) = (Instant::now(), Seen::default());
        tokio::select! {
            () = load.goes_on(self.exchanges) => {}
            () = seen.watch(&gateway, faulty) => {}
        }
        seen.look(&gateway, faulty).await;
        let took = began.elapsed();
        let tally = load.take();
        let counted = Counted::now(&gateway).await.since(before);
        let requests = plan.next.load(Relaxed);
        let (asked, accepted) =
            (sum(faulty, Failing::asked) - asked, sum(faulty, Failing::accepted) - accepted);
        let hits = self.hits(counted, accepted, asked);
        let recovery = recovered(faulty).await;
        // What hung at the fault's end is sent again when its try is over: more at once than the budget's floor, and what
        // begins until then pays for it.
        if self.clients as u64 > FLOOR {
            load.goes_on(self.exchanges / 10).await;
        }
        let rest = load.end().await;
        let mut row = Row {
            cell: self,
            tally,
            around: around.and(rest),
            counted,
            total: Counted::now(&gateway).await,
            begun: requests,
            states: seen.states,
            breakers: seen.breakers,
            took,
            recovery,
            most_sent: 0,
            met: BTreeSet::new(),
            hits,
        };
        row.count(&backends);
        row
    }
}

fn sum(backends: &[Failing], of: fn(&Failing) -> u64) -> u64 {
    backends.iter().map(of).sum()
}

/// What `/services` said of some instances so far.
#[derive(Debug, Default)]
struct Seen {
    states: BTreeSet<String>,
    breakers: BTreeSet<String>,
}

impl Seen {
    async fn look(&mut self, gateway: &Gateway, instances: &[Failing]) {
        for instance in shown(gateway, instances).await {
            self.states.insert(instance["state"].as_str().unwrap_or("none").to_owned());
            self.breakers.insert(instance["breaker"].as_str().unwrap_or("none").to_owned());
        }
    }

    /// Looks again and again; does not end.
    async fn watch(&mut self, gateway: &Gateway, instances: &[Failing]) {
        loop {
            self.look(gateway, instances).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What `/services` says of these instances.
pub(super) async fn shown(gateway: &Gateway, instances: &[Failing]) -> Vec<Value> {
    let text = gateway.admin("/services/backend").await.text();
    let service: Value = serde_json::from_str(&text).expect("JSON");
    let all = service["instances"].as_array().expect("instances").clone();
    let of = |one: &Value| {
        let address =
            one["address"].as_str().and_then(|address| address.parse::<SocketAddr>().ok());
        instances.iter().any(|instance| Some(instance.address) == address)
    };
    all.into_iter().filter(of).collect()
}

/// Waits until the gateway has noticed that its kept connections are gone.
async fn unconnected(gateway: &Gateway, instances: &[Failing]) {
    wait::until("dead connections are swept", RECOVERY, async || {
        let left = |one: &Value| one["connections"]["idle"].as_u64().is_some_and(|idle| idle > 0);
        (!shown(gateway, instances).await.iter().any(left)).then_some(())
    })
    .await;
}

/// Ends the fault; how long until each of these instances serves again.
pub(super) async fn recovered(faulty: &[Failing]) -> Duration {
    let begun = Instant::now();
    for backend in faulty {
        backend.fail(Fault::Well).await;
    }
    let served: Vec<u64> = faulty.iter().map(Failing::served).collect();
    wait::until("every instance serves again", RECOVERY, async || {
        let back = |(backend, from): (&Failing, &u64)| backend.served() >= from + BACK;
        faulty.iter().zip(&served).all(back).then_some(())
    })
    .await;
    begun.elapsed()
}

impl Row {
    /// Where requests were sent.
    fn count(&mut self, backends: &[Failing]) {
        let mut all = std::collections::HashMap::<u64, u32>::new();
        for (at, backend) in backends.iter().enumerate() {
            for (id, times) in backend.requests() {
                *all.entry(id).or_default() += times;
                if at < self.cell.faulty {
                    self.met.insert(id);
                }
            }
        }
        self.most_sent = all.values().copied().max().unwrap_or_default();
    }

    /// As many retries as `retry_budget` allows for without a word.
    pub(super) fn allowance(&self) -> f64 {
        0.2 * self.begun as f64 + 10.0 * self.took.as_secs_f64().max(10.0)
    }

    /// The head of the table.
    pub(super) const HEAD: &'static str = "| fault | dead | method | ejection | breaker | exchanges | the client saw | attempts | retries | suppressed | states | breaker states | slowest | took | recovery |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// In markdown.
    pub(super) fn line(&self) -> String {
        let Cell { fault, method, variant, instances, faulty, .. } = self.cell;
        let on = |on| if on { "on" } else { "off" };
        let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        format!(
            "| {fault:?} | {faulty}/{instances} | {method:?} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} s | {:.2} s | {:.2} s |",
            on(variant.ejection),
            on(variant.breaker),
            self.tally.exchanges(),
            self.tally.line(),
            self.counted.attempts,
            self.counted.retries,
            self.counted.suppressed,
            joined(&self.states),
            joined(&self.breakers),
            self.tally.slowest.as_secs_f64(),
            self.took.as_secs_f64(),
            self.recovery.as_secs_f64(),
        )
    }
}
