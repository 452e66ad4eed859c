//! A server that is no Redis server, or a bad one: raw bytes where replies should be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{SOON, backend, gateway, statuses, told};
use crate::support::wait;

/// What a server says when something was asked.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// This, once for each read.
    Each(&'static str),
    /// This, for as long as somebody takes it.
    Endless(&'static str),
    /// This, and closes.
    Last(&'static str),
    /// What a good server would, but to so many reads only; from then on this.
    GoodFor(usize, &'static str),
}

/// A good answer to a take.
const GOOD: &str = "*3\r\n:0\r\n:9\r\n:1000000000\r\n";

#[derive(Debug)]
struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

async fn server(says: Says) -> Hostile {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            made.fetch_add(1, SeqCst);
            tokio::spawn(talk(stream, says));
        }
    });
    Hostile { address, connections }
}

/// Ends with the connection.
async fn talk(mut stream: TcpStream, says: Says) -> Option<()> {
    let mut buffer = [0; 16 << 10];
    let mut reads = 0;
    loop {
        if stream.read(&mut buffer).await.ok()? == 0 {
            return None;
        }
        reads += 1;
        match says {
            Says::Each(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Says::Endless(text) => {
                let many = text.repeat(1 + (64 << 10) / text.len());
                loop {
                    stream.write_all(many.as_bytes()).await.ok()?;
                }
            }
            Says::Last(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                return None;
            }
            Says::GoodFor(so_many, text) => {
                let text = if reads <= so_many { GOOD } else { text };
                stream.write_all(text.as_bytes()).await.ok()?;
            }
        }
    }
}

#[tokio::test]
async fn whatever_a_server_says_requests_go_on_and_memory_stays_small() {
    let kinds = [
        Says::Each("HTTP/1.1 400 Bad Request\r\n\r\n"),
        Says::Each("$2147483647\r\nab"),
        Says::Each("*2147483647\r\n"),
        Says::Each("*3\r\n:-1\r\n:0\r\n:0\r\n"),
        Says::Each("*3\r\n:9223372036854775808888\r\n"),
        Says::Each("-ERR \u{1b}[31mno\u{7}\r\n"),
        Says::Each("-MOVED 1234 10.0.0.1:6379\r\n"),
        Says::Each("*3\r\n:0\r\n:9\r\n:1\r\n*3\r\n:0\r\n:9\r\n:1\r\n"),
        Says::Each("\0"),
        Says::Endless("x"),
        Says::Endless("-x"),
        Says::Endless("*1\r\n"),
        Says::Endless("+OK\r\n"),
        Says::Last(""),
        Says::Last("*3\r\n:0\r\n"),
        // Two are part of making a connection; what comes then answers a request.
        Says::GoodFor(2, "*3\r\n:0\r\n:9\r\n:1\r\n*3\r\n:0\r\n:9\r\n:1\r\n"),
        Says::GoodFor(2, "+OK\r\n"),
        Says::GoodFor(2, "*3\r\n:0\r\n"),
        Says::GoodFor(2, "*3\r\n*3\r\n"),
        Says::GoodFor(2, "-OOM command not allowed\r\n"),
        Says::GoodFor(2, "-NOSCRIPT no such script\r\n"),
        Says::GoodFor(2, "*3\r\n:0\r\n:9\r\n:1\r\n:1\r\n"),
        Says::GoodFor(
            2,
            "*3\r\n:9223372036854775807\r\n:9223372036854775807\r\n:9223372036854775807\r\n",
        ),
    ];
    let backend = backend().await;
    for says in kinds {
        let server = server(says).await;
        let store = format!("url = \"redis://{}\"\non_error = \"deny\"", server.address);
        let mut gateway = gateway(&backend, "rate = \"10/s\"", &store, 1).await;
        let before = gateway.memory("VmHWM");
        let statuses = statuses(&gateway, 30).await;
        // The first may be counted, before something comes that nobody asked for.
        assert_eq!(statuses[1..], [429; 29], "{says:?}");
        assert!(server.connections.load(SeqCst) <= 3, "{says:?}: tried again and again");
        let grown = gateway.memory("VmHWM") - before;
        assert!(grown < 16 << 10, "{says:?}: {grown} KiB");
        assert!(gateway.is_running());
        let waits_only = matches!(says, Says::GoodFor(2, text) if text.starts_with("*3\r\n:922"));
        let log = told(&gateway, usize::from(!waits_only)).await;
        assert!(log.iter().all(|line| !line.contains(char::is_control)), "{log:#?}");
    }
}

#[tokio::test]
async fn a_server_that_answers_now_and_then_is_not_tried_without_pause() {
    let server = server(Says::GoodFor(3, "nonsense\r\n")).await;
    let store = format!("url = \"redis://{}\"", server.address);
    let backend = backend().await;
    let gateway = gateway(&backend, "rate = \"1000/s\"", &store, 1).await;
    let began = tokio::time::Instant::now();
    wait::until("it was tried three times", SOON, async || {
        statuses(&gateway, 10).await;
        (server.connections.load(SeqCst) >= 3).then_some(())
    })
    .await;
    // A second, then two.
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
}
