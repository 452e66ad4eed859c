//! One worker's view of a service: its instances with this worker's connections, and whose turn it is.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Service;
use super::balance::{self, Balancer};
use super::pool::Slot;

/// A service as one worker sees it.
#[derive(Debug)]
pub struct Local {
    /// What all workers share.
    pub service: Arc<Service>,
    /// Whose view it is.
    pub worker: usize,
    kept: Rc<Cell<usize>>,
    view: RefCell<View>,
}

#[derive(Debug)]
struct View {
    version: u64,
    slots: Vec<Rc<Slot>>,
    balancer: Box<dyn Balancer>,
    picks: usize,
}

/// Instances an exchange has tried already; few, or there would be no point in going on.
#[derive(Debug, Default)]
pub struct Tried {
    ids: [u64; Self::MOST],
    count: usize,
}

impl Tried {
    /// As many instances as one exchange tries.
    pub const MOST: usize = 8;

    /// Adds one; false when there were enough.
    pub fn add(&mut self, id: u64) -> bool {
        if let Some(place) = self.ids.get_mut(self.count) {
            *place = id;
            self.count += 1;
        }
        self.count < Self::MOST
    }

    fn holds(&self, id: u64) -> bool {
        self.ids[..self.count].contains(&id)
    }
}

impl Local {
    /// A worker's view. `kept` counts the worker's idle connections to all instances of all services.
    pub fn new(service: Arc<Service>, worker: usize, kept: Rc<Cell<usize>>) -> Self {
        let build = balance::named(&service.config.balance);
        let view =
            View { version: u64::MAX, slots: Vec::new(), balancer: build(&[], 0), picks: worker };
        let local = Self { service, worker, kept, view: RefCell::new(view) };
        local.refresh();
        local
    }

    /// Takes over the newest set, if there is a newer one. Instances that stay keep their connections.
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
                    let config = Arc::clone(&self.service.config);
                    Rc::new(Slot::new(
                        Arc::clone(instance),
                        config,
                        self.worker,
                        Rc::clone(&self.kept),
                    ))
                }
            })
            .collect();
        for slot in known.values() {
            slot.sweep(Instant::now());
        }
        let weights: Vec<u32> =
            set.instances.iter().map(|instance| instance.weight.load(Relaxed)).collect();
        view.balancer = balance::named(&self.service.config.balance)(&weights, view.picks);
        view.version = version;
    }

    /// The instance for the next attempt; none when all were tried or there are none. The newest set counts even
    /// before the worker was told of it: what is shown to have left gets no request any more.
    pub fn pick(&self, tried: &Tried) -> Option<Rc<Slot>> {
        self.refresh();
        let View { slots, balancer, picks, .. } = &mut *self.view.borrow_mut();
        let at = if tried.count == 0 {
            *picks = picks.wrapping_add(1);
            balancer.pick(&|_| true)
        } else {
            balancer.other(&|at| !tried.holds(slots[at].instance.id))
        };
        at.map(|at| Rc::clone(&slots[at]))
    }

    /// Lets go of kept connections that are dead or too old.
    pub fn sweep(&self, now: Instant) {
        for slot in &self.view.borrow().slots {
            slot.sweep(now);
        }
    }
}
