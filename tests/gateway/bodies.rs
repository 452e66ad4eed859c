//! Bodies on their way: chunks, trailers, expectations, large ones, slow ones.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Peer, SOON};

const GIB: u64 = 1 << 30;
/// Growth of the process over a body of any size.
const GROWTH_KIB: u64 = 32 << 10;

#[tokio::test]
async fn chunks_arrive_as_chunks_with_the_trailers_that_may_pass() {
    let backend = Answering::with(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
         X-Sum: 2\r\nContent-Length: 7\r\nSet-Cookie: a=b\r\n\r\n",
    )
    .await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway
        .ask(
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             3;ext=1\r\nabc\r\n00002\r\nde\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: x\r\n\
             Transfer-Encoding: chunked\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "2".to_owned())]);
    let request = backend.requests().pop().expect("a request");
    assert_eq!(request.body, b"abcde");
    assert_eq!(request.head.value("transfer-encoding"), Some("chunked"));
    assert_eq!(request.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok", "both connections go on");
    assert_eq!(backend.connections(), 1);
}

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn a_client_that_waits_for_100_gets_the_upstreams() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(EXPECTING).await;
    let mut upstream = backend.accept().await;
    let head = upstream.head().await;
    assert_eq!(head.value("expect"), Some("100-continue"));
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.answer().await.head.raw, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(upstream.take(3).await, b"abc");
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(upstream.head().await.start, "GET / HTTP/1.1", "both connections go on");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_waits_for_100_and_its_body_is_not_read() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(EXPECTING).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    assert_eq!(answer.head.value("connection"), Some("close"));
    client.closed().await;
    upstream.closed().await;
}

#[tokio::test]
async fn an_early_answer_closes_both_connections_although_the_upload_has_arrived() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for (framing, body) in
        [("content-length: 3", "abc"), ("transfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")]
    {
        let ask =
            format!("POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n{framing}\r\n\r\n");
        let mut client = gateway.ask(ask + body).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(OK).await;
        let answer = client.answer().await;
        assert_eq!(answer.text(), "ok");
        assert_eq!(answer.head.value("connection"), Some("close"), "{framing}");
        client.closed().await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on_after_a_second() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let began = Instant::now();
    let mut client = gateway.ask(EXPECTING).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    assert_eq!(client.answer().await.status(), 100);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(990) && waited < Duration::from_secs(3), "{waited:?}");
    client.send("abc").await;
    assert_eq!(upstream.take(3).await, b"abc");
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn an_answer_before_the_uploads_end_is_passed_on_and_both_connections_close() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nabc").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.take(3).await;
    upstream.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nmuch").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "much"));
    assert_eq!(answer.head.value("connection"), Some("close"));
    client.closed().await;
    upstream.closed().await;
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_sent() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask("GET /events HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
    assert_eq!(client.head().await.value("transfer-encoding"), Some("chunked"));
    for number in 0..50 {
        let event = format!("data: {number}\n\n");
        upstream.send(&event).await;
        assert_eq!(client.chunk().await, Some(event.into_bytes()));
    }
    drop(upstream);
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn an_upload_arrives_part_by_part() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let head = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = gateway.ask(head).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    for _ in 0..20 {
        client.send("3\r\nabc\r\n").await;
        assert_eq!(upstream.chunk().await.as_deref(), Some(&b"abc"[..]));
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(upstream.chunk().await, None);
}

/// Writes so many bytes, as fast as they are taken.
pub(crate) async fn pour(peer: &mut Peer, bytes: u64) {
    let block = vec![b'x'; 256 << 10];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len() as u64) as usize;
        let wrote = tokio::time::timeout(SOON, peer.stream.write_all(&block[..part])).await;
        wrote.expect("in time").expect("taken");
        left -= part as u64;
    }
}

