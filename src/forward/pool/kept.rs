//! What a worker's kept connections to all instances have in common.

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::forward::instance::Instance;

/// Idle connections that one worker keeps to all instances together.
const MOST: usize = 4096;

/// One worker's idle connections.
#[derive(Debug, Default)]
pub struct Kept {
    count: Cell<usize>,
    /// Another worker waits for room at an instance that this one keeps connections to.
    pub wanted: Arc<Notify>,
}

impl Kept {
    pub(super) fn add(&self, change: isize) {
        self.count.set(self.count.get().wrapping_add_signed(change));
    }

    pub(super) fn has_room(&self) -> bool {
        self.count.get() < MOST
    }
}

/// Who of a service's workers can be asked to let go of kept connections.
#[derive(Debug)]
pub struct Keepers(Box<[OnceLock<Arc<Notify>>]>);

impl Keepers {
    /// Of so many workers, which are yet to say so.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| OnceLock::new()).collect())
    }

    /// Says where a worker is asked.
    pub fn join(&self, worker: usize, kept: &Kept) {
        self.0[worker].get_or_init(|| Arc::clone(&kept.wanted));
    }

    /// Asks as many of those that keep connections to the instance as are needed for all that wait. Always in the same
    /// order, so that two who ask at the same time ask the same.
    pub fn ask(&self, instance: &Instance) {
        let mut waiting = instance.waiting.load(SeqCst) as u64;
        for (worker, wanted) in self.0.iter().enumerate() {
            let idle = instance.counters(worker).idle.load(SeqCst);
            if let Some(wanted) = wanted.get().filter(|_| idle > 0) {
                wanted.notify_one();
                waiting = waiting.saturating_sub(idle);
            }
            if waiting == 0 {
                break;
            }
        }
    }
}
