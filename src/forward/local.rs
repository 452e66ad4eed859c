//! One worker's view of a service: its instances with this worker's connections, and whose turn it is.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Service;
use super::balance::{self, Balancer, Turn};
use super::breaker::{Pass, Shut};
use super::instance::Instance;
use super::load::Load;
use super::picked::{Picked, Whole};
use super::pool::Slot;
use super::rotation::Rotation;
use super::slow_start::WHOLE;
use super::standing::Reason;
use crate::wire::clock;

/// Of so many instances it costs next to nothing to go through all each time one is taken out or comes back.
const FEW: usize = 256;
/// Of more that is left alone for so many times as long as it took, or it would be most of what a worker does while
/// thousands go one after the other.
const REST: u32 = 20;

/// A service as one worker sees it.
#[derive(Debug)]
pub struct Local {
    /// What all workers share.
    pub service: Arc<Service>,
    /// Whose view it is.
    pub worker: usize,
    kept: Rc<Cell<usize>>,
    /// This worker's exchanges with all its instances.
    busy: Rc<Cell<u32>>,
    view: RefCell<View>,
}

#[derive(Debug)]
struct View {
    version: u64,
    updates: u64,
    /// What speaks against instances is not gone through again before.
    rests_until: Instant,
    panic: bool,
    /// Some start slowly, and others can take what they do not get.
    uneven: bool,
    slow_start: Duration,
    /// Every instance of the set.
    slots: Vec<Rc<Slot>>,
    /// Those that take turns now.
    turns: Vec<Rc<Slot>>,
    /// Those whose breaker lets a few through to see.
    probing: Vec<Rc<Slot>>,
    /// Until when breakers let nothing through, as long as nothing changes.
    shut: Option<Instant>,
    /// Over `turns`.
    balancer: Box<dyn Balancer>,
    picks: usize,
}

/// Instances an exchange has tried already; as many as it has attempts, so few.
#[derive(Clone, Debug, Default)]
pub struct Tried(SmallVec<[u64; 4]>);

/// What a pick goes by.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Instances that were tried already.
    pub tried: &'a Tried,
    /// Of the request's key, where the service has one.
    pub hash: Option<u64>,
    /// Now.
    pub now: Instant,
}

/// Why no instance was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpicked {
    /// There is none that may be used.
    NoInstance,
    /// Every one that may be used was tried.
    AllTried,
    /// Breakers are open.
    Open {
        /// When the first of them may let something through.
        until: Instant,
    },
    /// Breakers have as many under way as may be.
    Full,
}

impl From<Shut> for Unpicked {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::Open { until } => Self::Open { until },
            Shut::Full => Self::Full,
        }
    }
}

impl Tried {
    /// As many as a search for one whose breaker is not shut goes through.
    const MOST: usize = 8;

    /// Adds one; false when a search has gone through enough of them.
    pub fn add(&mut self, id: u64) -> bool {
        self.0.push(id);
        self.0.len() < Self::MOST
    }

    /// Forgets all, or all but these.
    pub fn restart(&mut self, with: impl Iterator<Item = u64>) {
        self.0.clear();
        self.0.extend(with);
    }

    /// Whether nothing was tried yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn holds(&self, id: u64) -> bool {
        self.0.contains(&id)
    }
}

impl Local {
    /// A worker's view. `kept` counts the worker's idle connections to all instances of all services.
    pub fn new(service: Arc<Service>, worker: usize, kept: Rc<Cell<usize>>) -> Self {
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

    /// Lets go of kept connections that are dead or too old.
    pub fn sweep(&self, now: Instant) {
        for slot in &self.view.borrow().slots {
            slot.sweep(now);
        }
    }
}

type Chosen = (Rc<Slot>, Option<Pass>);

impl View {
    /// Takes over the set, if there is a new one, and who of it takes turns.
    fn renew(&mut self, local: &Local, now: Instant) {
        let (service, began) = (&local.service, Instant::now());
        self.version = service.version();
        let updates = service.updates();
        if self.updates != updates {
            self.updates = updates;
            self.take_over(local, now);
        }
        let rotation = Rotation::of(&self.slots, &service.config);
        let slots = |at: &[usize]| at.iter().map(|at| Rc::clone(&self.slots[*at])).collect();
        (self.turns, self.probing) = (slots(&rotation.turns), slots(&rotation.probing));
        (self.panic, self.uneven) = (rotation.panic, rotation.uneven);
        self.shut = None;
        self.balancer = balance::named(&service.config.balance)(&self.turns, self.picks);
        let few = self.slots.len() <= FEW;
        self.rests_until = if few { now } else { now + REST * began.elapsed() };
    }

    fn take_over(&mut self, local: &Local, now: Instant) {
        let mut known: HashMap<u64, Rc<Slot>> =
            self.slots.drain(..).map(|slot| (slot.instance.id, slot)).collect();
        let slot = |instance: &Arc<Instance>| {
            known.remove(&instance.id).unwrap_or_else(|| {
                let (service, kept) = (Arc::clone(&local.service), Rc::clone(&local.kept));
                let load = Load::new(&service.config, Rc::clone(&local.busy));
                Rc::new(Slot::new(Arc::clone(instance), service, local.worker, kept, load))
            })
        };
        self.slots = local.service.set().instances.iter().map(slot).collect();
        for slot in known.values() {
            slot.sweep(now);
        }
    }

