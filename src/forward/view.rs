//! Whose turn it is among a service's instances, as one worker sees it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use smallvec::SmallVec;

use super::balance::{self, Balancer, Turn};
use super::breaker::{Pass, Shut};
use super::instance::Instance;
use super::load::Load;
use super::local::Local;
use super::pool::Slot;
use super::rotation::Rotation;
use super::slow_start::WHOLE;
use super::standing::Reason;
use super::sticky;
use crate::config::model::StickyConfig;

/// Of so many instances it costs next to nothing to go through all each time one is taken out or comes back.
pub(super) const FEW: usize = 256;
/// Of more that is left alone for so many times as long as it took, or it would be most of what a worker does while
/// thousands go one after the other.
const REST: u32 = 20;

/// Who of a service takes turns, as one worker sees it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) version: u64,
    pub(super) updates: u64,
    /// What speaks against instances is not gone through again before.
    pub(super) rests_until: Instant,
    pub(super) panic: bool,
    /// Some start slowly, and others can take what they do not get.
    pub(super) uneven: bool,
    pub(super) slow_start: Duration,
    /// Every instance of the set.
    pub(super) slots: Vec<Rc<Slot>>,
    /// Those that take turns now.
    pub(super) turns: Vec<Rc<Slot>>,
    /// Those whose breaker lets a few through to see.
    pub(super) probing: Vec<Rc<Slot>>,
    /// Until when breakers let nothing through, as long as nothing changes.
    pub(super) shut: Option<Instant>,
    /// Those of other zones, for exchanges that none of `turns` can serve.
    pub(super) beyond: Vec<Rc<Slot>>,
    /// By what a client's cookie says; empty where cookies say nothing.
    pub(super) known: sticky::Known,
    /// Over `turns`.
    pub(super) balancer: Box<dyn Balancer>,
    pub(super) picks: usize,
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

    /// Forgets one.
    pub fn forget(&mut self, id: u64) {
        self.0.retain(|tried| *tried != id);
    }

    /// Whether nothing was tried yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn holds(&self, id: u64) -> bool {
        self.0.contains(&id)
    }
}

pub(super) type Chosen = (Rc<Slot>, Option<Pass>);

impl View {
    /// The instance that a client was at before, if it may be asked.
    pub(super) fn stays(&self, sticky: &StickyConfig, headers: &HeaderMap) -> Option<Rc<Slot>> {
        let slot = self.known.named(sticky, headers)?;
        // As it is now: since this view was made it may have been taken out.
        sticky::may_stay(slot, self.panic).then(|| Rc::clone(slot))
    }

    /// Takes over the set, if there is a new one, and who of it takes turns.
    pub(super) fn renew(&mut self, local: &Local, now: Instant) {
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
        self.beyond = slots(&rotation.beyond);
        (self.panic, self.uneven) = (rotation.panic, rotation.uneven);
        if service.config.sticky.is_some() {
            self.known = sticky::Known::of(&self.slots, self.panic);
        }
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

    pub(super) fn choose(&mut self, wish: &Wish<'_>) -> Result<Chosen, Unpicked> {
        if let Some(until) = self.shut.filter(|until| wish.now < *until) {
            return Err(Unpicked::Open { until });
        }
        // Who has failed already goes where it is well, while there is such a place: many may be half-open at once.
        if wish.tried.is_empty()
            && let Some(chosen) = self.probe(&self.probing, wish)
        {
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

    /// None at its turn. One is left whose breaker was not asked, of very many, or in another zone, or lets some through to
    /// see, or was open for long enough without anybody having noticed yet.
    fn left(
        &mut self,
        wish: &Wish<'_>,
        passed: &Tried,
        shut: Option<Shut>,
    ) -> Result<Chosen, Unpicked> {
        let first = self.picks.checked_rem(self.turns.len()).unwrap_or_default();
        let (later, sooner) = self.turns.split_at(first);
        let turns = sooner.iter().chain(later);
        let unasked = self.probe(turns.filter(|slot| !passed.holds(slot.instance.id)), wish);
        let probing = || self.probe(&self.probing, wish);
        let rested = || {
            let open = |slot: &&Rc<Slot>| slot.instance.standing.has(Reason::Open);
            self.probe(self.slots.iter().filter(open), wish)
        };
        let elsewhere = || self.abroad(wish);
        let chosen = unasked.or_else(elsewhere).or_else(probing).or_else(rested);
        if let Some(chosen) = chosen {
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

    /// One of another zone.
    fn abroad(&self, wish: &Wish<'_>) -> Option<Chosen> {
        let first = self.picks.checked_rem(self.beyond.len())?;
        let (before, after) = self.beyond.split_at(first);
        let may = |slot: &&Rc<Slot>| self.may_be_asked(slot, wish);
        after.iter().chain(before).filter(may).find_map(|slot| match &slot.instance.breaker {
            None => Some((Rc::clone(slot), None)),
            Some(breaker) => Some((Rc::clone(slot), Some(breaker.admit(wish.now).ok()?))),
        })
    }

    /// The first that may be asked and whose breaker lets one more through.
    fn probe<'a>(
        &self,
        among: impl IntoIterator<Item = &'a Rc<Slot>>,
        wish: &Wish<'_>,
    ) -> Option<Chosen> {
        among.into_iter().filter(|slot| self.may_be_asked(slot, wish)).find_map(|slot| {
            let pass = slot.instance.breaker.as_ref()?.admit(wish.now).ok()?;
            Some((Rc::clone(slot), Some(pass)))
        })
    }

    /// Whether it was not tried and only its breaker may be against it, as it is now: since this view was made it may
    /// have been taken out.
    fn may_be_asked(&self, slot: &Slot, wish: &Wish<'_>) -> bool {
        let reasons = slot.instance.standing.reasons();
        reasons.may_be_asked(self.panic) && !wish.tried.holds(slot.instance.id)
    }

    /// Why there is none.
    fn why(&self, wish: &Wish<'_>, shut: Option<Shut>) -> Unpicked {
        if !wish.tried.is_empty() && !self.turns.is_empty() {
            return Unpicked::AllTried;
        }
        let usable = |slot: &&Rc<Slot>| slot.instance.standing.reasons().may_be_asked(self.panic);
        let usable = self.slots.iter().filter(usable);
        let breakers = usable.filter_map(|slot| slot.instance.breaker.as_ref());
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
