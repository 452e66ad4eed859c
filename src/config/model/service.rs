//! A service once checked, and what stands behind it.

use std::time::Duration;

use super::{
    BALANCE, BreakerConfig, BudgetConfig, CONNECT_TIMEOUT, HashKey, HealthConfig, LossGuard,
    OutlierConfig, Share, StaleConfig, StickyConfig,
};

/// A host, name or address without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name, an IPv4 or a bare IPv6 address.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    /// `host:port`; IPv6 in brackets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One place a service answers at: written in a config or found in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// How to speak to it.
    pub scheme: Scheme,
    /// Where it is.
    pub address: HostPort,
    /// Share of the traffic, at least 1.
    pub weight: u32,
    /// Where it stands, when known.
    pub zone: Option<String>,
}

/// How an instance is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
        }
    }
}

/// `[service.<name>]` over `[defaults.service]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    /// The table's name, or what a route calls it; a catalog's are `<registry>/<name>`.
    pub name: String,
    /// Where its instances come from.
    pub found: Found,
    /// A balancer's name, known to exist.
    pub balance: String,
    /// Bound on making one connection.
    pub connect_timeout: Duration,
    /// Kept connections.
    pub pool: PoolConfig,
    /// What is done when much of it vanishes at once; none when nothing is.
    pub loss_guard: Option<LossGuard>,
    /// How long its last good set serves.
    pub stale: StaleConfig,
    /// What of a request a hashing balancer goes by.
    pub hash_key: Option<HashKey>,
    /// Whether clients stay with an instance, and by which cookie.
    pub sticky: Option<StickyConfig>,
    /// The zone whose instances are preferred: the gateway's own; none when none is.
    pub zone: Option<String>,
    /// What cuts off what fails too much.
    pub breaker: Option<BreakerConfig>,
    /// How many retries there may be; none is any number.
    pub retry_budget: Option<BudgetConfig>,
    /// What leaves out instances that fail while others do not.
    pub outlier: Option<OutlierConfig>,
    /// How instances are asked whether they are well.
    pub health: Option<HealthConfig>,
    /// How long the share of a new instance rises to its whole; zero is at once.
    pub slow_start: Duration,
    /// Below this share of usable instances all are used.
    pub panic: Share,
    /// Where it was written, `file:line`; none for a service that only a route names.
    pub source: Option<String>,
}

/// Where a service's instances come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// `endpoints = […]`.
    Written(Vec<Endpoint>),
    /// In a registry.
    Registry {
        /// Index into [`super::Config::registries`].
        registry: usize,
        /// The name in the registry.
        name: String,
        /// Tags that must all be present.
        tags: Vec<String>,
        /// Only instances whose checks pass.
        passing_only: bool,
        /// How DNS is asked.
        lookup: Lookup,
    },
}

/// `dns` and `port` of a service: what DNS is asked about its name. Means nothing to other registries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// SRV records, which say where and with which ports.
    #[default]
    Srv,
    /// Addresses.
    Host {
        /// Where each of them listens.
        port: u16,
    },
}

/// `service.<name>.pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// How long a connection may lie idle.
    pub idle_timeout: Duration,
    /// Idle connections kept per instance and worker.
    pub idle: usize,
    /// Connections per instance, over all workers.
    pub connections: usize,
    /// Exchanges that may wait for a connection, per instance.
    pub pending: usize,
    /// Age at which a connection is not used again; zero is none.
    pub max_age: Duration,
}

impl Default for ServiceConfig {
    /// Without a name and instances, all else as when nothing is written.
    fn default() -> Self {
        Self {
            name: String::new(),
            found: Found::Written(Vec::new()),
            balance: BALANCE.to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            pool: PoolConfig::default(),
            loss_guard: Some(LossGuard::default()),
            stale: StaleConfig::default(),
            hash_key: None,
            sticky: None,
            zone: None,
            breaker: None,
            retry_budget: Some(BudgetConfig::default()),
            outlier: Some(OutlierConfig::default()),
            health: None,
            slow_start: Duration::ZERO,
            panic: Share::HALF,
            source: None,
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            idle: 256,
            connections: 1024,
            pending: 1024,
            max_age: Duration::ZERO,
        }
    }
}
