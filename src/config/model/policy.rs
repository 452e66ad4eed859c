//! Policies of a service: what is done when its registry fails or forgets.

use std::time::Duration;

/// `service.<name>.loss_guard`: an update that removes much at once is held before it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossGuard {
    /// An update that removes more than this is held.
    pub max_removed: Share,
    /// How long the registry must go on saying so.
    pub hold: Duration,
    /// A service with fewer instances is held only when its registry comes back empty.
    pub min_instances: usize,
}

impl Default for LossGuard {
    fn default() -> Self {
        Self { max_removed: Share::HALF, hold: Duration::from_secs(30), min_instances: 4 }
    }
}

/// `service.<name>.stale`: how long the last good set serves when the registry is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleConfig {
    /// Unset: a set of this process for ever, a snapshot for [`StaleConfig::SNAPSHOT`].
    pub max_age: Option<Duration>,
}

impl StaleConfig {
    /// How long a snapshot serves without being confirmed.
    pub const SNAPSHOT: Duration = Duration::from_hours(24);
}

/// A part of a whole, in hundredths of a percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// `0%`.
    pub const NONE: Self = Self(0);
    /// `20%`.
    pub const FIFTH: Self = Self(2_000);
    /// `50%`.
    pub const HALF: Self = Self(5_000);
    /// `100%`.
    pub const WHOLE: Self = Self(10_000);

    /// So many hundredths of a percent; none above a whole.
    pub fn new(hundredths: u32) -> Option<Self> {
        u16::try_from(hundredths).ok().map(Self).filter(|share| *share <= Self::WHOLE)
    }

    /// In hundredths of a percent.
    pub fn hundredths(self) -> u32 {
        u32::from(self.0)
    }

    /// Whether `part` of `whole` is more than this.
    pub fn is_exceeded(self, part: usize, whole: usize) -> bool {
        part as u128 * 10_000 > whole as u128 * u128::from(self.0)
    }
}
