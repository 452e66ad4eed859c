//! Passwords are tried beside the data plane: a few at a time, and not many more wait for that.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::hashes::Hash;

/// How many tries wait for their turn; one more is refused.
pub const QUEUE: usize = 64;
/// How many go on at once at most: each costs a core, and what its hash says of memory.
const MOST: usize = 4;

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It is the password.
    Good,
    /// It is not.
    Wrong,
    /// That could not be found out.
    Failed,
}

/// Where a try's outcome will stand. Whoever waits for it subscribes; once nobody does, a try that has not begun is
/// given up.
pub type Outcome = watch::Sender<Option<Tried>>;
/// One who waits for it.
pub type Waiting = watch::Receiver<Option<Tried>>;

/// A bounded queue of tries.
#[derive(Debug)]
pub struct Hashing {
    runtime: OnceLock<Handle>,
    turns: Arc<Semaphore>,
    at_once: usize,
    /// Tries that wait or go on.
    places: Arc<AtomicUsize>,
    begun: Arc<AtomicU64>,
}

impl Default for Hashing {
    /// Half of the cores, so that requests always have some.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let at_once = (cores / 2).clamp(1, MOST);
        Self {
            runtime: OnceLock::new(),
            turns: Arc::new(Semaphore::new(at_once)),
            at_once,
            places: Arc::default(),
            begun: Arc::default(),
        }
    }
}

impl Hashing {
    /// In the runtime of the control plane; before, every try is refused.
    pub fn start(&self) {
        self.runtime.get_or_init(Handle::current);
    }

    /// How many tries were begun.
    #[cfg(test)]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Tries a password, in its turn; with the first who waits for that. None when too many tries wait.
    pub fn queue(&self, hash: Arc<Hash>, password: Vec<u8>) -> Option<(Outcome, Waiting)> {
        let runtime = self.runtime.get()?;
        let place = Place::take(&self.places, self.at_once + QUEUE)?;
        let outcome = watch::Sender::new(None);
        let (turns, begun) = (Arc::clone(&self.turns), Arc::clone(&self.begun));
        let told = Told(outcome.clone());
        let first = outcome.subscribe();
        runtime.spawn(async move {
            let turn = tokio::select! {
                biased;
                () = told.0.closed() => return,
                turn = turns.acquire_owned() => turn,
            };
            begun.fetch_add(1, Ordering::Relaxed);
            let work = move || {
                yield_to_requests();
                let good = hash.is_of(&password);
                told.tell(if good { Tried::Good } else { Tried::Wrong });
                drop((turn, place));
            };
            // A thread of its own, because no thread gets back the priority it gave up. One that cannot be had has
            // dropped what would have told.
            thread::Builder::new().name("hash".to_owned()).spawn(work).ok();
        });
        Some((outcome, first))
    }
}

/// Requests that are served go before tries.
fn yield_to_requests() {
    // Of Linux's threads each has its own; elsewhere that would be the whole process.
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(None, 10).ok();
}

/// A place in the queue, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(places));
        // Counted first, so that dropping takes off what was added.
        (places.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells that a try failed if nothing else was told, so that nobody waits for ever.
struct Told(Outcome);

impl Told {
    fn tell(&self, tried: Tried) {
        self.0.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(tried);
            first
        });
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell(Tried::Failed);
    }
}
