//! A named set of instances and its policies, shared by all workers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use tokio::sync::Notify;

use super::attempt::Attempt;
use super::breaker::{self, Breaker};
use super::budget::Budget;
use super::drain;
use super::health::{self, Checked};
use super::instance::Instance;
use super::outlier::{self, Ejections};
use super::picked;
use super::pool::Keepers;
use super::slow_start;
use super::standing::{Reason, Reasons, panics};
use crate::config::model::{BreakerScope, Endpoint, HostPort, ServiceConfig, Share};

/// A service, shared by all workers.
#[derive(Debug)]
pub struct Service {
    /// As checked.
    pub config: Arc<ServiceConfig>,
    workers: usize,
    set: RwLock<Arc<Set>>,
    version: AtomicU64,
    updates: AtomicU64,
    /// What of [`Service::note_panic`] was said last.
    panicking: AtomicU8,
    attempts: Box<[Attempts]>,
    /// One for all instances.
    pub breaker: Option<Breaker>,
    /// How many requests may be sent again; none is any number.
    pub budget: Option<Budget>,
    /// How many are left out because they failed.
    pub ejections: Ejections,
    /// Who keeps connections.
    pub keepers: Keepers,
    /// Told when what [`Service::settle`] looks at has changed.
    pub stirred: Notify,
    /// Told when there may be other instances.
    pub renewed: Notify,
    /// Its checks so far.
    pub checks: health::Tally,
}

/// Its instances, complete.
#[derive(Debug)]
pub struct Set {
    /// In the order of their addresses, as the registry gave them.
    pub instances: Vec<Arc<Instance>>,
    /// No longer named, not yet without exchanges.
    leaving: Vec<Arc<Instance>>,
    /// Where they come from.
    pub source: Source,
}

impl Set {
    fn panics(&self, share: Share) -> bool {
        panics(self.instances.iter().map(|instance| instance.standing.reasons()), share)
    }
}

/// What an update changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Instances that were not there before.
    pub came: Vec<Arc<Instance>>,
    /// Instances that are no longer named.
    pub left: Vec<Arc<Instance>>,
}

/// One worker's attempts by result, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Attempts([AtomicU64; Attempt::ALL.len()]);

impl Service {
    /// Without instances yet.
    pub fn new(config: Arc<ServiceConfig>, workers: usize) -> Self {
        let set = Set { instances: Vec::new(), leaving: Vec::new(), source: Source::Pending };
        let breaker = config.breaker.filter(|breaker| breaker.scope == BreakerScope::Service);
        Self {
            breaker: breaker.map(|breaker| Breaker::new(breaker, workers)),
            budget: config.retry_budget.map(|budget| Budget::new(budget, workers)),
            ejections: Ejections::default(),
            keepers: Keepers::new(workers),
            stirred: Notify::new(),
            renewed: Notify::new(),
            checks: health::Tally::default(),
            config,
            workers,
            set: RwLock::new(Arc::new(set)),
            version: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            panicking: AtomicU8::new(WELL),
            attempts: (0..workers).map(|_| Attempts::default()).collect(),
        }
    }

