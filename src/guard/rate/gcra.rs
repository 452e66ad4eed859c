//! The generic cell rate algorithm (ITU-T I.371): one number per key says when its next request would be due if they
//! came evenly, and a burst is how far that may lie ahead.

use std::time::Duration;

use crate::config::model::RateConfig;

/// A limit in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds between two requests at the rate, at least 1.
    pub interval: u64,
    /// How many at once, at least 1.
    pub burst: u64,
}

/// What taking one came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// Zero: there was room. Otherwise until when there would be.
    pub wait: Duration,
    /// How many more have room at once.
    pub remaining: u64,
    /// Until all of the burst has room again.
    pub reset: Duration,
}

impl Quota {
    /// Of a checked limit.
    pub fn of(config: &RateConfig) -> Self {
        let per = u64::try_from(config.rate.per.as_nanos()).unwrap_or(u64::MAX);
        Self { interval: (per / config.rate.count).max(1), burst: config.burst.max(1) }
    }

    /// How far ahead of the time the number may lie, in nanoseconds.
    pub fn depth(self) -> u64 {
        self.interval.saturating_mul(self.burst)
    }

    /// Takes one at the time `now`, of a key whose number is `due` (0 for one that was never seen): what that came to,
    /// and the number afterwards, which is the same when there was no room. Times are nanoseconds of any one clock.
    pub fn take(self, due: u64, now: u64) -> (Take, u64) {
        let next = due.max(now).saturating_add(self.interval);
        let ahead = next - now;
        if ahead > self.depth() {
            let wait = Duration::from_nanos(ahead - self.depth());
            let reset = Duration::from_nanos(due.saturating_sub(now));
            return (Take { wait, remaining: 0, reset }, due);
        }
        let remaining = (self.depth() - ahead) / self.interval;
        (Take { wait: Duration::ZERO, remaining, reset: Duration::from_nanos(ahead) }, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_then_the_rate() {
        let quota = Quota { interval: 10 * MS, burst: 3 };
        let mut due = 0;
        let mut at = |now: u64| {
            let (take, next) = quota.take(due, now);
            due = next;
            (take.wait.as_millis(), take.remaining, take.reset.as_millis())
        };
        assert_eq!(at(1_000 * MS), (0, 2, 10));
        assert_eq!(at(1_000 * MS), (0, 1, 20));
        assert_eq!(at(1_000 * MS), (0, 0, 30));
        assert_eq!(at(1_000 * MS), (10, 0, 30));
        assert_eq!(at(1_009 * MS), (1, 0, 21));
        assert_eq!(at(1_010 * MS), (0, 0, 30));
        assert_eq!(at(2_000 * MS), (0, 2, 10));
    }
}
