//! One shape for what any reader makes of bytes.

use std::collections::BTreeMap;

use http::{HeaderMap, Uri, Version};

/// Values in order, by name in lower case.
pub type Fields = BTreeMap<String, Vec<Vec<u8>>>;

/// A message as a reader understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What its first line says.
    pub start: Start,
    /// HTTP/1.1, not HTTP/1.0.
    pub modern: bool,
    /// Its fields.
    pub fields: Fields,
    /// Its body and trailers; none when it did not come to its end.
    pub body: Option<(Vec<u8>, Fields)>,
}

/// What a first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request's.
    Request {
        /// As written.
        method: String,
        /// Path and query.
        target: String,
        /// What an absolute target names; none in origin form.
        authority: Option<String>,
    },
    /// An answer's status.
    Answer(u16),
}

impl Message {
    /// A request whose body was not read yet.
    pub fn request(parts: &http::request::Parts) -> Self {
        let start = Start::Request {
            method: parts.method.as_str().to_owned(),
            target: target(&parts.uri),
            authority: parts.uri.authority().map(ToString::to_string),
        };
        let modern = parts.version == Version::HTTP_11;
        Self { start, modern, fields: fields(&parts.headers), body: None }
    }

    /// An answer whose body was not read yet.
    pub fn answer(parts: &http::response::Parts) -> Self {
        let modern = parts.version == Version::HTTP_11;
        let start = Start::Answer(parts.status.as_u16());
        Self { start, modern, fields: fields(&parts.headers), body: None }
    }
}

/// The fields that our reader of answers keeps: what is for the wire alone stays there.
pub fn kept(mut fields: Fields) -> Fields {
    fields.remove("content-length");
    fields.remove("transfer-encoding");
    if let Some(values) = fields.get_mut("connection") {
        values.retain(|value| !value.eq_ignore_ascii_case(b"keep-alive") && value != b"close");
        if values.is_empty() {
            fields.remove("connection");
        }
    }
    fields
}

fn target(uri: &Uri) -> String {
    uri.query().map_or_else(|| uri.path().to_owned(), |query| format!("{}?{query}", uri.path()))
}

/// A map's values in order, by name.
pub fn fields(map: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in map {
        fields.entry(name.as_str().to_owned()).or_default().push(value.as_bytes().to_vec());
    }
    fields
}

/// Names that we drop from trailers (RFC 9110 section 6.5.1), under any sign for their hyphens.
const UNWELCOME: [&str; 26] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-frontgate-code",
    "x-real-ip",
    "x-request-id",
];

/// The trailers that pass a gateway.
pub fn passing(mut trailers: Fields) -> Fields {
    trailers.retain(|name, _| {
        let plain = name.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-");
        !plain.starts_with("x-forwarded-") && !UNWELCOME.contains(&plain.as_str())
    });
    trailers
}
