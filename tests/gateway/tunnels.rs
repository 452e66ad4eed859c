//! Upgrades and the tunnels that follow them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::bodies::pour_until_stuck;
use crate::support::backend::{Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Peer, SOON};
use crate::support::wait;

const ASK: &str =
    "GET /chat HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// A tunnel with both its ends.
async fn open(gateway: &Gateway, backend: &Backend) -> (Peer, Peer) {
    let mut client = gateway.ask(ASK).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(SWITCH).await;
    assert_eq!(client.head().await.status(), 101);
    (client, upstream)
}

/// Bytes arrive in both directions.
async fn assert_lives(client: &mut Peer, upstream: &mut Peer) {
    client.send("up").await;
    assert_eq!(upstream.take(2).await, b"up");
    upstream.send("down").await;
    assert_eq!(client.take(4).await, b"down");
}

#[tokio::test]
async fn websocket_messages_pass_both_ways_until_one_side_says_goodbye() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let echo = tokio::spawn(async move {
        let stream = backend.accept().await.stream;
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.expect("it listens");
            }
        }
    });
    let stream = TcpStream::connect(gateway.web()).await.expect("a connection");
    let (mut socket, answer) =
        tokio_tungstenite::client_async("ws://h/chat", stream).await.expect("a handshake");
    assert!(answer.headers().contains_key("x-request-id"));
    for size in [0, 1, 125, 126, 65_536, 1 << 20] {
        let data = Bytes::from(vec![size as u8; size]);
        socket.send(Message::Binary(data.clone())).await.expect("it takes it");
        let echoed = socket.next().await.expect("an echo").expect("a message");
        assert_eq!(echoed.into_data().len(), data.len());
    }
    socket.send(Message::Ping(Bytes::from_static(b"p"))).await.expect("it takes it");
    let pong = socket.next().await.expect("a pong").expect("a message");
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"p")));
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 1.0).await;
    let bye = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    socket.close(Some(bye.clone())).await.expect("it takes it");
    let last = socket.next().await.expect("an answer").expect("a message");
    assert_eq!(last, Message::Close(Some(bye)));
    assert!(socket.next().await.is_none(), "the connection ends");
    drop(socket);
    echo.await.expect("the backend saw all of it");
    let answered = ["status=\"101\"", "fate=\"answered\""];
    gateway.metric_is("frontgate_requests_total", &answered, 1.0).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
}

#[tokio::test]
async fn both_sides_are_told_of_the_switch_and_of_nothing_else_between_connections() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway
        .ask(
            "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade, x-mine\r\nX-Mine: 1\r\n\
             Upgrade: WebSocket/13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nTE: gzip\r\n\r\n",
        )
        .await;
    let (mut upstream, request) = backend.request().await;
    let lines = request.head.sorted();
    for line in ["connection: upgrade", "upgrade: WebSocket/13"] {
        assert!(lines.iter().any(|one| one == line), "{lines:?}");
    }
    assert_eq!(request.head.value("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(request.head.all("x-mine") + &request.head.all("te"), "");
    assert_eq!(request.head.all("content-length"), "");
    upstream
        .send(
            "HTTP/1.1 101 Web Socket\r\nUpgrade: websocket\r\nConnection: upgrade, x-ours\r\nX-Ours: 1\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    let answer = client.head().await;
    assert_eq!(answer.start, "HTTP/1.1 101 Switching Protocols");
    let lines = [
        "connection: upgrade",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "upgrade: websocket",
    ];
    assert_eq!(answer.sorted(), lines);
    assert_lives(&mut client, &mut upstream).await;
}

/// The route's key, a request's lines, and which `upgrade` arrives.
const OFFERS: [(&str, &str, &str); 14] = [
    ("", "connection: te, upgrade\r\nte: trailers\r\nupgrade: websocket", "websocket"),
    ("", "connection: upgrade\r\nupgrade: websocket", "websocket"),
    ("", "connection: upgrade\r\nupgrade: WEBSOCKET", "WEBSOCKET"),
    ("", "connection: upgrade\r\nupgrade: spdy/3, websocket/13, chat", "websocket/13"),
    ("", "connection: upgrade\r\nupgrade: spdy/3", ""),
    ("", "upgrade: websocket", ""),
    ("", "connection: keep-alive\r\nupgrade: websocket", ""),
    (
        "",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP",
        "",
    ),
    ("upgrade = [\"chat\"]", "connection: upgrade\r\nupgrade: h2c, Chat", "Chat"),
    (
        "upgrade = [\"chat\"]",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: chat/2",
        "chat/2",
    ),
    (
        "upgrade = [\"chat\", \"websocket\"]",
        "connection: upgrade\r\nupgrade: a, chat, websocket",
        "chat, websocket",
    ),
    ("upgrade = []", "connection: upgrade\r\nupgrade: websocket", ""),
    ("upgrade = false", "connection: upgrade\r\nupgrade: websocket", ""),
    ("upgrade = true", "connection: upgrade\r\nupgrade: websocket", "websocket"),
];

#[tokio::test]
async fn only_protocols_the_route_lists_are_offered_to_the_upstream() {
    let backend = Backend::new().await;
    for (route, lines, offered) in OFFERS {
        let gateway = Setup::to(&[backend.address]).route(route).start().await;
        let mut client = gateway.ask(format!("GET / HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n")).await;
        let (mut upstream, request) = backend.request().await;
        let connection = match (offered, lines.contains("te: ")) {
            ("", _) => "",
            (_, false) => "upgrade",
            (_, true) => "te, upgrade",
        };
        let got = (request.head.all("upgrade"), request.head.all("connection"));
        assert_eq!(got, (offered.to_owned(), connection.to_owned()), "{route}: {lines}");
        assert_eq!(request.head.all("http2-settings"), "", "{route}: {lines}");
        upstream.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok", "an ordinary answer stays one");
    }
}

/// Requests that cannot be followed by another protocol, however they ask.
const ORDINARY: [&str; 4] = [
    "POST / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    GET,
];

#[tokio::test]
async fn a_request_with_a_body_or_of_an_old_client_is_an_ordinary_one_and_a_101_no_answer() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for ask in ORDINARY {
        let mut client = gateway.ask(ask).await;
        let (mut upstream, request) = backend.request().await;
        assert_eq!(request.head.all("upgrade") + &request.head.all("connection"), "", "{ask}");
        upstream.send(SWITCH).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.code()), (502, "upstream_error"), "{ask}");
        upstream.ended().await;
    }
    let empty = ASK.replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n");
    let mut client = gateway.ask(empty).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(SWITCH).await;
    assert_eq!(client.head().await.status(), 101, "no body is none, however it is said");
    assert_lives(&mut client, &mut upstream).await;
}

