//! Consul: instances over the health endpoint with blocking queries, the catalog, and registering with the agent.
//!
//! Up to `OWN` services have a blocking query each. The others share two (`feed`) and are read again when these say
//! that something changed, so that an agent never sees more than a bounded number of connections.

mod agent;
mod decode;
mod feed;
mod find;
mod names;
mod poll;
mod pulse;
mod register;
mod settings;
mod settling;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use self::agent::Agent;
use self::feed::Feed;
use self::pulse::Pulse;
use super::keeper;
use super::ledger::Ledger;
use super::{CatalogQuery, Found, Names, Query, Registered, Registration, Registry, Status};
use crate::fetch::tls;

pub(super) use self::settings::KEYS;
pub use self::settings::Settings;

/// Services with a blocking query of their own.
const OWN: usize = 48;
/// Services without one that are read at the same time because something about them changed.
const URGENT: usize = 6;
/// Those that are read at the same time because something may have changed about any of them.
const SWEEP: usize = 4;

/// A Consul agent as a registry.
pub struct Consul {
    core: Arc<Core>,
    /// The pulse starts with the first question: creating a registry needs no runtime.
    started: Once,
}

/// What the tasks share.
struct Core {
    name: String,
    agent: Agent,
    pulse: Arc<Pulse>,
    ledger: Arc<Ledger>,
    watches: Mutex<HashMap<Query, Watched>>,
    catalogs: Mutex<HashMap<CatalogQuery, watch::Sender<Arc<Names>>>>,
    feed: Feed,
    own: Arc<Semaphore>,
    urgent: Semaphore,
    sweep: Semaphore,
}

/// A service that somebody watches.
struct Watched {
    found: watch::Sender<Arc<Found>>,
    inbox: Arc<Inbox>,
}

/// How a service without a blocking query of its own is told to look again.
#[derive(Default)]
struct Inbox {
    urgent: std::sync::atomic::AtomicBool,
    letter: Notify,
}

impl Consul {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, tls::Problem> {
        let core = Core {
            name: settings.name.clone(),
            agent: Agent::new(settings)?,
            pulse: Arc::new(Pulse::new()),
            ledger: Ledger::new(&settings.name),
            watches: Mutex::default(),
            catalogs: Mutex::default(),
            feed: Feed::new(),
            own: Arc::new(Semaphore::new(OWN)),
            urgent: Semaphore::new(URGENT),
            sweep: Semaphore::new(SWEEP),
        };
        Ok(Self { core: Arc::new(core), started: Once::new() })
    }

    fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.started.call_once(|| {
            let pulse = Arc::clone(&self.core.pulse);
            runtime.spawn(Pulse::feel(pulse, Arc::downgrade(&self.core)));
        });
    }
}

impl Registry for Consul {
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        self.start();
        let mut watches = self.core.watches();
        if let Some(watched) = watches.get(&query) {
            return watched.found.subscribe();
        }
        let (found, receiver) = watch::channel(Arc::new(Found::pending()));
        let watched = Watched { found, inbox: Arc::default() };
        tokio::spawn(find::run(Arc::clone(&self.core), query.clone(), &watched));
        watches.insert(query, watched);
        receiver
    }

    fn catalog(&self, query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        self.start();
        let mut catalogs = self.core.catalogs();
        if let Some(names) = catalogs.get(&query) {
            return Some(names.subscribe());
        }
        let (names, receiver) = watch::channel(Arc::new(Names::pending()));
        tokio::spawn(names::run(Arc::clone(&self.core), query.clone(), names.clone()));
        catalogs.insert(query, names);
        Some(receiver)
    }

    fn register(&self, registration: Registration) -> Option<Registered> {
        self.start();
        let keep = register::Keeper::new(&self.core, registration.clone());
        Some(keeper::start(&self.core.ledger, &registration, keep))
    }

    fn status(&self) -> Status {
        // A registry that nothing uses yet is asked for its pulse when somebody asks how it is.
        self.start();
        let watches = self.core.watches();
        let instances =
            watches.values().map(|watched| watched.found.borrow().endpoints.len()).sum();
        self.core.ledger.status(watches.len(), instances)
    }
}

impl Core {
    fn watches(&self) -> MutexGuard<'_, HashMap<Query, Watched>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalogs(&self) -> MutexGuard<'_, HashMap<CatalogQuery, watch::Sender<Arc<Names>>>> {
        self.catalogs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about this service changed; an empty name means about any.
    fn changed(&self, service: &str) {
        for (query, watched) in &*self.watches() {
            if service.is_empty() || query.service.eq_ignore_ascii_case(service) {
                watched.inbox.deliver(true);
            }
        }
    }

    /// Something may have changed about any service.
    fn look_at_all(&self) {
        for watched in self.watches().values() {
            watched.inbox.deliver(false);
        }
    }
}

impl Inbox {
    fn deliver(&self, urgent: bool) {
        if urgent {
            self.urgent.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        self.letter.notify_one();
    }

    fn take_urgent(&self) -> bool {
        self.urgent.swap(false, std::sync::atomic::Ordering::Relaxed)
    }
}