    /// Takes a complete set, some of which its registry no longer names. An instance that was there before keeps
    /// everything, whatever is said about it now; so does one that left and has not finished yet.
    pub fn update(&self, endpoints: &[Endpoint], held: &[HostPort], source: Source) -> Change {
        let before = self.set();
        let mut known: HashMap<_, _> = before.instances.iter().map(|i| (i.key(), i)).collect();
        let mut leaving: HashMap<_, _> = before.leaving.iter().map(|i| (i.key(), i)).collect();
        let mut came = Vec::new();
        let mut reweighted = false;
        let instances: Vec<_> = endpoints
            .iter()
            .map(|endpoint| {
                let key = (endpoint.scheme, &endpoint.address);
                let instance = known.remove(&key);
                let returned = if instance.is_none() { leaving.remove(&key) } else { None };
                if let Some(returned) = returned {
                    returned.standing.set(Reason::Drained, false);
                }
                if let Some(instance) = instance.or(returned) {
                    reweighted |= instance.renew(endpoint);
                    came.extend(returned.cloned());
                    return Arc::clone(instance);
                }
                let instance =
                    Arc::new(Instance::new(endpoint.clone(), &self.config, self.workers));
                came.push(Arc::clone(&instance));
                instance
            })
            .collect();
        let held: HashSet<&HostPort> = held.iter().collect();
        for instance in &instances {
            instance.held.store(held.contains(&instance.place), Ordering::Relaxed);
        }
        let left: Vec<_> = known.into_values().cloned().collect();
        for instance in &left {
            instance.gone.store(true, Ordering::SeqCst);
            outlier::forget(self, instance);
        }
        let unfinished = leaving.into_values().filter(|left| left.in_flight() > 0);
        let leaving = unfinished.chain(&left).cloned().collect();
        self.ejections.allow(self.config.outlier.as_ref(), instances.len());
        if !before.instances.is_empty() {
            came.iter().for_each(|instance| instance.ramp.join());
        }
        let change = Change { came, left };
        // The workers need not look when only the source is another.
        let concerns_workers = reweighted || !change.came.is_empty() || !change.left.is_empty();
        let set = Arc::new(Set { instances, leaving, source });
        let mut current = self.set.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: who has seen the new set may rely on every worker's next pick seeing it too.
        if concerns_workers {
            self.updates.fetch_add(1, Ordering::Release);
            self.version.fetch_add(1, Ordering::Release);
        }
        *current = set;
        drop(current);
        self.stirred.notify_one();
        self.renewed.notify_one();
        change
    }