/// What is no agreement to `upgrade: websocket`.
const DISAGREED: [&str; 9] = [
    "HTTP/1.0 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket, h2c\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade : websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: websocket\n\n",
];

#[tokio::test]
async fn a_101_that_does_not_agree_to_what_was_asked_is_no_answer() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for disagreed in DISAGREED {
        let mut client = gateway.ask(ASK).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(disagreed).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.code()), (502, "upstream_error"), "{disagreed}");
        upstream.ended().await;
        client.send(GET).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok", "the client's connection goes on");
    }
    gateway.metric_is("frontgate_attempts_total", &["result=\"malformed\""], 9.0).await;
}

#[tokio::test]
async fn an_upgrade_that_is_declined_leaves_the_client_its_connection_and_the_upstream_none() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(ASK).await;
    let (mut upstream, _) = backend.request().await;
    upstream
        .send("HTTP/1.1 426 Upgrade Required\r\nupgrade: chat\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    upstream.closed().await;
    client.send(ASK).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{SWITCH}")).await;
    assert_eq!(client.head().await.status(), 103);
    assert_eq!(client.head().await.status(), 101);
    assert_lives(&mut client, &mut upstream).await;
}

#[tokio::test]
async fn bytes_behind_either_head_belong_to_the_tunnel() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for size in [1, 5000, 60_000] {
        let early = "e".repeat(size);
        let mut client = gateway.ask(format!("{ASK}{early}")).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(format!("{SWITCH}{early}")).await;
        assert_eq!(client.head().await.status(), 101);
        assert_eq!(client.take(size).await, early.as_bytes());
        assert_eq!(upstream.take(size).await, early.as_bytes());
        assert_lives(&mut client, &mut upstream).await;
        client.half_close().await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_side_that_has_said_all_may_go_on_listening() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for client_first in [true, false] {
        let (mut client, mut upstream) = open(&gateway, &backend).await;
        let (first, last) = match client_first {
            true => (&mut client, &mut upstream),
            false => (&mut upstream, &mut client),
        };
        first.send("the last words").await;
        first.half_close().await;
        let (said, end) = last.rest().await;
        assert_eq!((said.as_slice(), end), (&b"the last words"[..], End::Closed));
        for _ in 0..20 {
            last.send("still here").await;
            assert_eq!(first.take(10).await, b"still here");
        }
        last.half_close().await;
        first.closed().await;
    }
    let answered = ["status=\"101\"", "fate=\"answered\""];
    gateway.metric_is("frontgate_requests_total", &answered, 2.0).await;
}

