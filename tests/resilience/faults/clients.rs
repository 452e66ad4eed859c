//! Clients on kept connections that ask as fast as they are answered, and what each exchange came to.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fault::BODY;
use crate::support::wait;

/// Bound on one exchange: nothing here may take so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bound on a phase of load on a machine that is busy with other things.
const PHASE: Duration = Duration::from_secs(600);
/// Large enough that it is not all there with the head.
const UPLOAD: [u8; 8 << 10] = [b'u'; 8 << 10];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// May be sent twice.
    Get,
    /// May not, and has a body.
    Post,
}

/// What exchanges came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// `200`, a status with the gateway's code or `-`, `broken` after a head, `nothing` without one.
    pub(super) saw: BTreeMap<String, u64>,
    /// The numbers of those that were not `200`.
    pub(super) failed: Vec<u64>,
    /// Answers of 503 without a `Retry-After`.
    pub(super) unhinted: u64,
    /// When the last of those began that were not `200`.
    pub(super) last_failed: Option<Instant>,
    /// How long the slowest of them took.
    pub(super) slowest: Duration,
}

/// The word for an exchange that went well.
const RIGHT: &str = "200";

impl Tally {
    pub(super) fn exchanges(&self) -> u64 {
        self.saw.values().sum()
    }

    /// Every outcome that is not a right answer.
    pub(super) fn faults(&self) -> Vec<&str> {
        self.saw.keys().map(String::as_str).filter(|what| *what != RIGHT).collect()
    }

    /// With another's.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (what, count) in other.saw {
            *self.saw.entry(what).or_default() += count;
        }
        self.failed.extend(other.failed);
        self.unhinted += other.unhinted;
        self.last_failed = self.last_failed.max(other.last_failed);
        self.slowest = self.slowest.max(other.slowest);
        self
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let each = self.saw.iter().map(|(what, count)| format!("{what} × {count}"));
        each.collect::<Vec<_>>().join(", ")
    }

    fn note(&mut self, id: u64, begun: Instant, outcome: &Outcome) {
        let what = match outcome {
            Outcome::Answered { status: 200, body, .. } if body == BODY => RIGHT.to_owned(),
            Outcome::Answered { status: 200, .. } => "wrong body".to_owned(),
            Outcome::Answered { status, code, .. } => format!("{status} {code}"),
            Outcome::Broken => "broken".to_owned(),
            Outcome::Nothing => "nothing".to_owned(),
        };
        if what != RIGHT {
            self.failed.push(id);
            self.last_failed = self.last_failed.max(Some(begun));
        }
        if matches!(outcome, Outcome::Answered { status: 503, retry_after: false, .. }) {
            self.unhinted += 1;
        }
        self.slowest = self.slowest.max(begun.elapsed());
        *self.saw.entry(what).or_default() += 1;
    }
}

/// Adds one exchange, which began then.
pub(super) fn note(tally: &Mutex<Tally>, id: u64, begun: Instant, outcome: &Outcome) {
    tally.lock().unwrap_or_else(PoisonError::into_inner).note(id, begun, outcome);
}

/// What became of one exchange.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A whole answer; `code` is the gateway's, or `-`.
    Answered { status: u16, code: String, retry_after: bool, body: String },
    /// The connection ended within the answer.
    Broken,
    /// No head came.
    Nothing,
}

/// One kept connection, made anew after any failure of it.
#[derive(Debug)]
pub(super) struct Client {
    server: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, stream: None }
    }

    /// One exchange: `/r/<id>`.
    pub(super) async fn ask(&mut self, method: Method, id: u64) -> Outcome {
        let mut outcome = Outcome::Nothing;
        let exchanged = timeout(PATIENCE, self.exchange(method, id, &mut outcome)).await;
        if !matches!(exchanged, Ok(Ok(true))) {
            self.stream = None;
        }
        outcome
    }

    /// Whether the connection may be used again.
    async fn exchange(
        &mut self,
        method: Method,
        id: u64,
        outcome: &mut Outcome,
    ) -> io::Result<bool> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.server).await?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::new(stream))
            }
        };
        let (line, length) = match method {
            Method::Get => ("GET", String::new()),
            Method::Post => ("POST", format!("content-length: {}\r\n", UPLOAD.len())),
        };
        let mut request =
            format!("{line} /r/{id} HTTP/1.1\r\nhost: h\r\n{length}\r\n").into_bytes();
        if method == Method::Post {
            request.extend_from_slice(&UPLOAD);
        }
        // The answer may come before the body is taken.
        stream.get_mut().write_all(&request).await.ok();
        read(stream, outcome).await
    }
}

async fn read(stream: &mut BufReader<TcpStream>, outcome: &mut Outcome) -> io::Result<bool> {
    let first = line(stream).await?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let (mut code, mut length, mut retry_after, mut goes_on) = ("-".to_owned(), None, false, true);
    loop {
        let line = line(stream).await?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name {
            "x-frontgate-code" => code = value.to_owned(),
            "content-length" => length = value.parse().ok(),
            "retry-after" => retry_after = true,
            "connection" => goes_on = value != "close",
            _ => {}
        }
    }
    *outcome = Outcome::Broken;
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            stream.read_exact(&mut body).await?;
        }
        None => loop {
            let size = usize::from_str_radix(&line(stream).await?, 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + size + 2, 0);
            stream.read_exact(&mut body[start..]).await?;
            body.truncate(start + size);
            if size == 0 {
                break;
            }
        },
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    *outcome = Outcome::Answered { status, code, retry_after, body };
    Ok(goes_on)
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

/// Clients at work.
#[derive(Debug)]
pub(super) struct Clients {
    over: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    answered: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

/// What clients have in common over all phases.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) server: SocketAddr,
    pub(super) method: Method,
    pub(super) clients: usize,
    /// Between two requests of one client; zero is at once.
    pub(super) pause: Duration,
    /// The next request's number.
    pub(super) next: Arc<AtomicU64>,
}

impl Clients {
    pub(super) fn start(plan: &Plan) -> Self {
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let tally = Arc::<Mutex<Tally>>::default();
        let tasks = (0..plan.clients)
            .map(|_| {
                let (over, answered, plan) =
                    (Arc::clone(&over), Arc::clone(&answered), plan.clone());
                let tally = Arc::clone(&tally);
                async move {
                    let mut client = Client::new(plan.server);
                    while !over.load(Relaxed) {
                        let id = plan.next.fetch_add(1, Relaxed);
                        let begun = Instant::now();
                        let outcome = client.ask(plan.method, id).await;
                        note(&tally, id, begun, &outcome);
                        answered.fetch_add(1, Relaxed);
                        if !plan.pause.is_zero() {
                            tokio::time::sleep(plan.pause).await;
                        }
                    }
                }
            })
            .collect();
        Self { over, tally, answered, tasks }
    }

    /// Waits until so many more exchanges are over.
    pub(super) async fn goes_on(&self, exchanges: u64) {
        let end = self.answered.load(Relaxed) + exchanges;
        let what = format!("{exchanges} more exchanges");
        wait::until(&what, PHASE, async || (self.answered.load(Relaxed) >= end).then_some(()))
            .await;
    }

    /// What came of those that were over since the last time.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends them after the exchanges that are under way; what came of all that were not taken yet.
    pub(super) async fn end(&mut self) -> Tally {
        self.over.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no client panics");
        }
        self.take()
    }
}
