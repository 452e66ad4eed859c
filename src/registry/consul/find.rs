//! One watched service: reads its instances and publishes complete sets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::decode;
use super::poll::{Answer, Poll};
use super::settling::Settling;
use super::{Core, Inbox, Watched};
use crate::registry::ledger::Account;
use crate::registry::trouble::{Trouble, encode};
use crate::registry::{Found, Query};

/// How often a service without a blocking query is read while the feed that should tell of changes is broken.
const UNTOLD: Duration = Duration::from_secs(10);

/// Ends when nobody listens any more.
pub(super) fn run(
    core: Arc<Core>,
    query: Query,
    watched: &Watched,
) -> impl Future<Output = ()> + use<> {
    let found = watched.found.clone();
    let finder = Finder {
        poll: Poll::new(path(&query)),
        account: core.ledger.account(format!("service {}", query.service)),
        found: found.clone(),
        inbox: Arc::clone(&watched.inbox),
        core: Arc::clone(&core),
        query: query.clone(),
        skipped: Vec::new(),
        settling: Settling::default(),
    };
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

fn path(query: &Query) -> String {
    let mut path = format!("/v1/health/service/{}?", encode(&query.service));
    if query.passing_only {
        path.push_str("passing=1");
    }
    for tag in &query.tags {
        path.push_str("&tag=");
        path.push_str(&encode(tag));
    }
    path
}

struct Finder {
    core: Arc<Core>,
    query: Query,
    found: watch::Sender<Arc<Found>>,
    inbox: Arc<Inbox>,
    account: Account,
    poll: Poll,
    /// What was left out of the last answer, so that it is said once.
    skipped: Vec<String>,
    settling: Settling,
}

impl Finder {
    /// Never ends.
    async fn work(mut self) {
        let slot = Arc::clone(&self.core.own).try_acquire_owned();
        let _slot = match slot {
            Ok(slot) => slot,
            Err(_) => self.without_slot().await,
        };
        loop {
            self.poll.ready(&self.core.pulse).await;
            let over = self.settling.over();
            tokio::select! {
                _ = self.read() => {}
                () = over => self.ask_again(),
            }
        }
    }

    /// Reads when told that something changed, until a blocking query may be had. What was read last stays the base of
    /// that query, so nothing is lost in between.
    async fn without_slot(&mut self) -> OwnedSemaphorePermit {
        let core = Arc::clone(&self.core);
        // Before the first reading: a change after it is told, one before it is read.
        let _feed = core.feed.listen(&core);
        loop {
            self.poll.ready(&core.pulse).await;
            let turns = if self.inbox.take_urgent() { &core.urgent } else { &core.sweep };
            // Cannot fail: the semaphores are never closed.
            let turn = turns.acquire().await;
            self.poll.forget();
            let good = self.read().await;
            drop(turn);
            if !good {
                continue;
            }
            tokio::select! {
                slot = Arc::clone(&core.own).acquire_owned() => if let Ok(slot) = slot { return slot },
                () = self.inbox.letter.notified() => {}
                trouble = core.pulse.lost() => self.ill(&trouble),
                () = core.feed.untold(UNTOLD) => {}
                () = self.settling.over() => self.ask_again(),
            }
        }
    }

    /// The next question is answered at once: what was kept while the agent came back is to be confirmed or dropped.
    fn ask_again(&mut self) {
        self.settling.asks_again();
        self.poll.forget();
    }

    /// Whether there was a good answer.
    async fn read(&mut self) -> bool {
        let core = Arc::clone(&self.core);
        let result = match self.poll.ask(&core.agent, &core.pulse).await {
            Ok(answer) if answer.changed => self
                .publish(&answer)
                .map_err(|why| self.poll.failed(Trouble::Broken(why), &core.pulse)),
            Ok(_) => Ok(()),
            Err(trouble) => Err(trouble),
        };
        match &result {
            Ok(()) => {
                self.poll.used();
                self.account.well();
            }
            Err(trouble) => self.ill(trouble),
        }
        result.is_ok()
    }

    fn publish(&mut self, answer: &Answer) -> Result<(), String> {
        let decoded = match &answer.body {
            Some(body) => decode::endpoints(body, &self.query)?,
            None => decode::Decoded::default(),
        };
        for why in decoded.skipped.iter().filter(|why| !self.skipped.contains(why)) {
            self.account.skipped(why);
        }
        self.skipped = decoded.skipped;
        let before = Arc::clone(&self.found.borrow());
        let found = self.settling.set(&before, decoded.endpoints, self.poll.life());
        let changed = self.found.send_if_modified(|before| {
            let changed = **before != found;
            if changed {
                tracing::debug!(
                    registry = self.core.name,
                    service = self.query.service,
                    instances = found.endpoints.len(),
                    "a new set"
                );
                *before = Arc::new(found);
            }
            changed
        });
        if changed {
            self.account.count("update");
        }
        Ok(())
    }

    fn ill(&mut self, trouble: &Trouble) {
        let why = trouble.to_string();
        self.account.ill(&why, trouble.blame());
        self.settling.interrupted();
        self.found.send_if_modified(|found| match found.staled(&why) {
            Some(stale) => {
                *found = Arc::new(stale);
                true
            }
            None => false,
        });
    }
}