#[tokio::test]
async fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for half_closed in [false, true] {
        for client_first in [true, false] {
            let (mut client, mut upstream) = open(&gateway, &backend).await;
            assert_lives(&mut client, &mut upstream).await;
            let (mut first, mut last) =
                if client_first { (client, upstream) } else { (upstream, client) };
            if half_closed {
                first.half_close().await;
                last.closed().await;
            }
            first.reset();
            if half_closed {
                let reset = |end| (end == End::Reset).then_some(());
                let broken =
                    async || reset(last.try_send("?").await.map_or(End::Reset, |()| End::Closed));
                wait::until("it is broken", SOON, broken).await;
            } else {
                assert_eq!(last.ended().await, End::Reset, "client first: {client_first}");
            }
            gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
        }
    }
}

#[tokio::test]
async fn a_reset_is_seen_also_while_the_other_side_reads_nothing() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let (mut client, upstream) = open(&gateway, &backend).await;
    pour_until_stuck(&mut client).await;
    client.reset();
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    drop(upstream);
}

#[tokio::test]
async fn silence_of_the_upstream_ends_a_tunnel_whatever_its_client_says() {
    const SILENCE: Duration = Duration::from_millis(1000);
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address])
        .limits("idle_timeout = \"300ms\", header_timeout = \"300ms\", body_timeout = \"300ms\"")
        .route("timeout = \"300ms\"\nidle_timeout = \"1000ms\"")
        .start()
        .await;
    let began = Instant::now();
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    while client.try_send("word").await.is_ok() && began.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(upstream.ended().await, End::Closed);
    let waited = began.elapsed();
    assert!(waited >= SILENCE && waited < SILENCE * 3, "{waited:?}");
    // Its own words keep it.
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    let (began, mut spoken) = (Instant::now(), Instant::now());
    while began.elapsed() < SILENCE * 2 {
        spoken = Instant::now();
        upstream.send("word").await;
        assert_eq!(client.take(4).await, b"word");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::join!(client.closed(), upstream.closed());
    let waited = spoken.elapsed();
    assert!(waited >= SILENCE && waited < SILENCE * 3, "{waited:?}");
    gateway.metric_is("frontgate_requests_total", &["fate=\"timed_out\"", "101"], 2.0).await;
}

#[tokio::test]
async fn an_upstream_that_has_said_all_it_had_to_say_is_not_silent_while_its_client_speaks() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("idle_timeout = \"1000ms\"").start().await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    upstream.half_close().await;
    client.closed().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2000) {
        client.send("word").await;
        assert_eq!(upstream.take(4).await, b"word");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    upstream.closed().await;
    gateway.metric_is("frontgate_requests_total", &["fate=\"timed_out\"", "101"], 1.0).await;
}

#[tokio::test]
async fn time_in_which_a_client_takes_nothing_is_not_its_upstreams_silence() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("idle_timeout = \"500ms\"").start().await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    let poured = pour_until_stuck(&mut upstream).await;
    // Time itself is what is tested.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    crate::bodies::drink(&mut client, poured).await;
    assert_lives(&mut client, &mut upstream).await;
    tokio::join!(client.closed(), upstream.closed());
    gateway.metric_is("frontgate_requests_total", &["fate=\"timed_out\""], 1.0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_tunnel_for_too_long_is_let_go() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address])
        .limits("idle_timeout = \"500ms\"")
        .route("idle_timeout = \"0s\"")
        .start()
        .await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_lives(&mut client, &mut upstream).await;
    let block = vec![b'x'; 64 << 10];
    while upstream.try_send(&block).await.is_ok() {}
    assert_eq!(client.ended().await, End::Reset);
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\"", "101"], 1.0).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
}

#[tokio::test]
async fn a_tunnel_without_a_limit_on_silence_outlives_every_other_limit() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address])
        .limits("idle_timeout = \"100ms\", header_timeout = \"100ms\", body_timeout = \"100ms\"")
        .route("timeout = \"200ms\"\nidle_timeout = \"0s\"")
        .service("pool = { idle_timeout = \"100ms\", max_age = \"100ms\" }")
        .start()
        .await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    // Time itself is what is tested: every limit has passed several times, and a sweep.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_lives(&mut client, &mut upstream).await;
    // What the time of a request is counted by does not see how long a tunnel lives.
    drop((client, upstream));
    gateway.metric_is("frontgate_requests_total", &["status=\"101\""], 1.0).await;
    let labels = ["route=\"all\"", "le=\"1\""];
    gateway.metric_is("frontgate_request_duration_seconds_bucket", &labels, 1.0).await;
}

