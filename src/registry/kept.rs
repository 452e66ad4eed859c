//! What stands between a registry and those who follow it, so that a registry that fails, forgets or restarts takes no
//! traffic with it: the last good sets on disk, their age, and the guard against sudden loss.

mod guard;
mod list;
mod probe;
mod set;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub use list::NamesFollower;
pub use set::Follower;

use super::snapshot::Store;
use super::{CatalogQuery, Health, Query, Registered, Registration, Registry, State, Status};
use crate::config::model::{LossGuard, StaleConfig};

/// How long a registry that neither answers nor fails is waited for before a snapshot serves.
const GRACE: Duration = Duration::from_secs(1);

/// Why it is not waited for any longer, when there is no error.
const SILENT: &str = "the registry has not answered yet";
/// How long ago a set may have been confirmed for a gateway to go on from it as if it had not been restarted. Files are
/// confirmed once a minute.
const RESTART: Duration = Duration::from_secs(120);

/// A registry whose last good sets are kept.
pub struct Kept {
    core: Arc<Core>,
}

/// What a service or a catalog says of its registry's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// None believes every answer at once.
    pub loss_guard: Option<LossGuard>,
    /// How long the last good set serves.
    pub stale: StaleConfig,
}

struct Core {
    name: String,
    raw: Arc<dyn Registry>,
    store: Option<Arc<Store>>,
    shown: Mutex<HashMap<u64, Shown>>,
    /// Whether everything was told once; a service that comes later is no reason to be unready again.
    whole: AtomicBool,
    probes: Arc<Semaphore>,
    /// Told when a set has become empty, or is the first to come from a snapshot.
    news: watch::Sender<()>,
}

/// What one follower shows now.
#[derive(Clone, Default)]
struct Shown {
    /// Of which service; none for names.
    query: Option<Arc<Query>>,
    /// Whether nothing is known yet, neither good nor bad.
    is_awaited: bool,
    instances: usize,
    from_snapshot: bool,
}

impl Kept {
    /// This registry under this name; without a store nothing outlives the process.
    pub fn new(name: &str, raw: Arc<dyn Registry>, store: Option<Store>) -> Self {
        let core = Core {
            name: name.to_owned(),
            raw,
            store: store.map(Arc::new),
            shown: Mutex::default(),
            whole: AtomicBool::new(false),
            probes: Arc::new(Semaphore::new(probe::AT_ONCE)),
            news: watch::Sender::new(()),
        };
        Self { core: Arc::new(core) }
    }

    /// Follows one service until dropped.
    pub fn follow(&self, query: Query, policy: Policy) -> Follower {
        Follower::new(Arc::clone(&self.core), query, policy)
    }

    /// Follows the names of all services until dropped; none when the registry has no catalog.
    pub fn catalog(&self, query: CatalogQuery, policy: Policy) -> Option<NamesFollower> {
        let raw = self.core.raw.catalog(query.clone())?;
        Some(NamesFollower::new(Arc::clone(&self.core), raw, query, policy))
    }

    /// Registers and keeps alive; none when one cannot register there.
    pub fn register(&self, registration: Registration) -> Option<Registered> {
        self.core.raw.register(registration)
    }

    /// What an operator wants to know of it now.
    pub fn status(&self) -> Status {
        let mut status = self.core.raw.status();
        let shown = self.core.shown();
        let never_heard = matches!(status.health, Health::Connecting | Health::Failed);
        if never_heard && shown.values().any(|shown| shown.from_snapshot) {
            status.health = Health::Snapshot;
        }
        status.services = shown.values().filter(|shown| shown.query.is_some()).count();
        status.instances = shown.values().map(|shown| shown.instances).sum();
        status
    }

    /// How many sets a registry that answers has yet to tell, until that was none for the first time.
    pub fn awaited(&self) -> usize {
        // One that is away may never tell; nobody should wait for that.
        if self.core.whole.load(Relaxed) || self.status().health != Health::Ok {
            return 0;
        }
        let awaited = self.core.shown().values().filter(|shown| shown.is_awaited).count();
        self.core.whole.store(awaited == 0, Relaxed);
        awaited
    }

    /// Writes what is not yet on disk; nothing that happens later is kept.
    pub async fn close(&self) {
        if let Some(store) = &self.core.store {
            store.close().await;
        }
    }
}

