//! A client and an upstream around our wire, on real sockets: what arrives at either is what was written.
//!
//! Pairs of local sockets, since ports would run out at thousands of connections a second.

use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use frontgate::rewrite::hop_by_hop;
use frontgate::wire::Body;
use frontgate::wire::body::Replay;
use frontgate::wire::h1::encode::Ending;
use frontgate::wire::h1::encode::Persistence;
use frontgate::wire::h1::inbound::{Inbound, NoHead, Patience};
use frontgate::wire::h1::outbound::{self, Answered, End, Failure, Home};
use frontgate::wire::h1::request::{Bounds, Head};
use frontgate::wire::h1::{Early, Link, Malformed};
use http::request::Parts;
use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

use crate::theirs;

/// What a head may hold; inputs are smaller.
pub const BOUNDS: Bounds = Bounds { head: 64 << 10, target: 8 << 10, fields: 100 };
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// Long enough for a busy machine; nothing here waits for it unless it hangs.
const HANG: Duration = Duration::from_secs(20);
const PATIENCE: Patience = Patience { idle: HANG, head: HANG, body: HANG };

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
}

/// Runs on this thread's runtime.
pub fn run<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Our end of a connection and the peer's, which has said this much and no more.
async fn connection(said: &[u8]) -> (Link, UnixStream) {
    let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let near = std::net::TcpStream::from(OwnedFd::from(near));
    near.set_nonblocking(true).expect("not blocking");
    far.set_nonblocking(true).expect("not blocking");
    let near = TcpStream::from_std(near).expect("a socket");
    let mut far = UnixStream::from_std(far).expect("a socket");
    far.write_all(said).await.expect("room for all of it");
    (Link::new(near), far)
}

/// What a client's request became.
pub enum Passed {
    /// It was refused before anything was written.
    Refused(Malformed),
    /// It was incomplete.
    Nothing,
    /// What the upstream got, whether we took the request for complete, and what was meant.
    Written {
        /// All bytes.
        upstream: Vec<u8>,
        /// An answer came back.
        answered: bool,
        /// The head as it was to be written.
        parts: Box<Parts>,
    },
}

/// Reads a request as a client sends it and writes it to an upstream, as the gateway does.
pub async fn request(wire: &[u8]) -> Passed {
    let (link, mut client) = connection(wire).await;
    client.shutdown().await.expect("its end is said");
    let inbound = Inbound::new(link, PATIENCE);
    let Head { mut parts, framing, .. } = match inbound.head(&BOUNDS).await {
        Ok(head) => head,
        Err(NoHead::Malformed(malformed)) => return Passed::Refused(malformed),
        Err(NoHead::Over) => return Passed::Nothing,
        Err(NoHead::Slow | NoHead::Idle) => panic!("it hung"),
    };
    hop_by_hop::request(&mut parts.headers, &[]);
    let mut body = inbound.body(framing);
    let mut replay = Replay::new(&mut body, 64 << 10);
    let (mut link, mut upstream) = connection(b"").await;
    let mut got = Vec::new();
    let early = Early::nowhere();
    let exchanged = {
        let mut exchange = pin!(outbound::exchange(&mut link, &parts, &mut replay, &early, None));
        let mut answering = pin!(answer_once_complete(&mut upstream, &mut got));
        poll_fn(|cx| {
            if let Poll::Ready(exchanged) = exchange.as_mut().poll(cx) {
                return Poll::Ready(exchanged);
            }
            // It ends only when our side does.
            let _over = answering.as_mut().poll(cx);
            exchange.as_mut().poll(cx)
        })
        .await
    };
    let answered = match exchanged {
        Ok(Answered { uploaded, .. }) => {
            assert!(uploaded, "it was answered after its end");
            true
        }
        Err(Failure::Client(_)) => false,
        Err(failure) => panic!("{failure:?} after {:?}", String::from_utf8_lossy(&got)),
    };
    drop(link);
    upstream.read_to_end(&mut got).await.expect("it was closed");
    Passed::Written { upstream: got, answered, parts: Box::new(parts) }
}

/// An upstream that answers once a whole request is there, whatever else it is.
async fn answer_once_complete(upstream: &mut UnixStream, got: &mut Vec<u8>) {
    let mut said = false;
    while upstream.read_buf(got).await.is_ok_and(|count| count > 0) {
        if !said && theirs::is_complete(got) {
            said = true;
            upstream.write_all(OK).await.expect("room for it");
        }
    }
}

/// What became of an upstream's answer.
pub struct Relayed {
    /// All bytes the client got.
    pub client: Vec<u8>,
    /// It was written to its end.
    pub whole: bool,
    /// How its end was to be written.
    pub ending: Ending,
}

/// Reads an answer as an upstream sends it and writes it to a client of this version, as the gateway does.
pub async fn answer(
    wire: &[u8],
    method: &Method,
    version: http::Version,
) -> Result<Relayed, Failure> {
    let (mut link, mut upstream) = connection(wire).await;
    upstream.shutdown().await.expect("its end is said");
    let request = Request::builder().method(method).uri("/").header("host", "h").body(());
    let (parts, ()) = request.expect("a request").into_parts();
    let mut nothing = Body::Empty;
    let mut replay = Replay::new(&mut nothing, 0);
    let (client_link, mut client) = connection(b"").await;
    let inbound = Inbound::new(client_link, PATIENCE);
    let early = Early::new(&inbound, version, false).cleaned(hop_by_hop::response);
    let answered = outbound::exchange(&mut link, &parts, &mut replay, &early, None).await?;
    let nowhere: Rc<dyn Home> = Rc::new(Nowhere::default());
    let mut body = outbound::body(Box::new(link), &answered, HANG, nowhere);
    let mut head = answered.head.parts;
    hop_by_hop::response(&mut head.headers);
    let ending = Ending::of_response(method, version, head.status, &body);
    let how = Persistence::of(version, false);
    let mut got = Vec::new();
    let whole = {
        let mut answering = pin!(inbound.answer(&head, &mut body, ending, how));
        let mut reading = pin!(client.read_to_end(&mut got));
        poll_fn(|cx| {
            // It ends only when our side does.
            let _over = reading.as_mut().poll(cx);
            answering.as_mut().poll(cx)
        })
        .await
        .is_ok()
    };
    drop((body, inbound, early));
    client.read_to_end(&mut got).await.expect("it was closed");
    Ok(Relayed { client: got, whole, ending })
}

/// Where a connection goes that is not used again.
#[derive(Default)]
struct Nowhere(RefCell<Option<End>>);

impl Home for Nowhere {
    fn done(&self, _: Option<Box<Link>>, _: http::StatusCode, end: End) {
        assert_eq!(self.0.replace(Some(end)), None, "an exchange ends once");
    }
}
