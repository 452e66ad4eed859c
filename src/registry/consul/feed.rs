//! Two blocking queries for all services together: their names and tags, and every check of the cluster. They tell the
//! services that have no query of their own when to look again. Run while somebody listens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::Core;
use super::decode::{self, Verdict};
use super::poll::{Answer, Poll};
use super::settling::Settling;
use crate::registry::State;
use crate::registry::ledger::Account;
use crate::registry::trouble::Trouble;

/// The least time between two readings of everything. The index of the names also moves with what they do not show
/// (addresses, weights, metadata), and does not say whose.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Every service's name and tags, and how far they can be believed.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    pub(super) services: Arc<BTreeMap<String, Vec<String>>>,
    pub(super) state: State,
}

/// The shared queries.
pub(super) struct Feed {
    pub(super) catalog: watch::Sender<Catalog>,
    /// Whether the checks are being told.
    told: watch::Sender<bool>,
    names: Demand,
    checks: Demand,
    sweep: Notify,
}

impl Feed {
    pub(super) fn new() -> Self {
        let nothing = Catalog { services: Arc::default(), state: State::Pending };
        Self {
            catalog: watch::Sender::new(nothing),
            told: watch::Sender::new(true),
            names: Demand::default(),
            checks: Demand::default(),
            sweep: Notify::new(),
        }
    }

    /// Keeps the names running while the guard lives.
    pub(super) fn listen_to_names(&self, core: &Arc<Core>) -> Listening {
        self.names.join(|| tokio::spawn(names(Arc::clone(core))).abort_handle())
    }

    /// Keeps both running while the guards live; the listener's inbox is told.
    pub(super) fn listen(&self, core: &Arc<Core>) -> (Listening, Listening) {
        let start = || tokio::spawn(tell(Arc::clone(core))).abort_handle();
        (self.listen_to_names(core), self.checks.join(start))
    }

    /// Ends after this time without being told of checks.
    pub(super) async fn untold(&self, time: Duration) {
        self.told.subscribe().wait_for(|told| !told).await.ok();
        tokio::time::sleep(time.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

/// A task that runs while somebody listens.
#[derive(Clone, Default)]
struct Demand(Arc<Mutex<(usize, Option<AbortHandle>)>>);

impl Demand {
    fn join(&self, start: impl FnOnce() -> AbortHandle) -> Listening {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        if state.0 == 1 {
            state.1 = Some(start());
        }
        Listening(self.clone())
    }
}

/// A listener of the feed.
pub(super) struct Listening(Demand);

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= 1;
        if state.0 == 0
            && let Some(task) = state.1.take()
        {
            task.abort();
        }
    }
}

async fn names(core: Arc<Core>) {
    let mut account = core.ledger.account("the catalog".into());
    let mut poll = Poll::new("/v1/catalog/services?".into());
    let mut settling = Settling::default();
    core.feed.catalog.send_modify(|catalog| catalog.state = State::Pending);
    loop {
        poll.ready(&core.pulse).await;
        let asked = tokio::select! {
            asked = poll.ask(&core.agent, &core.pulse) => Some(asked),
            () = settling.over() => None,
        };
        let Some(asked) = asked else {
            settling.asks_again();
            poll.forget();
            continue;
        };
        let result = match asked {
            Ok(answer) => took_names(&core, &answer, (&mut settling, poll.life()))
                .map_err(|why| poll.failed(Trouble::Broken(why), &core.pulse)),
            Err(trouble) => Err(trouble),
        };
        settle(&mut account, &mut poll, &result);
        if let Err(trouble) = result {
            settling.interrupted();
            core.feed.catalog.send_if_modified(|catalog| {
                let stale = catalog.state.staled(&trouble.to_string());
                stale.map(|stale| catalog.state = stale).is_some()
            });
        }
    }
}

fn took_names(
    core: &Core,
    answer: &Answer,
    (settling, life): (&mut Settling, u64),
) -> Result<(), String> {
    if answer.changed {
        let body = answer.body.as_deref().unwrap_or(b"null");
        let mut services = decode::services(body)?;
        let before = core.feed.catalog.borrow().clone();
        for name in differing(&before.services, &services) {
            core.changed(name);
        }
        settling.answered(&before.state, life);
        let lost = before.services.iter().filter(|(name, _)| !services.contains_key(*name));
        let lost = lost.map(|(name, tags)| (name.clone(), tags.clone())).collect();
        let (kept, state) = settling.keep(lost, &before.state).unwrap_or((Vec::new(), State::Live));
        services.extend(kept);
        core.feed.catalog.send_if_modified(|catalog| {
            let changed = catalog.state != state || *catalog.services != services;
            *catalog = Catalog { services: Arc::new(services), state };
            changed
        });
    }
    // Also when nothing changed: once in a while everything is read again, as a blocking query would.
    core.feed.sweep.notify_one();
    Ok(())
}

/// Tells of checks, and of readings of everything.
async fn tell(core: Arc<Core>) {
    let sweeps = async {
        loop {
            core.feed.sweep.notified().await;
            core.look_at_all();
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    };
    tokio::join!(checks(&core), sweeps);
}

async fn checks(core: &Core) {
    let mut account = core.ledger.account("the checks".into());
    let mut poll = Poll::new("/v1/health/state/any?".into());
    let mut before = BTreeMap::new();
    core.feed.told.send_replace(true);
    loop {
        poll.ready(&core.pulse).await;
        let result = match poll.ask(&core.agent, &core.pulse).await {
            Ok(answer) => took_checks(core, &mut before, &answer)
                .map_err(|why| poll.failed(Trouble::Broken(why), &core.pulse)),
            Err(trouble) => Err(trouble),
        };
        settle(&mut account, &mut poll, &result);
        let was_told = core.feed.told.send_replace(result.is_ok());
        if result.is_ok() && !was_told {
            core.feed.sweep.notify_one();
        }
    }
}

fn took_checks(
    core: &Core,
    before: &mut BTreeMap<(String, String), Verdict>,
    answer: &Answer,
) -> Result<(), String> {
    if !answer.changed {
        return Ok(());
    }
    let now = decode::checks(answer.body.as_deref().unwrap_or(b"null"))?;
    let was = std::mem::replace(before, now);
    let mut services: Vec<&str> = Vec::new();
    for key in differing(&was, before) {
        // A check may have moved from one service to another.
        let verdicts = [was.get(key), before.get(key)];
        services.extend(verdicts.into_iter().flatten().map(|(service, _)| service.as_str()));
    }
    services.sort_unstable();
    services.dedup();
    match services.first() {
        // A node's own check is about every service on it.
        Some(&"") => core.changed(""),
        Some(_) | None => services.into_iter().for_each(|service| core.changed(service)),
    }
    Ok(())
}

/// Keys that are in one only, or with another value.
fn differing<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    now: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let gone = before.keys().filter(|key| !now.contains_key(key));
    now.iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key).chain(gone)
}

fn settle(account: &mut Account, poll: &mut Poll, result: &Result<(), Trouble>) {
    match result {
        Ok(()) => {
            poll.used();
            account.well();
        }
        Err(trouble) => account.ill(&trouble.to_string(), trouble.blame()),
    }
}
