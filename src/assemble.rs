//! Config → gateway; keeps the running state of everything whose config is equal.

mod follow;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;

pub use follow::Followed;

use crate::config::model::RegistryConfig;
use crate::config::{Config, Kinds, Loaded, Problems};
use crate::gateway::Table;
use crate::registry::snapshot::{self, Store};
use crate::registry::{Kept, Registry};
use crate::{forward, registry};

/// The running whole, as the control plane sees it.
pub struct World {
    /// As checked.
    pub config: Arc<Config>,
    /// In the order of the config.
    pub registries: Vec<Kept>,
    /// What the workers serve; a new value replaces it whole, an instance change only marks it changed.
    pub table: watch::Sender<Arc<Table>>,
    /// Where the process stands in its life.
    pub phase: watch::Sender<Phase>,
    /// Listeners by name with the address they got; set once they are bound.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Open client connections by listener.
    pub connections: Arc<[AtomicU64]>,
}

/// Where the process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Serving,
    /// Readiness fails, answers carry `connection: close`.
    Draining,
    /// Listeners close once nobody new comes, connections once nothing goes on.
    Closing,
    /// What is left is closed.
    Over,
}

/// The kinds that a configuration may name.
pub const KINDS: Kinds<'static> =
    Kinds { registries: registry::INFOS, balancers: forward::balance::INFOS };

/// Everything about a good configuration that only the parts can find wrong.
pub fn check(loaded: &Loaded, problems: &mut Problems) {
    table::check(loaded, problems);
}

/// The registries a configuration names, in its order; problems where one cannot be used after all.
pub fn registries(config: &Config) -> Result<Vec<Arc<dyn Registry>>, Problems> {
    let mut problems = Problems::new();
    let open = |written: &RegistryConfig| registry::build(&written.section, &mut problems);
    let registries: Vec<_> = config.registries.iter().filter_map(open).collect();
    if problems.is_empty() { Ok(registries) } else { Err(problems) }
}

impl World {
    /// What a configuration describes, not yet moving: [`World::follow`] starts that.
    pub fn new(
        config: Config,
        registries: Vec<Arc<dyn Registry>>,
        listeners: Vec<(String, SocketAddr)>,
    ) -> Result<Self, String> {
        let registries = kept(&config, registries);
        let first = table::build(&config, &vec![Vec::new(); config.catalogs.len()], None)?;
        Ok(Self {
            registries,
            table: watch::channel(Arc::new(first)).0,
            phase: watch::channel(Phase::Serving).0,
            connections: listeners.iter().map(|_| AtomicU64::new(0)).collect(),
            listeners,
            config: Arc::new(config),
        })
    }
}

/// The registries with what was kept of them.
fn kept(config: &Config, registries: Vec<Arc<dyn Registry>>) -> Vec<Kept> {
    let folder = config.state_dir.as_deref().filter(|_| !registries.is_empty());
    let folder = folder.filter(|folder| {
        let prepared = snapshot::prepare(folder);
        if let Err(why) = &prepared {
            tracing::warn!(why, "a restart while a registry is away will find nothing; `state_dir = false` keeps no files");
        }
        prepared.is_ok()
    });
    let with_store = |(written, raw): (&RegistryConfig, _)| {
        let store = folder.map(|folder| Store::open(folder, &written.name));
        Kept::new(&written.name, raw, store)
    };
    config.registries.iter().zip(registries).map(with_store).collect()
}
