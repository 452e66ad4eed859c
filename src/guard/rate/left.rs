//! What an answer says of its limits (draft-ietf-httpapi-ratelimit-headers-03, the fields that clients know).

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};

use super::gcra::{Quota, Take};
use crate::exchange::Exchange;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// How much is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// How many at once.
    limit: u64,
    /// How many more now.
    remaining: u64,
    /// Whole seconds until all of it is there again.
    reset: u64,
}

impl Left {
    /// After one was taken, or was not.
    pub(super) fn of(quota: Quota, take: Take) -> Self {
        Self { limit: quota.burst, remaining: take.remaining, reset: seconds(take.reset) }
    }

    /// Of two limits, the one that an answer speaks of: the one with less left, of such the one that takes longer.
    pub(super) fn tighter(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if (other.remaining, self.reset) < (self.remaining, other.reset) => other,
            _ => self,
        }
    }

    /// What an earlier stage has noted.
    fn noted(exchange: &Exchange) -> Option<Self> {
        let number = |name: HeaderName| {
            let (_, value) = exchange.marks.iter().find(|(known, _)| *known == name)?;
            value.to_str().ok()?.parse().ok()
        };
        Some(Self { limit: number(LIMIT)?, remaining: number(REMAINING)?, reset: number(RESET)? })
    }

    /// Notes it for the answer, unless an earlier stage has noted what is tighter.
    pub(super) fn note(self, exchange: &mut Exchange) {
        match Self::noted(exchange) {
            Some(noted) if noted.tighter(Some(self)) == noted => {}
            _ => self.insist(exchange),
        }
    }

    /// Notes it for the answer, whatever was noted: this is the limit that refuses.
    pub(super) fn insist(self, exchange: &mut Exchange) {
        let Self { limit, remaining, reset } = self;
        let named = [(LIMIT, limit), (REMAINING, remaining), (RESET, reset)];
        for (name, number) in named {
            let value = value(number);
            match exchange.marks.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => exchange.marks.push((name, value)),
            }
        }
    }
}

/// When a refused client may come again: whole seconds, never 0.
pub(super) fn retry_after(wait: Duration) -> (HeaderName, HeaderValue) {
    (RETRY_AFTER, value(seconds(wait).max(1)))
}

/// Rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Numbers below this are ready, so that to name one allocates nothing.
const READY: usize = 10_000;
const DIGITS: usize = 4;

/// All of them, with leading zeros.
static NUMBERS: [u8; READY * DIGITS] = {
    let mut digits = [b'0'; READY * DIGITS];
    let mut at = 0;
    while at < READY * DIGITS {
        let number = at / DIGITS;
        let place = [1000, 100, 10, 1][at % DIGITS];
        #[expect(clippy::cast_possible_truncation, reason = "one digit")]
        let digit = (number / place % 10) as u8;
        digits[at] += digit;
        at += 1;
    }
    digits
};

fn value(number: u64) -> HeaderValue {
    let ready = usize::try_from(number).ok().filter(|number| *number < READY).and_then(|number| {
        let first = match number {
            0..10 => 3,
            10..100 => 2,
            100..1000 => 1,
            _ => 0,
        };
        str::from_utf8(&NUMBERS[number * DIGITS + first..(number + 1) * DIGITS]).ok()
    });
    ready.map_or_else(|| HeaderValue::from(number), HeaderValue::from_static)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_itself() {
        for number in (0..20_000).chain([u64::MAX]) {
            assert_eq!(value(number), number.to_string());
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_nobody_is_told_to_come_at_once() {
        for (nanos, whole) in [(0, 0), (1, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            assert_eq!(seconds(Duration::from_nanos(nanos)), whole);
        }
        assert_eq!(retry_after(Duration::ZERO).1, "1");
    }

    #[test]
    fn the_limit_with_less_left_is_spoken_of() {
        let left = |remaining, reset| Left { limit: 9, remaining, reset };
        assert_eq!(left(3, 1).tighter(None), left(3, 1));
        assert_eq!(left(3, 1).tighter(Some(left(2, 1))), left(2, 1));
        assert_eq!(left(2, 1).tighter(Some(left(3, 9))), left(2, 1));
        assert_eq!(left(3, 1).tighter(Some(left(3, 9))), left(3, 9));
        assert_eq!(left(3, 9).tighter(Some(left(3, 1))), left(3, 9));
    }
}
