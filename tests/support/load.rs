//! Steady load: clients on kept connections, each at its own pace, and what went wrong for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::Client;
use super::wait;

/// Bound on what should take milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(15);
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(20);

/// What every client asks, and the only answer that is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// `GET /path`.
    pub(crate) line: &'static str,
    pub(crate) body: &'static str,
    pub(crate) right: &'static str,
}

/// May be sent twice.
pub(crate) const HEALTH: Ask =
    Ask { line: "GET /stringsvc/healthz", body: "", right: r#"{"status":"ok"}"# };
/// May not.
pub(crate) const UPPERCASE: Ask =
    Ask { line: "POST /stringsvc/uppercase", body: r#"{"s":"hello"}"#, right: r#"{"v":"HELLO"}"# };
/// As [`HEALTH`], of the other sample.
pub(crate) const HEALTH_OF_ADDSVC: Ask = Ask { line: "GET /addsvc/healthz", ..HEALTH };
/// May not be sent twice either.
pub(crate) const SUM: Ask =
    Ask { line: "POST /addsvc/sum", body: r#"{"a":1,"b":2}"#, right: r#"{"v":3}"# };

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: JoinSet<Tally>,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Right answers by who gave them.
    pub(crate) right: BTreeMap<String, u64>,
    /// Everything else.
    pub(crate) faults: Vec<Fault>,
}

/// An exchange that went wrong.
#[derive(Debug)]
pub(crate) struct Fault {
    /// When its request was about to be written.
    pub(crate) began: Instant,
    /// None: no answer.
    pub(crate) status: Option<u16>,
    /// Shown when a story fails.
    #[expect(dead_code, reason = "read through Debug")]
    what: String,
}

impl Load {
    pub(crate) fn start(server: SocketAddr, clients: usize, ask: Ask) -> Self {
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = |_| work(Client::new(server), ask, Arc::clone(&over), Arc::clone(&answered));
        let clients = (0..clients).map(client).collect();
        Self { over, answered, clients }
    }

    /// Waits until so many more exchanges are over, right or wrong.
    pub(crate) async fn goes_on(&self, exchanges: u64) {
        let end = self.answered.load(Relaxed) + exchanges;
        let what = format!("{exchanges} more exchanges");
        wait::until(&what, SOON, async || (self.answered.load(Relaxed) >= end).then_some(())).await;
    }

    /// Ends it after the exchanges that are under way.
    pub(crate) async fn end(mut self) -> Tally {
        self.over.store(true, Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            let tally = tally.expect("no client panics");
            for (instance, count) in tally.right {
                *all.right.entry(instance).or_default() += count;
            }
            all.faults.extend(tally.faults);
        }
        all
    }
}

impl Tally {
    /// How many were right; fails unless all were.
    pub(crate) fn faultless(&self) -> u64 {
        let faults = &self.faults;
        assert!(
            faults.is_empty(),
            "{} went wrong: {:#?}",
            faults.len(),
            &faults[..faults.len().min(5)]
        );
        self.right.values().sum()
    }
}

async fn work(
    mut client: Client,
    ask: Ask,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Tally {
    let mut tally = Tally::default();
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !over.load(Relaxed) {
        ticks.tick().await;
        let began = Instant::now();
        let (status, what) = match client.send(ask.line, "", ask.body).await {
            Ok(answer) if answer.status == 200 && answer.body == ask.right => {
                *tally.right.entry(answer.instance()).or_default() += 1;
                answered.fetch_add(1, Relaxed);
                continue;
            }
            Ok(answer) => (Some(answer.status), format!("{answer:?}")),
            Err(error) => (None, format!("{error:?}")),
        };
        answered.fetch_add(1, Relaxed);
        tally.faults.push(Fault { began, status, what });
    }
    tally
}
