//! What is done about instances that fail: of a route its retries, of a service the rest.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};

use super::{Rate, Share};

/// `retry` of a route: when a request is sent once more, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Attempts in all, at least 1: the first counts.
    pub attempts: u32,
    /// Until one attempt's complete response head, also of the only one; none is no bound of its own.
    pub per_try_timeout: Option<Duration>,
    /// After what another attempt may follow.
    pub on: RetryOn,
    /// Upper bound of the pause before the second attempt; doubles with each, up to `max_backoff`. The pause is drawn
    /// from zero to that (full jitter).
    pub backoff: Duration,
    /// Upper bound of any pause.
    pub max_backoff: Duration,
    /// Methods that may be sent again once a byte of them was sent.
    pub methods: Vec<Method>,
    /// Bodies up to so many bytes are kept to be sent again.
    pub replay_bytes: usize,
    /// Whether `Idempotency-Key` lets a method outside the list be sent again.
    pub idempotency_key: bool,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let on = RetryOn {
            connect: true,
            reset: true,
            timeout: false,
            statuses: Statuses(vec![503..=503]),
        };
        Self {
            attempts: 2,
            per_try_timeout: None,
            on,
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(250),
            // RFC 9110 section 9.2.2.
            methods: vec![
                Method::GET,
                Method::HEAD,
                Method::OPTIONS,
                Method::TRACE,
                Method::PUT,
                Method::DELETE,
            ],
            // As much as Linkerd keeps.
            replay_bytes: 64 << 10,
            idempotency_key: false,
        }
    }
}

/// `retry.on`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection, so no byte was sent.
    pub connect: bool,
    /// Lost before the first response byte.
    pub reset: bool,
    /// An attempt's `per_try_timeout`.
    pub timeout: bool,
    /// Answers, also the gateway's own verdict: 502 for a malformed one, 504 for an attempt's timeout.
    pub statuses: Statuses,
}

/// A set of statuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses(pub Vec<RangeInclusive<u16>>);

impl Statuses {
    /// Whether it holds this one.
    pub fn holds(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

/// `retry_budget`: over any 10 s no more retries than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Of the requests.
    pub share: Share,
    /// Beside the share, so that a quiet service may retry at all.
    pub floor: Rate,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        let floor = Rate { count: 10, per: Duration::from_secs(1) };
        Self { share: Share::FIFTH, floor }
    }
}

/// `breaker`: what is cut off once it fails too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// When it opens.
    pub trip: Trip,
    /// How long it stays open.
    pub open: Duration,
    /// Requests that go through half-open, at least 1; as many successes close it.
    pub probes: u32,
    /// After closing the share of requests let through rises from nothing to all within this; zero is at once.
    pub ramp: Duration,
    /// What has one.
    pub scope: BreakerScope,
}

/// When a breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// After so many failures without a success between them (gobreaker).
    Consecutive {
        /// At least 1.
        failures: u32,
    },
    /// When the share of failures reaches a bound.
    Ratio(Window),
    /// The same, and no more than so many at a time, each within a time.
    Hystrix {
        /// What opens it.
        window: Window,
        /// Exchanges at a time; one too many is refused, which is no failure.
        max_concurrent: u32,
        /// Until the response's head; a failure.
        timeout: Duration,
    },
}

/// A share of failures within a rolling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Opens when as many failed, or more.
    pub failures: Share,
    /// With fewer outcomes in the window it does not open.
    pub min_requests: u32,
    /// How far back outcomes count.
    pub window: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { failures: Share::HALF, min_requests: 20, window: Duration::from_secs(10) }
    }
}

impl Trip {
    /// Every kind by its name, with its own defaults; the first is the default.
    pub const NAMES: [&'static str; 3] = ["ratio", "consecutive", "hystrix"];

    /// What `breaker.kind` says.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ratio(_) => "ratio",
            Self::Consecutive { .. } => "consecutive",
            Self::Hystrix { .. } => "hystrix",
        }
    }
}

/// What has a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerScope {
    /// Each instance one of its own.
    #[default]
    Instance,
    /// The service one for all.
    Service,
}

impl BreakerScope {
    /// Every scope by its name.
    pub const NAMES: [(&'static str, Self); 2] =
        [("instance", Self::Instance), ("service", Self::Service)];
}

/// `outlier`: instances that fail while others do not are left out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierConfig {
    /// Failures without a success between them that eject an instance, at least 1.
    pub consecutive: u32,
    /// Whether instances are also compared with each other.
    pub success_rate: bool,
    /// How often they are compared, and how often an instance's count of ejections goes down.
    pub interval: Duration,
    /// How long the first ejection lasts; the next ones last as many times longer.
    pub eject: Duration,
    /// No ejection is longer.
    pub max_eject: Duration,
    /// No more of a service's instances are ejected at a time; one of two or more always may be.
    pub max_share: Share,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive: 5,
            success_rate: false,
            interval: Duration::from_secs(10),
            eject: Duration::from_secs(30),
            max_eject: Duration::from_mins(5),
            max_share: Share::HALF,
        }
    }
}

/// `health`: each instance is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// How it is asked.
    pub check: HealthCheck,
    /// Between two checks of an instance that is up.
    pub interval: Duration,
    /// Between two checks of one that is not.
    pub unhealthy_interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Good checks in a row that bring it up, at least 1.
    pub healthy: u32,
    /// Bad checks in a row that take it down, at least 1.
    pub unhealthy: u32,
}

/// How an instance is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// A GET.
    Http {
        /// With its query.
        path: String,
        /// Good answers.
        status: Statuses,
        /// The Host that is asked; none is the instance's own address.
        host: Option<String>,
    },
    /// A connection can be made.
    Tcp,
    /// `grpc.health.v1.Health/Check` says SERVING.
    Grpc {
        /// The service that is asked about; empty is the whole server.
        service: String,
    },
}

impl HealthCheck {
    /// Every kind; the first is the default.
    pub const NAMES: [&'static str; 3] = ["http", "tcp", "grpc"];

    /// What `health.kind` says.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Tcp => "tcp",
            Self::Grpc { .. } => "grpc",
        }
    }
}

impl HealthConfig {
    /// Between two checks when nothing is written.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// The same of an instance that is not up.
    pub const UNHEALTHY_INTERVAL: Duration = Duration::from_secs(2);
    /// For one check when nothing is written.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// Good checks in a row when nothing is written.
    pub const HEALTHY: u32 = 2;
    /// Bad checks in a row when nothing is written.
    pub const UNHEALTHY: u32 = 3;
}

/// `hash_key`: what of a request says which instance gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The client's address.
    ClientIp,
    /// The path, without its query.
    Path,
    /// What a guard knows of the caller.
    Claim(String),
}

impl fmt::Display for HashKey {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::ClientIp => f.write_str("client_ip"),
            Self::Path => f.write_str("path"),
            Self::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

/// `sticky`: a client stays with the instance that first answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyConfig {
    /// The cookie's name, a token.
    pub cookie: String,
    /// How long the browser keeps it; none is for its session.
    pub ttl: Option<Duration>,
}
