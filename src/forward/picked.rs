//! An instance that was chosen for an attempt, until what the attempt says of it is told.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::breaker::{Breaker, Moved, Pass, State};
use super::instance::Instance;
use super::local::Local;
use super::outlier;
use super::pool::Slot;
use super::standing::Reason;
use super::verdict::Verdict;

/// The right to one attempt at an instance. Dropped without a verdict, it says nothing of the instance: the client left.
#[derive(Debug)]
pub struct Picked<'a> {
    /// Where.
    pub slot: Rc<Slot>,
    /// When it was chosen.
    since: Instant,
    local: &'a Local,
    /// Of the service's breaker.
    whole: Option<Whole<'a>>,
    /// Of the instance's own.
    own: Option<Pass>,
}

/// The right of a service's breaker to one attempt.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    local: &'a Local,
    breaker: &'a Breaker,
    pass: Option<Pass>,
}

impl<'a> Whole<'a> {
    /// Until it is told or dropped.
    pub(super) fn new(local: &'a Local, breaker: &'a Breaker, pass: Pass) -> Self {
        Self { local, breaker, pass: Some(pass) }
    }

    fn tell(&mut self, verdict: Verdict, now: Instant) {
        let Some(pass) = self.pass.take() else { return };
        if let Some(moved) = self.breaker.told(self.local.worker, pass, verdict, now) {
            let service = &self.local.service;
            say(&service.config.name, "*", moved);
            service.stir();
        }
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.tell(Verdict::Neutral, crate::wire::clock::now());
    }
}

impl<'a> Picked<'a> {
    /// For one attempt that begins now.
    pub(super) fn new(
        local: &'a Local,
        slot: Rc<Slot>,
        whole: Option<Whole<'a>>,
        own: Option<Pass>,
        now: Instant,
    ) -> Self {
        Self { slot, since: now, local, whole, own }
    }

    /// What the attempt says of its instance.
    pub fn tell(mut self, verdict: Verdict, now: Instant) {
        if verdict == Verdict::Failed {
            self.slot.instance.counters(self.local.worker).failed.fetch_add(1, Relaxed);
        }
        self.slot.load.told(verdict, now.saturating_duration_since(self.since), now);
        if let Some(whole) = &mut self.whole {
            whole.tell(verdict, now);
        }
        self.tell_own(verdict, now);
        // What is good is told when the answer's body has ended: it may still break.
        if verdict == Verdict::Failed {
            let (service, worker) = (&self.local.service, self.local.worker);
            outlier::told(service, &self.slot.instance, worker, (verdict, now));
        }
    }

    fn tell_own(&mut self, verdict: Verdict, now: Instant) {
        let (Some(pass), Some(breaker)) = (self.own.take(), &self.slot.instance.breaker) else {
            return;
        };
        if let Some(moved) = breaker.told(self.local.worker, pass, verdict, now) {
            moved_on(&self.slot.instance, &self.local.service.config.name, moved);
            self.local.service.stir();
        }
    }
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        self.tell_own(Verdict::Neutral, crate::wire::clock::now());
    }
}

/// Takes over in an instance's standing where its breaker stands now, and says so.
pub(super) fn moved_on(instance: &Instance, service: &str, moved: Moved) {
    instance.standing.set(Reason::Open, moved.to == State::Open);
    instance.standing.set(Reason::HalfOpen, moved.to == State::HalfOpen);
    say(service, &instance.place, moved);
}

fn say(service: &str, instance: impl std::fmt::Display, moved: Moved) {
    let (from, to) = (moved.from.as_str(), moved.to.as_str());
    match moved.to {
        State::Open => tracing::warn!(service, %instance, from, to, "breaker"),
        State::Closed | State::HalfOpen => tracing::info!(service, %instance, from, to, "breaker"),
    }
}
