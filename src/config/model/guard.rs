//! Who a route lets in and how often, once checked.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;

use crate::config::kind::Section;

/// `[auth.<name>]`: one way to tell who a caller is.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthConfig {
    /// The table's name.
    pub name: String,
    /// What only its kind reads.
    pub section: Section,
}

/// `[rate_store.<name>]`: where several gateways count together.
#[derive(Clone, Debug, PartialEq)]
pub struct RateStoreConfig {
    /// The table's name.
    pub name: String,
    /// What only its kind reads.
    pub section: Section,
}

/// The guards of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardConfig {
    /// Only these addresses; empty means any.
    pub allow: Vec<IpNet>,
    /// Never these.
    pub deny: Vec<IpNet>,
    /// Which pages of other origins may ask.
    pub cors: Option<CorsConfig>,
    /// Bytes of a request's body.
    pub max_body: Option<u64>,
    /// Concurrent exchanges, at least 1.
    pub in_flight: Option<usize>,
    /// Names in [`super::Config::auths`], any of which lets in; empty means everybody.
    pub auth: Vec<String>,
    /// All of which must have room.
    pub rates: Vec<RateConfig>,
}

/// An entry of `rate_limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateConfig {
    /// How often in the long run.
    pub rate: Rate,
    /// How many at once, at least 1.
    pub burst: u64,
    /// Together they name who shares the limit; at least one.
    pub keys: Vec<RateKey>,
    /// What happens to one too many.
    pub mode: RateMode,
    /// A name in [`super::Config::rate_stores`]; none counts in this gateway alone.
    pub store: Option<String>,
}

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1 of a limit.
    pub count: u64,
    /// Of one second, minute, hour or day.
    pub per: Duration,
}

/// What tells callers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// Nothing: the route's callers share one limit.
    Route,
    /// The client's address; of IPv6 its /64.
    ClientIp,
    /// A header's value.
    Header(HeaderName),
    /// What a guard knows of the caller.
    Claim(String),
    /// A cookie's value.
    Cookie(String),
    /// The host that is asked.
    Host,
}

impl fmt::Display for RateKey {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => f.write_str("route"),
            Self::ClientIp => f.write_str("client_ip"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

/// What happens to one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateMode {
    /// 429 at once.
    Reject,
    /// It waits for its turn, first come, first served.
    Delay {
        /// No longer than this.
        max_wait: Duration,
        /// No more than so many at a time.
        max_queue: usize,
    },
}

impl RateMode {
    /// How long one waits when `max_wait` is not written.
    pub const MAX_WAIT: Duration = Duration::from_secs(1);
    /// How many wait when `max_queue` is not written.
    pub const MAX_QUEUE: usize = 1000;
}

/// `cors`: which pages of other origins may ask (Fetch standard, section "CORS protocol").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsConfig {
    /// Whose pages; at least one.
    pub origins: Vec<OriginPattern>,
    /// What a preflight may ask for, GET includes HEAD; empty means what the route takes.
    pub methods: Vec<Method>,
    /// Request headers they may send beside the harmless ones.
    pub headers: CorsHeaders,
    /// Answer headers they may read beside the harmless ones.
    pub expose: Vec<HeaderName>,
    /// Whether cookies and credentials go along. Never together with [`OriginPattern::Any`].
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight; none leaves it the browser's own, some seconds.
    pub max_age: Option<Duration>,
}

/// Request headers a page may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsHeaders {
    /// `"*"`: whatever it asks for.
    Any,
    /// These.
    These(Vec<HeaderName>),
}

/// A written origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// `"*"`.
    Any,
    /// `https://app.example.com`, in lower case; `null`.
    Exact(String),
    /// `https://*.example.com` as its parts before and behind the star: one or more labels.
    Subdomains {
        /// `https://`.
        before: String,
        /// `.example.com`, with its port.
        behind: String,
    },
}
