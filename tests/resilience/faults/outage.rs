//! All instances dead at a steady rate: little more load than without retries, and back soon after they are.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cell::{Cell, Counted, LONG_TRY, OPEN, VARIANTS, Variant};
use super::clients::{Client, Clients, Method, Plan, Tally, note};
use super::fault::{Failing, Fault};
use super::from_environment;
use crate::support::gateway::Gateway;

/// Requests on their way at the same time; more are not begun, and that is said.
const MOST: u64 = 4_000;
/// How often what is due is begun.
const TICK: Duration = Duration::from_millis(5);

/// Requests at a rate that does not heed the answers.
#[derive(Clone, Debug)]
struct Flow {
    plan: Plan,
    rate: f64,
    idle: Arc<Mutex<Vec<Client>>>,
    tally: Arc<Mutex<Tally>>,
    under_way: Arc<AtomicU64>,
}

impl Flow {
    fn new(gateway: &Gateway, rate: u64) -> Self {
        let (server, method) = (gateway.web(), Method::Get);
        let plan = Plan { server, method, clients: 0, pause: Duration::ZERO, next: Arc::default() };
        let rate = rate as f64;
        let (idle, tally, under_way) = (Arc::default(), Arc::default(), Arc::default());
        Self { plan, rate, idle, tally, under_way }
    }

    /// For so long, and until all of it is answered; what came of it.
    async fn run(&self, time: Duration) -> Tally {
        let begun = Instant::now();
        let mut sent = 0.0;
        while begun.elapsed() < time {
            while sent < begun.elapsed().as_secs_f64() * self.rate {
                sent += 1.0;
                tokio::spawn(self.clone().one());
            }
            tokio::time::sleep(TICK).await;
            assert!(self.under_way.load(Relaxed) < MOST, "the machine cannot keep up");
        }
        while self.under_way.load(Relaxed) > 0 {
            tokio::time::sleep(TICK).await;
        }
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn one(self) {
        self.under_way.fetch_add(1, Relaxed);
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut client = kept.unwrap_or_else(|| Client::new(self.plan.server));
        let id = self.plan.next.fetch_add(1, Relaxed);
        let begun = Instant::now();
        let outcome = client.ask(Method::Get, id).await;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        note(&self.tally, id, begun, &outcome);
        self.under_way.fetch_sub(1, Relaxed);
    }
}

/// What an outage came to.
#[derive(Debug)]
struct Outage {
    fault: Fault,
    variant: Variant,
    rate: u64,
    tally: Tally,
    counted: Counted,
    /// Requests that came to the instances; none of a fault that lets none come.
    arrived: u64,
    /// From the end of the fault until the last request began that failed.
    recovery: Duration,
    after: Tally,
}

impl Outage {
    /// So long at so many a second, and a third of it after the end.
    async fn of(fault: Fault, variant: Variant, rate: u64, lasting: Duration) -> Self {
        let mut backends = Vec::new();
        for _ in 0..5 {
            backends.push(Failing::new().await);
        }
        let (instances, faulty, exchanges, clients, per_try) = (5, 5, 0, 0, LONG_TRY);
        let method = Method::Get;
        let cell = Cell { fault, method, variant, instances, faulty, exchanges, clients, per_try };
        let gateway = cell.setup(&backends).start().await;
        let flow = Flow::new(&gateway, rate);
        let before = flow.run(Duration::from_secs(1)).await;
        assert_eq!(before.failed, Vec::<u64>::new(), "{}", before.line());
        let asked = || backends.iter().map(Failing::asked).sum::<u64>();
        let (first, arrived) = (Counted::now(&gateway).await, asked());
        for backend in &backends {
            backend.fail(fault).await;
        }
        let tally = flow.run(lasting).await;
        let counted = Counted::now(&gateway).await.since(first);
        let arrived = asked() - arrived;
        let over = Instant::now();
        for backend in &backends {
            backend.fail(Fault::Well).await;
        }
        let after = flow.run(lasting).await;
        let recovery = after.last_failed.map_or(Duration::ZERO, |last| last.duration_since(over));
        Self { fault, variant, rate, tally, counted, arrived, recovery, after }
    }

    const HEAD: &'static str = "| outage | ejection | breaker | rate | requests | the client saw | attempts | retries | suppressed | arrived | then | last failure after |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|";

