//! The configuration once checked: valid by construction, comparable, without running state.
//!
//! Every default of the gateway is a constant or a `Default` here and nowhere else.

mod guard;
mod policy;
mod route;

pub use guard::{
    AuthConfig, CorsConfig, CorsHeaders, GuardConfig, OriginPattern, Rate, RateConfig, RateKey,
    RateMode, RateStoreConfig,
};
pub use policy::{LossGuard, Share, StaleConfig};
pub use route::{
    Condition, HeaderEdits, HostPattern, PathPattern, PathRewrite, RouteConfig, Segment,
};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::kind::Section;
use super::secret::Secret;

/// A whole checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Data-plane threads, at least 1.
    pub workers: usize,
    /// How long exchanges may go on after the listeners are closed.
    pub shutdown_grace: Duration,
    /// Time between readiness failing and the first closed listener.
    pub drain_delay: Duration,
    /// Where the last good sets of the registries are kept; none when nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Where log lines go and what they look like.
    pub log: LogConfig,
    /// Peers whose forwarded headers and request ids are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// In file order; a listener's index is its identity on the request path.
    pub listeners: Vec<ListenerConfig>,
    /// None when `admin = false`.
    pub admin: Option<AdminConfig>,
    /// In file order.
    pub registries: Vec<RegistryConfig>,
    /// In file order.
    pub catalogs: Vec<CatalogConfig>,
    /// In file order.
    pub registrations: Vec<RegistrationConfig>,
    /// In the order they were read.
    pub auths: Vec<AuthConfig>,
    /// In file order.
    pub rate_stores: Vec<RateStoreConfig>,
    /// Every service that has a table or is named by a route; by name.
    pub services: Vec<Arc<ServiceConfig>>,
    /// In the order they were read.
    pub routes: Vec<Arc<RouteConfig>>,
}

/// `log = { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,frontgate::registry=debug`.
    pub level: String,
    /// How a line is written.
    pub format: LogFormat,
    /// Where lines go.
    pub target: LogTarget,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text, target: LogTarget::Stderr }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
}

impl LogFormat {
    /// Every format by its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("text", Self::Text), ("json", Self::Json), ("logfmt", Self::Logfmt)];
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// The local syslog socket.
    Syslog,
    /// The systemd journal.
    Journald,
}

impl LogTarget {
    /// Every target by its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("stderr", Self::Stderr), ("syslog", Self::Syslog), ("journald", Self::Journald)];
}

/// `[listen.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The table's name.
    pub name: String,
    /// Port 0 means any free one.
    pub address: SocketAddr,
    /// Whether another process may share the port.
    pub reuse_port: bool,
    /// What a client may ask of a connection.
    pub limits: Limits,
}

/// `listen.<name>.limits`: what a client may ask of a connection. Sizes are bytes; 0 connections is
/// unlimited, a zero duration none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a head to its end.
    pub header_timeout: Duration,
    /// The whole head, request line included.
    pub header_bytes: usize,
    /// Header fields in a head.
    pub headers: usize,
    /// The request target.
    pub target_bytes: usize,
    /// Between two exchanges.
    pub idle_timeout: Duration,
    /// Silence while a request body is awaited.
    pub body_timeout: Duration,
    /// Open connections of the listener.
    pub connections: usize,
    /// Open connections of one client address.
    pub connections_per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            header_bytes: 64 << 10,
            headers: 100,
            target_bytes: 8 << 10,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            connections: 10_000,
            connections_per_client: 0,
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminConfig {
    /// Port 0 means any free one.
    pub address: SocketAddr,
    /// Without one only loopback may connect.
    pub token: Option<Secret>,
}

/// `[registry.<name>]`; the kind's own settings stay in the section, which the kind reads.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// The table's name.
    pub name: String,
    /// Whether readiness waits for it.
    pub required: bool,
    /// `kind` and its settings.
    pub section: Section,
}

/// `[catalog.<name>]`: routes by service name.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogConfig {
    /// The table's name.
    pub name: String,
    /// Index into [`Config::registries`].
    pub registry: usize,
    /// The path before and after `{service}`: `/{service}/*` is `("/", "/*")`.
    pub path: (String, String),
    /// Only services that carry this tag; none means all.
    pub tag: Option<String>,
    /// Service names that get no route.
    pub exclude: Vec<String>,
    /// What each of its routes is like: `[defaults.route]` over the built-in defaults. `name`, `paths` and
    /// `service` are filled in per service; `strip_prefix` is on.
    pub route: Arc<RouteConfig>,
    /// What each of its services is like: `[defaults.service]` over the built-in defaults.
    pub service: Arc<ServiceConfig>,
}

/// `[register.<name>]`: the gateway registers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// The table's name.
    pub table: String,
    /// Index into [`Config::registries`].
    pub registry: usize,
    /// The name others find it by.
    pub name: String,
    /// `host:port` others reach it at.
    pub address: HostPort,
    /// As written.
    pub tags: Vec<String>,
    /// Path of an HTTP check, where the registry makes checks itself; else a heartbeat.
    pub check: Option<String>,
}

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
        /// Index into [`Config::registries`].
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

/// How a service without `balance` is balanced.
pub const BALANCE: &str = "round_robin";
/// Bound on making one connection to an instance.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The whole exchange until the final answer's head.
pub const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence of the upstream on a streaming body.
pub const ROUTE_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long exchanges may go on after the listeners are closed.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
/// Where the admin server listens when the config does not say.
pub const ADMIN_ADDRESS: &str = "127.0.0.1:9901";
