//! How many exchanges a route has at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::backend::{Answering, Backend};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer};

/// No connection is used twice, so that each request is one that comes in.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

async fn one_at_a_time(backend: &Backend, route: &str) -> Gateway {
    Setup::to(&[backend.address]).route("in_flight = 1").route(route).start().await
}

fn assert_full(answer: &Message) {
    assert_eq!((answer.status(), answer.code()), (503, "overloaded"));
}

/// Somebody may come in, and nobody beside.
async fn assert_room_for_one(gateway: &Gateway, backend: &Backend) {
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    assert_full(&gateway.fetch("/").await);
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn one_too_many_is_refused_until_another_has_ended() {
    let backend = Backend::new().await;
    let setup = Setup::to(&[backend.address]).top("workers = 2").route("in_flight = 2");
    let gateway = setup.start().await;
    let (mut first, mut second) = (gateway.ask(GET).await, gateway.ask(GET).await);
    let (mut one, _) = backend.request().await;
    let (mut two, _) = backend.request().await;
    let refused = gateway.fetch("/").await;
    assert_eq!((refused.status(), refused.code()), (503, "overloaded"));
    one.send(OK).await;
    two.send(OK).await;
    assert_eq!(first.answer().await.status(), 200);
    assert_eq!(second.answer().await.status(), 200);
    for _ in 0..5 {
        // Also one that leaves makes room.
        let client = gateway.ask(GET).await;
        let (upstream, _) = backend.request().await;
        drop(client);
        drop(upstream);
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    }
    let mut client = Peer::connect(gateway.web()).await;
    client.send(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_all_workers_there_are_never_more_and_none_is_lost() {
    const MOST: usize = 2;
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&now), Arc::clone(&peak));
    let backend = Answering::by(move |_| {
        let here = counted.0.fetch_add(1, SeqCst) + 1;
        counted.1.fetch_max(here, SeqCst);
        // So that they meet, if they can.
        #[expect(clippy::disallowed_methods, reason = "a backend that takes its time")]
        std::thread::sleep(Duration::from_millis(1));
        counted.0.fetch_sub(1, SeqCst);
        OK.into()
    })
    .await;
    let setup = Setup::to(&[backend.address]).top("workers = 2");
    let gateway = setup.route(&format!("in_flight = {MOST}")).start().await;
    let mut asking = Vec::new();
    for _ in 0..40 {
        let mut client = Peer::connect(gateway.web()).await;
        asking.push(tokio::spawn(async move {
            let mut good = 0;
            for _ in 0..25 {
                client.send(GET).await;
                let answer = client.answer().await;
                match answer.status() {
                    200 => good += 1,
                    _ => assert_full(&answer),
                }
            }
            good
        }));
    }
    let mut good = 0;
    for task in asking {
        good += task.await.expect("it asks");
    }
    assert!(peak.load(SeqCst) <= MOST, "{} at a time", peak.load(SeqCst));
    assert_eq!(good, backend.count());
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    assert_eq!(gateway.fetch("/").await.text(), "ok");
}

#[tokio::test]
async fn all_places_are_there_again_after_a_crowd() {
    const MOST: usize = 8;
    let backend = Backend::new().await;
    let setup = Setup::to(&[backend.address]).top("workers = 2");
    let gateway = setup.route(&format!("in_flight = {MOST}")).start().await;
    for _ in 0..3 {
        let mut clients = Vec::new();
        for _ in 0..MOST {
            clients.push(gateway.ask(GET).await);
        }
        let mut upstreams = Vec::new();
        for _ in 0..MOST {
            upstreams.push(backend.request().await.0);
        }
        for _ in 0..10 {
            assert_full(&gateway.fetch("/").await);
        }
        for upstream in &mut upstreams {
            upstream.send(OK).await;
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.status(), 200);
        }
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    }
}

#[tokio::test]
async fn a_place_is_held_until_the_last_byte_of_the_answer() {
    let backend = Backend::new().await;
    let gateway = one_at_a_time(&backend, "").await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nab").await;
    client.head().await;
    client.take(2).await;
    assert_full(&gateway.fetch("/").await);
    upstream.send("cd").await;
    client.take(2).await;
    assert_room_for_one(&gateway, &backend).await;
}

#[tokio::test]
async fn a_place_is_free_again_however_an_exchange_ends() {
    let backend = Backend::new().await;
    let gateway = one_at_a_time(&backend, "max_body = \"4B\"\ntimeout = \"30s\"").await;
    // The upstream dies before its answer, within its head, within its body.
    for given in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"] {
        let post = "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        let mut client = gateway.ask(post).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(given).await;
        drop(upstream);
        client.ended().await;
        assert_room_for_one(&gateway, &backend).await;
    }
    // The client leaves before the answer, and within it.
    for within in [false, true] {
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        if within {
            upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
            client.head().await;
        }
        client.reset();
        upstream.ended().await;
        assert_room_for_one(&gateway, &backend).await;
    }
    // A refusal before it came in, and one after.
    let chunked = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n";
    for post in ["POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n", chunked] {
        let mut client = gateway.ask(post).await;
        assert_eq!(client.answer().await.code(), "body_too_large");
        if post == chunked {
            backend.accept().await;
        }
        assert_room_for_one(&gateway, &backend).await;
    }
}

#[tokio::test]
async fn a_tunnel_holds_its_place_until_it_ends() {
    let backend = Backend::new().await;
    let gateway = one_at_a_time(&backend, "upgrade = [\"websocket\"]").await;
    for client_ends in [true, false] {
        let ask = "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let mut client = gateway.ask(ask).await;
        let (mut upstream, _) = backend.request().await;
        upstream
            .send("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi")
            .await;
        assert_eq!(client.head().await.status(), 101);
        client.take(2).await;
        assert_full(&gateway.fetch("/").await);
        // One side ends, the other may still say something; then it does, too.
        let (one, mut other) = if client_ends { (client, upstream) } else { (upstream, client) };
        drop(one);
        other.ended().await;
        drop(other);
        assert_room_for_one(&gateway, &backend).await;
    }
}
