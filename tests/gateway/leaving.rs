//! Clients that leave or are slow, upstreams that are slow: who is waited for, and who pays.

use std::time::{Duration, Instant};

use crate::bodies::{drink, pour, pour_until_stuck};
use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::Setup;
use crate::support::peer::{End, Peer, SOON};

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
/// More than all buffers of two connections on loopback hold.
const LARGE: u64 = 64 << 20;

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Closes,
    HalfCloses,
    Resets,
}

const WAYS: [Leaving; 3] = [Leaving::Closes, Leaving::HalfCloses, Leaving::Resets];

/// Leaves; a client that closed only half is still there to be told nothing.
async fn leave(mut client: Peer, how: Leaving) -> Option<Peer> {
    match how {
        Leaving::Closes => None,
        Leaving::HalfCloses => {
            client.half_close().await;
            Some(client)
        }
        Leaving::Resets => {
            client.reset();
            None
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_any_way_at_any_time_ends_its_exchange_at_once() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for how in WAYS {
        // Within its head: no backend hears of it.
        let client = gateway.ask("GET / HTTP/1.1\r\nhost: h\r\nx:").await;
        let _half = leave(client, how).await;
        gateway.metric_is("frontgate_connections", &["listener=\"web\""], 0.0).await;
        backend.assert_untouched().await;
        // While it waits.
        let client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        let _half = leave(client, how).await;
        let began = Instant::now();
        upstream.ended().await;
        // Within its body.
        for (framing, part) in
            [("content-length: 9", "abc"), ("transfer-encoding: chunked", "3\r\nabc\r\n")]
        {
            let ask = format!("PUT / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n{part}");
            let client = gateway.ask(ask).await;
            let mut upstream = backend.accept().await;
            upstream.head().await;
            upstream.take(part.len()).await;
            let half = leave(client, how).await;
            let (rest, _) = upstream.rest().await;
            assert!(rest.is_empty(), "{how:?}: {rest:?} makes it look complete");
            if let Some(mut half) = half {
                assert_eq!(half.rest().await.0, b"", "it has left, and is told nothing");
            }
            backend.assert_untouched().await;
        }
        // Within its answer, also when nothing of it is on its way.
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
        client.head().await;
        client.take(3).await;
        let _half = leave(client, how).await;
        upstream.ended().await;
        // Within a long one, when some of it waits for the client: left behind unread data, its end is a reset.
        for poured in [1 << 20, 0] {
            let mut client = gateway.ask(GET).await;
            let (mut upstream, _) = backend.request().await;
            upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n")).await;
            client.exact_head().await;
            if poured == 0 {
                pour_until_stuck(&mut upstream).await;
            } else {
                tokio::join!(pour(&mut upstream, poured), drink(&mut client, poured));
            }
            let _half = leave(client, how).await;
            upstream.ended().await;
        }
        assert!(began.elapsed() < SOON, "{how:?}: {:?}", began.elapsed());
    }
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 18.0).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    for none in ["frontgate_retries_total", "frontgate_refusals_total"] {
        gateway.metric_is(none, &[], 0.0).await;
    }
}

#[tokio::test]
async fn an_answer_that_its_client_stopped_taking_never_looks_whole() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).limits("idle_timeout = \"400ms\"").start().await;
    // Its end is the connection's. The client half-closes while more is to come, or while more waits for it.
    for poured in [0, 1 << 20] {
        let mut client = gateway.ask("GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
        let (mut upstream, _) = backend.request().await;
        upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        client.exact_head().await;
        client.take(3).await;
        if poured > 0 {
            upstream.send(format!("{poured:x}\r\n")).await;
            tokio::join!(pour(&mut upstream, poured), drink(&mut client, poured));
        }
        client.half_close().await;
        assert_eq!(client.rest().await, (Vec::new(), End::Reset), "{poured}");
        upstream.ended().await;
    }
    // Or it takes nothing for too long, and then reads what is there.
    let mut client = gateway.ask("GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\n").await;
    let block = vec![b'x'; 64 << 10];
    while upstream.try_send(&block).await.is_ok() {}
    assert_eq!(client.ended().await, End::Reset);
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 3.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_behind_bytes_that_nobody_reads_is_missed_nevertheless() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("timeout = \"0s\"").start().await;
    for how in WAYS {
        // More than is read ahead, and less than the kernel takes.
        let client = gateway.ask(GET.to_owned() + &"x".repeat(100 << 10)).await;
        let (mut upstream, _) = backend.request().await;
        let _half = leave(client, how).await;
        upstream.ended().await;
    }
    // An upload of which nobody takes the rest.
    let length = format!("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGE}\r\n\r\n");
    let mut client = gateway.ask(length).await;
    let mut upstream = backend.accept().await;
    upstream.exact_head().await;
    pour_until_stuck(&mut client).await;
    client.reset();
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 4.0).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
}

