//! Every answer the gateway gives by itself: status, stable code, who is to blame.

use http::StatusCode;

/// Why the gateway answers by itself. Flat, small, without strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Malformed or ambiguous; which rule of which RFC section was broken.
    BadRequest(&'static str),
    /// No route.
    NoRoute,
    /// The route exists for other methods; the exchange knows which.
    MethodNotAllowed,
    /// The target is longer than `target_bytes`.
    TargetTooLong,
    /// The head is larger than `header_bytes` or has more than `headers` fields.
    HeadersTooLarge,
    /// The client was too slow with its head or body.
    ClientTimeout,
    /// An Expect other than 100-continue.
    Expectation,
    /// An HTTP version not spoken here.
    Version,
    /// The upstream broke: connect, reset, malformed answer.
    Upstream,
    /// The service has no instance.
    NoInstance,
    /// Too many connections or waiting exchanges.
    Overloaded,
    /// The gateway is shutting down.
    Draining,
    /// The upstream or the whole exchange took too long.
    UpstreamTimeout,
}

/// Who is to blame for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client sent something it should not have.
    Client,
    /// An instance did not do its part.
    Upstream,
    /// The gateway cannot or may not serve now.
    Gateway,
}

impl Refusal {
    /// Every code, in the order of the contract's table; the index of one is [`Refusal::index`].
    pub const CODES: [&'static str; 13] = [
        "bad_request",
        "no_route",
        "method_not_allowed",
        "target_too_long",
        "headers_too_large",
        "client_timeout",
        "expectation",
        "version",
        "upstream_error",
        "no_instance",
        "overloaded",
        "draining",
        "upstream_timeout",
    ];

    /// Where its code stands in [`Refusal::CODES`].
    pub fn index(self) -> usize {
        match self {
            Self::BadRequest(_) => 0,
            Self::NoRoute => 1,
            Self::MethodNotAllowed => 2,
            Self::TargetTooLong => 3,
            Self::HeadersTooLarge => 4,
            Self::ClientTimeout => 5,
            Self::Expectation => 6,
            Self::Version => 7,
            Self::Upstream => 8,
            Self::NoInstance => 9,
            Self::Overloaded => 10,
            Self::Draining => 11,
            Self::UpstreamTimeout => 12,
        }
    }

    /// The stable word in body, header, log and metric.
    pub fn code(self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// The status sent.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::NoInstance | Self::Overloaded | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Who is to blame.
    pub fn blame(self) -> Blame {
        match self {
            Self::BadRequest(_)
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::TargetTooLong
            | Self::HeadersTooLarge
            | Self::ClientTimeout
            | Self::Expectation
            | Self::Version => Blame::Client,
            Self::Upstream | Self::UpstreamTimeout => Blame::Upstream,
            Self::NoInstance | Self::Overloaded | Self::Draining => Blame::Gateway,
        }
    }

    /// One line for a person, never internals.
    pub fn message(self) -> &'static str {
        match self {
            Self::BadRequest(rule) => rule,
            Self::NoRoute => "no route for this host and path",
            Self::MethodNotAllowed => "this route does not take this method",
            Self::TargetTooLong => "the request target is too long",
            Self::HeadersTooLarge => "the request headers are too large or too many",
            Self::ClientTimeout => "the request took too long to arrive",
            Self::Expectation => "only 100-continue can be expected here",
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::Upstream => "the service behind this route did not answer properly",
            Self::NoInstance => "the service behind this route has no instance",
            Self::Overloaded => "too many requests at once",
            Self::Draining => "the gateway is shutting down",
            Self::UpstreamTimeout => "the service behind this route took too long",
        }
    }
}
