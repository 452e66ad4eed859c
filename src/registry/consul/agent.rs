//! One Consul agent: its address, its options, and one call to it.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::settings::Settings;
use crate::config::Secret;
use crate::fetch::tls::{Problem, problem};
use crate::fetch::{Client, Serial};
use crate::registry::Reread;
use crate::registry::trouble::{Trouble, base, encode};

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
        let base = base("address", &settings.address)?;
        let tls =
            crate::fetch::tls::Settings { on: base.starts_with("https:"), ..settings.tls.clone() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_loses_its_newline_and_is_never_printed() {
        let value = header(&Secret::new("secret\n".into())).unwrap();
        assert_eq!(value, "secret");
        assert!(!format!("{value:?}").contains("secret"));
    }
}
