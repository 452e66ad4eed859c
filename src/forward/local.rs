//! One worker's view of a service: its instances with this worker's connections, and whose turn it is.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;

use super::Service;
use super::balance;
use super::breaker::Shut;
use super::picked::{Picked, Whole};
use super::pool::Kept;
use super::standing::Reason;
use super::sticky;
use super::view::{FEW, View};
pub use super::view::{Tried, Unpicked, Wish};
use crate::wire::clock;

/// A service as one worker sees it.
#[derive(Debug)]
pub struct Local {
    /// What all workers share.
    pub service: Arc<Service>,
    /// Whose view it is.
    pub worker: usize,
    /// This worker's kept connections to all instances of all services.
    pub(super) kept: Rc<Kept>,
    /// This worker's exchanges with all its instances.
    pub(super) busy: Rc<Cell<u32>>,
    view: RefCell<View>,
}

impl Local {
    /// A worker's view. `kept` is of the worker's idle connections to all instances of all services.
    pub fn new(service: Arc<Service>, worker: usize, kept: Rc<Kept>) -> Self {
        service.keepers.join(worker, &kept);
        let build = balance::named(&service.config.balance);
        let view = View {
            version: u64::MAX,
            updates: u64::MAX,
            rests_until: clock::now(),
            panic: false,
            uneven: false,
            slow_start: service.config.slow_start,
            slots: Vec::new(),
            turns: Vec::new(),
            probing: Vec::new(),
            shut: None,
            beyond: Vec::new(),
            known: sticky::Known::default(),
            balancer: build(&[], 0),
            picks: worker,
        };
        let local = Self { service, worker, kept, busy: Rc::default(), view: RefCell::new(view) };
        local.refresh();
        local
    }

    /// Takes over the newest set and what speaks against its instances, if anything changed. Instances that stay keep
    /// their connections.
    pub fn refresh(&self) {
        self.look(clock::now());
    }

    /// The same, unless only what speaks against some of many instances has changed since a moment ago: what a pick
    /// chooses is looked at anyway.
    fn look(&self, now: Instant) {
        let view = &mut *self.view.borrow_mut();
        let news = view.version != self.service.version();
        if news && (now >= view.rests_until || view.updates != self.service.updates()) {
            view.renew(self, now);
        }
    }

    /// The instance for the next attempt. The newest set counts even before the worker was told of it: what is shown to
    /// have left gets no request any more.
    pub fn pick(&self, wish: &Wish<'_>) -> Result<Picked<'_>, Unpicked> {
        self.look(wish.now);
        let whole = match &self.service.breaker {
            Some(breaker) => Some(Whole::new(self, breaker, breaker.admit(wish.now)?)),
            None => None,
        };
        let view = &mut *self.view.borrow_mut();
        let (slot, own) = match view.choose(wish) {
            Err(_) if view.version != self.service.version() => {
                view.renew(self, wish.now);
                view.choose(wish)?
            }
            chosen => chosen?,
        };
        Ok(Picked::new(self, slot, whole, own, wish.now))
    }

    /// Until when breakers let nothing through, where that is known without asking each.
    pub fn shut(&self, now: Instant) -> Option<Instant> {
        if let Some(breaker) = &self.service.breaker {
            let Some(Shut::Open { until }) = breaker.shut(now) else { return None };
            return Some(until);
        }
        let view = self.view.borrow();
        let same = view.version == self.service.version();
        view.shut.filter(|until| same && now < *until)
    }

    /// The instance whose cookie a request brings, for its first attempt; none when it brings none, or that instance
    /// can have nothing now.
    pub fn stay(&self, headers: &HeaderMap, wish: &Wish<'_>) -> Option<Picked<'_>> {
        let sticky = self.service.config.sticky.as_ref().filter(|_| wish.tried.is_empty())?;
        self.look(wish.now);
        let slot = self.view.borrow().stays(sticky, headers)?;
        let whole = match &self.service.breaker {
            Some(breaker) => Some(Whole::new(self, breaker, breaker.admit(wish.now).ok()?)),
            None => None,
        };
        let own = match &slot.instance.breaker {
            Some(breaker) => Some(breaker.admit(wish.now).ok()?),
            None => None,
        };
        Some(Picked::new(self, slot, whole, own, wish.now))
    }

    /// The service's name, and what speaks against its instances when none may be used.
    pub fn without_instances(&self) -> String {
        let (name, slots) = (&self.service.config.name, &self.view.borrow().slots);
        let all = slots.len();
        // Who is refused in masses is not to pay for the counting of masses.
        if all == 0 || all > FEW {
            return format!("{name}: {all} instances");
        }
        let count = |reason| slots.iter().filter(|slot| slot.instance.standing.has(reason)).count();
        let (drained, ejected) = (count(Reason::Drained), count(Reason::Ejected));
        let (down, unchecked) = (count(Reason::Down), count(Reason::Unchecked));
        format!(
            "{name}: {all} instances, {drained} drained, {down} unhealthy, {unchecked} unchecked, {ejected} ejected"
        )
    }

    /// Lets go of kept connections that are dead or too old.
    pub fn sweep(&self, now: Instant) {
        self.view.borrow().slots.iter().for_each(|slot| slot.sweep(now));
    }

    /// Lets go of kept connections in whose place other workers wait for one.
    pub fn make_room(&self) {
        self.view.borrow().slots.iter().for_each(|slot| slot.make_room());
    }
}
