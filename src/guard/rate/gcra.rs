//! The generic cell rate algorithm (ITU-T I.371): one number per key says when its next request would be due if they
//! came evenly, and a burst is how far that may lie ahead.

use std::time::Duration;

use crate::config::model::RateConfig;

/// No number lies further ahead than this, in nanoseconds: 146 years, so that sums of two have room.
const FURTHEST: u64 = 1 << 62;

/// A limit in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds between two requests at the rate, at least 1.
    pub interval: u64,
    /// How many at once, at least 1.
    pub burst: u64,
}

/// What is asked of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Of the limit.
    pub quota: Quota,
    /// How long who asks would wait for its turn, in nanoseconds.
    pub patience: u64,
    /// The longest that anybody would, in nanoseconds: how far past its depth the limit may be taken.
    pub longest: u64,
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

impl Wish {
    /// Of one who takes what has room and does not wait, of a limit where others wait for so long at most.
    pub fn new(quota: Quota, longest: Duration) -> Self {
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(FURTHEST);
        Self { quota, patience: 0, longest: longest.min(FURTHEST.saturating_sub(quota.depth())) }
    }

    /// The same, of one who waits.
    pub fn patient(self) -> Self {
        Self { patience: self.longest, ..self }
    }

    /// Whether what this came to is a turn, now or to come.
    pub fn granted(self, take: Take) -> bool {
        take.wait.as_nanos() <= u128::from(self.patience)
    }
}

impl Quota {
    /// Of a checked limit.
    pub fn of(config: &RateConfig) -> Self {
        let per = u64::try_from(config.rate.per.as_nanos()).unwrap_or(FURTHEST);
        let interval = (per / config.rate.count).clamp(1, FURTHEST);
        Self { interval, burst: config.burst.clamp(1, FURTHEST / interval) }
    }

    /// How far ahead of the time the number may lie, in nanoseconds.
    pub fn depth(self) -> u64 {
        self.interval.saturating_mul(self.burst)
    }

    /// Takes one at the time `now`, of a key whose number is `due` (0 for one that was never seen): what that came to,
    /// and the number afterwards, which is the same when there was no room. Times are nanoseconds of any one clock.
    pub fn take(self, due: u64, now: u64) -> (Take, u64) {
        let (take, next) = self.reserve(due, now, 0);
        (take, next.unwrap_or(due))
    }

    /// As [`Quota::take`], by one who would wait for `patience` nanoseconds: with a number afterwards, one was taken, and
    /// [`Take::wait`] says when its time comes.
    pub fn reserve(self, due: u64, now: u64, patience: u64) -> (Take, Option<u64>) {
        let next = due.max(now).saturating_add(self.interval);
        let (ahead, depth) = (next - now, self.depth());
        let over = ahead.saturating_sub(depth);
        let wait = Duration::from_nanos(over);
        if over > patience || next > FURTHEST {
            let reset = Duration::from_nanos(due.saturating_sub(now));
            return (Take { wait, remaining: 0, reset }, None);
        }
        let remaining = depth.saturating_sub(ahead) / self.interval;
        (Take { wait, remaining, reset: Duration::from_nanos(ahead) }, Some(next))
    }

    /// The number without the one that made it `next`, when it is now `due`. None when the key has been without any
    /// since, so that nothing is left to give back: only then is the difference no whole number of intervals.
    pub fn without(self, due: u64, next: u64) -> Option<u64> {
        let same_run = due.abs_diff(next).is_multiple_of(self.interval);
        due.checked_sub(self.interval).filter(|_| same_run)
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

    #[test]
    fn one_with_patience_takes_a_turn_to_come() {
        let quota = Quota { interval: 10 * MS, burst: 2 };
        let (now, mut due) = (1_000 * MS, 0);
        for wait in [0, 0, 10, 20] {
            let (take, next) = quota.reserve(due, now, 25 * MS);
            assert_eq!(take.wait.as_millis(), wait);
            due = next.unwrap();
        }
        let (take, next) = quota.reserve(due, now, 25 * MS);
        assert_eq!((take.wait.as_millis(), next), (30, None));
    }

    #[test]
    fn one_is_given_back_unless_time_has_done_so() {
        let quota = Quota { interval: 10 * MS, burst: 3 };
        let (_, first) = quota.take(0, 1_000 * MS);
        let (_, second) = quota.take(first, 1_001 * MS);
        assert_eq!(quota.without(second, first), Some(first));
        // The second found the key as if never seen.
        let (_, second) = quota.take(first, 1_011 * MS);
        assert_eq!(quota.without(second, first), None);
    }

    #[test]
    fn the_largest_numbers_neither_overflow_nor_let_in_too_many() {
        let quota = Quota { interval: FURTHEST, burst: 1 };
        assert!(quota.reserve(FURTHEST, u64::MAX / 2, u64::MAX).1.is_none());
        assert_eq!(quota.take(0, 1).1, 0, "its end is past every time");
        let quota = Quota { interval: u64::MAX, burst: u64::MAX };
        assert_eq!(quota.depth(), u64::MAX);
        assert!(quota.reserve(u64::MAX, u64::MAX, u64::MAX).1.is_none());
    }
}