    fn choose(&mut self, wish: &Wish<'_>) -> Result<Chosen, Unpicked> {
        if let Some(until) = self.shut.filter(|until| wish.now < *until) {
            return Err(Unpicked::Open { until });
        }
        if let Some(chosen) = probe(&self.probing, wish) {
            return Ok(chosen);
        }
        if wish.tried.is_empty() {
            self.picks = self.picks.wrapping_add(1);
        }
        // Breakers that let nothing through just now; the set knows of the open ones.
        let mut passed = Tried::default();
        let mut shut = None;
        loop {
            let usable = |at: usize| {
                let instance = &self.turns[at].instance;
                // As it is now: since this view was made it may have been taken out.
                let usable = instance.standing.reasons().is_usable(self.panic);
                usable && !wish.tried.holds(instance.id) && !passed.holds(instance.id)
            };
            let turn = Turn { among: &self.turns, usable: &usable, hash: wish.hash, now: wish.now };
            let at = if wish.tried.is_empty() && shut.is_none() {
                let (balancer, lasts) = (&mut *self.balancer, self.slow_start);
                let at = balancer.pick(&turn);
                at.map(|at| match self.uneven {
                    true => ease(balancer, at, &turn, (lasts, wish.now)),
                    false => at,
                })
            } else {
                self.balancer.other(&turn)
            };
            let Some(at) = at else { return self.left(wish, &passed, shut) };
            let slot = &self.turns[at];
            match slot.instance.breaker.as_ref().map(|breaker| breaker.admit(wish.now)) {
                None => return Ok((Rc::clone(slot), None)),
                Some(Ok(pass)) => return Ok((Rc::clone(slot), Some(pass))),
                Some(Err(why)) => {
                    shut = Some(sooner(shut, why));
                    if !passed.add(slot.instance.id) {
                        return self.left(wish, &passed, shut);
                    }
                }
            }
        }
    }

    /// None at its turn. One is left whose breaker was not asked, of very many, or was open for long enough without
    /// anybody having noticed yet.
    fn left(
        &mut self,
        wish: &Wish<'_>,
        passed: &Tried,
        shut: Option<Shut>,
    ) -> Result<Chosen, Unpicked> {
        let first = self.picks.checked_rem(self.turns.len()).unwrap_or_default();
        let (later, sooner) = self.turns.split_at(first);
        let turns = sooner.iter().chain(later);
        let unasked = probe(turns.filter(|slot| !passed.holds(slot.instance.id)), wish);
        let rested = || {
            let open = |slot: &&Rc<Slot>| {
                let reasons = slot.instance.standing.reasons();
                reasons.has(Reason::Open) && !reasons.has(Reason::Drained)
            };
            probe(self.slots.iter().filter(open), wish)
        };
        if let Some(chosen) = unasked.or_else(rested) {
            return Ok(chosen);
        }
        let why = self.why(wish, shut);
        if let Unpicked::Open { until } = why
            && self.turns.is_empty()
            && self.probing.is_empty()
        {
            self.shut = Some(until);
        }
        Err(why)
    }

    /// Why there is none.
    fn why(&self, wish: &Wish<'_>, shut: Option<Shut>) -> Unpicked {
        if !wish.tried.is_empty() && !self.turns.is_empty() {
            return Unpicked::AllTried;
        }
        let in_hand = self.slots.iter().filter(|slot| !slot.instance.standing.has(Reason::Drained));
        let breakers = in_hand.filter_map(|slot| slot.instance.breaker.as_ref());
        let shuts = breakers.filter_map(|breaker| breaker.shut(wish.now));
        match shuts.fold(shut, |soonest, why| Some(sooner(soonest, why))) {
            Some(why) => why.into(),
            None => Unpicked::NoInstance,
        }
    }
}

/// Another instance in place of one that starts slowly, as often as that does not get its whole share yet.
fn ease(
    balancer: &mut dyn Balancer,
    at: usize,
    turn: &Turn<'_>,
    (lasts, now): (Duration, Instant),
) -> usize {
    let starts_slowly = |at: usize| turn.among[at].instance.standing.has(Reason::Ramping);
    let share = || turn.among[at].instance.ramp.share(lasts, now);
    if !starts_slowly(at) || fastrand::u32(..WHOLE) < share() {
        return at;
    }
    let usable = |at: usize| (turn.usable)(at) && !starts_slowly(at);
    balancer.pick(&Turn { usable: &usable, ..*turn }).unwrap_or(at)
}

/// The first that was not tried and whose breaker lets one more through.
fn probe<'a>(among: impl IntoIterator<Item = &'a Rc<Slot>>, wish: &Wish<'_>) -> Option<Chosen> {
    among.into_iter().filter(|slot| !wish.tried.holds(slot.instance.id)).find_map(|slot| {
        let pass = slot.instance.breaker.as_ref()?.admit(wish.now).ok()?;
        Some((Rc::clone(slot), Some(pass)))
    })
}

/// The one that may let something through first.
fn sooner(one: Option<Shut>, other: Shut) -> Shut {
    match (one, other) {
        (Some(Shut::Open { until }), Shut::Open { until: other }) => {
            Shut::Open { until: until.min(other) }
        }
        (Some(Shut::Full), _) | (_, Shut::Full) => Shut::Full,
        (None, other) => other,
    }
}
