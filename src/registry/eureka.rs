//! Eureka: all applications by one task that polls for what changed, and registering with heartbeats.

mod apps;
mod body;
mod decode;
mod poll;
mod register;
mod servers;
mod settings;
mod skipped;

use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use self::apps::Apps;
use self::servers::Servers;
use super::board::Board;
use super::keeper;
use super::ledger::Ledger;
use super::{CatalogQuery, Found, Names, Query, Registered, Registration, Registry, Status};
use crate::fetch::tls;

pub(super) use self::settings::KEYS;
pub use self::settings::Settings;

/// Eureka servers that know the same as a registry.
pub struct Eureka {
    core: Arc<Core>,
    /// The task starts with the first question: creating a registry needs no runtime.
    started: Once,
    /// Its end tells the task that nobody has the registry any more.
    had: watch::Sender<()>,
}

/// What the tasks share.
struct Core {
    name: String,
    servers: Servers,
    poll: Duration,
    board: Board<Apps>,
    ledger: Arc<Ledger>,
}

impl Eureka {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, tls::Problem> {
        let core = Core {
            name: settings.name.clone(),
            servers: Servers::new(settings)?,
            poll: settings.poll,
            board: Board::new(),
            ledger: Ledger::new(&settings.name),
        };
        let (had, _) = watch::channel(());
        Ok(Self { core: Arc::new(core), started: Once::new(), had })
    }

    fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.started.call_once(|| {
            runtime.spawn(poll::run(Arc::clone(&self.core), self.had.subscribe()));
        });
    }
}

impl Registry for Eureka {
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        self.start();
        self.core.board.watch(query)
    }

    fn catalog(&self, query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        self.start();
        Some(self.core.board.catalog(query))
    }

    fn register(&self, registration: Registration) -> Option<Registered> {
        let keep = register::Keeper::new(&self.core, registration.clone());
        Some(keeper::start(&self.core.ledger, &registration, keep))
    }

    fn status(&self) -> Status {
        // A registry that nothing uses yet is asked when somebody asks how it is.
        self.start();
        let (services, instances) = self.core.board.watched();
        self.core.ledger.status(services, instances)
    }
}
