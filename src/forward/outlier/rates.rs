//! Success rates of instances compared with each other, as Envoy does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::{Cause, eject};
use crate::config::model::OutlierConfig;
use crate::forward::instance::Instance;
use crate::forward::service::Service;
use crate::forward::verdict::Verdict;
use crate::wire::clock;

/// With fewer instances to compare there is nothing to go by (Envoy's `success_rate_minimum_hosts`).
const INSTANCES: usize = 5;
/// An instance with fewer attempts in an interval is not compared (Envoy's `success_rate_request_volume`).
const ATTEMPTS: u64 = 100;
/// So many standard deviations below the mean an instance goes (Envoy's `success_rate_stdev_factor`).
const DEVIATIONS: f64 = 1.9;

/// One worker's attempts at an instance since the last look, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tally {
    good: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, verdict: Verdict) {
        match verdict {
            Verdict::Good => self.good.fetch_add(1, Relaxed),
            Verdict::Failed => self.failed.fetch_add(1, Relaxed),
            Verdict::Neutral => return,
        };
    }

    /// Good ones and all, which are counted anew from here.
    pub(super) fn take(&self) -> (u64, u64) {
        let good = self.good.swap(0, Relaxed);
        (good, good + self.failed.swap(0, Relaxed))
    }
}

/// Compares what the last interval brought when it is over, and ejects who falls behind, the worst first; when the next
/// is over.
pub(super) fn compare(
    service: &Service,
    config: &OutlierConfig,
    instances: &[Arc<Instance>],
    now: Instant,
) -> Option<Instant> {
    let compared = &service.ejections.compared;
    if !config.success_rate || instances.len() < INSTANCES {
        compared.store(0, Relaxed);
        return None;
    }
    let before = compared.load(Relaxed);
    let due = clock::at(before) + config.interval;
    if before != 0 && now < due {
        return Some(due);
    }
    compared.store(clock::nanos(now), Relaxed);
    let taken = instances.iter().map(|instance| (rate(instance), instance));
    let mut rates: Vec<_> = taken.filter_map(|(rate, instance)| Some((rate?, instance))).collect();
    // What was counted before the first look is of no certain age.
    if before != 0
        && let Some(bound) = bound(rates.iter().map(|(rate, _)| *rate))
    {
        rates.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        for (_, instance) in rates.iter().take_while(|(rate, _)| *rate < bound) {
            eject(service, instance, Cause::SuccessRate, now);
        }
    }
    Some(now + config.interval)
}

/// An instance's share of good attempts since the last look, if there were enough.
fn rate(instance: &Instance) -> Option<f64> {
    let taken = instance.record.tallies.iter().map(Tally::take);
    let (good, all) = taken.fold((0, 0), |(good, all), one| (good + one.0, all + one.1));
    #[expect(clippy::cast_precision_loss, reason = "2^53 attempts take longer than an interval")]
    let rate = good as f64 / all as f64;
    (all >= ATTEMPTS).then_some(rate)
}

/// Below which an instance falls behind the others; none when they are too few.
fn bound(rates: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let count = rates.clone().count();
    if count < INSTANCES {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "instances are fewer than 2^53")]
    let count = count as f64;
    let mean = rates.clone().sum::<f64>() / count;
    let variance = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    Some(mean - DEVIATIONS * variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn five_or_more_are_compared_and_one_that_stands_out_is_below_the_bound() {
        assert_eq!(bound([1.0; 4].into_iter()), None);
        assert_eq!(bound([1.0; 5].into_iter()), Some(1.0), "and nobody is below it");
        // The mean is 0.9 and the deviation 0.2.
        let bound = bound([1.0, 1.0, 1.0, 1.0, 0.5].into_iter()).unwrap();
        assert!((bound - 0.52).abs() < 1e-9, "{bound}");
    }
}
