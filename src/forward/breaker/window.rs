//! Opens when a share of the newest outcomes are failures: a rolling window over all workers.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
use std::time::{Duration, Instant};

use super::Why;
use super::circuit::Generation;
use crate::config::model;
use crate::wire::clock;

/// Parts of a window. The one that time is in is not full yet, so that a window reaches back nine to ten of them, and
/// never further than it is long.
const BUCKETS: u64 = 10;

/// Outcomes of the last while. Each worker writes only its own; they are summed when a failure may be one too many.
#[derive(Debug)]
pub(super) struct Window {
    config: model::Window,
    /// Nanoseconds.
    bucket: u64,
    /// The share is reached, only too few outcomes are known: a success may be the one that is missing.
    few: AtomicBool,
    workers: Box<[Ring]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Ring([Bucket; BUCKETS as usize]);

/// Outcomes of one stretch of time. Only its worker writes it. The stamp is changed first and last, so that a reader
/// on another thread knows whose counts it saw.
#[derive(Debug, Default)]
struct Bucket {
    /// Generation and period; [`BUSY`] while the counts are begun anew.
    stamp: AtomicU64,
    good: AtomicU32,
    failed: AtomicU32,
}

const BUSY: u64 = u64::MAX;
const PERIOD: u64 = (1 << 40) - 1;

fn stamp(generation: Generation, period: u64) -> u64 {
    u64::from(generation) << 40 | period & PERIOD
}

impl Window {
    /// Without an outcome yet, for so many workers.
    pub(super) fn new(config: model::Window, workers: usize) -> Self {
        let bucket = (config.window / BUCKETS as u32).max(Duration::from_micros(100));
        Self {
            config,
            bucket: u64::try_from(bucket.as_nanos()).unwrap_or(u64::MAX),
            few: AtomicBool::new(false),
            workers: (0..workers).map(|_| Ring::default()).collect(),
        }
    }

    /// An outcome; why the breaker opens now, if it does.
    pub(super) fn told(
        &self,
        worker: usize,
        of: Generation,
        good: bool,
        now: Instant,
    ) -> Option<Why> {
        let period = clock::nanos(now) / self.bucket;
        let bucket = self.workers[worker].at(of, period);
        if good {
            add(&bucket.good);
            if !self.few.load(Relaxed) {
                return None;
            }
        } else {
            add(&bucket.failed);
            // Of two failures at once, told on two workers, at least one sees the other.
            fence(SeqCst);
        }
        let (good, failed) = self.sum(of, period);
        let total = good + failed;
        let reached = u128::from(failed) * 10_000
            >= u128::from(total) * u128::from(self.config.failures.hundredths());
        let enough = total >= u64::from(self.config.min_requests);
        let few = reached && !enough;
        if self.few.load(Relaxed) != few {
            self.few.store(few, Relaxed);
        }
        let window = self.config.window;
        (reached && enough).then_some(Why::Share { failed, total, window })
    }

    /// Good and failed ones of all workers.
    fn sum(&self, of: Generation, period: u64) -> (u64, u64) {
        let oldest = period.saturating_sub(BUCKETS - 1);
        let buckets = self.workers.iter().flat_map(|ring| &ring.0);
        let known = buckets.filter_map(|bucket| {
            let (stamped, good, failed) = bucket.read()?;
            // Another worker's clock may be ahead by a little.
            let counts = stamped >> 40 == u64::from(of) && stamped & PERIOD >= oldest & PERIOD;
            counts.then_some((good, failed))
        });
        known.fold((0, 0), |sum, (good, failed)| {
            (sum.0 + u64::from(good), sum.1 + u64::from(failed))
        })
    }
}

/// By the only thread that writes it.
fn add(count: &AtomicU32) {
    count.store(count.load(Relaxed).saturating_add(1), Relaxed);
}

impl Ring {
    /// The bucket of a period, empty when it was another's.
    fn at(&self, of: Generation, period: u64) -> &Bucket {
        let bucket = &self.0[(period % BUCKETS) as usize];
        let stamp = stamp(of, period);
        if bucket.stamp.load(Relaxed) != stamp {
            bucket.stamp.store(BUSY, Relaxed);
            fence(Release);
            bucket.good.store(0, Relaxed);
            bucket.failed.store(0, Relaxed);
            bucket.stamp.store(stamp, Release);
        }
        bucket
    }
}

impl Bucket {
    /// Its stamp and counts; none while they are begun anew, when they are next to nothing.
    fn read(&self) -> Option<(u64, u32, u32)> {
        let stamp = self.stamp.load(Acquire);
        let (good, failed) = (self.good.load(Relaxed), self.failed.load(Relaxed));
        fence(Acquire);
        (stamp != BUSY && self.stamp.load(Relaxed) == stamp).then_some((stamp, good, failed))
    }
}
