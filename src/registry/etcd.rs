//! etcd v3 over its JSON interface: one range and one watch of the prefix serve all services and the catalog; one
//! registers with a key under a lease.

mod access;
mod cluster;
mod follow;
mod json;
mod keys;
mod reading;
mod register;
mod settings;
mod stream;
mod tree;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use self::cluster::{Cluster, Failure, No};
use self::keys::Prefix;
use self::tree::Tree;
use super::board::Board;
use super::gate::Gate;
use super::keeper;
use super::ledger::Ledger;
use super::{CatalogQuery, Found, Names, Query, Registered, Registration, Registry, Status};
use crate::fetch::tls;

pub(super) use self::settings::KEYS;
pub use self::settings::Settings;

/// An etcd cluster as a registry.
pub struct Etcd {
    core: Arc<Core>,
    /// The task starts with the first question: creating a registry needs no runtime.
    started: Once,
}

/// What the tasks share.
struct Core {
    name: String,
    prefix: Prefix,
    cluster: Cluster,
    ledger: Arc<Ledger>,
    board: Board<Tree>,
    /// Somebody began to watch.
    wanted: Notify,
    /// Nobody can begin to watch any more.
    dropped: AtomicBool,
    link: watch::Sender<Link>,
    /// What is registered asks by itself, all at once only while that goes well.
    gate: Gate,
}

/// How the one task that always asks fares.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Asking is in vain.
    lost: bool,
    /// How often it has come back.
    returns: u64,
}

impl Etcd {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: &Settings) -> Result<Self, tls::Problem> {
        let core = Core {
            name: settings.name.clone(),
            prefix: Prefix::new(&settings.prefix),
            cluster: Cluster::new(settings)?,
            ledger: Ledger::new(&settings.name),
            board: Board::new(),
            wanted: Notify::new(),
            dropped: AtomicBool::new(false),
            link: watch::Sender::new(Link::default()),
            gate: Gate::default(),
        };
        Ok(Self { core: Arc::new(core), started: Once::new() })
    }

    fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.started.call_once(|| {
            runtime.spawn(follow::run(Arc::clone(&self.core)));
        });
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.core.dropped.store(true, Ordering::Relaxed);
        self.core.wanted.notify_one();
    }
}

impl Registry for Etcd {
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        let found = self.core.board.watch(query);
        self.core.wanted.notify_one();
        self.start();
        found
    }

    fn catalog(&self, query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        let names = self.core.board.catalog(query);
        self.core.wanted.notify_one();
        self.start();
        Some(names)
    }

    fn register(&self, registration: Registration) -> Option<Registered> {
        self.start();
        let keep = register::Lease::new(&self.core, &registration);
        Some(keeper::start(&self.core.ledger, &registration, keep))
    }

    fn status(&self) -> Status {
        // One that nothing uses yet is asked whether it is there when somebody asks how it is.
        self.start();
        let (services, instances) = self.core.board.watched();
        self.core.ledger.status(services, instances)
    }
}

impl Core {
    /// Somebody must act first: whoever answers, it is as much.
    fn too_much(&self) -> Failure {
        let (prefix, keys, bytes) = (self.prefix.text(), tree::KEYS, tree::BYTES >> 20);
        let why = format!("more than {keys} keys or {bytes} MiB under `{prefix}`: narrow `prefix`");
        Failure::Cluster(No::TooMuch, why)
    }

    /// The task that always asks says how it fares.
    fn link(&self, lost: bool) {
        let changed = self.link.send_if_modified(|link| {
            let changed = link.lost != lost;
            link.returns += u64::from(changed && !lost);
            link.lost = lost;
            changed
        });
        match (changed, lost) {
            (true, true) => self.gate.close(),
            (true, false) => self.gate.open(),
            (false, _) => {}
        }
    }
}
