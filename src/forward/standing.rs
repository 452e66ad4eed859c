//! What speaks against an instance: read with every pick, written when something changes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use crate::config::model::Share;
use crate::wire::clock;

/// A reason to send an instance nothing, or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Checks are on and have not said yet that it is up.
    Unchecked = 1,
    /// Its checks say that it is down.
    Down = 1 << 1,
    /// It failed while others did not.
    Ejected = 1 << 2,
    /// Somebody took it out by hand.
    Drained = 1 << 3,
    /// Its breaker is open.
    Open = 1 << 4,
    /// Its breaker lets some through to see.
    HalfOpen = 1 << 5,
    /// It is new, or back, and gets less than its share.
    Ramping = 1 << 6,
}

/// What health and ejection say.
const UNWELL: u8 = Reason::Unchecked as u8 | Reason::Down as u8 | Reason::Ejected as u8;

/// Whether so few of a set's instances are usable, by health and ejection, that all are used. Those that somebody took
/// out by hand are not missed.
pub fn panics(instances: impl Iterator<Item = Reasons>, share: Share) -> bool {
    let there = instances.filter(|reasons| !reasons.has(Reason::Drained));
    let (well, all) = there
        .fold((0, 0), |(well, all), reasons| (well + u64::from(reasons.0 & UNWELL == 0), all + 1));
    well * 10_000 < all * u64::from(share.hundredths())
}

/// What speaks against one instance. Shared by all workers; on the path one relaxed load.
#[derive(Debug, Default)]
pub struct Standing {
    reasons: AtomicU8,
    /// When a drain by hand ends, as [`clock::nanos`] counts; 0 is never.
    drain_ends: AtomicU64,
    /// The same in milliseconds since the Unix epoch, to be shown.
    drained_until: AtomicU64,
}

/// Several reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(u8);

impl Reasons {
    /// Whether this is one of them.
    pub fn has(self, reason: Reason) -> bool {
        self.0 & reason as u8 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it may be sent requests at its turn. In panic health and ejection do not count; an open breaker and a hand
    /// always do.
    pub fn is_usable(self, panic: bool) -> bool {
        let breaker = Reason::Open as u8 | Reason::HalfOpen as u8;
        self.may_be_asked(panic) && self.0 & breaker == 0
    }

    /// Whether nothing but its breaker may speak against it.
    pub fn may_be_asked(self, panic: bool) -> bool {
        self.0 & Self::against(panic) == 0
    }

    /// Whether it may be sent a few requests, to see whether its breaker may close.
    pub fn is_probing(self, panic: bool) -> bool {
        self.has(Reason::HalfOpen) && self.may_be_asked(panic)
    }

    fn against(panic: bool) -> u8 {
        if panic { Reason::Drained as u8 } else { Reason::Drained as u8 | UNWELL }
    }
}

impl Standing {
    /// All that speaks against it now.
    pub fn reasons(&self) -> Reasons {
        Reasons(self.reasons.load(Relaxed))
    }

    /// Whether this one does.
    pub fn has(&self, reason: Reason) -> bool {
        self.reasons().has(reason)
    }

    /// Says so; whether that is news. Who calls tells the workers ([`super::Service::stir`]). Ordered, so that who writes
    /// after another thread also sees what that one went by.
    pub fn set(&self, reason: Reason, on: bool) -> bool {
        let bit = reason as u8;
        let before = if on {
            self.reasons.fetch_or(bit, AcqRel)
        } else {
            self.reasons.fetch_and(!bit, AcqRel)
        };
        (before & bit != 0) != on
    }

    /// Somebody takes it out by hand: for so long, or for good. Who calls tells the workers.
    pub(super) fn drain(&self, lasts: Option<Duration>, now: Instant) {
        let end = lasts.and_then(|lasts| now.checked_add(lasts)).map_or(0, clock::nanos);
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let shown = lasts.map_or(0, |lasts| today.saturating_add(lasts).as_millis());
        self.drain_ends.store(end, Relaxed);
        self.drained_until.store(u64::try_from(shown).unwrap_or(u64::MAX), Relaxed);
        self.set(Reason::Drained, true);
    }

    /// When that ends; none is not, or for good.
    pub(super) fn drain_ends(&self) -> Option<Instant> {
        let end = self.drain_ends.load(Relaxed);
        (end != 0 && self.has(Reason::Drained)).then(|| clock::at(end))
    }

    /// Ends a drain whose time is over; whether there was one. A drain anew at the same moment stays.
    pub(super) fn end_drain(&self, now: Instant) -> bool {
        let end = self.drain_ends.load(Relaxed);
        let over = end != 0 && clock::at(end) <= now && self.set(Reason::Drained, false);
        // Its end is written before its bit: who cleared the bit of a newer drain sees the newer end.
        if over && self.drain_ends.load(Relaxed) != end {
            self.set(Reason::Drained, true);
            return false;
        }
        over
    }

    /// Until when it is taken out by hand; none is not, or for good.
    pub fn drained_until(&self) -> Option<SystemTime> {
        let millis = self.drained_until.load(Relaxed);
        let until = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        (millis != 0 && self.has(Reason::Drained)).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reasons: &[Reason]) -> Reasons {
        Reasons(reasons.iter().fold(0, |bits, reason| bits | *reason as u8))
    }

    #[test]
    fn panic_ignores_health_and_ejection_and_never_a_breaker_or_a_hand() {
        for unwell in [Reason::Unchecked, Reason::Down, Reason::Ejected] {
            assert!(!of(&[unwell]).is_usable(false) && of(&[unwell]).is_usable(true));
            let probed = of(&[unwell, Reason::HalfOpen]);
            assert!(!probed.is_probing(false) && probed.is_probing(true));
            assert!(!probed.is_usable(true));
        }
        for against in [Reason::Drained, Reason::Open, Reason::HalfOpen] {
            assert!(!of(&[against]).is_usable(false) && !of(&[against]).is_usable(true));
        }
        assert!(!of(&[Reason::Drained, Reason::HalfOpen]).is_probing(true));
        assert!(of(&[Reason::Ramping]).is_usable(false));
        assert!(
            of(&[Reason::Open]).may_be_asked(false) && !of(&[Reason::Drained]).may_be_asked(true)
        );
        assert!(!of(&[Reason::Down]).may_be_asked(false) && of(&[Reason::Down]).may_be_asked(true));
    }

    #[test]
    fn panic_begins_below_the_share_of_those_that_nobody_took_out() {
        let (well, out) = (Reasons::default(), of(&[Reason::Ejected]));
        let (drained, open) = (of(&[Reason::Drained, Reason::Down]), of(&[Reason::Open]));
        let of = |reasons: &[Reasons], share| panics(reasons.iter().copied(), share);
        for (reasons, panic) in [
            (&[][..], false),
            (&[well], false),
            (&[out], true),
            (&[well, out], false),
            (&[well, out, out], true),
            (&[well, out, drained, drained], false),
            (&[open, open, out], false),
            (&[drained], false),
        ] {
            assert_eq!(of(reasons, Share::HALF), panic, "{reasons:?}");
        }
        assert!(!of(&[out], Share::NONE), "it can be switched off");
        assert!(of(&[well, well, out], Share::WHOLE));
    }
}
