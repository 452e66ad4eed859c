//! Upstream connections used again: never with what somebody else's answer left behind, and never lost for nothing.

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::Peer;

/// What one read takes of a new connection at most.
const READ: usize = 8 << 10;
/// Long enough to be moved by the kernel.
const LONG: usize = 256 << 10;
const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
const GET: &str = "GET /waiting HTTP/1.1\r\nhost: h\r\n\r\n";
const POST: &str = "POST /waiting HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi";

/// An answer of this many bytes in all.
fn answer_of(total: usize) -> String {
    const HEAD: usize = 128;
    let body = "x".repeat(total - HEAD);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-filling: ", body.len());
    format!("{head}{}\r\n\r\n{body}", "f".repeat(HEAD - 4 - head.len()))
}

/// A gateway that makes one connection, a client that uses it, its upstream's side, and a client that waits for it.
async fn one_waits(request: &str) -> (Gateway, Backend, (Peer, Peer, Peer)) {
    let backend = Backend::new().await;
    let setup = Setup::to(&[backend.address]).service("pool = { connections = 1 }");
    let gateway = setup.start().await;
    let first = gateway.ask("GET /first HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let (upstream, _) = backend.request().await;
    let second = gateway.ask(request).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 2.0).await;
    (gateway, backend, (first, upstream, second))
}

#[tokio::test]
async fn what_follows_an_answer_is_not_the_answer_of_whoever_waits_for_the_connection() {
    for total in [READ - 1, READ, READ + 1, LONG] {
        let (_gateway, backend, (mut first, mut upstream, mut second)) = one_waits(GET).await;
        let sent = answer_of(total) + POISON;
        let sending = tokio::spawn(async move {
            // It may be cut off.
            upstream.try_send(sent).await.ok();
            upstream
        });
        first.answer().await;
        let _upstream = sending.await.unwrap();
        let (mut other, request) = backend.request().await;
        assert_eq!(request.head.start, "GET /waiting HTTP/1.1", "on a connection of its own");
        other.send(OK).await;
        assert_eq!(second.answer().await.text(), "ok", "behind an answer of {total} bytes");
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_is_not_given_one_that_was_closed() {
    for total in [READ, LONG] {
        let (_gateway, backend, (mut first, mut upstream, mut second)) = one_waits(POST).await;
        // The end leaves with the last byte. Behind it, it could come when the request is already on its way.
        rustix::net::sockopt::set_tcp_cork(&upstream.stream, true).unwrap();
        let sending = tokio::spawn(async move {
            upstream.send(answer_of(total)).await;
            drop(upstream);
        });
        // The upstream's end is there before the answer was taken to its own.
        if total == LONG {
            sending.await.unwrap();
        }
        first.answer().await;
        let (mut other, request) = backend.request().await;
        assert_eq!(request.head.start, "POST /waiting HTTP/1.1");
        other.send(OK).await;
        assert_eq!(second.answer().await.status(), 200, "after an answer of {total} bytes");
    }
}

#[tokio::test]
async fn an_answer_that_fills_a_read_exactly_does_not_cost_its_connection() {
    for total in [READ - 1, READ, READ + 1, 2 * READ, 64 << 10, LONG] {
        let backend = Answering::with(answer_of(total)).await;
        let gateway = Setup::to(&[backend.address]).start().await;
        let mut client = Peer::connect(gateway.web()).await;
        for _ in 0..20 {
            client.send(GET).await;
            client.answer().await;
        }
        assert_eq!(backend.connections(), 1, "for answers of {total} bytes");
    }
}