    /// The set as it is now. Takes a lock: once per worker and update, not for each request.
    pub fn set(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Grows with every update that concerns the workers.
    pub fn updates(&self) -> u64 {
        self.updates.load(Ordering::Acquire)
    }

    /// Grows with every update, and whenever what speaks for or against an instance changes.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What speaks for or against an instance has changed: the workers look again at their next pick, and who tends the
    /// service looks what is due.
    pub fn stir(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.stirred.notify_one();
    }

    /// Does what is due by now; when to look again, unless it is stirred before.
    pub fn settle(&self, now: Instant) -> Option<Instant> {
        let set = self.set();
        let (drains, drained) = drain::settle(self, &set.instances, now);
        let (ejections, ejected) = outlier::settle(self, &set.instances, now);
        let (ramps, ramped) = slow_start::settle(self, &set.instances, now);
        let mut changed = drains || ejections || ramps;
        let mut next = [drained, ejected, ramped].into_iter().flatten().min();
        let name = &self.config.name;
        if let Some(breaker) = &self.breaker {
            let (moved, due) = breaker.settle(now);
            if let Some(moved) = moved {
                picked::say(name, "*", breaker, moved);
            }
            next = next.into_iter().chain(due).min();
        }
        for instance in &set.instances {
            let Some(breaker) = &instance.breaker else { continue };
            let (moved, due) = breaker.settle(now);
            if let Some(moved) = moved {
                changed = true;
                picked::moved_on(instance, name, moved);
            }
            next = next.into_iter().chain(due).min();
        }
        self.note_panic(&set);
        if changed {
            self.version.fetch_add(1, Ordering::Release);
        }
        next
    }

    /// Says when so few instances are usable that all are used, and when that is over.
    fn note_panic(&self, set: &Set) {
        let panic = set.panics(self.config.panic);
        let (service, instances) = (&self.config.name, set.instances.len());
        let count = |speaks: fn(Reasons) -> bool| {
            set.instances.iter().filter(|one| speaks(one.standing.reasons())).count()
        };
        let unchecked = if panic { count(|reasons| reasons.has(Reason::Unchecked)) } else { 0 };
        // So it is with each set that is new.
        let state = match panic {
            true if unchecked == instances => UNCHECKED,
            true => PANIC,
            false => WELL,
        };
        let before = self.panicking.swap(state, Ordering::Relaxed);
        if before == state {
            return;
        }
        let usable = count(|reasons| reasons.is_usable(false));
        match state {
            UNCHECKED => {
                tracing::info!(%service, instances, "no instance was checked yet: until then all are used");
            }
            PANIC => {
                tracing::warn!(%service, usable, instances, unchecked, "panic: so few are usable that all are used");
            }
            _ if before == UNCHECKED => {}
            _ => tracing::info!(%service, usable, instances, "panic is over"),
        }
    }

    /// Counts an attempt.
    pub fn attempted(&self, worker: usize, attempt: Attempt) {
        self.attempts[worker].0[attempt as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What an operator wants to know of it now.
    pub fn snapshot(&self) -> Snapshot {
        let set = self.set();
        let leaving = set.leaving.iter().filter(|left| left.in_flight() > 0);
        let sum = |attempt: Attempt| {
            self.attempts
                .iter()
                .map(|worker| worker.0[attempt as usize].load(Ordering::Relaxed))
                .sum()
        };
        Snapshot {
            source: set.source.clone(),
            panic: set.panics(self.config.panic),
            ejections: self.ejections.counts(),
            ejections_overflow: self.ejections.overflow(),
            breaker: self.breaker.as_ref().map(Breaker::state),
            instances: set
                .instances
                .iter()
                .chain(leaving)
                .map(|instance| instance.snapshot())
                .collect(),
            attempts: Attempt::ALL.iter().map(|attempt| (attempt.label(), sum(*attempt))).collect(),
            checks: self.checks.counts(),
        }
    }
}

/// Enough instances are usable.
const WELL: u8 = 0;
/// Too few are, as none was checked yet.
const UNCHECKED: u8 = 1;
/// Too few are.
const PANIC: u8 = 2;

/// A service as it is now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where the set of instances comes from.
    pub source: Source,
    /// So few instances are usable that all are used.
    pub panic: bool,
    /// So far, in the order of [`outlier::Cause::ALL`].
    pub ejections: [u64; outlier::Cause::ALL.len()],
    /// Failures so far that ejected nobody as `max_share` of the instances were out.
    pub ejections_overflow: u64,
    /// Where its own breaker stands, if it has one.
    pub breaker: Option<breaker::State>,
    /// In the order of their addresses.
    pub instances: Vec<InstanceSnapshot>,
    /// Attempts by result: `ok`, `connect`, `reset`, `timeout`, `malformed`, `client_gone`.
    pub attempts: Vec<(&'static str, u64)>,
    /// Checks by result: `ok`, `failed`, `timeout`.
    pub checks: [(&'static str, u64); health::Tally::LABELS.len()],
}

/// Where a set of instances comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Written in the config.
    Static,
    /// The registry was not heard yet.
    Pending,
    /// The registry was not heard yet, and does not answer.
    Unheard {
        /// The newest error.
        reason: String,
    },
    /// The last good set of an earlier process.
    Snapshot {
        /// When the registry last confirmed it.
        since: SystemTime,
        /// The newest error.
        reason: String,
    },
    /// As the registry says now.
    Live,
    /// The last good set.
    Stale {
        /// Since the first failure.
        since: SystemTime,
        /// The newest error.
        reason: String,
    },
}

/// An instance as it is now.
#[derive(Clone, Debug)]
pub struct InstanceSnapshot {
    /// Address, scheme, weight, zone.
    pub endpoint: Endpoint,
    /// Exchanges now.
    pub in_flight: u64,
    /// Attempts so far.
    pub requests: u64,
    /// Attempts that failed: connect errors, timeouts, resets, 5xx except 501.
    pub failures: u64,
    /// Connections that carry an exchange.
    pub active_connections: u64,
    /// Kept connections.
    pub idle_connections: u64,
    /// Removed from the set, finishing what it has.
    pub leaving: bool,
    /// No longer named by its registry, which is not believed yet.
    pub held: bool,
    /// What speaks against it.
    pub reasons: Reasons,
    /// Where its breaker stands, if it has one.
    pub breaker: Option<breaker::State>,
    /// Its last check, if there was one.
    pub checked: Option<Checked>,
    /// Until when it is taken out by hand; none is not, or for good.
    pub drained_until: Option<SystemTime>,
    /// Until when it is left out because it failed.
    pub ejected_until: Option<SystemTime>,
}
