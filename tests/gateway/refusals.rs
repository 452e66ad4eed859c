//! Answers the gateway gives by itself: their bounds, their form, and what becomes of the connection.

use crate::support::backend::{Answering, OK};
use crate::support::gateway::Setup;
use crate::support::peer::{Message, Peer, SOON};
use crate::support::wait;

fn code_of(status: u16) -> &'static str {
    match status {
        404 => "no_route",
        405 => "method_not_allowed",
        414 => "target_too_long",
        431 => "headers_too_large",
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
async fn an_answer_to_head_has_no_body_although_its_head_could_not_be_read() {
    let backend = Answering::with(OK).await;
    let limits = "header_timeout = \"300ms\", target_bytes = \"100B\", headers = 5";
    let gateway = Setup::to(&[backend.address]).limits(limits).start().await;
    let (long, many) = ("a".repeat(200), "x: 1\r\n".repeat(9));
    for (rest, status) in [
        ("/ HTTP/1.1\r\nhost: h\r\nx: \x01\r\n\r\n", 400),
        ("/ HTTP/1.1\r\n\r\n", 400),
        ("/../ HTTP/1.1\r\nhost: h\r\n\r\n", 400),
        ("/ HTTP/1.1\r\nhost: h\n\r\n", 400),
        (&format!("/{long} HTTP/1.1\r\nhost: h\r\n\r\n"), 414),
        // No end of the line is waited for.
        (&format!("/{long}"), 414),
        (&format!("/ HTTP/1.1\r\nhost: h\r\n{many}\r\n"), 431),
        ("/ HTTP/1.1\r\nhost: h\r\nexpect: x\r\n\r\n", 417),
        ("/ HTTP/1.2\r\nhost: h\r\n\r\n", 505),
        ("/ HTTP/1.1\r\nhost: h\r\n", 408),
    ] {
        let mut client = gateway.ask(format!("HEAD {rest}")).await;
        let head = client.head().await;
        assert_eq!(head.status(), status, "{rest}");
        client.closed().await;
        let answer = gateway.ask(format!("GET {rest}")).await.answer().await;
        assert_eq!(answer.status(), status, "{rest}");
        let length = answer.body.len().to_string();
        assert_eq!(head.value("content-length"), Some(&*length), "as GET would have");
    }
    for method in ["method=\"HEAD\"", "method=\"GET\""] {
        gateway.metric_is("frontgate_requests_total", &[method], 10.0).await;
    }
    // What begins no request has no method.
    let mut other = gateway.ask("HEAD\r\n\r\n").await;
    let answer = other.answer().await;
    assert_refusal(&answer, 400, "bad_request", "no target");
    gateway.metric_is("frontgate_requests_total", &["method=\"other\""], 1.0).await;
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

#[tokio::test]
async fn no_more_than_64_kib_of_a_refused_body_are_read_and_thrown_away() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).route("hosts = [\"h\"]").start().await;
    let head = "POST / HTTP/1.1\r\nhost: other\r\ncontent-length: 9000000\r\n\r\n";
    let mut client = gateway.ask(head).await;
    assert_refusal(&client.answer().await, 404, "no_route", head);
    client.closed().await;
    // What is not read when the gateway closes resets the connection; had all been read, nothing would.
    client.try_send("x".repeat(512 << 10)).await.ok();
    wait::until("it is broken off", SOON, async || client.stream.take_error().ok().flatten()).await;
}
