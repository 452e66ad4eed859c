//! The configuration once checked: valid by construction, comparable, without running state.
//!
//! Every default of the gateway is a constant or a `Default` here and nowhere else.

mod guard;
mod policy;
mod resilience;
mod route;
mod service;

pub use guard::{
    AuthConfig, CorsConfig, CorsHeaders, GuardConfig, OriginPattern, Rate, RateConfig, RateKey,
    RateMode, RateStoreConfig,
};
pub use policy::{LossGuard, Share, StaleConfig};
pub use resilience::{
    BreakerConfig, BreakerScope, BudgetConfig, HashKey, HealthCheck, HealthConfig, OutlierConfig,
    RetryConfig, RetryOn, Statuses, StickyConfig, Trip, Window,
};
pub use route::{
    Condition, HeaderEdits, HostPattern, PathPattern, PathRewrite, RouteConfig, Segment,
};

pub use service::{Endpoint, Found, HostPort, Lookup, PoolConfig, Scheme, ServiceConfig};

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
    /// Where this gateway stands.
    pub zone: Option<String>,
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

/// How a service without `balance` is balanced.
pub const BALANCE: &str = "round_robin";
/// The balancer that goes by `hash_key`.
pub const CONSISTENT_HASH: &str = "consistent_hash";
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
