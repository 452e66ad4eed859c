//! Config → gateway; keeps the running state of everything whose config is equal.

mod follow;
mod table;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;

pub use follow::Followed;

use crate::config::model::{AuthConfig, RateStoreConfig, RegistryConfig};
use crate::config::{Config, Kinds, Loaded, Problems};
use crate::gateway::Table;
use crate::registry::snapshot::Store;
use crate::registry::{Kept, Registry};
use crate::{forward, guard, registry, state};

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
pub const KINDS: Kinds<'static> = Kinds {
    registries: registry::INFOS,
    balancers: forward::balance::INFOS,
    auths: guard::auth::INFOS,
    rate_stores: guard::rate::INFOS,
};

/// Everything about a good configuration that only the parts can find wrong.
pub fn check(loaded: &Loaded, problems: &mut Problems) {
    table::check(loaded, problems);
}

/// What a configuration names and what runs by itself.
#[derive(Default)]
pub struct Parts {
    /// In the order of the config.
    pub registries: Vec<Arc<dyn Registry>>,
    /// What guards of several routes have in common.
    pub guards: guard::Shared,
}

/// The parts a configuration names; problems where one cannot be used after all. They ask nobody yet.
pub fn parts(config: &Config) -> Result<Parts, Problems> {
    let mut problems = Problems::new();
    let open = |written: &RegistryConfig| registry::build(&written.section, &mut problems);
    let registries: Vec<_> = config.registries.iter().filter_map(open).collect();
    let guards = guards(config, &mut problems);
    if problems.is_empty() { Ok(Parts { registries, guards }) } else { Err(problems) }
}

fn guards(config: &Config, problems: &mut Problems) -> guard::Shared {
    let state = config.state_dir.as_deref();
    let scheme = |written: &AuthConfig| {
        let scheme = guard::auth::build(&written.section, state, problems)?;
        Some((written.name.as_str().into(), scheme))
    };
    let schemes = config.auths.iter().filter_map(scheme).collect();
    let store = |written: &RateStoreConfig| {
        let store = guard::rate::build(&written.section, problems)?;
        Some((written.name.as_str().into(), store))
    };
    let stores = config.rate_stores.iter().filter_map(store).collect();
    guard::Shared { schemes, stores }
}

impl World {
    /// What a configuration describes, not yet moving: [`World::follow`] starts that.
    pub fn new(
        config: Config,
        parts: Parts,
        listeners: Vec<(String, SocketAddr)>,
    ) -> Result<Self, String> {
        let folder = state_dir(&config, &parts);
        let registries = kept(&config, parts.registries, folder);
        let none = vec![Vec::new(); config.catalogs.len()];
        let first = table::build(&config, &none, &Arc::new(parts.guards), None)?;
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

/// Where files are kept, if there is something to keep and they can be.
fn state_dir<'a>(config: &'a Config, parts: &Parts) -> Option<&'a Path> {
    let keeps = !parts.registries.is_empty() || !parts.guards.schemes.is_empty();
    config.state_dir.as_deref().filter(|_| keeps).filter(|folder| {
        let prepared = state::prepare(folder);
        if let Err(error) = &prepared {
            let why = format!("the state directory {} cannot be used: {error}", folder.display());
            tracing::warn!(why, "a restart while a registry is away will find nothing; `state_dir = false` keeps no files");
        }
        prepared.is_ok()
    })
}

/// The registries with what was kept of them.
fn kept(config: &Config, registries: Vec<Arc<dyn Registry>>, folder: Option<&Path>) -> Vec<Kept> {
    let with_store = |(written, raw): (&RegistryConfig, _)| {
        let store = folder.map(|folder| Store::open(folder, &written.name));
        Kept::new(&written.name, raw, store)
    };
    config.registries.iter().zip(registries).map(with_store).collect()
}
