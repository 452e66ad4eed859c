//! ZooKeeper: instances are children of a node per service; registering is an ephemeral node.
//!
//! One session does everything. One persistent recursive watch on the root tells what changes below it (ZooKeeper 3.6), so
//! that neither side keeps a watch for each instance; what it tells is then read.

mod attend;
mod link;
mod names;
mod read;
mod register;
mod settings;
mod tree;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use zookeeper_client::Client;

use self::names::Root;
use self::tree::Tree;
use super::board::Board;
use super::keeper;
use super::ledger::Ledger;
use super::{CatalogQuery, Found, Names, Query, Registered, Registration, Registry, Status};
use crate::config::Secret;
use crate::fetch::tls::Problem;

pub(super) use self::settings::KEYS;
pub use self::settings::Settings;

/// A ZooKeeper ensemble as a registry.
pub struct Zookeeper {
    owner: Arc<Owner>,
    /// The session is opened with the first question: creating a registry needs no runtime.
    started: Once,
}

/// Whoever may still ask for something: the registry itself and each registration.
struct Owner(Arc<Core>);

/// What the tasks share.
struct Core {
    settings: Settings,
    root: Root,
    /// Read anew when it is refused.
    auth: Mutex<Option<Secret>>,
    ledger: Arc<Ledger>,
    board: Board<Tree>,
    /// Something is wanted that was not before.
    wake: Notify,
    /// Nobody is left who could want something else.
    left: Notify,
    /// Nodes of ours, and who is told when one is deleted.
    kept: Mutex<HashMap<String, Arc<Notify>>>,
    /// The session while it is connected.
    session: watch::Sender<Option<Client>>,
}

impl Zookeeper {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, Problem> {
        let (settings, root) = settings.checked()?;
        let core = Core {
            root,
            auth: Mutex::new(settings.auth.clone()),
            ledger: Ledger::new(&settings.name),
            board: Board::new(),
            wake: Notify::new(),
            left: Notify::new(),
            kept: Mutex::default(),
            session: watch::Sender::new(None),
            settings,
        };
        Ok(Self { owner: Arc::new(Owner(Arc::new(core))), started: Once::new() })
    }

    fn core(&self) -> &Core {
        &self.owner.0
    }

    fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.started.call_once(|| {
            runtime.spawn(attend::run(Arc::clone(&self.owner.0), Arc::downgrade(&self.owner)));
        });
    }
}

impl Registry for Zookeeper {
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        self.start();
        let receiver = self.core().board.watch(query);
        self.core().wake.notify_one();
        receiver
    }

    fn catalog(&self, query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        self.start();
        let receiver = self.core().board.catalog(query);
        self.core().wake.notify_one();
        Some(receiver)
    }

    fn register(&self, registration: Registration) -> Option<Registered> {
        self.start();
        let keep = register::Keeper::new(&self.owner, registration.clone());
        Some(keeper::start(&self.core().ledger, &registration, keep))
    }

    fn status(&self) -> Status {
        // A registry that nothing uses yet opens its session when somebody asks how it is.
        self.start();
        let (services, instances) = self.core().board.watched();
        self.core().ledger.status(services, instances)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.left.notify_one();
    }
}

impl Core {
    fn auth(&self) -> Option<Secret> {
        self.auth.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A node was deleted that may be one of ours.
    fn deleted(&self, path: &str) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = kept.get(path) {
            keeper.notify_one();
        }
    }

    /// Shows credentials that were replaced since they were read; whether there are such. From then on they are the ones
    /// to use.
    async fn show_replaced(&self, client: &Client) -> bool {
        let again = self.settings.reread.as_ref().and_then(|reread| reread());
        let is_new =
            |again: &Secret| settings::is_pair(again) && self.auth().as_ref() != Some(again);
        let Some(again) = again.filter(is_new) else { return false };
        let is_shown = client.auth(link::SCHEME, link::pair(&again)).await.is_ok();
        if is_shown {
            *self.auth.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
        }
        is_shown
    }
}
