//! Long answers of known length, which the kernel moves by itself: the same rules as for any other.

use std::time::{Duration, Instant};

use crate::support::backend::{Answering, Backend};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Peer, SOON};

/// Long enough to be moved in several steps, and not of a length that anything is a multiple of.
const LENGTH: usize = (3 << 20) + 12_345;

/// Bytes that tell where they stand.
fn body() -> Vec<u8> {
    (0..LENGTH).map(|at| (at % 251) as u8).collect()
}

fn head() -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n")
}

const ASK: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// A client that has had one half of a long answer, and the upstream that has the other.
async fn halfway(gateway: &Gateway, backend: &Backend) -> (Peer, Peer) {
    let mut client = gateway.ask(ASK).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(head()).await;
    upstream.send(&body()[..LENGTH / 2]).await;
    client.head().await;
    assert_eq!(client.take(LENGTH / 2).await.len(), LENGTH / 2);
    (client, upstream)
}

#[tokio::test]
async fn a_long_body_arrives_byte_for_byte_and_both_connections_go_on() {
    let backend = Answering::by(|_| [head().into_bytes(), body()].concat()).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(ASK).await;
    for round in 0..5 {
        let answer = client.answer().await;
        assert!(answer.body == body(), "round {round}: {} bytes", answer.body.len());
        client.send(ASK).await;
    }
    client.answer().await;
    assert_eq!(backend.connections(), 1, "a connection that carried a long body is kept");
}

#[tokio::test]
async fn a_long_body_that_breaks_off_ends_in_a_reset() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let (mut client, upstream) = halfway(&gateway, &backend).await;
    drop(upstream);
    assert_eq!(client.rest().await.1, End::Reset);
    let failed = ["fate=\"upstream_failed\""];
    gateway.metric_is("frontgate_requests_total", &failed, 1.0).await;
}

#[tokio::test]
async fn silence_within_a_long_body_ends_it_and_a_slow_client_does_not() {
    /// More than all buffers between the two ends hold.
    const PART: usize = 1 << 20;
    const PARTS: usize = 40;
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("idle_timeout = \"1s\"").start().await;
    let mut client = gateway.ask(ASK).await;
    let (mut upstream, _) = backend.request().await;
    let sent = tokio::spawn(async move {
        let length = PART * PARTS + 1;
        upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await;
        for _ in 0..PARTS {
            upstream.send(vec![b'x'; PART]).await;
        }
        upstream
    });
    client.head().await;
    // The client takes nothing for longer than the upstream may be silent.
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert!(!sent.is_finished(), "the buffers are full");
    for part in 0..PARTS {
        assert_eq!(client.take(PART).await.len(), PART, "part {part}");
    }
    let (_upstream, began) = (sent.await.expect("it was sent"), Instant::now());
    assert_eq!(client.rest().await.1, End::Reset);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    gateway.metric_is("frontgate_requests_total", &["fate=\"timed_out\""], 1.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_a_long_body_ends_it_upstream() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let (client, mut upstream) = halfway(&gateway, &backend).await;
    drop(client);
    let ended = tokio::time::timeout(SOON, upstream.rest()).await.expect("in time");
    assert!(ended.0.is_empty());
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 1.0).await;
}

#[tokio::test]
async fn what_follows_a_long_body_belongs_to_nobody() {
    let backend = Answering::by(|_| {
        [head().into_bytes(), body(), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()].concat()
    })
    .await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(ASK).await;
    for _ in 0..3 {
        assert!(client.answer().await.body == body());
        client.send(ASK).await;
    }
    client.answer().await;
    assert_eq!(
        backend.connections(),
        4,
        "a connection with more than was asked for is not used again"
    );
}
