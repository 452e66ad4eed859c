//! A named set of instances and its policies, shared by all workers.

use std::sync::Arc;
use std::time::SystemTime;

use crate::config::model::{Endpoint, ServiceConfig};

/// A service, shared by all workers.
#[derive(Debug)]
pub struct Service {
    /// As checked.
    pub config: Arc<ServiceConfig>,
}

impl Service {
    /// What an operator wants to know of it now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { source: Source::Static, instances: Vec::new(), attempts: Vec::new() }
    }
}

/// A service as it is now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where the set of instances comes from.
    pub source: Source,
    /// In the order of their addresses.
    pub instances: Vec<InstanceSnapshot>,
    /// Attempts by result: `ok`, `connect`, `reset`, `timeout`, `malformed`, `client_gone`.
    pub attempts: Vec<(&'static str, u64)>,
}

/// Where a set of instances comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Written in the config.
    Static,
    /// The registry was not heard yet.
    Pending,
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
    pub draining: bool,
}
