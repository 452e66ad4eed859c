//! Every answer the gateway gives by itself: status, stable code, who is to blame.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::wire::h1::{Fault, Malformed};
use crate::wire::{Body, clock, spare};

/// The header that carries the code of an answer the gateway gave by itself.
pub const CODE: HeaderName = HeaderName::from_static("x-frontgate-code");

/// Why the gateway answers by itself. Flat, small, without strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Malformed or ambiguous; which rule of which RFC section was broken.
    BadRequest(&'static str),
    /// No credentials, or none that are good; the exchange knows which could be.
    Unauthenticated,
    /// Known but not allowed, or from an address that may not come in.
    Forbidden,
    /// No route.
    NoRoute,
    /// The route exists for other methods; the exchange knows which.
    MethodNotAllowed,
    /// The body is longer than the route's `max_body`.
    BodyTooLarge,
    /// The target is longer than `target_bytes`.
    TargetTooLong,
    /// The head is larger than `header_bytes` or has more than `headers` fields.
    HeadersTooLarge,
    /// The client was too slow with its head or body.
    ClientTimeout,
    /// Too often; the exchange knows when there is room again.
    RateLimited,
    /// An Expect other than 100-continue.
    Expectation,
    /// An HTTP version not spoken here.
    Version,
    /// The upstream broke: connect, reset, malformed answer.
    Upstream,
    /// The service has no instance.
    NoInstance,
    /// All that could be asked is cut off; the exchange knows until when.
    BreakerOpen,
    /// Too many connections or waiting exchanges.
    Overloaded,
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
    pub const CODES: [&'static str; 17] = [
        "bad_request",
        "unauthenticated",
        "forbidden",
        "no_route",
        "method_not_allowed",
        "body_too_large",
        "target_too_long",
        "headers_too_large",
        "client_timeout",
        "rate_limited",
        "expectation",
        "version",
        "upstream_error",
        "no_instance",
        "breaker_open",
        "overloaded",
        "upstream_timeout",
    ];

    /// Where its code stands in [`Refusal::CODES`].
    pub fn index(self) -> usize {
        match self {
            Self::BadRequest(_) => 0,
            Self::Unauthenticated => 1,
            Self::Forbidden => 2,
            Self::NoRoute => 3,
            Self::MethodNotAllowed => 4,
            Self::BodyTooLarge => 5,
            Self::TargetTooLong => 6,
            Self::HeadersTooLarge => 7,
            Self::ClientTimeout => 8,
            Self::RateLimited => 9,
            Self::Expectation => 10,
            Self::Version => 11,
            Self::Upstream => 12,
            Self::NoInstance => 13,
            Self::BreakerOpen => 14,
            Self::Overloaded => 15,
            Self::UpstreamTimeout => 16,
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
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::NoInstance | Self::BreakerOpen | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Who is to blame.
    pub fn blame(self) -> Blame {
        match self {
            Self::BadRequest(_)
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::RateLimited
            | Self::TargetTooLong
            | Self::HeadersTooLarge
            | Self::ClientTimeout
            | Self::Expectation
            | Self::Version => Blame::Client,
            Self::Upstream | Self::UpstreamTimeout => Blame::Upstream,
            Self::NoInstance | Self::BreakerOpen | Self::Overloaded => Blame::Gateway,
        }
    }

    /// The answer: one line `code: message`, or JSON for a client that asks for it.
    pub fn answer(self, id: &HeaderValue, json: bool) -> Response<Body> {
        let (code, message, status) = (self.code(), self.message(), self.status());
        let (kind, body) = if json {
            // Neither codes, messages nor ids hold anything that JSON would have to escape but quotes and backslashes.
            let id = id.to_str().unwrap_or_default().replace('\\', "\\\\").replace('"', "\\\"");
            let number = status.as_u16();
            let body = format!(
                "{{\"code\":\"{code}\",\"status\":{number},\"message\":\"{message}\",\"request_id\":\"{id}\"}}\n"
            );
            ("application/json", Bytes::from(body))
        } else {
            ("text/plain; charset=utf-8", self.line())
        };
        let mut response = Response::new(Body::Full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        *headers = spare::map();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CODE, HeaderValue::from_static(code));
        headers.insert(DATE, clock::http_date());
        response
    }

    /// `code: message`. Made once each: an open breaker may refuse as fast as clients can ask.
    fn line(self) -> Bytes {
        static LINES: [OnceLock<Bytes>; Refusal::CODES.len()] =
            [const { OnceLock::new() }; Refusal::CODES.len()];
        let line = || Bytes::from(format!("{}: {}\n", self.code(), self.message()));
        // That code has many messages.
        if matches!(self, Self::BadRequest(_)) {
            return line();
        }
        LINES[self.index()].get_or_init(line).clone()
    }

    /// One line for a person, never internals.
    pub fn message(self) -> &'static str {
        match self {
            Self::BadRequest(rule) => rule,
            Self::Unauthenticated => "credentials are missing or not good",
            Self::Forbidden => "this may not be done from here or by you",
            Self::NoRoute => "no route for this host and path",
            Self::MethodNotAllowed => "this route does not take this method",
            Self::BodyTooLarge => "the request body is too large",
            Self::TargetTooLong => "the request target is too long",
            Self::HeadersTooLarge => "the request headers are too large or too many",
            Self::ClientTimeout => "the request took too long to arrive",
            Self::RateLimited => "too many requests: try again later",
            Self::Expectation => "only 100-continue can be expected here",
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::Upstream => "the service behind this route did not answer properly",
            Self::NoInstance => "the service behind this route has no instance",
            Self::BreakerOpen => {
                "the service behind this route fails and is left alone for a moment"
            }
            Self::Overloaded => "too many connections or requests at once",
            Self::UpstreamTimeout => "the service behind this route took too long",
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed.fault() {
            Fault::Bad => Self::BadRequest(malformed.rule()),
            Fault::Method => Self::MethodNotAllowed,
            Fault::Target => Self::TargetTooLong,
            Fault::Fields => Self::HeadersTooLarge,
            Fault::Version => Self::Version,
            Fault::Expectation => Self::Expectation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Refusal; 17] = [
        Refusal::BadRequest("because"),
        Refusal::Unauthenticated,
        Refusal::Forbidden,
        Refusal::NoRoute,
        Refusal::MethodNotAllowed,
        Refusal::BodyTooLarge,
        Refusal::TargetTooLong,
        Refusal::HeadersTooLarge,
        Refusal::ClientTimeout,
        Refusal::RateLimited,
        Refusal::Expectation,
        Refusal::Version,
        Refusal::Upstream,
        Refusal::NoInstance,
        Refusal::BreakerOpen,
        Refusal::Overloaded,
        Refusal::UpstreamTimeout,
    ];

    #[test]
    fn every_refusal_has_a_code_of_its_own() {
        for (at, refusal) in ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), at, "{refusal:?}");
        }
    }

    #[test]
    fn answers_in_one_line_or_in_json() {
        let id = HeaderValue::from_static(r#"a"b\c"#);
        for refusal in ALL {
            let Body::Full(text) = refusal.answer(&id, false).into_body() else { panic!() };
            let line = format!("{}: {}\n", refusal.code(), refusal.message());
            assert_eq!(text, line);
            let response = refusal.answer(&id, true);
            assert_eq!(response.headers()[CODE], refusal.code());
            let Body::Full(json) = response.into_body() else { panic!() };
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json["code"], refusal.code());
            assert_eq!(json["status"], refusal.status().as_u16());
            assert_eq!(json["message"], refusal.message());
            assert_eq!(json["request_id"], r#"a"b\c"#);
        }
    }
}
