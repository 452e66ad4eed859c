//! The facts about one request so far. Facts only, never handles to parts.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method};

use crate::refusal::Refusal;

/// What is known of the peer of a connection; made once per connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The peer's address as a header value, so that forwarding it copies nothing.
    pub peer_value: HeaderValue,
    /// Whether `trusted_proxies` holds the peer.
    pub trusted: bool,
    /// Index of the listener.
    pub listener: usize,
    /// The listener's port as a header value.
    pub port_value: HeaderValue,
    /// Whether the connection is under TLS.
    pub tls: bool,
}

/// The facts about one request and its answer.
#[derive(Debug)]
pub struct Exchange {
    /// `x-request-id`, to the upstream and to the client.
    pub id: HeaderValue,
    /// The client: the peer, or what a trusted peer says.
    pub address: IpAddr,
    /// Index into the table's routes, once one was found.
    pub route: Option<usize>,
    /// The request's method.
    pub method: Method,
    /// When its head was complete.
    pub began: Instant,
    /// Why the gateway answered by itself.
    pub refusal: Option<Refusal>,
    /// Methods a route takes, when none takes this one.
    pub allow: Option<HeaderValue>,
    /// Whether the client asks for JSON.
    pub json: bool,
    /// Attempts at instances, the first included.
    pub attempts: u32,
    /// Attempts beyond the first, by reason.
    pub retries: [u8; RetryReason::ALL.len()],
}

impl Exchange {
    /// An attempt was followed by another.
    pub fn retried(&mut self, reason: Option<RetryReason>) {
        if let Some(reason) = reason {
            let count = &mut self.retries[reason as usize];
            *count = count.saturating_add(1);
        }
    }
}

/// Why an attempt was followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// No connection could be made, so no byte was sent.
    Connect,
    /// Lost before the first response byte.
    Reset,
    /// A kept connection turned out to be dead.
    Reused,
}

impl RetryReason {
    /// Every reason; the label of one is [`RetryReason::label`].
    pub const ALL: [Self; 3] = [Self::Connect, Self::Reset, Self::Reused];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Reused => "reused",
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An upstream's answer reached the client in full.
    Answered,
    /// The gateway answered by itself, by the client's or its own cause.
    Refused,
    /// The upstream broke, before or within its answer.
    UpstreamFailed,
    /// The client left before the end.
    ClientGone,
    /// The upstream or the whole exchange took too long.
    TimedOut,
}

impl Fate {
    /// Every fate; the label of one is [`Fate::label`].
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Refused, Self::UpstreamFailed, Self::ClientGone, Self::TimedOut];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::ClientGone => "client_gone",
            Self::TimedOut => "timed_out",
        }
    }
}

/// The end of an exchange, for those who look on.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The status sent; 0 if none was.
    pub status: u16,
    /// How it ended.
    pub fate: Fate,
    /// From the complete request head to the last byte of the answer.
    pub took: Duration,
}
