//! Which of a service's instances take turns now.

use std::rc::Rc;

use super::pool::Slot;
use super::standing::{Reason, panics};
use super::zone;
use crate::config::model::ServiceConfig;

/// Indices into a worker's slots, as they stood when it was made.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Those that take turns.
    pub(super) turns: Vec<usize>,
    /// Those whose breaker lets a few through to see.
    pub(super) probing: Vec<usize>,
    /// So few are usable that all are used.
    pub(super) panic: bool,
    /// Some of those that take turns start slowly, and others can take what they do not get.
    pub(super) uneven: bool,
    /// Those that would, were they not in another zone.
    pub(super) beyond: Vec<usize>,
}

impl Rotation {
    /// Of these slots.
    pub(super) fn of(slots: &[Rc<Slot>], config: &ServiceConfig) -> Self {
        let reasons = || slots.iter().map(|slot| slot.instance.standing.reasons());
        let mut rotation = Self { panic: panics(reasons(), config.panic), ..Self::default() };
        for (at, reasons) in reasons().enumerate() {
            if reasons.is_usable(rotation.panic) {
                rotation.turns.push(at);
            } else if reasons.is_probing(rotation.panic) {
                rotation.probing.push(at);
            }
        }
        if let Some(zone) = &config.zone {
            rotation.beyond = zone::prefer(zone, slots, &mut rotation.turns);
        }
        let ramping = |at: &&usize| slots[**at].instance.standing.has(Reason::Ramping);
        let ramping = rotation.turns.iter().filter(ramping).count();
        rotation.uneven = (1..rotation.turns.len()).contains(&ramping);
        rotation
    }
}
