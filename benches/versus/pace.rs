//! An open-loop load: requests leave by a clock, whatever the answers do, and latency counts from when each was due.
//!
//! `pace ADDRESS PATH REQUESTS_PER_S CONNECTIONS SECONDS [TOKENS [STATUS]]` prints its numbers as one line of JSON. Connection `i` of `c` has
//! requests due at `(i + n·c) / rate`. An answer that comes late holds up the next request of its connection, and
//! that one's latency holds the wait: what stalls is not left out. Every answer must be a 200; with TOKENS, a file with a bearer
//! token a line that are sent in turn, one whose status begins like STATUS, 4 unless it is given.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the shell that sleeps by the clock, which is its whole purpose"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What connections did before their numbers count.
const WARM: Duration = Duration::from_millis(300);
/// An answer this late is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one connection is to do.
#[derive(Clone)]
struct Plan {
    address: SocketAddr,
    /// Sent in turn.
    requests: Arc<[String]>,
    /// The first of them.
    offset: usize,
    /// How the answers' status line begins.
    wanted: Arc<str>,
    first: Instant,
    step: Duration,
    end: Instant,
    counts: Instant,
}

/// Latencies in µs, sends behind their time on a connection that was free, and answers that were none.
#[derive(Default)]
struct Seen {
    latencies: Vec<u64>,
    late: Vec<u64>,
    failures: u64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ([address, path, rate, connections, seconds], tokens_and_status) = words
        .split_first_chunk()
        .expect("pace ADDRESS PATH REQUESTS_PER_S CONNECTIONS SECONDS [TOKENS [STATUS]]");
    let (rate, seconds) = (number(rate), number(seconds));
    let connections = number(connections).max(1.0) as u32;
    // Sleeps end when they are due, not up to 50 µs later. Without it the numbers of all are a little higher.
    std::fs::write("/proc/self/timerslack_ns", "1").ok();
    let address: SocketAddr = address.parse().expect("an address with its port");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
    let (requests, wanted): (Arc<[String]>, _) = match tokens_and_status.first() {
        None => (Arc::new([format!("{head}\r\n")]), "HTTP/1.1 200 ".to_owned()),
        Some(file) => {
            let tokens = std::fs::read_to_string(file).expect("a file of tokens");
            let request = |token| format!("{head}Authorization: Bearer {token}\r\n\r\n");
            let status = tokens_and_status.get(1).map_or("4", String::as_str);
            (tokens.lines().map(request).collect(), format!("HTTP/1.1 {status}"))
        }
    };
    let wanted: Arc<str> = wanted.into();
    let start = Instant::now() + Duration::from_millis(200);
    let step = Duration::from_secs_f64(f64::from(connections) / rate);
    let counts = start + WARM;
    let end = counts + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let first = start + step * number / connections;
            let (requests, wanted) = (Arc::clone(&requests), Arc::clone(&wanted));
            // Connections do not send the same at the same time.
            let offset = requests.len() * number as usize / connections as usize;
            let plan = Plan { address, requests, wanted, offset, first, step, end, counts };
            std::thread::spawn(move || run(&plan))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().expect("a connection's thread does not panic");
        all.latencies.extend(seen.latencies);
        all.late.extend(seen.late);
        all.failures += seen.failures;
    }
    all.latencies.sort_unstable();
    all.late.sort_unstable();
    let at = |share| percentile(&all.latencies, share);
    println!(
        "{{\"requests\":{},\"p50_us\":{},\"p99_us\":{},\"p999_us\":{},\"late_p99_us\":{},\"failures\":{}}}",
        all.latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        percentile(&all.late, 0.99),
        all.failures
    );
}

fn number(word: &str) -> f64 {
    word.parse().expect("a number")
}

fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Sends one connection's requests when they are due.
fn run(plan: &Plan) -> Seen {
    let mut seen = Seen::default();
    let (mut due, mut sent) = (plan.first, plan.offset);
    while due < plan.end {
        let Ok(mut stream) = connect(plan.address) else {
            seen.failures += 1;
            due += plan.step;
            continue;
        };
        while due < plan.end {
            let now = Instant::now();
            if now < due {
                std::thread::sleep(due - now);
                if due >= plan.counts {
                    seen.late.push(micros(due.elapsed()));
                }
            }
            let asked = due;
            due += plan.step;
            let request = &plan.requests[sent % plan.requests.len()];
            sent += 1;
            if ask(&mut stream, request, &plan.wanted).is_err() {
                seen.failures += 1;
                break;
            }
            if asked >= plan.counts {
                seen.latencies.push(micros(asked.elapsed()));
            }
        }
    }
    seen
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request and its answer with a length, which must begin like this, or an error.
fn ask(stream: &mut TcpStream, request: &str, wanted: &str) -> std::io::Result<()> {
    let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    stream.write_all(request.as_bytes())?;
    let mut buffer = [0; 16 << 10];
    let mut count = 0;
    loop {
        let read = stream.read(&mut buffer[count..])?;
        if read == 0 {
            return Err(broken());
        }
        count += read;
        let got = &buffer[..count];
        let Some(body) = got.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
        else {
            continue;
        };
        let head = std::str::from_utf8(&got[..body]).map_err(|_| broken())?;
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        match length {
            Some(length) if head.starts_with(wanted) && count >= body + length => {
                return Ok(());
            }
            Some(_) if head.starts_with("HTTP/1.1 200 ") => {}
            Some(_) | None => return Err(broken()),
        }
    }
}
