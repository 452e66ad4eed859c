//! One worker's view of a service: its instances with this worker's connections, and whose turn it is.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Service;
use super::balance::{self, Balancer, Turn};
use super::breaker::{Pass, Shut};
use super::load::Load;
use super::picked::{Picked, Whole};
use super::pool::Slot;
use super::rotation::Rotation;

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
    /// Every instance of the set.
    slots: Vec<Rc<Slot>>,
    /// Those that take turns now.
    turns: Vec<Rc<Slot>>,
    /// Those whose breaker lets a few through to see.
    probing: Vec<Rc<Slot>>,
    /// Over `turns`.
    balancer: Box<dyn Balancer>,
    picks: usize,
}

/// Instances an exchange has tried already; few, or there would be no point in going on.
#[derive(Debug, Default)]
pub struct Tried {
    ids: [u64; Self::MOST],
    count: usize,
}

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
    /// As many instances as one exchange remembers.
    pub const MOST: usize = 8;

    /// Adds one; false when there were enough.
    pub fn add(&mut self, id: u64) -> bool {
        if let Some(place) = self.ids.get_mut(self.count) {
            *place = id;
            self.count += 1;
        }
        self.count < Self::MOST
    }

    /// Whether nothing was tried yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn holds(&self, id: u64) -> bool {
        self.ids[..self.count].contains(&id)
    }
}

impl Local {
    /// A worker's view. `kept` counts the worker's idle connections to all instances of all services.
    pub fn new(service: Arc<Service>, worker: usize, kept: Rc<Cell<usize>>) -> Self {
        let build = balance::named(&service.config.balance);
        let view = View {
            version: u64::MAX,
            slots: Vec::new(),
            turns: Vec::new(),
            probing: Vec::new(),
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
        let version = self.service.version();
        let view = &mut *self.view.borrow_mut();
        if view.version == version {
            return;
        }
        let set = self.service.set();
        let mut known: HashMap<u64, Rc<Slot>> =
            view.slots.drain(..).map(|slot| (slot.instance.id, slot)).collect();
        view.slots = set
            .instances
            .iter()
            .map(|instance| match known.remove(&instance.id) {
                Some(slot) => slot,
                None => {
                    let service = Arc::clone(&self.service);
                    let load = Load::new(&service.config, Rc::clone(&self.busy));
                    let kept = Rc::clone(&self.kept);
                    Rc::new(Slot::new(Arc::clone(instance), service, self.worker, kept, load))
                }
            })
            .collect();
        for slot in known.values() {
            slot.sweep(Instant::now());
        }
        let config = &self.service.config;
        let rotation = Rotation::of(&view.slots, config);
        let slots = |at: &[usize]| at.iter().map(|at| Rc::clone(&view.slots[*at])).collect();
        view.turns = slots(&rotation.turns);
        view.probing = slots(&rotation.probing);
        view.balancer = balance::named(&config.balance)(&view.turns, view.picks);
        view.version = version;
    }

    /// The instance for the next attempt. The newest set counts even before the worker was told of it: what is shown to
    /// have left gets no request any more.
    pub fn pick(&self, wish: &Wish<'_>) -> Result<Picked<'_>, Unpicked> {
        self.refresh();
        let whole = match &self.service.breaker {
            Some(breaker) => Some(Whole::new(self, breaker, breaker.admit(wish.now)?)),
            None => None,
        };
        let (slot, own) = self.view.borrow_mut().choose(wish)?;
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
    fn choose(&mut self, wish: &Wish<'_>) -> Result<Chosen, Unpicked> {
        if let Some(chosen) = self.probe(wish) {
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
                let id = self.turns[at].instance.id;
                !wish.tried.holds(id) && !passed.holds(id)
            };
            let turn = Turn { among: &self.turns, usable: &usable, hash: wish.hash, now: wish.now };
            let at = if wish.tried.is_empty() && shut.is_none() {
                self.balancer.pick(&turn)
            } else {
                self.balancer.other(&turn)
            };
            let Some(at) = at else { return Err(self.why(wish, shut)) };
            let slot = &self.turns[at];
            match slot.instance.breaker.as_ref().map(|breaker| breaker.admit(wish.now)) {
                None => return Ok((Rc::clone(slot), None)),
                Some(Ok(pass)) => return Ok((Rc::clone(slot), Some(pass))),
                Some(Err(why)) => {
                    shut = Some(sooner(shut, why));
                    if !passed.add(slot.instance.id) {
                        return Err(self.why(wish, shut));
                    }
                }
            }
        }
    }

    /// An instance whose breaker wants to see whether it is well again.
    fn probe(&self, wish: &Wish<'_>) -> Option<Chosen> {
        self.probing.iter().filter(|slot| !wish.tried.holds(slot.instance.id)).find_map(|slot| {
            let pass = slot.instance.breaker.as_ref()?.admit(wish.now).ok()?;
            Some((Rc::clone(slot), Some(pass)))
        })
    }

    /// Why there is none.
    fn why(&self, wish: &Wish<'_>, shut: Option<Shut>) -> Unpicked {
        if !wish.tried.is_empty() && !self.turns.is_empty() {
            return Unpicked::AllTried;
        }
        let breakers = self.slots.iter().filter_map(|slot| slot.instance.breaker.as_ref());
        let shuts = breakers.filter_map(|breaker| breaker.shut(wish.now));
        match shuts.fold(shut, |soonest, why| Some(sooner(soonest, why))) {
            Some(why) => why.into(),
            None => Unpicked::NoInstance,
        }
    }
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