#[tokio::test]
async fn a_tunnel_holds_its_instances_connection_until_it_is_over() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).service("pool = { connections = 1 }").start().await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    let services = gateway.admin("/services/backend").await.text();
    assert!(services.contains("\"in_flight\":1"), "{services}");
    let mut waiting = gateway.ask(GET).await;
    assert_lives(&mut client, &mut upstream).await;
    backend.assert_untouched().await;
    client.half_close().await;
    upstream.closed().await;
    drop(upstream);
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(waiting.answer().await.text(), "ok");
}

#[tokio::test]
async fn a_drain_lets_tunnels_go_on_and_breaks_them_off_when_patience_is_over() {
    let backend = Backend::new().await;
    let mut gateway = Setup::to(&[backend.address]).top("shutdown_grace = \"2s\"").start().await;
    let (mut ending, mut ended) = open(&gateway, &backend).await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    gateway.signal(Signal::TERM);
    wait::until("it drains", SOON, async || {
        (gateway.admin("/readyz").await.status() == 503).then_some(())
    })
    .await;
    for _ in 0..10 {
        assert_lives(&mut client, &mut upstream).await;
        assert_lives(&mut ending, &mut ended).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ending.half_close().await;
    ended.closed().await;
    drop(ended);
    ending.closed().await;
    let ends = tokio::join!(client.ended(), upstream.ended());
    assert_eq!(ends, (End::Reset, End::Reset), "broken off, not ended");
    assert_eq!(gateway.exit(SOON).await, Some(0));
    let said = gateway.said().join("\n");
    assert!(said.contains("closing what is left connections=1"), "{said}");
}

#[tokio::test]
async fn a_gateway_whose_last_tunnel_ends_has_drained() {
    let backend = Backend::new().await;
    let mut gateway = Setup::to(&[backend.address]).start().await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    gateway.signal(Signal::TERM);
    assert_lives(&mut client, &mut upstream).await;
    drop(client);
    upstream.closed().await;
    drop(upstream);
    assert_eq!(gateway.exit(SOON).await, Some(0));
    assert!(gateway.said().join("\n").contains("drained"));
}

const MIB: usize = 1 << 20;

/// Writes so many bytes that differ by where they stand.
async fn pour(stream: &mut (impl AsyncWriteExt + Unpin), bytes: usize) {
    for at in (0..bytes).step_by(64 << 10) {
        let block: Vec<u8> = (at..at + (64 << 10)).map(pattern).collect();
        let wrote = tokio::time::timeout(SOON, stream.write_all(&block)).await;
        wrote.expect("in time").expect("taken");
    }
}

/// Reads so many bytes, slowly at first.
async fn drink(stream: &mut (impl AsyncReadExt + Unpin), bytes: usize) {
    let (mut block, mut at) = (vec![0; 64 << 10], 0);
    while at < bytes {
        if at < MIB {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let read = tokio::time::timeout(SOON, stream.read(&mut block)).await;
        let count = read.expect("in time").expect("readable");
        assert!(count > 0, "{at} bytes came");
        assert!(block[..count].iter().enumerate().all(|(n, byte)| *byte == pattern(at + n)));
        at += count;
    }
}

fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_passes_both_ways_at_once_in_bounded_memory_and_in_order() {
    const EACH: usize = 10 * MIB;
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    assert_lives(&mut client, &mut upstream).await;
    let before = gateway.memory("VmRSS");
    let side = |peer: Peer| async {
        let (mut reading, mut writing) = peer.stream.into_split();
        tokio::join!(pour(&mut writing, EACH), drink(&mut reading, EACH));
    };
    tokio::join!(side(client), side(upstream));
    let peak = gateway.memory("VmHWM");
    assert!(peak < before + 8192, "KiB: {before} before, {peak} at most");
}

#[tokio::test]
async fn a_reader_that_stands_still_stops_its_writer() {
    // More than all buffers of two connections on loopback hold.
    const MOST: u64 = 64 << 20;
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let (mut client, mut upstream) = open(&gateway, &backend).await;
    let before = gateway.memory("VmRSS");
    assert!(pour_until_stuck(&mut client).await < MOST);
    assert!(pour_until_stuck(&mut upstream).await < MOST);
    let now = gateway.memory("VmRSS");
    assert!(now < before + 8192, "KiB: {before} before, {now} now");
}

#[tokio::test]
async fn another_instance_is_tried_when_the_first_cannot_be_reached() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gone: SocketAddr = closed.local_addr().expect("an address");
    drop(closed);
    let backend = Backend::new().await;
    let gateway = Setup::to(&[gone, backend.address]).start().await;
    for _ in 0..2 {
        let (mut client, mut upstream) = open(&gateway, &backend).await;
        assert_lives(&mut client, &mut upstream).await;
    }
    gateway.metric_is("frontgate_requests_total", &["status=\"101\""], 2.0).await;
    gateway.metric_is("frontgate_retries_total", &["reason=\"connect\""], 1.0).await;
}
