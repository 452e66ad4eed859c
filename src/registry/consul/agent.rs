//! One Consul agent: its address, its options, and one call to it.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;

use super::settings::{Reread, Settings};
use crate::config::Secret;
use crate::registry::http::{CallError, Client, Serial};
use crate::registry::tls::{Problem, problem};

/// An agent refuses more than 200 connections from one address (`limits.http_max_conns_per_client`), and it is not ours
/// alone. One more is the pulse's.
const CONNECTIONS: usize = 62;
/// A cluster's whole list of checks fits; an endless answer does not.
const BODY: usize = 32 << 20;
/// How long an agent may hold a question whose answer has not changed.
pub(super) const WAIT: Duration = Duration::from_secs(55);
/// The agent adds up to a sixteenth of the wait, so that not all its clients come back at once ("Blocking Queries").
pub(super) const HELD: Duration = Duration::from_millis(55_000 + 55_000 / 16 + 5_000);
/// Bound on a call that the agent answers at once.
pub(super) const PROMPT: Duration = Duration::from_secs(5);

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// Why a question has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No complete answer.
    Away(String),
    /// It answers, but with a refusal (wrong token, unknown parameter), or is no agent.
    Refused(String),
    /// It answers with a failure of its own, or with what cannot be read.
    Broken(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Away(why) | Self::Refused(why) | Self::Broken(why)) = self;
        f.write_str(why)
    }
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable(_) | CallError::Late(_) => Self::Away(error.to_string()),
            CallError::Foreign(_) => Self::Refused(error.to_string()),
            CallError::TooLong(_) => Self::Broken(error.to_string()),
        }
    }
}

/// Where the agent is and how it is asked.
pub(super) struct Agent {
    client: Client,
    /// A client with one connection, so that its end says something about the agent.
    probe: Client,
    /// Scheme, authority and path prefix, without a final slash.
    base: String,
    /// Options of every read: `&dc=…&stale`.
    reading: String,
    /// Options of every write: `&ns=…`.
    writing: String,
    token: Mutex<Option<HeaderValue>>,
    reread: Option<Reread>,
}

impl Agent {
    pub(super) fn new(settings: &Settings) -> Result<Self, Problem> {
        let base = base(&settings.address)?;
        let tls = crate::registry::tls::Settings {
            on: base.starts_with("https:"),
            ..settings.tls.clone()
        };
        let mut tenancy = String::new();
        for (key, value) in [("ns", &settings.namespace), ("partition", &settings.partition)] {
            if let Some(value) = value {
                tenancy.push_str(&format!("&{key}={}", encode(value)));
            }
        }
        let mut reading = tenancy.clone();
        for (key, value) in [("dc", &settings.datacenter), ("near", &settings.near)] {
            if let Some(value) = value {
                reading.push_str(&format!("&{key}={}", encode(value)));
            }
        }
        if settings.stale {
            reading.push_str("&stale");
        }
        let token = settings.token.as_ref().map(header).transpose()?;
        let client = Client::new(&tls, CONNECTIONS, BODY)?;
        let probe = Client::new(&tls, 1, BODY)?;
        let reread = settings.reread.clone();
        Ok(Self {
            client,
            probe,
            base,
            reading,
            writing: tenancy,
            token: Mutex::new(token),
            reread,
        })
    }

    /// The agent's address, for messages.
    pub(super) fn address(&self) -> &str {
        &self.base
    }

    /// Reads `path`, which ends in its own options (`/v1/health/service/a?passing=1`).
    pub(super) async fn read(
        &self,
        path: &str,
        within: Duration,
    ) -> Result<Response<Bytes>, Trouble> {
        let target = format!("{}{path}{}", self.base, self.reading);
        self.call(Method::GET, &target, Bytes::new(), within).await
    }

    /// Asks this agent itself, about its own services or its cluster; knows no datacenter.
    pub(super) async fn ask(&self, path: &str) -> Result<Response<Bytes>, Trouble> {
        let target = format!("{}{path}{}", self.base, self.writing);
        self.call(Method::GET, &target, Bytes::new(), PROMPT).await
    }

