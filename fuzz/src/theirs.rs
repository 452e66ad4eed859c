//! The readers of others: hyper in both roles, over bytes in memory, and httparse.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;

use crate::message::{Fields, Message, Start, fields};

/// More fields than any of our bounds allows.
const MOST_FIELDS: usize = 300;

/// The requests that hyper's server reads from one connection, as far as it goes.
pub fn requests(wire: &[u8]) -> Vec<Message> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let all = all.clone();
        async move {
            let (parts, body) = request.into_parts();
            let at = all.borrow().len();
            all.borrow_mut().push(Message::request(&parts));
            let body = whole(body).await;
            all.borrow_mut()[at].body = body;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let io = Memory { input: Bytes::copy_from_slice(wire), silent: Rc::new(Cell::new(false)) };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).max_headers(MOST_FIELDS).auto_date_header(false);
    // Whatever ends the connection, what was read before it stays read.
    let _ended = run(builder.serve_connection(io, service));
    all.take()
}

/// Whether a whole request stands at the start of these bytes.
pub fn is_complete(wire: &[u8]) -> bool {
    requests(wire).first().is_some_and(|first| first.body.is_some())
}

/// The final answer that hyper's client reads to a request of this method.
pub fn answer(wire: &[u8], method: &Method) -> Option<Message> {
    let silent = Rc::new(Cell::new(true));
    let io = Memory { input: Bytes::copy_from_slice(wire), silent };
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(MOST_FIELDS);
    let (mut sender, connection) = run(builder.handshake::<_, Empty<Bytes>>(io))?.ok()?;
    let request = Request::builder().method(method).uri("/").header("host", "h");
    let request = request.body(Empty::new()).ok()?;
    let mut connection = pin!(connection);
    let mut exchange = pin!(async {
        let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
        let mut message = Message::answer(&parts);
        message.body = whole(body).await;
        Some(message)
    });
    let mut over = false;
    run(std::future::poll_fn(|cx| {
        over = over || connection.as_mut().poll(cx).is_ready();
        exchange.as_mut().poll(cx)
    }))?
}

async fn whole(body: Incoming) -> Option<(Vec<u8>, Fields)> {
    let collected = body.collect().await.ok()?;
    let trailers = collected.trailers().map(fields).unwrap_or_default();
    Some((collected.to_bytes().to_vec(), trailers))
}

/// Runs what never waits for anything outside: a turn that wakes nobody is followed by another.
fn run<F: Future>(future: F) -> Option<F::Output> {
    // Each turn reads something or is the last that does; a message of some kilobytes takes far fewer.
    const TURNS: usize = 100_000;
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..TURNS).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// A connection in memory: its peer says all it has to say, once it was asked, and leaves.
struct Memory {
    input: Bytes,
    /// The peer waits to be asked.
    silent: Rc<Cell<bool>>,
}

impl Read for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.silent.get() {
            return Poll::Pending;
        }
        let count = to.remaining().min(self.input.len());
        to.put_slice(&self.input.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.silent.set(false);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request's head as httparse reads it, its target as written, and how long it is.
pub fn request_head(wire: &[u8]) -> Option<(Message, usize)> {
    let mut slots = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut slots);
    let httparse::Status::Complete(length) = request.parse(wire).ok()? else { return None };
    let start = Start::Request {
        method: request.method?.to_owned(),
        target: request.path?.to_owned(),
        authority: None,
    };
    let fields = listed(request.headers);
    Some((Message { start, modern: request.version? == 1, fields, body: None }, length))
}

/// An answer's head as httparse reads it, and how long it is.
pub fn answer_head(wire: &[u8]) -> Option<(Message, usize)> {
    let mut slots = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut answer = httparse::Response::new(&mut slots);
    let httparse::Status::Complete(length) = answer.parse(wire).ok()? else { return None };
    let start = Start::Answer(answer.code?);
    let fields = listed(answer.headers);
    Some((Message { start, modern: answer.version? == 1, fields, body: None }, length))
}

fn listed(headers: &[httparse::Header<'_>]) -> Fields {
    let mut fields = Fields::new();
    for header in headers {
        let values = fields.entry(header.name.to_ascii_lowercase()).or_default();
        values.push(header.value.to_vec());
    }
    fields
}

/// A chunked body with httparse's reader for sizes and for trailers; how much of the bytes it took.
pub fn chunks(wire: &[u8]) -> Option<(Vec<u8>, Fields, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = &wire[at..];
        let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(rest).ok()?
        else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(wire.get(at..end)?);
        wire[end..].starts_with(b"\r\n").then_some(())?;
        at = end + 2;
    }
    let mut slots = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(&wire[at..], &mut slots).ok()? {
        httparse::Status::Complete((length, headers)) => Some((body, listed(headers), at + length)),
        httparse::Status::Partial => None,
    }
}

/// A map with these fields, as far as it can hold them.
pub fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, values) in fields {
        for value in values {
            let pair = (http::HeaderName::from_bytes(name.as_bytes()), value.as_slice().try_into());
            if let (Ok(name), Ok(value)) = pair {
                map.append(name, value);
            }
        }
    }
    map
}
