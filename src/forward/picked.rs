//! An instance that was chosen for an attempt, until what the attempt says of it is told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::StatusCode;

use super::attempt::Attempt;
use super::breaker::{Breaker, Hold, Moved, Pass, State};
use super::instance::Instance;
use super::local::Local;
use super::outlier;
use super::pool::Slot;
use super::standing::Reason;
use super::verdict::Verdict;
use crate::wire::h1::Link;
use crate::wire::h1::outbound::{End, Home};

/// The right to one attempt at an instance. Dropped without a verdict, it says nothing of the instance but that
/// the client did not wait for it.
#[derive(Debug)]
pub struct Picked<'a> {
    /// Where.
    pub slot: Rc<Slot>,
    /// When it was chosen.
    pub(super) since: Instant,
    local: &'a Local,
    /// Of the service's breaker.
    whole: Option<Whole<'a>>,
    /// Of the instance's own.
    own: Option<Pass>,
    /// Its place among those that may be under way; only what has a bound on its attempts pays for this.
    hold: Option<Rc<Place>>,
    /// Something was sent to it, or is about to be.
    begun: Cell<bool>,
    /// What it says was told.
    told: bool,
}

/// A place among those that may be under way: an attempt's, and then its answer's until the body's end.
pub(super) type Place = RefCell<Option<Hold>>;

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
        let whole = Self { local, breaker, pass: Some(pass) };
        if let Some(moved) = whole.pass.as_ref().and_then(Pass::moved) {
            whole.moved(moved);
        }
        whole
    }

    fn moved(&self, moved: Moved) {
        let service = &self.local.service;
        say(&service.config.name, "*", self.breaker, moved);
        service.stir();
    }

    fn tell(&mut self, verdict: Verdict, now: Instant) {
        let Some(pass) = self.pass.take() else { return };
        if let Some(moved) = self.breaker.told(self.local.worker, pass, verdict, now) {
            self.moved(moved);
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
        mut whole: Option<Whole<'a>>,
        mut own: Option<Pass>,
        now: Instant,
    ) -> Self {
        let of_whole = whole.as_mut().and_then(|whole| whole.pass.as_mut());
        let hold = of_whole.into_iter().chain(&mut own).find_map(Pass::take_hold);
        let hold = hold.map(|hold| Rc::new(RefCell::new(Some(hold))));
        let moved = own.as_ref().and_then(Pass::moved);
        let picked = Self {
            slot,
            since: now,
            local,
            whole,
            own,
            hold,
            begun: Cell::new(false),
            told: false,
        };
        if let Some(moved) = moved {
            picked.moved(moved);
        }
        picked
    }

    /// It is made now.
    pub fn begin(&self) {
        self.begun.set(true);
    }

    /// The breaker that watches over this attempt.
    pub fn breaker(&self) -> Option<&Breaker> {
        let whole = self.whole.as_ref().map(|whole| whole.breaker);
        whole.or(self.slot.instance.breaker.as_ref())
    }

    /// Where the connection goes when the answer's body is over. From then on the attempt's place is free for another.
    pub fn home(&self) -> Rc<dyn Home> {
        let slot = Rc::clone(&self.slot);
        match self.place() {
            None => slot,
            Some(hold) => Rc::new(Held { slot, hold }),
        }
    }

    /// What its answer holds.
    pub(super) fn place(&self) -> Option<Rc<Place>> {
        self.hold.clone()
    }

    fn moved(&self, moved: Moved) {
        moved_on(&self.slot.instance, &self.local.service.config.name, moved);
        self.local.service.stir();
    }

    /// What the attempt says of its instance.
    pub fn tell(mut self, verdict: Verdict, now: Instant) {
        self.told = true;
        if verdict == Verdict::Good {
            self.slot.answered.set(Some(now));
        }
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

    /// It had too little time for its instance to be blamed. But who waited so long for nothing knows that an answer takes
    /// longer, and has shown no breaker that its instance is well again.
    pub fn let_down(self, now: Instant) {
        let probes = [self.own.as_ref(), self.whole.as_ref().and_then(|whole| whole.pass.as_ref())];
        if probes.into_iter().flatten().any(Pass::is_probe) {
            return self.tell(Verdict::Failed, now);
        }
        self.slot.load.left(now.saturating_duration_since(self.since), now);
        self.tell(Verdict::Neutral, now);
    }

    fn tell_own(&mut self, verdict: Verdict, now: Instant) {
        let (Some(pass), Some(breaker)) = (self.own.take(), &self.slot.instance.breaker) else {
            return;
        };
        if let Some(moved) = breaker.told(self.local.worker, pass, verdict, now) {
            self.moved(moved);
        }
    }
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        if self.begun.get() {
            self.local.service.attempted(self.local.worker, Attempt::ClientGone);
        }
        let now = crate::wire::clock::now();
        self.slot.load.left(now.saturating_duration_since(self.since), now);
        self.tell_own(Verdict::Neutral, now);
    }
}

/// An instance's connection in use by an answer's body, with its place among those that may be under way.
struct Held {
    slot: Rc<Slot>,
    hold: Rc<Place>,
}

impl Home for Held {
    fn done(&self, link: Option<Box<Link>>, status: StatusCode, end: End) {
        drop(self.hold.take());
        self.slot.done(link, status, end);
    }
}

/// Takes over in an instance's standing where its breaker stands now, and says that it moved.
pub(super) fn moved_on(instance: &Instance, service: &str, moved: Moved) {
    let Some(breaker) = &instance.breaker else { return };
    // Several threads may be here, each after a move of its own. Who writes last has seen the newest.
    loop {
        let state = breaker.state();
        instance.standing.set(Reason::Open, state == State::Open);
        instance.standing.set(Reason::HalfOpen, state == State::HalfOpen);
        if breaker.state() == state {
            break;
        }
    }
    say(service, &instance.place, breaker, moved);
}

/// A line of the log. `instance` is `*` for a service's own breaker.
pub(super) fn say(
    service: &str,
    instance: impl std::fmt::Display,
    breaker: &Breaker,
    moved: Moved,
) {
    let (from, to, why) = (moved.from.as_str(), moved.to.as_str(), moved.why.to_string());
    match moved.to {
        State::Open => {
            let probe_in = breaker.open();
            tracing::warn!(service, %instance, from, to, why, ?probe_in, "breaker");
        }
        State::Closed | State::HalfOpen => {
            tracing::info!(service, %instance, from, to, why, "breaker");
        }
    }
}

#[cfg(test)]
mod tests;
