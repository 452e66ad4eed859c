//! Headers that only the gateway writes: no caller is told by them, and no other service gets or sets them.

use http::HeaderName;

/// What frames a message or is for one connection, and what the gateway says of the client and of itself.
const OURS: [&str; 19] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-frontgate-code",
    "x-original-uri",
    "x-real-ip",
    "x-request-id",
];

/// Whether the gateway alone writes it, in either direction.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    OURS.contains(&name) || name.starts_with("x-forwarded-") || name.starts_with("x-frontgate-")
}
