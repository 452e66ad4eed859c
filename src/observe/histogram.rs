//! Durations in fixed buckets: one thread writes, any may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::numbers::add;

/// Upper bounds, inclusive, as nanoseconds and as the label `le`.
const BOUNDS: [(u64, &str); 13] = [
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// One thread's durations.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Notes one duration.
    pub(super) fn note(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        add(&self.buckets[bucket], 1);
        add(&self.nanos, nanos);
    }

    /// Adds what was noted to a sum over several threads.
    pub(super) fn read(&self, into: &mut Buckets) {
        for (sum, bucket) in into.counts.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        into.sum += Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
    }
}

/// Durations of several threads, summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Buckets {
    /// How many durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The label `le` with how many took no longer, ending with `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, le)| *le).chain(["+Inf"]);
        bounds.zip(self.counts).scan(0, |below, (le, count)| {
            *below += count;
            Some((le, *below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_the_bounds_in_seconds() {
        for (nanos, label) in BOUNDS {
            let seconds: f64 = label.parse().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket_and_what_exceeds_it_to_the_next() {
        let histogram = Histogram::default();
        for took in [0, 1_000_000, 1_000_001, 10_000_000_000, 10_000_000_001] {
            histogram.note(Duration::from_nanos(took));
        }
        let mut buckets = Buckets::default();
        histogram.read(&mut buckets);
        let cumulative: Vec<_> = buckets.cumulative().collect();
        assert_eq!(cumulative[0], ("0.001", 2));
        assert_eq!(cumulative[1], ("0.0025", 3));
        assert_eq!(cumulative[12], ("10", 4));
        assert_eq!(cumulative[13], ("+Inf", 5));
        assert_eq!(buckets.count(), 5);
        assert_eq!(buckets.sum(), Duration::from_nanos(20_002_000_002));
    }
}
