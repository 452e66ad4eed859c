//! A small HTTP/1.1 server around a sample, which leaves without losing a request.

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::{addsvc, stringsvc};

/// Bytes of a request body; the samples need a few dozen.
const MAX_BODY: usize = 64 << 10;
/// After a failed accept (no file descriptors, as a rule), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// `POST /sum`, `POST /concat`.
    Addsvc,
    /// `POST /uppercase`, `POST /count`.
    Stringsvc,
}

impl Sample {
    /// Both, in the order they are shown.
    pub const ALL: [Self; 2] = [Self::Addsvc, Self::Stringsvc];

    /// The name it registers under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Addsvc => "addsvc",
            Self::Stringsvc => "stringsvc",
        }
    }

    /// The function behind a path.
    fn operation(self, path: &str) -> Option<Operation> {
        match (self, path) {
            (Self::Addsvc, "/sum") => Some(addsvc::sum),
            (Self::Addsvc, "/concat") => Some(addsvc::concat),
            (Self::Stringsvc, "/uppercase") => Some(stringsvc::uppercase),
            (Self::Stringsvc, "/count") => Some(stringsvc::count),
            _ => None,
        }
    }
}

/// From a request's body to the answer's JSON.
type Operation = fn(&[u8]) -> Result<Value, Failure>;

/// An answer that is not 200; its body is `{"error": message}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 4xx.
    pub status: StatusCode,
    /// One line.
    pub message: String,
}

impl Failure {
    /// 400: the body is not what the operation takes.
    pub fn bad(message: &dyn Display) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.to_string() }
    }

    fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned() }
    }
}

/// A running sample. Dropped without [`Backend::stop`] it ends at once, as a process that is killed.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Serves, and asks each client to take its next request elsewhere.
    Leaving,
    /// Accepts nothing, closes idle connections, finishes what runs.
    Closing,
}

impl Backend {
    /// Binds (port 0 is any free one) and serves in tasks of the current runtime.
    pub async fn start(sample: Sample, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (phase, seen) = watch::channel(Phase::Serving);
        let accepting = tokio::spawn(accept(listener, sample, address, seen));
        Ok(Self { address, phase, accepting })
    }

    /// Where it listens; also what its `x-instance` says.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes on serving, with `connection: close` on every answer.
    pub fn leave(&self) {
        self.phase.send_replace(Phase::Leaving);
    }

    /// Accepts nothing more, finishes what runs within `grace` and ends.
    pub async fn stop(mut self, grace: Duration) {
        self.phase.send_replace(Phase::Closing);
        // Dropping `self` afterwards aborts what the grace was not enough for.
        tokio::time::timeout(grace, &mut self.accepting).await.ok();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Owns the connections: when it ends or is aborted, they do.
async fn accept(
    listener: TcpListener,
    sample: Sample,
    address: SocketAddr,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = closing(&mut phase) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, sample, address, phase.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Ends when the backend is told to stop, or is dropped.
async fn closing(phase: &mut watch::Receiver<Phase>) {
    phase.wait_for(|phase| *phase == Phase::Closing).await.ok();
}

async fn converse(
    stream: TcpStream,
    sample: Sample,
    address: SocketAddr,
    mut phase: watch::Receiver<Phase>,
) {
    // Answers are small and complete: waiting for more to send would only delay them.
    stream.set_nodelay(true).ok();
    let seen = phase.clone();
    let service = service_fn(move |request| {
        let leaving = *seen.borrow() != Phase::Serving;
        async move { Ok::<_, Infallible>(answer(sample, address, leaving, request).await) }
    });
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing(&mut phase) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection broke");
    }
}

async fn answer(
    sample: Sample,
    address: SocketAddr,
    leaving: bool,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (status, body) = match outcome(sample, request).await {
        Ok(value) => (StatusCode::OK, value),
        Err(failure) => (failure.status, json!({ "error": failure.message })),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(instance) = HeaderValue::try_from(address.to_string()) {
        headers.insert("x-instance", instance);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if leaving {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn outcome(sample: Sample, request: Request<Incoming>) -> Result<Value, Failure> {
    let path = request.uri().path();
    if path == "/healthz" {
        return Ok(json!({ "status": "ok" }));
    }
    let Some(operation) = sample.operation(path) else {
        return Err(Failure::new(StatusCode::NOT_FOUND, "no such path"));
    };
    if request.method() != Method::POST {
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is taken here"));
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "more than 64 KiB")
        } else {
            Failure::bad(&error)
        }
    })?;
    operation(&body.to_bytes())
}

#[cfg(test)]
mod tests;
