//! What all kinds that speak HTTP share: an address, a name in a path, and why a question has no usable answer.

use bytes::Bytes;
use http::{Response, StatusCode, Uri};

use super::ledger::Blame;
use super::pace::{AWAY, REFUSED};
use crate::fetch::CallError;
use crate::fetch::tls::{Problem, problem};

/// Why a question has no usable answer. One line each, fit for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No complete answer.
    Away(String),
    /// It answers, but with a refusal (wrong token, unknown parameter), or is something else.
    Refused(String),
    /// It answers with a failure of its own, or with what cannot be read.
    Broken(String),
}

impl Trouble {
    /// Whose turn it is to do something about it.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Away(_) => Blame::Away,
            Self::Refused(_) => Blame::Refused,
            Self::Broken(_) => Blame::Broken,
        }
    }

    /// The longest pause before the next question.
    pub(super) fn longest_pause(&self) -> std::time::Duration {
        match self {
            Self::Away(_) | Self::Broken(_) => AWAY,
            Self::Refused(_) => REFUSED,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Away(why) | Self::Refused(why) | Self::Broken(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for Trouble {}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable(_) | CallError::Late(_) => Self::Away(error.to_string()),
            CallError::Foreign(_) => Self::Refused(error.to_string()),
            CallError::TooLong(_) => Self::Broken(error.to_string()),
        }
    }
}

/// `http://host:port/prefix` without a final slash. `127.0.0.1:8500`, the usual form of `CONSUL_HTTP_ADDR`, means
/// `http://127.0.0.1:8500`. `key` is where it was written.
pub(super) fn base(key: &'static str, address: &str) -> Result<String, Problem> {
    let address = address.trim();
    let full =
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let wrong = |why: &str| problem(key, format!("`{address}` {why}"));
    let uri: Uri = full.parse().map_err(|_| wrong("is not an address"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) | None => return Err(wrong("is neither http:// nor https://")),
    }
    if uri.host().is_none_or(str::is_empty) || full.contains(['?', '#', '@']) {
        return Err(wrong("is not `http://host:port`"));
    }
    Ok(full.trim_end_matches('/').to_owned())
}

/// The answer's first line when it is no success, in a trouble of its kind. `who` speaks: "the agent".
pub(super) fn success(who: &str, answer: &Response<Bytes>) -> Result<(), Trouble> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(200)]);
    let line: String =
        text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
    let why = format!("{who} answers {}: {}", status.as_u16(), line.trim());
    // 429 is a connection or rate limit: it passes by itself.
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        Err(Trouble::Refused(why))
    } else {
        Err(Trouble::Broken(why))
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme() {
        assert_eq!(base("address", "127.0.0.1:8500").unwrap(), "http://127.0.0.1:8500");
        assert_eq!(base("address", "localhost:8500/").unwrap(), "http://localhost:8500");
        assert_eq!(
            base("address", "https://[::1]:8501/consul").unwrap(),
            "https://[::1]:8501/consul"
        );
    }

    #[test]
    fn what_is_no_address_is_said_so() {
        for address in ["", "ftp://a", "http://", "http://a b", "http://a?x=1", "http://u:p@a"] {
            assert!(base("address", address).is_err(), "{address:?} was taken");
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encode("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }

    #[test]
    fn refusals_and_failures_differ() {
        let answer = |status: u16| {
            Response::builder().status(status).body(Bytes::from("ACL not found\nmore")).unwrap()
        };
        assert!(success("the agent", &answer(200)).is_ok());
        assert_eq!(
            success("the agent", &answer(403)),
            Err(Trouble::Refused("the agent answers 403: ACL not found".into()))
        );
        assert!(matches!(success("the agent", &answer(500)), Err(Trouble::Broken(_))));
        assert!(matches!(success("the agent", &answer(429)), Err(Trouble::Broken(_))));
    }
}