impl Core {
    fn shown(&self) -> MutexGuard<'_, HashMap<u64, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the registry is known to be away, before it was heard at all; none when that is not known.
    fn away(&self) -> Option<String> {
        let is_away = self.shown().values().any(|shown| shown.from_snapshot);
        let why = || self.raw.status().last_error.map(|(_, why)| why);
        is_away.then(|| why().unwrap_or_else(|| SILENT.to_owned()))
    }

    /// Whether somebody is still sent to under this name, by those who ask for the same tag.
    fn has_instances(&self, service: &str, tag: Option<&String>) -> bool {
        self.shown().values().any(|shown| {
            let asks = |query: &Arc<Query>| {
                query.service == service && tag.is_none_or(|tag| query.tags.contains(tag))
            };
            shown.instances > 0 && shown.query.as_ref().is_some_and(asks)
        })
    }

    /// Counts something that happened, beside what the registry counts itself.
    fn count(&self, kind: &'static str, times: usize) {
        let registry = self.name.clone();
        metrics::counter!("frontgate_registry_events_total", "registry" => registry, "kind" => kind)
            .increment(times as u64);
    }
}

/// A follower's place in the books; ends with it.
struct Place {
    core: Arc<Core>,
    number: u64,
}

impl Place {
    fn new(core: &Arc<Core>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        Self { core: Arc::clone(core), number }
    }

    fn shows(&self, shown: Shown) {
        let (is_empty, from_snapshot) = (shown.instances == 0, shown.from_snapshot);
        let before = self.core.shown().insert(self.number, shown).unwrap_or_default();
        if is_empty && before.instances > 0 || from_snapshot && !before.from_snapshot {
            self.core.news.send_replace(());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.shown().remove(&self.number);
        self.core.news.send_replace(());
    }
}

/// What an earlier process found, for as long as the registry was not heard by this one.
struct Past<T> {
    what: T,
    /// When the registry last confirmed it.
    taken: SystemTime,
    /// When it stands in for a registry that says nothing at all.
    from: Instant,
    serves_for: Duration,
}

impl<T> Past<T> {
    fn new((what, taken): (T, SystemTime), stale: StaleConfig) -> Self {
        let serves_for = stale.max_age.unwrap_or(StaleConfig::SNAPSHOT);
        Self { what, taken, from: Instant::now() + GRACE, serves_for }
    }

    /// What the first answer is to be held against: a registry that names nothing may have lost everything, as one that
    /// comes back empty; one that names something is believed, unless the gateway was away for a moment only. Later
    /// others may have the addresses.
    fn missed(self, names_nothing: bool) -> Option<T> {
        let is_fresh = left(self.taken, RESTART).is_some();
        let serves = left(self.taken, self.serves_for).is_some();
        (serves && (names_nothing || is_fresh)).then_some(self.what)
    }

    /// The state in which it serves a registry in this state; none when it does not, or not yet.
    fn serves(&self, state: &State, core: &Core) -> Option<State> {
        let reason = match state {
            // Who comes when the registry is known to be away need not wait for it.
            State::Pending => {
                let silent = Instant::now() >= self.from;
                core.away().or_else(|| silent.then(|| SILENT.to_owned()))?
            }
            State::Unheard { reason, .. } => reason.clone(),
            State::Live | State::Snapshot { .. } | State::Stale { .. } => return None,
        };
        left(self.taken, self.serves_for)?;
        Some(State::Snapshot { since: self.taken, reason })
    }

    /// When that may change without the registry saying anything.
    fn next(&self, state: &State) -> Option<Instant> {
        match state {
            State::Pending if Instant::now() < self.from => Some(self.from),
            State::Pending | State::Unheard { .. } => {
                left(self.taken, self.serves_for).and_then(|left| Instant::now().checked_add(left))
            }
            State::Live | State::Snapshot { .. } | State::Stale { .. } => None,
        }
    }
}

/// How much is left of `time` since then; none when it is over. A clock that was set back leaves all of it.
fn left(since: SystemTime, time: Duration) -> Option<Duration> {
    let age = SystemTime::now().duration_since(since).unwrap_or_default();
    time.checked_sub(age).filter(|left| !left.is_zero())
}

/// Ends then; never without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
