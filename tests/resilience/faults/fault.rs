//! A backend that fails in a chosen manner, from one moment to the other, while it runs.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::peer::SOON;

/// How a backend fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not.
    Well,
    /// Nobody listens; what was connected is reset, as when a process dies.
    Refuse,
    /// Each connection is reset as soon as it is there.
    ResetOnAccept,
    /// The request is read in part, then comes a reset: after its head, and of every second with a body within that.
    ResetMidRequest,
    /// Half of the answer's body, then a reset. Every second answer is chunked.
    ResetMidBody,
    /// The request is read, and nothing is said.
    HangBeforeHead,
    /// Half of the answer's body, and nothing more.
    HangMidBody,
    /// A right answer after 5 s.
    Slow,
    /// Each answer is a 500.
    Answers500,
    /// Each answer is a 503 that asks to come back in a second.
    Answers503,
    /// A right answer whose body comes byte by byte, ten a second.
    Loris,
    /// What comes is no HTTP.
    Garbage,
    /// Right answers, and the connection ends after each without a word.
    CloseAfterEach,
}

impl Fault {
    /// Whether connections that are there end by it.
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::Refuse | Self::ResetOnAccept)
    }

    /// Whether all that comes of it are right answers.
    pub(super) fn harmless(self) -> bool {
        matches!(self, Self::Well | Self::Loris | Self::CloseAfterEach)
    }

    /// Whether it shows only after the answer's head.
    pub(super) fn breaks_bodies(self) -> bool {
        matches!(self, Self::ResetMidBody | Self::HangMidBody)
    }
}

/// The body of each right answer.
pub(super) const BODY: &str = "whole\n";
/// What is sent of it before it breaks.
const HALF: &str = "who";

/// A backend under a switch.
#[derive(Debug)]
pub(super) struct Failing {
    pub(super) address: SocketAddr,
    fault: watch::Sender<Fault>,
    listening: watch::Receiver<bool>,
    seen: Arc<Seen>,
    /// Bound and never listening: while the listener is closed nobody else gets the port.
    _hold: Socket,
}

/// What a backend got.
#[derive(Debug, Default)]
struct Seen {
    /// How often each request came, by its number.
    requests: Mutex<HashMap<u64, u32>>,
    /// Connections made to it.
    accepted: AtomicU64,
    /// Requests whose head was read.
    asked: AtomicU64,
    /// Right answers given in whole.
    served: AtomicU64,
}

/// What follows a request.
enum Then {
    /// It was answered right; the next one.
    Served,
    /// It was answered; the next one.
    Answered,
    /// The connection closes.
    Close,
    /// The connection is reset.
    Reset,
}

impl Failing {
    /// One that is well.
    pub(super) async fn new() -> Self {
        let hold = bound(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = hold.local_addr().ok().and_then(|address| address.as_socket());
        let address = address.expect("an address");
        let (fault, switch) = watch::channel(Fault::Well);
        let (listens, mut listening) = watch::channel(false);
        let seen = Arc::<Seen>::default();
        tokio::spawn(serve(address, switch, listens, Arc::clone(&seen)));
        listening.wait_for(|listens| *listens).await.expect("it serves");
        Self { address, fault, listening, seen, _hold: hold }
    }

    /// From now on it fails like this.
    pub(super) async fn fail(&self, fault: Fault) {
        self.fault.send_replace(fault);
        let mut listening = self.listening.clone();
        let changed = listening.wait_for(|listens| *listens == (fault != Fault::Refuse));
        tokio::time::timeout(SOON, changed).await.expect("in time").expect("it serves");
    }

    /// How often each request came, by its number.
    pub(super) fn requests(&self) -> HashMap<u64, u32> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections made to it so far.
    pub(super) fn accepted(&self) -> u64 {
        self.seen.accepted.load(Relaxed)
    }

    /// Requests whose head it has read.
    pub(super) fn asked(&self) -> u64 {
        self.seen.asked.load(Relaxed)
    }

    /// Right answers it has given in whole.
    pub(super) fn served(&self) -> u64 {
        self.seen.served.load(Relaxed)
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn serve(
    address: SocketAddr,
    mut fault: watch::Receiver<Fault>,
    listens: watch::Sender<bool>,
    seen: Arc<Seen>,
) {
    while fault.wait_for(|fault| *fault != Fault::Refuse).await.is_ok() {
        let listener = listen(address).expect("the port is held");
        listens.send_replace(true);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                refuses = fault.wait_for(|fault| *fault == Fault::Refuse) => match refuses {
                    Ok(_) => break,
                    // The backend was dropped.
                    Err(_) => return,
                },
            };
            // A peer may have left before it was taken.
            let Ok((stream, _)) = accepted else { continue };
            seen.accepted.fetch_add(1, Relaxed);
            tokio::spawn(keep(stream, fault.clone(), Arc::clone(&seen)));
        }
        drop(listener);
        listens.send_replace(false);
    }
}

async fn keep(stream: TcpStream, fault: watch::Receiver<Fault>, seen: Arc<Seen>) {
    stream.set_nodelay(true).ok();
    let mut stream = BufReader::new(stream);
    let mut switch = fault.clone();
    let reset = tokio::select! {
        biased;
        // An error says that the backend itself was dropped.
        _ = switch.wait_for(|fault| fault.kills()) => true,
        reset = converse(&mut stream, &fault, &seen) => reset,
    };
    if reset {
        SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO)).ok();
    }
}

