//! Config → gateway; keeps the running state of everything whose config is equal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;

use crate::config::Config;
use crate::gateway::Table;
use crate::registry::Registry;

/// The running whole, as the control plane sees it.
pub struct World {
    /// As checked.
    pub config: Arc<Config>,
    /// In the order of the config.
    pub registries: Vec<Arc<dyn Registry>>,
    /// What the workers serve; a new value replaces it whole, an instance change only marks it changed.
    pub table: watch::Sender<Arc<Table>>,
    /// Where the process stands in its life.
    pub phase: watch::Sender<Phase>,
    /// Listeners by name with the address they got; set once they are bound.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Open client connections by listener.
    pub connections: Vec<AtomicU64>,
}

/// Where the process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Serving,
    /// Readiness fails, answers carry `connection: close`.
    Draining,
    /// The listeners close, exchanges finish.
    Closing,
}
