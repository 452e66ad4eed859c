//! `kind = "forward"`: another service decides, as with Traefik's forwardAuth and nginx's `auth_request`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;

use super::ours::is_ours;
use super::{Denied, Desk, FromTable, Scheme, Setting, Verdict, subrequest};
use crate::config::{Key, Table};
use crate::exchange::{Caller, Exchange};
use crate::fetch::{CallError, Client, tls};
use crate::wire::Body;

/// Its keys.
pub(super) const KEYS: &[Key] = &tls::and::<4, 9>([
    Key::new("url", "string", "", "what is asked, with GET: a 2xx lets in"),
    Key::new("timeout", "duration", "\"2s\"", "no whole answer in that time lets nobody in"),
    Key::new(
        "request_headers",
        "list of strings",
        "[\"authorization\", \"cookie\"]",
        "headers of the request that it is told",
    ),
    Key::new(
        "response_headers",
        "list of strings",
        "",
        "headers of its 2xx that the upstream is told; the first names the caller",
    ),
]);

const TIMEOUT: Duration = Duration::from_secs(2);
/// Connections of one worker.
const CONNECTIONS: usize = 64;
/// Requests of one worker about which it is being asked; one more is told to come again.
const ASKING: usize = 1024;
/// Of an answer's body: a page that says where to log in.
const BODY_BYTES: usize = 64 << 10;
/// A name in the log is not longer.
const NAME_BYTES: usize = 256;
/// Between two lines of a worker about a service that fails.
const QUIET: Duration = Duration::from_secs(1);

/// Another service that decides, as written.
#[derive(Debug)]
pub(super) struct Forward {
    name: Arc<str>,
    uri: Uri,
    timeout: Duration,
    request_headers: Box<[HeaderName]>,
    response_headers: Box<[HeaderName]>,
    tls: tls::Prepared,
}

impl FromTable for Forward {
    fn from_table(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Self> {
        let uri = url(table);
        let timeout = table.duration("timeout").unwrap_or(TIMEOUT);
        if timeout.is_zero() {
            table.problem("timeout", "`timeout` must be more than nothing", "like \"2s\"");
        }
        let request_headers = names(table, "request_headers");
        let response_headers = names(table, "response_headers");
        let on = uri.as_ref().is_some_and(|uri| uri.scheme_str() == Some("https"));
        let tls = tls::Settings { on, ..tls::Settings::read(table) };
        let tls = tls.prepare().map_err(|problem| {
            table.problem("tls", problem.to_string(), None::<String>);
        });
        Some(Self {
            name: setting.name.into(),
            uri: uri?,
            timeout,
            request_headers: request_headers
                .unwrap_or_else(|| [AUTHORIZATION, COOKIE].to_vec())
                .into(),
            response_headers: response_headers.unwrap_or_default().into(),
            tls: tls.ok()?,
        })
    }
}

fn url(table: &mut Table<'_>) -> Option<Uri> {
    const LIKE: &str = "like \"http://authz.internal/check\"";
    if !table.has("url") {
        table.problem("", "forward needs `url`: the service that decides", LIKE);
    }
    let text = table.text("url")?;
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(uri) = uri.filter(|_| !text.contains('#')) else {
        table.problem("url", "`url` is not the address of a service", LIKE);
        return None;
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let hint = "it is told the caller's credentials, and needs none of the gateway's";
        table.problem("url", "`url` holds a user", hint);
        return None;
    }
    Some(uri)
}

/// Names that may be copied from one message into another.
fn names(table: &mut Table<'_>, key: &str) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for text in table.strings(key)? {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) if is_ours(&name) => {
                let hint = "it is about one connection, or the gateway says it by itself";
                table.problem(key, format!("`{key}` may not name {name}"), hint);
            }
            Ok(name) if names.contains(&name) => {
                table.problem(key, format!("`{key}` names {name} twice"), None::<String>);
            }
            Ok(name) => names.push(name),
            Err(_) => {
                table.problem(key, format!("{text:?} cannot be a header's name"), None::<String>);
            }
        }
    }
    Some(names)
}

impl Scheme for Forward {
    fn desk(self: Arc<Self>) -> Rc<dyn Desk> {
        let client = Client::with(&self.tls, CONNECTIONS, BODY_BYTES);
        let (asking, said) = (Cell::new(0), Cell::new((None, 0)));
        Rc::new(Window(Rc::new(Asking { forward: self, client, asking, said })))
    }

