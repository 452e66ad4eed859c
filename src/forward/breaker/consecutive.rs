//! Opens after so many failures without a success between them, as gobreaker does.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::Why;
use super::circuit::{Generation, is_later};

/// Failures since the last success, over all workers, beside the generation that they belong to.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Consecutive {
    count: AtomicU64,
    most: u32,
}

fn read(word: u64) -> (Generation, u32) {
    ((word >> 32) as u32, word as u32)
}

fn pack(generation: Generation, count: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(count)
}

impl Consecutive {
    /// Without a failure yet.
    pub(super) fn new(most: u32) -> Self {
        Self { count: AtomicU64::new(0), most }
    }

    /// A success: one load, as long as nothing fails.
    pub(super) fn good(&self, of: Generation) {
        let mut word = self.count.load(Relaxed);
        while let (generation, 1..) = read(word)
            && generation == of
        {
            match self.count.compare_exchange_weak(word, pack(of, 0), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => word = other,
            }
        }
    }

    /// A failure; why that is one too many, if it is.
    pub(super) fn failed(&self, of: Generation) -> Option<Why> {
        let counted = self.count.fetch_update(Relaxed, Relaxed, |word| match read(word) {
            (generation, count) if generation == of => Some(pack(of, count.saturating_add(1))),
            (generation, _) if is_later(of, generation) => Some(pack(of, 1)),
            _ => None,
        });
        let (generation, before) = read(counted.ok()?);
        let count = if generation == of { before.saturating_add(1) } else { 1 };
        (count >= self.most).then_some(Why::InARow(count))
    }
}
