//! How many exchanges may be under way behind a breaker.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Places for exchanges, over all workers.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Bulkhead {
    held: AtomicU32,
    most: u32,
}

/// One of the places; free again when dropped.
#[derive(Debug)]
pub struct Hold(Arc<Bulkhead>);

impl Bulkhead {
    /// With all places free.
    pub(super) fn new(most: u32) -> Self {
        Self { held: AtomicU32::new(0), most }
    }

    /// Whether none is free.
    pub(super) fn is_full(&self) -> bool {
        self.held.load(Relaxed) >= self.most
    }

    /// A place, if one is free.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Hold> {
        let more = |held| (held < self.most).then_some(held + 1);
        self.held.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Hold(Arc::clone(self)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Relaxed);
    }
}
