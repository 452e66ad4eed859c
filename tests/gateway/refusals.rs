//! Answers the gateway gives by itself: bytes in, status and code out, and nothing at the backend.

use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer};

/// Bytes in, the status out. The connection closes, and the backend sees nothing.
type Case = (&'static [u8], u16);

/// A head with one more line.
macro_rules! with {
    ($line:literal) => {
        concat!("GET / HTTP/1.1\r\nhost: h\r\n", $line, "\r\n\r\n").as_bytes()
    };
}

/// A POST's head with these lines and a body.
macro_rules! post {
    ($lines:literal, $body:literal) => {
        concat!("POST / HTTP/1.1\r\nhost: h\r\n", $lines, "\r\n\r\n", $body).as_bytes()
    };
}

/// A request for this target.
macro_rules! target {
    ($target:literal) => {
        concat!("GET ", $target, " HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()
    };
}

/// A request with this Host line.
macro_rules! host {
    ($line:literal) => {
        concat!("GET / HTTP/1.1\r\n", $line, "\r\n\r\n").as_bytes()
    };
}

const FRAMING: [Case; 20] = [
    (post!("content-length: 3\r\ntransfer-encoding: chunked", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: chunked\r\ncontent-length: 3", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: gzip", "abc"), 400),
    (post!("transfer-encoding: gzip, chunked", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: chunked, chunked", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: xchunked", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: \x0bchunked", "0\r\n\r\n"), 400),
    (post!("transfer-encoding:", "0\r\n\r\n"), 400),
    (post!("transfer-encoding: identity", "abc"), 400),
    (b"POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (post!("content-length: 3\r\ncontent-length: 3", "abc"), 400),
    (post!("content-length: 3\r\ncontent-length: 4", "abcd"), 400),
    (post!("content-length: 3, 3", "abc"), 400),
    (post!("content-length: +3", "abc"), 400),
    (post!("content-length: -3", "abc"), 400),
    (post!("content-length: 3 3", "abc"), 400),
    (post!("content-length: 0x3", "abc"), 400),
    (post!("content-length:", "abc"), 400),
    (post!("content-length: 99999999999999999999", "abc"), 400),
];

const LINES: [Case; 23] = [
    (b"GET / HTTP/1.1\nhost: h\n\n", 400),
    (b"GET / HTTP/1.1\r\nhost: h\nx: 1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: h\r\n\n", 400),
    (b"\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    (b"\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    (with!("x: a\rb"), 400),
    (with!("x: a\0b"), 400),
    (with!("x: a\x01b"), 400),
    (with!("x: a\x7fb"), 400),
    (with!("x: 1\r\n folded"), 400),
    (with!("x: 1\r\n\tfolded"), 400),
    (b"GET / HTTP/1.1\r\n folded: h\r\nhost: h\r\n\r\n", 400),
    (with!("x : 1"), 400),
    (with!("x\t: 1"), 400),
    (with!(": 1"), 400),
    (with!("no colon"), 400),
    (with!("x(y): 1"), 400),
    (with!("x\x01: 1"), 400),
    (b"GET  / HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    (b"GET / HTTP/1.1 \r\nhost: h\r\n\r\n", 400),
    (b"G(T / HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    (b"GET /\r\nhost: h\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
];

const TARGETS: [Case; 24] = [
    (target!("a"), 400),
    (target!("*"), 400),
    (target!("h:80"), 400),
    (target!("ftp://h/"), 400),
    (target!("http://u@h/"), 400),
    (target!("http://u:p@h/"), 400),
    (target!("http:///x"), 400),
    (target!("/a#b"), 400),
    (target!("/a\\b"), 400),
    (target!("/\u{e9}"), 400),
    (target!("/%"), 400),
    (target!("/%4"), 400),
    (target!("/%zz"), 400),
    (target!("/%00"), 400),
    (target!("/?a=%00"), 400),
    (target!("/."), 400),
    (target!("/a/../b"), 400),
    (target!("/a/%2e%2e/b"), 400),
    (target!("/a%2f..%2fb"), 400),
    (target!("/a/.%2E"), 400),
    (target!("/a/..%2fb"), 400),
    (target!("/..;x/b"), 400),
    (b"CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n", 405),
    (b"CONNECT / HTTP/1.1\r\nhost: h\r\n\r\n", 405),
];

const HOSTS: [Case; 12] = [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (host!("host: h\r\nhost: h"), 400),
    (host!("host: h\r\nHost: g"), 400),
    (host!("host:"), 400),
    (host!("host: a b"), 400),
    (host!("host: a/b"), 400),
    (host!("host: u@a"), 400),
    (host!("host: a:b"), 400),
    (host!("host: a:99999"), 400),
    (host!("host: a,b"), 400),
    (host!("host: [::1"), 400),
    (host!("host: ::1"), 400),
];

const REST: [Case; 8] = [
    (b"GET / HTTP/1.2\r\nhost: h\r\n\r\n", 505),
    (b"GET / HTTP/2.0\r\nhost: h\r\n\r\n", 505),
    (b"GET / HTTP/0.9\r\nhost: h\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / http/1.1\r\nhost: h\r\n\r\n", 400),
    (b"GET / HTTP/1.10\r\nhost: h\r\n\r\n", 400),
    (with!("expect: 200-ok"), 417),
    (post!("content-length: 3\r\nexpect: 100-continue, x", "abc"), 417),
];

fn code_of(status: u16) -> &'static str {
    match status {
        400 => "bad_request",
        404 => "no_route",
        405 => "method_not_allowed",
        408 => "client_timeout",
        414 => "target_too_long",
        417 => "expectation",
        431 => "headers_too_large",
        505 => "version",
        _ => "?",
    }
}

/// What every answer of the gateway's own has.
fn assert_refusal(answer: &Message, status: u16, code: &str, of: &str) {
    assert_eq!((answer.status(), answer.code()), (status, code), "{of}");
    let id = answer.head.value("x-request-id").expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{of}: {id}");
    let (line, rest) = (answer.text(), format!("{code}: "));
    assert!(line.starts_with(&rest) && line.ends_with('\n') && line.lines().count() == 1, "{line}");
}

async fn refuses_and_closes(gateway: &Gateway, backend: &Answering, cases: &[Case]) {
    for (bytes, status) in cases {
        let of = String::from_utf8_lossy(bytes).into_owned();
        let mut client = gateway.ask(bytes).await;
        let answer = client.answer().await;
        assert_refusal(&answer, *status, code_of(*status), &of);
        assert_eq!(answer.head.value("connection"), Some("close"), "{of}");
        client.closed().await;
        assert_eq!((backend.count(), backend.connections()), (0, 0), "{of}");
    }
}

#[tokio::test]
async fn what_two_parsers_could_read_differently_is_refused_and_reaches_no_backend() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for cases in [&FRAMING[..], &LINES, &TARGETS, &HOSTS, &REST] {
        refuses_and_closes(&gateway, &backend, cases).await;
    }
    let all = [&FRAMING[..], &LINES, &TARGETS, &HOSTS, &REST].concat();
    for status in [400, 405, 417, 505] {
        let count = all.iter().filter(|(_, of)| *of == status).count() as f64;
        let code = format!("code=\"{}\"", code_of(status));
        gateway.metric_is("frontgate_refusals_total", &[&code, "route=\"-\""], count).await;
        let status = format!("status=\"{status}\"");
        let labels = ["fate=\"refused\"", "service=\"-\"", &*status];
        gateway.metric_is("frontgate_requests_total", &labels, count).await;
    }
}

#[tokio::test]
async fn a_head_is_refused_the_same_in_any_pieces() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for (bytes, status) in [FRAMING[0], LINES[1], LINES[9], TARGETS[16], HOSTS[1], REST[0]] {
        for step in [1, 7] {
            let mut client = Peer::connect(gateway.web()).await;
            for piece in bytes.chunks(step) {
                // The gateway may refuse before the last piece.
                if client.try_send(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert_eq!(client.answer().await.status(), status);
        }
    }
    assert_eq!(backend.connections(), 0);
}

/// Bodies that break after a good head: refused with 400, never as a whole request at the backend.
const BODIES: [&[u8]; 10] = [
    post!("transfer-encoding: chunked", "3 \r\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", " 3\r\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "+3\r\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "0x3\r\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "3\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "3\r\nabcd\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    post!("transfer-encoding: chunked", "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n"),
    post!("transfer-encoding: chunked", "3\r\nabc\r\n0\r\nx : y\r\n\r\n"),
];

#[tokio::test]
async fn a_body_that_breaks_is_the_clients_fault_and_never_whole_at_a_backend() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let extension = |size| format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(size)).into_bytes();
    let head = &b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"[..];
    let trailer = format!("0\r\nx: {}\r\n\r\n", "t".repeat(70_000)).into_bytes();
    let mut cases: Vec<Vec<u8>> = BODIES.iter().map(|bytes| bytes.to_vec()).collect();
    cases.extend([extension(256), extension(5000), trailer].map(|body| [head, &body].concat()));
    for bytes in &cases {
        let of = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let mut client = gateway.ask(bytes).await;
        let answer = client.answer().await;
        assert_refusal(&answer, 400, "bad_request", &of);
        client.ended().await;
        assert_eq!(backend.count(), 0, "{of}");
    }
    let count = cases.len() as f64;
    let labels = ["code=\"bad_request\"", "route=\"all\""];
    gateway.metric_is("frontgate_refusals_total", &labels, count).await;
    let labels = ["result=\"client_gone\"", "service=\"backend\""];
    gateway.metric_is("frontgate_attempts_total", &labels, count).await;
}

#[tokio::test]
async fn sizes_are_bounded_exactly() {
    let backend = Answering::with(OK).await;
    let limits = "header_bytes = \"2KiB\", headers = 5, target_bytes = \"100B\"";
    let gateway = Setup::to(&[backend.address]).limits(limits).start().await;
    let target = |size: usize| format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(size - 1));
    let fields =
        |count: usize| format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: 1\r\n".repeat(count - 1));
    let head = |size: usize| {
        let start = "GET / HTTP/1.1\r\nhost: h\r\nx: ";
        format!("{start}{}\r\n\r\n", "x".repeat(size - start.len() - 4))
    };
    for (bytes, status) in [
        (target(100), 200),
        (target(101), 414),
        (target(1000), 414),
        (target(60_000), 414),
        (fields(5), 200),
        (fields(6), 431),
        (fields(200), 431),
        (head(2048), 200),
        (head(2049), 431),
        (head(60_000), 431),
    ] {
        let of = format!("{} bytes: {}", bytes.len(), &bytes[..bytes.len().min(60)]);
        let mut client = gateway.ask(&bytes).await;
        let answer = client.answer().await;
        assert_eq!(answer.status(), status, "{of}");
        if status != 200 {
            assert_refusal(&answer, status, code_of(status), &of);
            client.closed().await;
        }
    }
}

#[tokio::test]
async fn a_refused_request_that_was_read_leaves_its_connection_open() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address])
        .route("methods = [\"GET\", \"POST\"]\nhosts = [\"h\"]")
        .start()
        .await;
    let mut client = Peer::connect(gateway.web()).await;
    for (bytes, status, allow) in [
        (&b"GET / HTTP/1.1\r\nhost: other\r\n\r\n"[..], 404, None),
        (b"DELETE / HTTP/1.1\r\nhost: h\r\n\r\n", 405, Some("GET, HEAD, POST")),
        (b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc", 405, Some("GET, HEAD, POST")),
        (b"get / HTTP/1.1\r\nhost: h\r\n\r\n", 405, Some("GET, HEAD, POST")),
        (b"POST / HTTP/1.1\r\nhost: other\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 404, None),
        (b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", 200, None),
    ] {
        client.send(bytes).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.head.value("allow")), (status, allow));
        if status != 200 {
            assert_refusal(&answer, status, code_of(status), &String::from_utf8_lossy(bytes));
        }
        assert_eq!(answer.head.value("connection"), None);
    }
    client.send("HEAD / HTTP/1.1\r\nhost: other\r\n\r\n").await;
    let answer = client.answer_to("HEAD").await;
    assert_eq!((answer.status(), answer.code()), (404, "no_route"));
    assert_ne!(answer.head.value("content-length"), Some("0"), "as GET would have");
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 200, "HEAD got no body");
    assert_eq!(backend.count(), 2);
    for (code, count) in [("no_route", 3.0), ("method_not_allowed", 3.0)] {
        let code = format!("code=\"{code}\"");
        gateway.metric_is("frontgate_refusals_total", &[&code, "route=\"-\""], count).await;
    }
    let other = ["method=\"other\"", "status=\"405\""];
    gateway.metric_is("frontgate_requests_total", &other, 1.0).await;
}

#[tokio::test]
async fn a_client_that_asks_for_json_gets_its_refusal_in_json() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).route("hosts = [\"h\"]").start().await;
    for accept in ["application/json", "text/html, application/problem+json;q=0.9"] {
        let ask = format!("GET / HTTP/1.1\r\nhost: other\r\naccept: {accept}\r\n\r\n");
        let answer = gateway.ask(ask).await.answer().await;
        assert_eq!(answer.head.value("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let id = answer.head.value("x-request-id").expect("an id");
        assert_eq!((&body["code"], &body["status"]), (&"no_route".into(), &404.into()));
        assert_eq!(body["request_id"], id);
        assert!(body["message"].is_string() && body.as_object().map(|o| o.len()) == Some(4));
    }
}

#[tokio::test]
async fn a_refusal_is_readable_although_its_body_was_not_read() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).route("hosts = [\"h\"]").start().await;
    let head = "POST / HTTP/1.1\r\nhost: other\r\ncontent-length: 60000\r\n\r\n";
    for _ in 0..20 {
        let mut client = gateway.ask(head).await;
        // All of it is sent before the answer is looked at: a reset would have destroyed it.
        client.send("x".repeat(59_999)).await;
        let answer = client.answer().await;
        assert_refusal(&answer, 404, "no_route", head);
        assert_eq!(answer.head.value("connection"), Some("close"));
        client.closed().await;
    }
    let expecting =
        "POST / HTTP/1.1\r\nhost: other\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    let mut client = gateway.ask(expecting).await;
    assert_eq!(client.answer().await.status(), 404, "and no 100 before");
    client.closed().await;
    assert_eq!(backend.connections(), 0);
}
