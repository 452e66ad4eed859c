//! A route once checked.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// `[[route]]` over `[defaults.route]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// Unique; the label in metrics and logs.
    pub name: String,
    /// `file:line` of the table's header.
    pub source: String,
    /// At least one; any of them.
    pub paths: Vec<PathPattern>,
    /// Lower case, without port and final dot; empty means any.
    pub hosts: Vec<HostPattern>,
    /// Empty means any; `GET` includes `HEAD`.
    pub methods: Vec<http::Method>,
    /// All must hold.
    pub headers: Vec<(HeaderName, Condition)>,
    /// All must hold, on decoded names and values.
    pub query: Vec<(String, Condition)>,
    /// Indices into [`super::Config::listeners`]; empty means every one.
    pub listen: Vec<usize>,
    /// Higher first.
    pub priority: i64,
    /// A name in [`super::Config::services`].
    pub service: String,
    /// What happens to the path.
    pub path: PathRewrite,
    /// Whether the upstream sees the client's Host.
    pub preserve_host: bool,
    /// The whole exchange until the final answer's head; zero is none.
    pub timeout: Duration,
    /// Silence of the upstream on a streaming body, of both sides on a tunnel; zero is none.
    pub idle_timeout: Duration,
    /// When a request is sent once more.
    pub retry: super::RetryConfig,
    /// Names of protocols that may be switched to, in lower case.
    pub upgrade: Vec<String>,
    /// Who may come in, and how often.
    pub guard: super::GuardConfig,
    /// Changes to the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes to the answer's headers.
    pub response_headers: HeaderEdits,
}

/// What happens to a path before it is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// Sent as it came.
    Keep,
    /// The literal part before `/*` goes, `x-forwarded-prefix` is added.
    StripPrefix,
    /// A template with `{rest}`, `{name}` and `${1}`.
    Template(String),
}

/// A written path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// `/orders` or `/orders/{id}/lines`: these segments and no more.
    Exact(Vec<Segment>),
    /// `/orders/*`: these segments and whatever follows at a segment boundary.
    Prefix(Vec<Segment>),
    /// `~^/orders/\d+$`: a regular expression over the whole path.
    Regex(String),
}

/// One segment of a written path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Itself.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Capture(String),
}

/// A written host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `shop.example.com`.
    Exact(String),
    /// `*.example.com` as `.example.com`: one or more labels before it.
    Suffix(String),
}

/// A condition on a header or query value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Exactly this value.
    Equals(String),
    /// A regular expression that matches the whole value.
    Matches(String),
    /// Present, whatever its value.
    Present,
    /// Not there.
    Absent,
}

/// `request_headers` or `response_headers`, applied in the order remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Names that go.
    pub remove: Vec<HeaderName>,
    /// Names that get this one value.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Values added beside those there are.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}