    fn line(&self) -> String {
        let Self { fault, variant, rate, tally, counted, arrived, after, .. } = self;
        format!(
            "| {fault:?} | {} | {} | {rate}/s | {} | {} | {} | {} | {} | {arrived} | {} | {:.2} s |",
            variant.ejection,
            variant.breaker,
            tally.exchanges(),
            tally.line(),
            counted.attempts,
            counted.retries,
            counted.suppressed,
            after.line(),
            self.recovery.as_secs_f64(),
        )
    }

    /// `late` is what a busy machine may take longer.
    fn assert_promised(&self, lasting: Duration, late: Duration) {
        let line = self.line();
        assert_eq!(self.tally.saw.get("200"), None, "{line}");
        assert_eq!(self.tally.unhinted, 0, "an open breaker says when to come back: {line}");
        let requests = self.tally.exchanges() as f64;
        // Those of the second before pay, too.
        let most = 0.2 * (requests + self.rate as f64) + 10.0 * lasting.as_secs_f64().max(10.0);
        assert!(self.counted.retries <= most, "{most} retries at most: {line}");
        assert!(self.arrived as f64 <= requests + most, "{line}");
        if self.variant.breaker {
            assert!(self.counted.attempts < requests / 2.0, "an open breaker spares them: {line}");
        }
        assert!(self.after.saw.contains_key("200"), "{line}");
        assert!(self.recovery <= OPEN + Duration::from_secs(1) + late, "{line}");
    }
}

async fn outages(rate: u64, lasting: Duration, late: Duration) {
    let mut all = Vec::new();
    for fault in [Fault::Refuse, Fault::Answers500] {
        for variant in VARIANTS {
            all.push(Outage::of(fault, variant, rate, lasting).await);
        }
    }
    println!("{}", Outage::HEAD);
    all.iter().for_each(|outage| println!("{}", outage.line()));
    all.iter().for_each(|outage| outage.assert_promised(lasting, late));
}

#[tokio::test]
async fn a_total_outage_brings_little_more_load_and_is_over_soon_after_its_end() {
    let (lasting, late) = (Duration::from_secs(3), Duration::from_secs(2));
    let of = |fault, variant| Outage::of(fault, variant, 200, lasting);
    let (refused, failed) = tokio::join!(
        futures_util::future::join_all(VARIANTS.map(|variant| of(Fault::Refuse, variant))),
        of(Fault::Answers500, VARIANTS[0]),
    );
    for outage in refused.iter().chain([&failed]) {
        println!("{}", outage.line());
        outage.assert_promised(lasting, late);
    }
}

/// `FAULT_RATE` requests a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants a quiet machine and a release build; prints a table"]
async fn a_total_outage_at_a_high_rate() {
    let rate = from_environment("FAULT_RATE", 5_000);
    outages(rate, Duration::from_secs(10), Duration::ZERO).await;
}

/// CPU time of a process, of which the kernel counts hundredths of a second.
fn cpu(gateway: &Gateway) -> Duration {
    let path = format!("/proc/{}/stat", gateway.pid());
    let stat = std::fs::read_to_string(path).expect("it runs");
    let fields = stat.rsplit(')').next().expect("after the name").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants a quiet machine and a release build; prints figures"]
async fn a_request_that_an_open_breaker_refuses_costs_half_of_one_that_is_proxied() {
    let exchanges = from_environment("FAULT_REQUESTS", 100_000);
    let backend = Failing::new().await;
    let breaker =
        "outlier = false\nbreaker = { kind = \"consecutive\", failures = 5, open = \"10m\" }";
    let gateway = crate::support::gateway::Setup::to(&[backend.address]).service(breaker);
    let gateway = gateway.start().await;
    let (pause, next) = (Duration::ZERO, Arc::default());
    let plan = Plan { server: gateway.web(), method: Method::Get, clients: 16, pause, next };
    let mut load = Clients::start(&plan);
    let mut costs = Vec::new();
    for fault in [Fault::Well, Fault::Refuse] {
        backend.fail(fault).await;
        load.goes_on(exchanges / 10).await;
        load.take();
        let from = cpu(&gateway);
        load.goes_on(exchanges).await;
        let took = cpu(&gateway) - from;
        let tally = load.take();
        costs.push(took.as_secs_f64() * 1e6 / tally.exchanges() as f64);
        println!("{fault:?}: {} in {took:?}: {:.1} µs each", tally.line(), costs[costs.len() - 1]);
    }
    load.end().await;
    let ratio = costs[1] / costs[0];
    println!("refused / proxied: {ratio:.2}");
    assert!(ratio <= 0.5, "{ratio}");
}
