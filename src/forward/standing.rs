//! What speaks against an instance: read with every pick, written when something changes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

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

/// What speaks against one instance. Shared by all workers; on the path one relaxed load.
#[derive(Debug, Default)]
pub struct Standing {
    reasons: AtomicU8,
    /// Milliseconds since the Unix epoch; 0 is none.
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

    /// Whether it may be sent requests at its turn.
    pub fn is_usable(self) -> bool {
        const AGAINST: u8 = Reason::Unchecked as u8
            | Reason::Down as u8
            | Reason::Ejected as u8
            | Reason::Drained as u8
            | Reason::Open as u8
            | Reason::HalfOpen as u8;
        self.0 & AGAINST == 0
    }

    /// The same when there are too few usable ones: health and ejection do not count then, an open breaker and a hand
    /// do.
    pub fn is_usable_in_panic(self) -> bool {
        const AGAINST: u8 = Reason::Drained as u8 | Reason::Open as u8 | Reason::HalfOpen as u8;
        self.0 & AGAINST == 0
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

    /// Says so; whether that is news. Who calls tells the workers ([`super::Service::stir`]).
    pub fn set(&self, reason: Reason, on: bool) -> bool {
        let bit = reason as u8;
        let before = if on {
            self.reasons.fetch_or(bit, Relaxed)
        } else {
            self.reasons.fetch_and(!bit, Relaxed)
        };
        (before & bit != 0) != on
    }

    /// Until when it is taken out by hand; none is not, or for good.
    pub fn drained_until(&self) -> Option<SystemTime> {
        let millis = self.drained_until.load(Relaxed);
        let until = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        (millis != 0 && self.has(Reason::Drained)).then_some(until)
    }
}
