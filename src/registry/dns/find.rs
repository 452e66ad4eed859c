//! One watched service: looked up when its time is over, published as complete sets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Core;
use super::inquiry::Inquiry;
use super::service::{self, Known, Set};
use crate::registry::ledger::Account;
use crate::registry::pace::Pace;
use crate::registry::trouble::Trouble;
use crate::registry::{Found, Lookup, Query};

/// Bounds on how long an answer holds, whatever it says itself.
pub(super) const LEAST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// The longest while a part of it could not be looked up.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// The same where there is nothing: somebody waits for the first instance.
const LONGEST_NOTHING: Duration = Duration::from_secs(30);

/// Ends when nobody listens any more.
pub(super) fn run(
    core: &Arc<Core>,
    query: Query,
    found: watch::Sender<Arc<Found>>,
) -> impl Future<Output = ()> + use<> {
    let finder = Finder {
        core: Arc::clone(core),
        account: core.ledger.account(format!("service {}", query.service)),
        subject: Arc::from(query.service.as_str()),
        query: query.clone(),
        found: found.clone(),
        known: Known::new(),
        skipped: Vec::new(),
        failed: false,
    };
    let core = Arc::clone(core);
    async move {
        let mut work = Box::pin(finder.work());
        loop {
            tokio::select! {
                () = &mut work => return,
                () = found.closed() => {
                    // Under the lock, so that nobody can subscribe to what is about to end.
                    let mut watches = core.watches();
                    if found.is_closed() {
                        watches.remove(&query);
                        return;
                    }
                }
            }
        }
    }
}

struct Finder {
    core: Arc<Core>,
    query: Query,
    subject: Arc<str>,
    found: watch::Sender<Arc<Found>>,
    account: Account,
    known: Known,
    /// What was left out of the last answer, so that it is said once.
    skipped: Vec<String>,
    /// Whether the last look was in vain.
    failed: bool,
}

impl Finder {
    /// Never ends.
    async fn work(mut self) {
        let core = Arc::clone(&self.core);
        let mut pace = Pace::default();
        loop {
            let (start, releases) = (Instant::now(), core.gate.releases());
            match self.look().await {
                Ok(set) => {
                    pace.recovered();
                    let until = Instant::now() + self.publish(set);
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        trouble = core.gate.lost() => self.ill(&trouble),
                    }
                }
                Err(trouble) => {
                    self.ill(&trouble);
                    pace.failed(trouble.longest_pause());
                    let pause = async {
                        pace.ready().await;
                        tokio::time::sleep_until(start + LEAST).await;
                    };
                    tokio::select! {
                        () = pause => {}
                        () = core.gate.released(releases) => {}
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Set, Trouble> {
        let before = Arc::clone(&self.found.borrow());
        let inquiry = Inquiry::new(&self.core, &self.subject, &before.state);
        let name = self.query.service.as_str();
        match self.query.lookup {
            Lookup::Srv => {
                let mut known = std::mem::take(&mut self.known);
                let found = service::of_records(&Arc::new(inquiry), name, &mut known).await;
                self.known = known;
                found
            }
            Lookup::Host { port } => {
                let last = before.endpoints.iter().map(|endpoint| endpoint.address.host.parse());
                let last: Vec<IpAddr> = last.filter_map(Result::ok).collect();
                service::of_host(&inquiry, name, port, &last).await
            }
        }
    }

    /// Returns how long the set holds.
    fn publish(&mut self, set: Set) -> Duration {
        self.account.well();
        if std::mem::take(&mut self.failed) {
            self.core.gate.recovered();
        }
        for why in set.skipped.iter().filter(|why| !self.skipped.contains(why)) {
            self.account.skipped(why);
        }
        self.skipped = set.skipped;
        let longest = if set.endpoints.is_empty() { LONGEST_NOTHING } else { LONGEST };
        let found = Found::live(set.endpoints);
        let changed = self.found.send_if_modified(|before| {
            let changed = **before != found;
            if changed {
                let (registry, service) = (self.core.ledger.registry(), &self.query.service);
                let instances = found.endpoints.len();
                tracing::debug!(registry, service, instances, "a new set");
                *before = Arc::new(found);
            }
            changed
        });
        if changed {
            self.account.count("update");
        }
        set.ttl.clamp(LEAST, longest)
    }

    fn ill(&mut self, trouble: &Trouble) {
        self.failed = true;
        let why = trouble.to_string();
        self.account.ill(&why, trouble.blame());
        self.found.send_if_modified(|found| match found.staled(&why) {
            Some(stale) => {
                *found = Arc::new(stale);
                true
            }
            None => false,
        });
    }
}
