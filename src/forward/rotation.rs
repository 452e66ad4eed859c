//! Which of a service's instances take turns now.

use std::rc::Rc;

use super::pool::Slot;
use super::standing::Reason;
use crate::config::model::ServiceConfig;

/// Indices into a worker's slots, as they stood when it was made.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Those that take turns.
    pub(super) turns: Vec<usize>,
    /// Those whose breaker lets a few through to see.
    pub(super) probing: Vec<usize>,
}

impl Rotation {
    /// Of these slots.
    pub(super) fn of(slots: &[Rc<Slot>], _config: &ServiceConfig) -> Self {
        let mut rotation = Self::default();
        for (at, slot) in slots.iter().enumerate() {
            let reasons = slot.instance.standing.reasons();
            if reasons.is_usable() {
                rotation.turns.push(at);
            } else if reasons.has(Reason::HalfOpen) && !reasons.has(Reason::Drained) {
                rotation.probing.push(at);
            }
        }
        rotation
    }
}
