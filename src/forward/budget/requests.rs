//! How many requests there were, in all and of late, counted by one worker and read by all.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::recent::{WINDOW, span_of};
use crate::wire::clock;

const SECOND: u64 = 1_000_000_000;
/// More than are asked for, so that the newest does not take the place of one that still counts.
const SECONDS: usize = 16;
const _: () = assert!(WINDOW.as_secs() < SECONDS as u64);

/// One worker's requests, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Requests {
    pub(super) all: AtomicU64,
    seconds: [AtomicU64; SECONDS],
}

impl Requests {
    /// Counts one. Only one thread may: a plain load and store.
    pub(super) fn add(&self, now: Instant) {
        self.all.store(self.all.load(Relaxed).wrapping_add(1), Relaxed);
        let second = second(now);
        let cell = &self.seconds[second as usize % SECONDS];
        let word = cell.load(Relaxed);
        let own = span_of(word) == second;
        cell.store(if own { word + 1 } else { (u64::from(second) << 32) + 1 }, Relaxed);
    }

    /// How many there were in the second that has begun and those before it, so many in all.
    pub(super) fn of_last(&self, seconds: u64, now: Instant) -> u64 {
        let before = u64::from(second(now)).saturating_sub(seconds);
        let words = self.seconds.iter().map(|cell| cell.load(Relaxed));
        let late = |word: &u64| *word != 0 && u64::from(span_of(*word)) > before;
        words.filter(late).map(|word| word & u64::from(u32::MAX)).sum()
    }
}

/// Of seconds since the process began, from so many that the first ones, too, come after any that is not asked for.
fn second(at: Instant) -> u32 {
    u32::try_from(clock::nanos(at) / SECOND + WINDOW.as_secs()).unwrap_or(u32::MAX)
}
