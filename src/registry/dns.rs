//! DNS: instances from SRV records or from addresses, looked up again when their time is over.
//!
//! Every service is looked up by a task of its own; `gate` sees to it that servers that do not answer, or fail, are asked
//! once a second for all of them together.

mod answer;
mod exchange;
mod find;
mod gate;
mod inquiry;
mod lenient;
mod pulse;
mod service;
mod settings;
mod system;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use self::gate::Gate;
use self::system::{Servers, Source, System};
use super::ledger::Ledger;
use super::{CatalogQuery, Found, Names, Query, Registered, Registration, Registry, Status};
use crate::fetch::tls;

pub(super) use self::settings::KEYS;
pub use self::settings::Settings;

/// DNS as a registry.
pub struct Dns {
    core: Arc<Core>,
    /// The pulse starts with the first question: creating a registry needs no runtime.
    started: Once,
}

/// What the tasks share.
struct Core {
    ledger: Arc<Ledger>,
    gate: Gate,
    source: Source,
    /// Bound on one answer.
    timeout: Duration,
    /// Questions to a silent server.
    attempts: usize,
    watches: Mutex<HashMap<Query, watch::Sender<Arc<Found>>>>,
}

impl Dns {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, tls::Problem> {
        let domains = settings.domains()?;
        let source = match settings.addresses()? {
            Some(addresses) => {
                let servers = Servers::written(addresses, domains.unwrap_or_default());
                Source::Written(Arc::new(servers))
            }
            None => Source::System(Box::new(System::new(settings, domains))),
        };
        let ledger = Ledger::new(&settings.name);
        let core = Core {
            gate: Gate::new(Arc::clone(&ledger)),
            ledger,
            source,
            timeout: settings.timeout,
            attempts: settings.attempts,
            watches: Mutex::default(),
        };
        Ok(Self { core: Arc::new(core), started: Once::new() })
    }

    fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.started.call_once(|| drop(runtime.spawn(pulse::feel(Arc::downgrade(&self.core)))));
    }
}

impl Registry for Dns {
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        let mut watches = self.core.watches();
        if let Some(found) = watches.get(&query) {
            return found.subscribe();
        }
        let (found, receiver) = watch::channel(Arc::new(Found::pending()));
        tokio::spawn(find::run(&self.core, query.clone(), found.clone()));
        watches.insert(query, found);
        drop(watches);
        self.start();
        receiver
    }

    /// DNS has no list of the services in it.
    fn catalog(&self, _query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        None
    }

    /// Whoever may change a zone does so by other means.
    fn register(&self, _registration: Registration) -> Option<Registered> {
        None
    }

    fn status(&self) -> Status {
        // A registry that nothing uses yet is asked for its pulse when somebody asks how it is.
        self.start();
        let watches = self.core.watches();
        let instances = watches.values().map(|found| found.borrow().endpoints.len()).sum();
        self.core.ledger.status(watches.len(), instances)
    }
}

impl Core {
    fn watches(&self) -> MutexGuard<'_, HashMap<Query, watch::Sender<Arc<Found>>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
