//! The control plane's HTTP client: a deadline over head and body, a bound on the body, and on the connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client as Legacy, Error as LegacyError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

pub mod tls;

/// Bound on making one connection.
const CONNECT: Duration = Duration::from_secs(2);
/// After so much silence the other end's kernel is asked whether it is there, and so often, so many times again. What
/// lies between may forget a connection without a word, and a long answer is silent while nothing changes: the kernel's
/// own pauses, 75 s and nine times, would leave it believed for eleven minutes.
const QUIET: Duration = Duration::from_secs(15);
const ASKED_AGAIN: Duration = Duration::from_secs(5);
const TIMES: u32 = 3;

/// Speaks HTTP/1.1 to one server. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    legacy: Legacy<HttpsConnector<Capped>, Full<Bytes>>,
    body: usize,
}

/// Why there is no answer. One line each, fit for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No connection, or a broken one.
    Unreachable(String),
    /// Somebody is there, but does not speak HTTP, or shows a certificate that is not believed.
    Foreign(String),
    /// No complete answer within this time.
    Late(Duration),
    /// The answer's body is longer than this many bytes.
    TooLong(usize),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Foreign(why) => f.write_str(why),
            Self::Late(time) => write!(f, "no complete answer within {time:?}"),
            Self::TooLong(bytes) => write!(f, "the answer is longer than {bytes} bytes"),
        }
    }
}

impl std::error::Error for CallError {}

impl Client {
    /// A client that never has more than `connections` open, and takes answers of up to `body` bytes.
    pub fn new(tls: &tls::Settings, connections: usize, body: usize) -> Result<Self, tls::Problem> {
        Ok(Self::with(&tls.prepare()?, connections, body))
    }

    /// The same with settings that were found good: reads nothing, so it may also be made where requests are served. Its
    /// connections run where it is used.
    pub fn with(tls: &tls::Prepared, connections: usize, body: usize) -> Self {
        let legacy = Legacy::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(tls.connector(capped(connections)));
        Self { legacy, body }
    }

    /// Sends one request and takes its whole answer, whatever its status.
    pub async fn call(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Response<Bytes>, CallError> {
        let exchange = async {
            let answer = self.legacy.request(request).await.map_err(|e| broken(&e))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.body).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    CallError::TooLong(self.body)
                } else {
                    CallError::Unreachable(format!("the answer broke off: {error}"))
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(CallError::Late(within)))
    }

    /// Sends one request and takes its answer's head within this time; the body is read as it comes, for as long as it
    /// comes. Who reads it bounds what is kept of it.
    pub async fn open(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Response<Stream>, CallError> {
        let answer = tokio::time::timeout(within, self.legacy.request(request)).await;
        let answer = answer.map_err(|_| CallError::Late(within))?.map_err(|e| broken(&e))?;
        Ok(answer.map(Stream))
    }
}

/// Makes connections as [`Client`] does, for who speaks another protocol over them: asked for `http://host:port` or, under
/// TLS, `https://host:port`. No more than `connections` at a time.
pub fn connector(
    tls: &tls::Settings,
    connections: usize,
) -> Result<HttpsConnector<Capped>, tls::Problem> {
    Ok(tls.prepare()?.connector(capped(connections)))
}

fn capped(connections: usize) -> Capped {
    Capped { http: tcp(), free: Arc::new(Semaphore::new(connections)), made: Arc::default() }
}

fn tcp() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    http.set_keepalive(Some(QUIET));
    http.set_keepalive_interval(Some(ASKED_AGAIN));
    http.set_keepalive_retries(Some(TIMES));
    http
}

/// A body that comes bit by bit.
#[derive(Debug)]
pub struct Stream(Incoming);

impl Stream {
    /// The next bytes, whenever they come; none at the end. Dropped unfinished it loses nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let Some(frame) = self.0.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| {
                CallError::Unreachable(format!("the answer broke off: {error}"))
            })?;
            // Trailers say nothing to us.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// The innermost cause says what happened; the outer ones only that something did.
fn broken(error: &LegacyError) -> CallError {
    let mut cause: &dyn std::error::Error = error;
    let mut foreign = false;
    loop {
        foreign |= cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        foreign |= cause.is::<rustls::Error>();
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        // An I/O error's source is that of what it wraps, which would be skipped.
        match wrapped.map(|wrapped| wrapped as &dyn std::error::Error).or_else(|| cause.source()) {
            Some(deeper) => cause = deeper,
            None => break,
        }
    }
    let stage = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    let why = format!("{stage}: {cause}");
    if foreign { CallError::Foreign(why) } else { CallError::Unreachable(why) }
}

/// A connector whose connections, idle ones included, are bounded in number: each holds a permit while it lives. A
/// call that finds none free waits for one, or for an idle connection, whichever comes first.
#[derive(Clone, Debug)]
pub struct Capped {
    http: HttpConnector,
    free: Arc<Semaphore>,
    made: Arc<AtomicU64>,
}

/// Which of a client's connections an answer came over, counted from the first; in the answer's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial(u64);

impl Service<Uri> for Capped {
    type Response = Permitted;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Permitted, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The clone is the one that was polled ready, as the Service contract asks.
        let spare = self.http.clone();
        let mut http = std::mem::replace(&mut self.http, spare);
        let (free, made) = (Arc::clone(&self.free), Arc::clone(&self.made));
        Box::pin(async move {
            let permit = free.acquire_owned().await?;
            let stream = http.call(uri).await?;
            let serial = Serial(made.fetch_add(1, Ordering::Relaxed));
            Ok(Permitted { stream, serial, _permit: permit })
        })
    }
}

/// A connection and its share of the bound.
pub struct Permitted {
    stream: TokioIo<TcpStream>,
    serial: Serial,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Permitted {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.serial)
    }
}

impl Read for Permitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Permitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_forgotten_on_the_way_is_noticed_within_half_a_minute() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stream = tcp().call(uri).await.unwrap();
        let socket = socket2::SockRef::from(stream.inner());
        assert!(socket.keepalive().unwrap());
        let again = socket.tcp_keepalive_interval().unwrap();
        let times = socket.tcp_keepalive_retries().unwrap();
        let noticed = socket.tcp_keepalive_time().unwrap() + again * times;
        assert!(noticed <= Duration::from_secs(30), "{noticed:?}");
    }
}
