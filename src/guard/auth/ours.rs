//! Headers that only the gateway writes: no caller is told by them, and no other service gets or sets them.

use http::HeaderName;

use crate::config::is_owned;

/// What the gateway says of the client and of where a request goes, beside what no route may edit either.
const OURS: [&str; 5] = ["forwarded", "host", "via", "x-original-uri", "x-real-ip"];

/// Whether the gateway alone writes it, in either direction.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    is_owned(name)
        || OURS.contains(&text)
        || ["x-forwarded-", "x-frontgate-"].iter().any(|start| text.starts_with(start))
}
