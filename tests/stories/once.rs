//! No POST is sent twice, none is lost silently, and no GET is lost at all: counted where it arrives, by a backend that crashes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::gateway::{Gateway, apigateway};
use super::or_skip;
use super::support::client::Client;
use super::support::consul::Consul;

/// How long a request is worked on: long enough to be caught in the middle.
const WORK: Duration = Duration::from_millis(5);
/// Of each method; so many that some are in flight at the crash, whenever it comes.
const CLIENTS: usize = 16;

/// How often each id has arrived, at any of the backends.
type Seen = Arc<Mutex<BTreeMap<String, u32>>>;

/// Takes anything with an `x-id` and an empty body.
struct Counting {
    address: SocketAddr,
    running: JoinSet<()>,
}

impl Counting {
    async fn start(seen: &Seen) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::clone(seen);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&seen)));
            }
        });
        Self { address, running }
    }

    /// Everything is closed at once, in the middle of whatever it was doing.
    async fn crash(mut self) {
        self.running.shutdown().await;
    }
}

async fn serve(stream: TcpStream, seen: Seen) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head).await.is_ok_and(|bytes| bytes > 0) {
        if !head.ends_with("\r\n\r\n") {
            continue;
        }
        let id = head.lines().find_map(|line| line.strip_prefix("x-id: ")).expect("an id");
        *seen.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
        head.clear();
        tokio::time::sleep(WORK).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        if stream.get_mut().write_all(answer).await.is_err() {
            return;
        }
    }
}

/// What became of one request.
#[derive(Debug)]
struct Sent {
    id: String,
    began: Instant,
    status: u16,
}

async fn send(server: SocketAddr, (method, number): (&str, usize), until: Instant) -> Vec<Sent> {
    let mut client = Client::new(server);
    let mut sent = Vec::new();
    while Instant::now() < until {
        let id = format!("{method}-{number}-{}", sent.len());
        let began = Instant::now();
        let fields = format!("x-id: {id}\r\n");
        let answer = client.send(&format!("{method} /stringsvc/once"), &fields, "").await;
        let status = answer.expect("the gateway answers, whatever happens behind it").status;
        sent.push(Sent { id, began, status });
    }
    sent
}

#[tokio::test]
async fn a_crash_loses_no_get_and_no_post_silently_and_sends_none_twice() {
    let agent = or_skip!(Consul::dev().await);
    let seen = Seen::default();
    let (doomed, other) = (Counting::start(&seen).await, Counting::start(&seen).await);
    for backend in [&doomed, &other] {
        let port = backend.address.port();
        let id = format!("once-{port}");
        agent
            .register(
                &json!({ "ID": id, "Name": "stringsvc", "Address": "127.0.0.1", "Port": port }),
            )
            .await;
    }
    let gateway = Gateway::start(&apigateway(&agent.url())).await;
    let both = [doomed.address.to_string(), other.address.to_string()];
    gateway.has("stringsvc", &[&both[0], &both[1]]).await;

    let until = Instant::now() + Duration::from_secs(2);
    let mut clients: JoinSet<_> = (0..CLIENTS)
        .flat_map(|number| [("GET", number), ("POST", number)])
        .map(|of_whom| send(gateway.web, of_whom, until))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    doomed.crash().await;
    // It stays in rotation: without a check the agent does not notice.
    let crashed = Instant::now();
    let mut sent = Vec::new();
    while let Some(of_one) = clients.join_next().await {
        sent.extend(of_one.expect("no client panics"));
    }
    let (gets, sent): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|sent| sent.id.starts_with("GET"));
    assert!(gets.iter().all(|get| get.status == 200), "a GET is sent again");
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let lost: Vec<_> = sent.iter().filter(|sent| sent.status != 200).collect();
    eprintln!("{} sent, {} in flight at the crash", sent.len(), lost.len());
    assert!(sent.len() > 200, "there was load");
    assert!(!lost.is_empty(), "some were in flight, or this proves nothing");
    assert!(lost.len() <= CLIENTS, "{lost:#?}");
    for one in &sent {
        let times = seen.get(&one.id).copied().unwrap_or_default();
        if one.status == 200 {
            assert_eq!(times, 1, "{one:?}");
        } else {
            assert_eq!(one.status, 502, "{one:?}");
            assert!(times <= 1, "seen {times} times: {one:?}");
            assert!(one.began <= crashed, "not in flight at the crash: {one:?}");
        }
    }
}
