//! What arrives at a backend and what comes back.

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::Setup;
use crate::support::peer::{Head, Peer};

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";

/// What every request gets on its way, in order of names; `more` comes with it.
fn arrived(more: &[&str]) -> Vec<String> {
    let usual = [
        "host: h",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: h",
        "x-forwarded-proto: http",
        "x-real-ip: 127.0.0.1",
    ];
    let mut lines: Vec<_> = usual.iter().chain(more).map(|&line| line.to_owned()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant_without_what_was_for_this_connection() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway
        .ask(
            "GET /a/b%20c?d=e%2F HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nX-Two: 2\r\nx-two: 3\r\n\
             Connection: x-one, Keep-Alive, Host, Authorization\r\nKeep-Alive: timeout=5\r\n\
             Authorization: Basic eA==\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\n\
             TE: gzip, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP\r\n\
             X-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
             X-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Request-Id: mine\r\n\r\n",
        )
        .await;
    let (mut upstream, request) = backend.request().await;
    assert_eq!(request.head.start, "GET /a/b%20c?d=e%2F HTTP/1.1");
    let more =
        ["authorization: Basic eA==", "connection: te", "te: trailers", "x-two: 2", "x-two: 3"];
    assert_eq!(request.head.sorted(), arrived(&more));
    let port = gateway.web().port().to_string();
    assert_eq!(request.head.value("x-forwarded-port"), Some(&*port));
    assert!(request.head.raw.contains("\r\nx-two: 2\r\n"), "{}", request.head.raw);
    upstream
        .send(
            "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Mine: 1\r\nConnection: x-mine\r\n\
             Keep-Alive: timeout=5\r\nServer: s\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.head.start.as_str(), answer.text().as_str()), ("HTTP/1.1 200 OK", "ok"));
    let lines = ["content-length: 2", "server: s", "set-cookie: a=1", "set-cookie: b=2"];
    assert_eq!(answer.head.sorted(), lines);
}

#[tokio::test]
async fn one_client_connection_uses_one_upstream_connection_again_and_again() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for _ in 0..20 {
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert_eq!((backend.count(), backend.connections()), (20, 1));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Answering::by(|request| {
        let target = request.head.start.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = target + &String::from_utf8_lossy(&request.body);
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway
        .ask(
            "GET /1 HTTP/1.1\r\nhost: h\r\n\r\n\
             POST /2 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc\
             POST /3 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n\
             GET /4 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\nGET /5 HTTP/1.1\r\n",
        )
        .await;
    for body in ["/1", "/2abc", "/3d", "/4"] {
        assert_eq!(client.answer().await.text(), body);
    }
    client.closed().await;
    assert_eq!(backend.count(), 4, "what comes after close is nothing");
}

/// Method, the upstream's answer, and what of its framing reaches the client.
const BODILESS: [(&str, &str, &str, &str); 8] = [
    ("HEAD", "200 OK\r\ncontent-length: 999\r\n", "999", ""),
    ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n", "", ""),
    ("HEAD", "200 OK\r\n", "", ""),
    ("GET", "204 No Content\r\n", "", ""),
    ("GET", "304 Not Modified\r\ncontent-length: 999\r\n", "999", ""),
    ("GET", "304 Not Modified\r\n", "", ""),
    ("GET", "200 OK\r\ncontent-length: 0\r\n", "0", ""),
    ("OPTIONS", "404 Not Found\r\ncontent-length: 0\r\n", "0", ""),
];

#[tokio::test]
async fn answers_without_a_body_keep_their_length_and_both_connections() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    let mut upstream = None;
    for (method, answer, length, coding) in BODILESS {
        client.send(format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let mut peer = match upstream.take() {
            Some(peer) => peer,
            None => backend.accept().await,
        };
        assert_eq!(peer.request().await.head.start, format!("{method} / HTTP/1.1"));
        peer.send(format!("HTTP/1.1 {answer}\r\n")).await;
        let got = client.answer_to(method).await;
        let framing = (got.head.all("content-length"), got.head.all("transfer-encoding"));
        assert_eq!(framing, (length.to_owned(), coding.to_owned()), "{method} {answer}");
        upstream = Some(peer);
    }
    backend.assert_untouched().await;
}

#[tokio::test]
async fn a_body_without_length_ends_by_chunks_or_by_closing() {
    let backend = Answering::by(|request| match request.head.start.as_str() {
        "GET /close HTTP/1.1" => Vec::new(),
        _ => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec(),
    })
    .await;
    let closing = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(format!("{GET}{GET}")).await;
    for _ in 0..2 {
        let answer = client.answer().await;
        assert_eq!(answer.head.value("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.text(), "abcde");
    }
    let mut old = gateway.ask("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let answer = old.answer().await;
    assert_eq!(answer.head.all("transfer-encoding"), "");
    assert_eq!(answer.head.value("connection"), Some("close"));
    assert_eq!(answer.text(), "abcde", "as it is, until the end");

    let gateway = Setup::to(&[closing.address]).start().await;
    for version in ["1.0", "1.1"] {
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = closing.request().await;
        upstream.send(format!("HTTP/{version} 200 OK\r\n\r\nuntil the end")).await;
        drop(upstream);
        let answer = client.answer().await;
        assert_eq!(answer.head.value("transfer-encoding"), Some("chunked"), "{version}");
        assert_eq!(answer.text(), "until the end");
    }
}

#[tokio::test]
async fn an_old_client_is_kept_when_it_asks_and_a_length_is_known() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(answer.head.value("connection"), Some("keep-alive"));
        assert_eq!(answer.text(), "ok");
    }
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.head.value("connection"), Some("close"));
    client.closed().await;
    let requests = backend.requests();
    assert!(requests.iter().all(|request| request.head.start == "GET / HTTP/1.1"));
}

#[tokio::test]
async fn a_method_that_means_a_body_says_when_there_is_none() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for (method, length) in [
        ("POST", "0"),
        ("PUT", "0"),
        ("PATCH", "0"),
        ("GET", ""),
        ("DELETE", ""),
        ("OPTIONS", ""),
        ("BREW", ""),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        client.answer().await;
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.head.all("content-length"), length, "{method}");
    }
}

fn is_fresh_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn id(head: &Head) -> &str {
    head.value("x-request-id").expect("an id")
}

#[tokio::test]
async fn an_id_goes_both_ways_and_only_a_trusted_peer_may_choose_it() {
    let backend = Answering::with(OK).await;
    let believing = "trusted_proxies = [\"127.0.0.0/8\"]";
    let ask = "GET / HTTP/1.1\r\nhost: h\r\nx-request-id: chosen-1\r\nx-forwarded-for: 9.9.9.9\r\n\
               x-forwarded-proto: https\r\nforwarded: for=9.9.9.9;proto=https\r\n\r\n";
    for (top, trusted) in [("", false), (believing, true)] {
        let gateway = Setup::to(&[backend.address]).top(top).start().await;
        let mut client = gateway.ask(ask).await;
        let answer = client.answer().await;
        let request = backend.requests().pop().expect("a request");
        assert_eq!(id(&answer.head), id(&request.head), "{}", answer.head.raw);
        assert_eq!(id(&answer.head) == "chosen-1", trusted);
        assert!(trusted || is_fresh_id(id(&answer.head)));
        let value = |name| request.head.all(name);
        match trusted {
            true => {
                assert_eq!(value("x-forwarded-for"), "9.9.9.9, 127.0.0.1");
                assert_eq!(value("x-forwarded-proto"), "https");
                assert_eq!(value("x-real-ip"), "9.9.9.9");
                assert!(value("forwarded").starts_with("for=9.9.9.9;proto=https, "));
            }
            false => {
                assert_eq!(value("x-forwarded-for"), "127.0.0.1");
                assert_eq!(value("x-forwarded-proto"), "http");
                assert_eq!(value("forwarded"), "");
            }
        }
        // An id of the gateway's own where the trusted peer sends none that can be used.
        client.send("GET / HTTP/1.1\r\nhost: h\r\nx-request-id: a b\r\n\r\n").await;
        assert!(is_fresh_id(id(&client.answer().await.head)));
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_exchange_upstream_at_once() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for half in [false, true] {
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        if half {
            client.half_close().await;
            upstream.ended().await;
            client.closed().await;
        } else {
            drop(client);
            upstream.ended().await;
        }
        // Within an answer as well.
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
        client.head().await;
        client.take(3).await;
        drop(client);
        upstream.ended().await;
    }
    // And within an early answer, with some of its own body still to come.
    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
    client.head().await;
    client.take(3).await;
    drop(client);
    upstream.ended().await;
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 5.0).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
}