#[tokio::test]
async fn a_client_slow_with_trailers_longer_than_is_read_ahead_has_its_body_timeout_and_no_more() {
    let begun =
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ";
    let unfinished = begun.to_owned() + &"t".repeat(100 << 10);
    let (head, rest) = unfinished.split_at(begun.len());
    for (body_timeout, late) in [("1s", true), ("30s", false)] {
        for (at_once, later) in [(unfinished.as_str(), ""), (head, rest)] {
            let backend = Answering::with(OK).await;
            let limits = format!("header_bytes = \"256KiB\", body_timeout = \"{body_timeout}\"");
            let setup = Setup::to(&[backend.address]).route("timeout = \"0s\"").limits(&limits);
            let gateway = setup.start().await;
            let mut client = gateway.ask(at_once).await;
            let began = Instant::now();
            client.send(later).await;
            if !late {
                // Longer than between two looks for a client that left.
                tokio::time::sleep(Duration::from_millis(600)).await;
                client.send("\r\n\r\n").await;
            }
            let answer = client.answer().await;
            let code = if late { "client_timeout" } else { "" };
            assert_eq!(answer.code(), code, "{body_timeout} after {:?}", began.elapsed());
            assert!(!late || began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn time_that_passes_while_the_client_sends_its_body_is_no_fault_of_the_instance() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("timeout = \"400ms\"").start().await;
    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.code()), (504, "upstream_timeout"));
    client.closed().await;
    upstream.ended().await;
    gateway.metric_is("frontgate_attempts_total", &["result=\"client_gone\""], 1.0).await;
    gateway.metric_is("frontgate_attempts_total", &["result=\"timeout\""], 0.0).await;
    let services = gateway.admin("/services").await.text();
    assert!(services.contains("\"failures\":0"), "{services}");
    // With all of the body there, it is.
    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc").await;
    let _upstream = backend.request().await;
    assert_eq!(client.answer().await.code(), "upstream_timeout");
    gateway.metric_is("frontgate_attempts_total", &["result=\"timeout\""], 1.0).await;
    let services = gateway.admin("/services").await.text();
    assert!(services.contains("\"failures\":1"), "{services}");
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_its_upstreams_silence() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("idle_timeout = \"300ms\"").start().await;
    for (version, framing) in
        [("1.1", format!("content-length: {LARGE}\r\n")), ("1.0", String::new())]
    {
        let mut client = gateway.ask(format!("GET / HTTP/{version}\r\nhost: h\r\n\r\n")).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n")).await;
        client.exact_head().await;
        // It has more to say all the time, and is not read.
        let taken = pour_until_stuck(&mut upstream).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        tokio::join!(pour(&mut upstream, LARGE - taken), drink(&mut client, LARGE));
        drop(upstream);
    }
    gateway.metric_is("frontgate_requests_total", &["fate=\"answered\""], 2.0).await;
}

#[tokio::test]
async fn an_upstream_that_takes_slowly_is_not_its_clients_silence() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).limits("body_timeout = \"300ms\"").start().await;
    let mut client =
        gateway.ask(format!("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGE}\r\n\r\n")).await;
    let mut upstream = backend.accept().await;
    upstream.exact_head().await;
    let taken = pour_until_stuck(&mut client).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    tokio::join!(pour(&mut client, LARGE - taken), drink(&mut upstream, LARGE));
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn those_who_are_stuck_keep_nobody_else_waiting() {
    let (backend, quick) = (Backend::new().await, Answering::with(OK).await);
    let tables = format!(
        "[[route]]\nname = \"quick\"\npath = \"/quick\"\nservice = \"quick\"\n\
         [service.quick]\nendpoints = [\"http://{}\"]",
        quick.address
    );
    let gateway = Setup::to(&[backend.address]).tables(&tables).start().await;
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n")).await;
        pour_until_stuck(&mut upstream).await;
        let ask = format!("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGE}\r\n\r\n");
        let mut sender = gateway.ask(ask).await;
        let taker = backend.accept().await;
        pour_until_stuck(&mut sender).await;
        stuck.extend([client, upstream, sender, taker]);
    }
    let began = Instant::now();
    let mut client = Peer::connect(gateway.web()).await;
    for _ in 0..100 {
        client.send("GET /quick HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 8.0).await;
}