    fn headers(&self) -> &[HeaderName] {
        &self.response_headers
    }
}

/// A worker's.
#[derive(Debug)]
struct Window(Rc<Asking>);

/// What goes on at it.
#[derive(Debug)]
struct Asking {
    forward: Arc<Forward>,
    /// Its connections run on the worker's own runtime.
    client: Client,
    asking: Cell<usize>,
    /// When a line was last written, and how many were not since.
    said: Cell<(Option<Instant>, u64)>,
}

impl Desk for Window {
    fn check(&self, asked: &Parts, exchange: &Exchange) -> Verdict {
        let Some(place) = Place::take(&self.0) else {
            let most = format!("{ASKING} requests of this worker wait for its answer");
            return Verdict::Out(Denied::Busy { reason: self.0.warned(&most) });
        };
        let forward = &self.0.forward;
        let request = subrequest::of(&forward.uri, &forward.request_headers, asked, exchange);
        let head = asked.method == Method::HEAD;
        Verdict::Ask(Box::pin(async move { place.0.ask(request, head).await }))
    }

    fn challenge(&self, _: &Denied) -> Option<HeaderValue> {
        // Only the service knows, and its 401 is passed on.
        None
    }
}

/// One of those that may ask at a time; given back also when the client leaves.
struct Place(Rc<Asking>);

impl Place {
    fn take(of: &Rc<Asking>) -> Option<Self> {
        let now = of.asking.get();
        (now < ASKING).then(|| {
            of.asking.set(now + 1);
            Self(Rc::clone(of))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.asking.set(self.0.asking.get() - 1);
    }
}

impl Asking {
    async fn ask(&self, request: Request<Full<Bytes>>, head: bool) -> Result<Rc<Caller>, Denied> {
        let answer = self.answer(request).await.map_err(|error| self.failed(&error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Rc::new(self.forward.caller(answer.headers())));
        }
        // A redirect is the client's to follow. Anything else is no decision.
        if !status.is_redirection() && !status.is_client_error() {
            return Err(self.failed(&format!("it answered {status}")));
        }
        let body = |bytes: Bytes| match bytes.is_empty() {
            true => Body::Empty,
            false if head => Body::Declared(bytes.len() as u64),
            false => Body::Full(bytes),
        };
        Err(Denied::Answered(Box::new(answer.map(body))))
    }

    /// Asks once more where a connection broke, which may have been kept for too long: a question does no harm twice.
    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        let (began, within) = (Instant::now(), self.forward.timeout);
        match self.client.call(request.clone(), within).await {
            Err(CallError::Unreachable(_)) if began.elapsed() < within => {
                self.client.call(request, within - began.elapsed().min(within)).await
            }
            answer => answer,
        }
    }

    /// Nobody comes in by a service that cannot be asked.
    fn failed(&self, why: &str) -> Denied {
        let description = "who may come in here cannot be told now";
        Denied::Forbidden {
            error: "temporarily_unavailable",
            description,
            reason: self.warned(why),
        }
    }

    /// The reason, which is also said to the operator, as long as that is not too often.
    fn warned(&self, why: &str) -> String {
        let uri = &self.forward.uri;
        let place = uri.authority().map_or("", |authority| authority.as_str());
        let (last, unsaid) = self.said.get();
        if last.is_none_or(|last| last.elapsed() >= QUIET) {
            let auth = &*self.forward.name;
            tracing::warn!(
                auth,
                service = place,
                why,
                left_out = unsaid,
                "a service that decides who may come in does not: nobody may"
            );
            self.said.set((Some(Instant::now()), 0));
        } else {
            self.said.set((last, unsaid + 1));
        }
        format!("{place}: {why}")
    }
}

impl Forward {
    /// Whom an answer lets in, and what the upstream is told.
    fn caller(&self, answer: &HeaderMap) -> Caller {
        let headers: Vec<_> = self
            .response_headers
            .iter()
            .flat_map(|name| answer.get_all(name).iter().map(|value| (name.clone(), value.clone())))
            .collect();
        let name = headers.first().and_then(|(_, value)| value.to_str().ok());
        let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_BYTES);
        Caller {
            name: name.unwrap_or("-").into(),
            auth: Arc::clone(&self.name),
            claims: name.map(|name| ("sub".into(), name.into())).into_iter().collect(),
            headers,
            strip: None,
        }
    }
}

#[cfg(test)]
mod tests;
