//! Policies: tables that may also be `false`, or `true` for the defaults, and are merged with what they inherit.

use super::model::{LossGuard, StaleConfig};
use super::table::{Policy, Table};

pub(super) fn loss_guard(table: &mut Table<'_>) -> Option<LossGuard> {
    let default = LossGuard::default();
    match table.policy("loss_guard") {
        Policy::Off => None,
        Policy::On => Some(default),
        Policy::Written(mut guard) => Some(LossGuard {
            max_removed: guard.share("max_removed").unwrap_or(default.max_removed),
            hold: guard.duration("hold").unwrap_or(default.hold),
            min_instances: guard.count("min_instances", 1).unwrap_or(default.min_instances),
        }),
    }
}

/// Off is a set that serves no longer than its registry answers.
pub(super) fn stale(table: &mut Table<'_>) -> StaleConfig {
    match table.policy("stale") {
        Policy::Off => StaleConfig { max_age: Some(std::time::Duration::ZERO) },
        Policy::On => StaleConfig::default(),
        Policy::Written(mut stale) => StaleConfig { max_age: stale.duration("max_age") },
    }
}
