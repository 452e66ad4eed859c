//! How many checks in a row it takes to believe them.

use crate::config::model::HealthConfig;
use crate::forward::standing::{Reason, Reasons};

/// What an instance's checks have said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing.
    Unchecked,
    /// That it is well.
    Up,
    /// That it is not.
    Down,
}

/// A change of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    /// What was said before.
    pub(super) from: Health,
    /// Checks in a row that changed it.
    pub(super) checks: u32,
}

/// An instance's health, and how many checks in a row speak against it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    health: Health,
    against: u32,
}

impl Health {
    /// As `/services` says it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl Threshold {
    /// Goes on from what is known of an instance.
    pub(super) fn of(reasons: Reasons) -> Self {
        let health = if reasons.has(Reason::Unchecked) {
            Health::Unchecked
        } else if reasons.has(Reason::Down) {
            Health::Down
        } else {
            Health::Up
        };
        Self { health, against: 0 }
    }

    /// What is believed.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// One more check; what it changed. The first check of all is believed at once, as Envoy does: an instance that is
    /// well need not wait, and one that is not got nothing before either.
    pub(super) fn note(&mut self, good: bool, config: &HealthConfig) -> Option<Turned> {
        let (to, needed) = match (self.health, good) {
            (Health::Up, true) | (Health::Down, false) => {
                self.against = 0;
                return None;
            }
            (Health::Unchecked, true) => (Health::Up, 1),
            (Health::Unchecked, false) => (Health::Down, 1),
            (Health::Up, false) => (Health::Down, config.unhealthy),
            (Health::Down, true) => (Health::Up, config.healthy),
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        let turned = Turned { from: self.health, checks: self.against };
        *self = Self { health: to, against: 0 };
        Some(turned)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::HealthCheck;
    use crate::forward::standing::Standing;

    fn config(healthy: u32, unhealthy: u32) -> HealthConfig {
        let time = Duration::from_secs(1);
        HealthConfig {
            check: HealthCheck::Tcp,
            interval: time,
            unhealthy_interval: time,
            timeout: time,
            healthy,
            unhealthy,
        }
    }

    /// What is believed after each of these checks.
    fn believed(reasons: &[Reason], config: &HealthConfig, checks: &str) -> String {
        let standing = Standing::default();
        for reason in reasons {
            standing.set(*reason, true);
        }
        let mut threshold = Threshold::of(standing.reasons());
        let step = |check: char| {
            let (from, good) = (threshold.health(), check == '+');
            let turned = threshold.note(good, config);
            assert_eq!(turned.is_some(), threshold.health() != from);
            match threshold.health() {
                Health::Unchecked => '?',
                Health::Up => 'u',
                Health::Down => 'd',
            }
        };
        checks.chars().map(step).collect()
    }

    #[test]
    fn the_first_check_is_believed_at_once_and_the_next_ones_by_their_number_in_a_row() {
        let usual = config(2, 3);
        for (checks, expected) in [
            ("+--+---", "uuuuuud"),
            ("-+-++", "ddddu"),
            ("+-+-+-+-", "uuuuuuuu"),
            ("-+-+-+-+", "dddddddd"),
            ("+---+-++", "uuuddddu"),
        ] {
            assert_eq!(believed(&[Reason::Unchecked], &usual, checks), expected, "{checks}");
        }
        assert_eq!(believed(&[Reason::Unchecked], &config(1, 1), "+-+-"), "udud");
    }

    #[test]
    fn what_was_known_before_is_gone_on_from() {
        let usual = config(2, 3);
        assert_eq!(believed(&[], &usual, "---"), "uud");
        assert_eq!(believed(&[Reason::Down], &usual, "++"), "du");
        // One that left and came back is new, whatever it was.
        assert_eq!(believed(&[Reason::Down, Reason::Unchecked], &usual, "+"), "u");
    }

    #[test]
    fn a_turn_says_from_what_and_after_how_many() {
        let mut threshold = Threshold::of(Standing::default().reasons());
        let usual = config(2, 3);
        assert_eq!(threshold.note(false, &usual), None);
        assert_eq!(threshold.note(false, &usual), None);
        let turned = Turned { from: Health::Up, checks: 3 };
        assert_eq!(threshold.note(false, &usual), Some(turned));
    }
}