/// Reads so many bytes, and no more.
pub(crate) async fn drink(peer: &mut Peer, bytes: u64) {
    let mut block = vec![0; 256 << 10];
    let mut left = bytes;
    while left > 0 {
        let most = left.min(block.len() as u64) as usize;
        let read = tokio::time::timeout(SOON, peer.stream.read(&mut block[..most])).await;
        let count = read.expect("in time").expect("readable");
        assert!(count > 0, "{left} bytes missing");
        left -= count as u64;
    }
}

fn assert_small(gateway: &Gateway, before: u64) {
    let (now, peak) = (gateway.memory("VmRSS"), gateway.memory("VmHWM"));
    assert!(peak < before + GROWTH_KIB, "KiB: {before} before, {now} now, {peak} at most");
}

/// A gateway that has served something already, and its memory in KiB.
async fn warm(backend: &Backend) -> (Gateway, Peer, Peer, u64) {
    let gateway = Setup::to(&[backend.address]).route("timeout = \"60s\"").start().await;
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    client.answer().await;
    let before = gateway.memory("VmRSS");
    (gateway, client, upstream, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gib_comes_down_in_constant_memory() {
    let backend = Backend::new().await;
    let (gateway, mut client, mut upstream, before) = warm(&backend).await;
    client.send("GET /big HTTP/1.1\r\nhost: h\r\n\r\n").await;
    upstream.head().await;
    upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {GIB}\r\n\r\n")).await;
    let pouring = tokio::spawn(async move {
        pour(&mut upstream, GIB).await;
        upstream
    });
    client.exact_head().await;
    drink(&mut client, GIB).await;
    pouring.await.expect("all sent");
    assert_small(&gateway, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gib_goes_up_in_constant_memory() {
    let backend = Backend::new().await;
    let (gateway, mut client, mut upstream, before) = warm(&backend).await;
    client.send(format!("PUT /big HTTP/1.1\r\nhost: h\r\ncontent-length: {GIB}\r\n\r\n")).await;
    let pouring = tokio::spawn(async move {
        pour(&mut client, GIB).await;
        client
    });
    upstream.exact_head().await;
    drink(&mut upstream, GIB).await;
    upstream.send(OK).await;
    let mut client = pouring.await.expect("all sent");
    assert_eq!(client.answer().await.text(), "ok");
    assert_small(&gateway, before);
}

/// Writes until nothing is taken for a while; how much was.
pub(crate) async fn pour_until_stuck(peer: &mut Peer) -> u64 {
    let block = vec![b'x'; 64 << 10];
    let mut taken = 0;
    while let Ok(wrote) =
        tokio::time::timeout(Duration::from_millis(500), peer.stream.write(&block)).await
    {
        taken += wrote.expect("it lives") as u64;
    }
    taken
}

#[tokio::test]
async fn a_slow_reader_slows_its_upstream_and_a_slow_upstream_its_client() {
    // More than all buffers of two connections on loopback hold.
    const BODY: u64 = 256 << 20;
    let backend = Backend::new().await;
    let (gateway, mut client, mut upstream, before) = warm(&backend).await;
    client.send("GET /big HTTP/1.1\r\nhost: h\r\n\r\n").await;
    upstream.head().await;
    upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n")).await;
    let taken = pour_until_stuck(&mut upstream).await;
    assert!(taken < BODY / 2, "{taken} bytes went although nobody read");
    client.exact_head().await;
    let (rest, ()) = tokio::join!(pour(&mut upstream, BODY - taken), drink(&mut client, BODY));
    let () = rest;

    client.send(format!("PUT /big HTTP/1.1\r\nhost: h\r\ncontent-length: {BODY}\r\n\r\n")).await;
    upstream.exact_head().await;
    let taken = pour_until_stuck(&mut client).await;
    assert!(taken < BODY / 2, "{taken} bytes went although nobody read");
    tokio::join!(pour(&mut client, BODY - taken), drink(&mut upstream, BODY));
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
    assert_small(&gateway, before);
}
