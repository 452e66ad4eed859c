//! The shapes of answers: JSON, and errors as `{"error":{"code","message"}}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why the admin does not answer what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request makes no sense; which part of it.
    Malformed(&'static str),
    /// A token is needed and was not there or not right.
    NoToken,
    /// This peer, page or name may not ask.
    Forbidden(&'static str),
    /// There is no such thing.
    NotFound(String),
    /// The address takes other methods: these, as `Allow` has them. Empty where the router says them itself.
    Method(&'static str),
    /// Took too long.
    Slow,
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "bad_request",
            Self::NoToken => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Slow => "timeout",
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Malformed(what) | Self::Forbidden(what) => what,
            Self::NoToken => "this needs the admin token as `Authorization: Bearer …`",
            Self::NotFound(what) => what,
            Self::Method(_) => "this address takes other methods",
            Self::Slow => "the answer took too long to make",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code(), "message": self.message()}});
        let mut response = (self.status(), Json(body)).into_response();
        if self == Self::NoToken {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::Method(allowed) = self
            && !allowed.is_empty()
        {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl From<PathRejection> for Refused {
    fn from(_: PathRejection) -> Self {
        Self::Malformed("the path is not valid percent-encoded UTF-8")
    }
}

/// What is asked for, or why it is not given.
pub(super) type Answer = Result<Json<Value>, Refused>;

pub(super) async fn no_such_address(uri: Uri) -> Refused {
    Refused::NotFound(format!("nothing is at {}", uri.path()))
}

pub(super) async fn no_such_method() -> Refused {
    Refused::Method("")
}