/// Whether the connection is to be reset.
async fn converse(
    stream: &mut BufReader<TcpStream>,
    fault: &watch::Receiver<Fault>,
    seen: &Seen,
) -> bool {
    loop {
        let Ok(Some(asked)) = read_head(stream).await else { return false };
        seen.asked.fetch_add(1, Relaxed);
        if let Some(id) = asked.id {
            let mut requests = seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
            *requests.entry(id).or_default() += 1;
        }
        let fault = *fault.borrow();
        match answer(stream, fault, &asked).await {
            Ok(Then::Served) => {
                seen.served.fetch_add(1, Relaxed);
            }
            Ok(Then::Answered) => {}
            Ok(Then::Reset) => return true,
            Ok(Then::Close) | Err(_) => return false,
        }
        if fault == Fault::CloseAfterEach {
            return false;
        }
    }
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    fault: Fault,
    asked: &Asked,
) -> io::Result<Then> {
    let even = asked.id.is_none_or(|id| id % 2 == 0);
    if fault == Fault::ResetMidRequest {
        let some = if even { asked.length / 2 } else { 0 };
        skip(stream, some).await?;
        return Ok(Then::Reset);
    }
    skip(stream, asked.length).await?;
    let port = stream.get_ref().local_addr()?.port();
    let head = format!("HTTP/1.1 200 OK\r\nx-instance: {port}\r\n");
    let sized = format!("{head}content-length: {}\r\n\r\n", BODY.len());
    let half = if even {
        format!("{sized}{HALF}")
    } else {
        format!("{head}transfer-encoding: chunked\r\n\r\n3\r\n{HALF}\r\n")
    };
    match fault {
        Fault::Slow => {
            tokio::select! {
                // Nothing more is sent on a connection that waits for its answer: this is its end.
                _ = stream.fill_buf() => return Ok(Then::Close),
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
            stream.write_all(format!("{sized}{BODY}").as_bytes()).await?;
        }
        Fault::Loris => {
            stream.write_all(sized.as_bytes()).await?;
            for byte in BODY.bytes() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.write_all(&[byte]).await?;
            }
        }
        Fault::ResetMidBody => {
            stream.write_all(half.as_bytes()).await?;
            return Ok(Then::Reset);
        }
        Fault::HangBeforeHead => return silence(stream).await,
        Fault::HangMidBody => {
            stream.write_all(half.as_bytes()).await?;
            return silence(stream).await;
        }
        Fault::Answers500 => return refuse(stream, "500 Internal Server Error\r\n").await,
        Fault::Answers503 => {
            return refuse(stream, "503 Service Unavailable\r\nretry-after: 1\r\n").await;
        }
        Fault::Garbage => {
            stream.write_all(b"\x16\x03\x01 no word of HTTP \xff\r\n\r\n").await?;
            return Ok(Then::Close);
        }
        Fault::Well
        | Fault::CloseAfterEach
        | Fault::Refuse
        | Fault::ResetOnAccept
        | Fault::ResetMidRequest => {
            stream.write_all(format!("{sized}{BODY}").as_bytes()).await?;
        }
    }
    Ok(Then::Served)
}

/// Until the peer leaves.
async fn silence(stream: &mut BufReader<TcpStream>) -> io::Result<Then> {
    stream.fill_buf().await?;
    Ok(Then::Close)
}

async fn refuse(stream: &mut BufReader<TcpStream>, status: &str) -> io::Result<Then> {
    let text = format!("HTTP/1.1 {status}content-length: 5\r\n\r\nsorry");
    stream.write_all(text.as_bytes()).await?;
    Ok(Then::Answered)
}

/// What of a request matters here.
struct Asked {
    /// From `/r/<number>`; none of a health check.
    id: Option<u64>,
    length: usize,
}

/// None: the connection ended without one.
async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let mut asked = Asked { id: None, length: 0 };
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    asked.id = target.strip_prefix("/r/").and_then(|id| id.parse().ok());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(Some(asked)) };
        if name == "content-length" {
            asked.length = value.parse().map_err(io::Error::other)?;
        }
    }
}

async fn skip(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<()> {
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await.map(drop)
}
