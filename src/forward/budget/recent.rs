//! How many retries there were of late: a ring of short spans of time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::{Duration, Instant};

use crate::wire::clock;

/// How far back the budget looks.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// What is told apart within it.
const SPAN: Duration = Duration::from_millis(250);
/// Spans that a window may touch.
const TOUCHED: u32 = (WINDOW.as_millis() / SPAN.as_millis()) as u32 + 1;
/// More than a window touches, so that the newest does not take the place of one that still counts.
const SPANS: usize = 64;

/// Retries by the time of their going out, those of a window and some older ones.
#[derive(Debug)]
pub(super) struct Recent([AtomicU64; SPANS]);

/// Where one was counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u32);

impl Default for Recent {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; SPANS])
    }
}

impl Recent {
    /// Counts one.
    pub(super) fn add(&self, now: Instant) -> Place {
        let now = number(now);
        let one_more = |word| match word {
            // Another thread's clock may be ahead by a span; counted there it is forgotten later, never sooner.
            word if span_of(word) >= now => Some(word + 1),
            _ => Some((u64::from(now) << 32) + 1),
        };
        let before = self.cell(now).fetch_update(AcqRel, Acquire, one_more);
        Place(before.map_or(now, |word| span_of(word).max(now)))
    }

    /// Takes back one that was counted and then did not go out.
    pub(super) fn remove(&self, place: Place) {
        let one_less = |word| (span_of(word) == place.0).then(|| word - 1);
        // Where the span is over and its place taken by another there is nothing left to take back.
        self.cell(place.0).fetch_update(AcqRel, Acquire, one_less).ok();
    }

    /// How many there were in the window that ends now; up to a span more than that, never less.
    pub(super) fn count(&self, now: Instant) -> u64 {
        let first = number(now).saturating_sub(TOUCHED - 1);
        let words = self.0.iter().map(|cell| cell.load(Acquire));
        words.filter(|word| span_of(*word) >= first).map(|word| word & u64::from(u32::MAX)).sum()
    }

    fn cell(&self, span: u32) -> &AtomicU64 {
        &self.0[span as usize % SPANS]
    }
}

/// Of spans since the process began; 34 years of them fit.
fn number(at: Instant) -> u32 {
    u32::try_from(u128::from(clock::nanos(at)) / SPAN.as_nanos()).unwrap_or(u32::MAX)
}

/// Which span a cell counts.
pub(super) fn span_of(word: u64) -> u32 {
    u32::try_from(word >> 32).unwrap_or(u32::MAX)
}
