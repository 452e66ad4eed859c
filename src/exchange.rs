//! The facts about one request so far. Facts only, never handles to parts.

mod caller;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use caller::{Caller, Spot};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use crate::refusal::{Blame, Refusal};
use crate::wire::{Body, clock};

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
    /// Whether `trusted_proxies` holds the peer, so that it may say how the client asked.
    pub trusted: bool,
    /// Whether it came under TLS.
    pub tls: bool,
    /// Index into the table's routes, once one was found.
    pub route: Option<usize>,
    /// The request's method.
    pub method: Method,
    /// Its request is in HTTP/1.1 without a body, so that another protocol may follow it (RFC 9110 section 7.8).
    pub may_switch: bool,
    /// The method that it asks about, when it is a preflight of a route that says which pages may ask.
    pub preflight: Option<Method>,
    /// When its head was complete.
    pub began: Instant,
    /// Why the gateway answered by itself.
    pub refusal: Option<Refusal>,
    /// Who sent it, once a guard knows.
    pub caller: Option<Rc<Caller>>,
    /// What its answer says, whoever gives it: how much of a limit is left, which pages may read it.
    pub marks: Vec<(HeaderName, HeaderValue)>,
    /// What a refusal says beside its code: `Allow`, `WWW-Authenticate`, `Retry-After`.
    pub hints: Vec<(HeaderName, HeaderValue)>,
    /// What an operator should know of a refusal: what was asked for, or which instance failed how.
    pub cause: Option<String>,
    /// The service and its instance that answered.
    pub answerer: Option<Rc<str>>,
    /// Whether a refusal is to be in JSON. Set only where one may still follow.
    pub json: bool,
    /// The answer came before the request's body was sent: where its connection goes on is not known to all sides.
    pub stopped: bool,
    /// Attempts at instances, the first included.
    pub attempts: u32,
    /// Attempts beyond the first, by reason.
    pub retries: [u8; RetryReason::ALL.len()],
    /// Why there was no further attempt, where the route would have had one.
    pub suppressed: Option<Suppressed>,
    /// Counted among those its route bounds in number, and not yet taken off.
    pub admitted: Cell<bool>,
    /// Counted as under way, and not yet as over.
    pub counted: Cell<bool>,
}

/// The name under which an id travels.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Client {
    /// What is known of a peer that was just accepted.
    pub fn new(peer: SocketAddr, listener: usize, port: u16, trusted: bool) -> Self {
        let value = |text: String| {
            // Addresses and numbers are always values.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
        };
        Self {
            peer,
            peer_value: value(peer.ip().to_canonical().to_string()),
            trusted,
            listener,
            port_value: value(port.to_string()),
            tls: false,
        }
    }
}

impl Exchange {
    /// At the moment its head is complete.
    pub fn begin(client: &Client, method: Method, id: HeaderValue) -> Self {
        Self {
            id,
            address: client.peer.ip().to_canonical(),
            trusted: client.trusted,
            tls: client.tls,
            route: None,
            method,
            may_switch: false,
            preflight: None,
            began: clock::now(),
            refusal: None,
            caller: None,
            marks: Vec::new(),
            hints: Vec::new(),
            cause: None,
            answerer: None,
            json: false,
            stopped: false,
            attempts: 0,
            retries: [0; RetryReason::ALL.len()],
            suppressed: None,
            admitted: Cell::new(false),
            counted: Cell::new(false),
        }
    }

    /// The gateway answers by itself.
    pub fn refuse(&mut self, refusal: Refusal) -> Response<Body> {
        self.refusal = Some(refusal);
        let mut response = refusal.answer(&self.id, self.json);
        response.headers_mut().insert(REQUEST_ID, self.id.clone());
        if self.method == Method::HEAD {
            // The length that GET would have had, and nothing that would be taken for the next answer.
            let length = response.body().remaining();
            *response.body_mut() = length.map_or(Body::Empty, Body::Declared);
        }
        for (name, value) in self.hints.drain(..) {
            response.headers_mut().append(name, value);
        }
        response
    }

    /// Its id, for the log.
    pub fn shown_id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// How long it has been going on.
    pub fn took(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    /// How it ended, when its answer was written in full.
    pub fn fate(&self) -> Fate {
        match self.refusal.map(|refusal| (refusal, refusal.blame())) {
            None => Fate::Answered,
            Some((Refusal::UpstreamTimeout, _)) => Fate::TimedOut,
            Some((_, Blame::Upstream)) => Fate::UpstreamFailed,
            Some((_, Blame::Client | Blame::Gateway)) => Fate::Refused,
        }
    }

    /// An attempt was followed by another.
    pub fn retried(&mut self, reason: RetryReason) {
        let count = &mut self.retries[reason as usize];
        *count = count.saturating_add(1);
    }
}

/// Why an attempt was followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// No connection could be made, so no byte was sent.
    Connect,
    /// Lost before an answer's head.
    Reset,
    /// A kept connection turned out to be dead.
    Reused,
    /// No answer within the attempt's own time.
    Timeout,
    /// What came was no answer.
    Malformed,
    /// An answer with a status that the route lists.
    Status,
}

impl RetryReason {
    /// Every reason; the label of one is [`RetryReason::label`].
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Reset, Self::Reused, Self::Timeout, Self::Malformed, Self::Status];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Reused => "reused",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Status => "status",
        }
    }
}

/// Why an attempt was not followed by another although it ended as the route lists and there were attempts left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppressed {
    /// Something was sent, and the request's method may not go again.
    Method,
    /// Something was sent of a body that is not kept, or the rest of it was not yet there.
    Body,
    /// The service's budget of retries is used up.
    Budget,
    /// It would not have begun within the exchange's time.
    Timeout,
    /// The client has seen some of an answer.
    Begun,
    /// Breakers let nothing through, or not so many at a time.
    Breaker,
    /// There is no instance any more.
    NoInstance,
}

impl Suppressed {
    /// Every reason; the label of one is [`Suppressed::label`].
    pub const ALL: [Self; 7] = [
        Self::Method,
        Self::Body,
        Self::Budget,
        Self::Timeout,
        Self::Begun,
        Self::Breaker,
        Self::NoInstance,
    ];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Body => "body",
            Self::Budget => "budget",
            Self::Timeout => "timeout",
            Self::Begun => "begun",
            Self::Breaker => "breaker",
            Self::NoInstance => "no_instance",
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
    /// From the complete request head to the last byte of the answer; to its head when a tunnel followed.
    pub took: Duration,
}

/// Whether a client names JSON as something it takes.
pub fn wants_json(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|range| {
            let kind = range.split(';').next().unwrap_or_default().trim().as_bytes();
            let suffix = &kind[kind.len().saturating_sub(b"+json".len())..];
            kind.eq_ignore_ascii_case(b"application/json") || suffix.eq_ignore_ascii_case(b"+json")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_names_json_gets_it() {
        for (accept, json) in [
            ("application/json", true),
            ("text/html, Application/JSON;q=0.5", true),
            ("application/problem+json", true),
            ("text/plain,application/a+JSON", true),
            ("json", false),
            ("*/*", false),
            ("text/json-like", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_json(&headers), json, "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }
}