    /// Whether it answers at all, and over which connection. Any answer will do: the question needs no token, and a
    /// proxy before the agent may refuse it.
    pub(super) async fn probe(&self, within: Duration) -> Result<Option<Serial>, Trouble> {
        let target = format!("{}/v1/status/leader", self.base);
        let request = request(Method::GET, &target, Bytes::new(), self.token())?;
        Ok(self.probe.call(request, within).await?.extensions().get().copied())
    }

    /// Tells this agent something.
    pub(super) async fn tell(&self, path: &str, body: Bytes) -> Result<Response<Bytes>, Trouble> {
        let target = format!("{}{path}{}", self.base, self.writing);
        self.call(Method::PUT, &target, body, PROMPT).await
    }

    async fn call(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Response<Bytes>, Trouble> {
        let used = self.token();
        let request = request(method, target, body, used.clone())?;
        let answer = self.client.call(request, within).await?;
        if matches!(answer.status(), StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
            self.reread_token(used.as_ref());
        }
        Ok(answer)
    }

    fn token(&self) -> Option<HeaderValue> {
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// A refused token may have been replaced in its file meanwhile; the next try then goes with the new one.
    fn reread_token(&self, used: Option<&HeaderValue>) {
        let Some(reread) = &self.reread else { return };
        let Some(Ok(fresh)) = reread().as_ref().map(header) else { return };
        if Some(&fresh) != used {
            *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fresh);
        }
    }
}

fn request(
    method: Method,
    target: &str,
    body: Bytes,
    token: Option<HeaderValue>,
) -> Result<Request<Full<Bytes>>, Trouble> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(Full::new(body))
        .map_err(|e| Trouble::Refused(format!("{target} is no address: {e}")))?;
    if let Some(token) = token {
        request.headers_mut().insert(TOKEN, token);
    }
    Ok(request)
}

fn header(token: &Secret) -> Result<HeaderValue, Problem> {
    // A token read from a file ends in the file's newline.
    let mut value = HeaderValue::from_str(token.reveal().trim())
        .map_err(|_| problem("token", "holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `127.0.0.1:8500`, the usual form of `CONSUL_HTTP_ADDR`, means `http://127.0.0.1:8500`.
fn base(address: &str) -> Result<String, Problem> {
    let address = address.trim();
    let full =
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let wrong = |why: &str| problem("address", format!("`{address}` {why}"));
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

/// The answer's first line when it is no success, in a trouble of its kind.
pub(super) fn success(answer: &Response<Bytes>) -> Result<(), Trouble> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(200)]);
    let line: String =
        text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
    let why = format!("the agent answers {}: {}", status.as_u16(), line.trim());
    // 429 is the agent's connection or rate limit: it passes by itself.
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
        assert_eq!(base("127.0.0.1:8500").unwrap(), "http://127.0.0.1:8500");
        assert_eq!(base("localhost:8500/").unwrap(), "http://localhost:8500");
        assert_eq!(base("https://[::1]:8501/consul").unwrap(), "https://[::1]:8501/consul");
    }

    #[test]
    fn what_is_no_address_is_said_so() {
        for address in ["", "ftp://a", "http://", "http://a b", "http://a?x=1", "http://u:p@a"] {
            assert!(base(address).is_err(), "{address:?} was taken");
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encode("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }

    #[test]
    fn a_token_loses_its_newline_and_is_never_printed() {
        let value = header(&Secret::new("secret\n".into())).unwrap();
        assert_eq!(value, "secret");
        assert!(!format!("{value:?}").contains("secret"));
    }

    #[test]
    fn refusals_and_failures_differ() {
        let answer = |status: u16| {
            Response::builder().status(status).body(Bytes::from("ACL not found\nmore")).unwrap()
        };
        assert!(success(&answer(200)).is_ok());
        assert_eq!(
            success(&answer(403)),
            Err(Trouble::Refused("the agent answers 403: ACL not found".into()))
        );
        assert!(matches!(success(&answer(500)), Err(Trouble::Broken(_))));
        assert!(matches!(success(&answer(429)), Err(Trouble::Broken(_))));
    }
}
