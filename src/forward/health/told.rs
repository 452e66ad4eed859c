//! What a check said, taken over: the one place where an instance goes up or down.

use std::sync::Arc;

use super::attend::Bad;
use super::threshold::Turned;
use crate::forward::instance::Instance;
use crate::forward::service::Service;
use crate::forward::standing::Reason;

/// A check that is over.
pub(super) struct Told {
    /// Whose.
    pub(super) instance: Arc<Instance>,
    /// What it said.
    pub(super) checked: Result<(), Bad>,
    /// What that changed.
    pub(super) turned: Option<Turned>,
}

/// Takes over what these checks said, and tells the workers if that changed anything. What is shown of an instance is
/// what the workers' next picks go by.
pub(super) fn take(service: &Service, told: &[Told]) -> bool {
    let mut news = false;
    for Told { instance, checked, turned } in told {
        instance.checks.note(checked.as_ref().err());
        news |= turned.is_some();
        match (turned, checked) {
            (None, _) => {}
            (Some(_), Ok(())) => came_up(instance),
            (Some(_), Err(_)) => went_down(instance),
        }
    }
    if news {
        service.stir();
    }
    for Told { instance, checked, turned } in told {
        if let Some(turned) = turned {
            say(&service.config.name, instance, *turned, checked);
        }
        // Last, so that who sees a check counted also sees what it changed.
        service.checks.add(checked);
    }
    news
}

fn came_up(instance: &Instance) {
    instance.standing.set(Reason::Down, false);
    instance.standing.set(Reason::Unchecked, false);
}

fn went_down(instance: &Instance) {
    // In this order: between the two it must not look usable.
    instance.standing.set(Reason::Down, true);
    instance.standing.set(Reason::Unchecked, false);
}

fn say(service: &str, instance: &Instance, turned: Turned, checked: &Result<(), Bad>) {
    let Turned { from, checks } = turned;
    let (from, instance) = (from.as_str(), &instance.place);
    match checked {
        Ok(()) => tracing::info!(service, %instance, from, to = "up", checks, "health"),
        Err(error) => {
            tracing::warn!(service, %instance, from, to = "down", checks, %error, "health");
        }
    }
}
