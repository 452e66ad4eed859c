//! What comes before an answer: 100, 102, 103, and what a client expects.

use std::time::{Duration, Instant};

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::Setup;
use crate::support::peer::End;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-mine\r\nX-Mine: 1\r\n\
                     Keep-Alive: timeout=5\r\nX-Frontgate-Code: no_route\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn hints_reach_the_client_before_the_answer_is_there() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    for _ in 0..3 {
        upstream.send(HINTS).await;
        let hints = client.head().await;
        assert_eq!(hints.raw, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    }
    upstream.send("HTTP/1.1 102 Processing\r\n\r\n").await;
    assert_eq!(client.head().await.raw, "HTTP/1.1 102 Processing\r\n\r\n");
    upstream.send(format!("{HINTS}{OK}")).await;
    assert_eq!(client.head().await.status(), 103);
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.head.all("link"), "", "hints belong to themselves");
    client.send(GET).await;
    assert_eq!(upstream.head().await.start, "GET / HTTP/1.1", "both connections go on");
}

#[tokio::test]
async fn hints_come_between_the_parts_of_an_upload_too() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\nabc").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.take(3).await;
    upstream.send(HINTS).await;
    assert_eq!(client.head().await.status(), 103);
    client.send("def").await;
    assert_eq!(upstream.take(3).await, b"def");
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
}

/// How often an interim answer comes, and the status that follows.
const COUNTS: [(&str, usize, u16); 4] =
    [("103", 16, 200), ("103", 17, 502), ("100", 16, 200), ("100", 17, 502)];

#[tokio::test]
async fn sixteen_interim_answers_are_passed_on_and_one_more_is_no_answer() {
    for (status, count, then) in COUNTS {
        let interims = format!("HTTP/1.1 {status} Interim\r\n\r\n").repeat(count);
        let backend = Answering::with(format!("{interims}{OK}")).await;
        let gateway = Setup::to(&[backend.address]).start().await;
        let mut client = gateway.ask(GET).await;
        let passed = if status == "103" { count.min(16) } else { 0 };
        for _ in 0..passed {
            assert_eq!(client.head().await.status(), 103);
        }
        let answer = client.answer().await;
        assert_eq!(answer.status(), then, "{count} times {status}");
        assert_eq!(answer.code(), if then == 502 { "upstream_error" } else { "" });
    }
}

#[tokio::test]
async fn an_old_client_gets_no_interim_answer() {
    let interims = format!("HTTP/1.1 100 Continue\r\n\r\n{HINTS}HTTP/1.1 102 Processing\r\n\r\n");
    let backend = Answering::with(format!("{interims}{OK}")).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for ask in [
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.0\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc",
    ] {
        let mut client = gateway.ask(ask).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{ask}");
        client.closed().await;
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.head.all("expect"), "", "it means nothing in HTTP/1.0");
    }
}

#[tokio::test]
async fn an_interim_answer_counts_as_a_byte_of_an_answer_so_nothing_is_sent_again() {
    let backends = [Backend::new().await, Backend::new().await];
    let gateway = Setup::to(&[backends[0].address, backends[1].address]).start().await;
    for interim in [HINTS, "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut client = gateway.ask(GET).await;
        let (mut upstream, other) = tokio::select! {
            (upstream, _) = backends[0].request() => (upstream, &backends[1]),
            (upstream, _) = backends[1].request() => (upstream, &backends[0]),
        };
        upstream.send(interim).await;
        if interim == HINTS {
            assert_eq!(client.head().await.status(), 103);
        }
        drop(upstream);
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.code()), (502, "upstream_error"));
        other.assert_untouched().await;
    }
    gateway.metric_is("frontgate_retries_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_bad_body_right_behind_hints_is_refused_behind_them() {
    let bad = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnothing\r\n";
    let backend = Answering::with(format!("{HINTS}{bad}")).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(GET).await;
    assert_eq!(client.head().await.status(), 103);
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.code()), (502, "upstream_error"));
    client.closed().await;
}

#[tokio::test]
async fn a_bad_body_behind_a_head_that_has_left_already_is_no_second_answer() {
    let long = format!("x-long: {}\r\n", "l".repeat(20_000));
    let hints = format!("HTTP/1.1 103 Early Hints\r\n{long}\r\n");
    let bad = |long: &str| {
        format!("HTTP/1.1 200 OK\r\n{long}transfer-encoding: chunked\r\n\r\nnothing\r\n")
    };
    for answer in [bad(&long), format!("{hints}{}", bad(""))] {
        let backend = Answering::with(answer).await;
        let gateway = Setup::to(&[backend.address]).start().await;
        let mut client = gateway.ask(GET).await;
        let (got, end) = client.rest().await;
        let finals = String::from_utf8_lossy(&got).matches("HTTP/1.1 ").count()
            - String::from_utf8_lossy(&got).matches("HTTP/1.1 103").count();
        assert!(finals <= 1, "{finals} answers");
        let refused = String::from_utf8_lossy(&got).contains("HTTP/1.1 502");
        assert!(refused || end == End::Reset, "neither refused nor broken off");
    }
}

#[tokio::test]
async fn nothing_that_looks_like_an_interim_answer_follows_the_answer() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(format!("{OK}{HINTS}")).await;
    assert_eq!(client.answer().await.text(), "ok");
    assert_ne!(upstream.ended().await, End::Reset, "and its connection is not used again");
    client.send(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
}

const WAITING: &str =
    "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nexpect: 100-Continue\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test]
async fn however_often_the_upstream_says_100_the_client_that_waits_hears_it_once() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(WAITING).await;
    let mut upstream = backend.accept().await;
    assert_eq!(upstream.head().await.value("expect"), Some("100-Continue"));
    upstream.send(format!("HTTP/1.1 100 Go on\r\nX-A: 1\r\n\r\n{CONTINUE}{HINTS}")).await;
    assert_eq!(client.head().await.raw, CONTINUE);
    assert_eq!(client.head().await.status(), 103);
    client.send("abc").await;
    assert_eq!(upstream.take(3).await, b"abc");
    upstream.send(format!("{CONTINUE}{OK}")).await;
    assert_eq!(client.answer().await.text(), "ok");
    client.send(GET).await;
    assert_eq!(upstream.head().await.start, "GET / HTTP/1.1", "both connections go on");
}

#[tokio::test]
async fn hints_do_not_let_a_client_that_waits_go_on() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = gateway.ask(WAITING).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send(HINTS).await;
    assert_eq!(client.head().await.status(), 103);
    upstream.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "no"));
    client.closed().await;
}

#[tokio::test]
async fn an_answer_instead_of_100_is_passed_on_and_the_upload_is_never_read() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for status in ["417 Expectation Failed", "200 OK"] {
        let mut client = gateway.ask(WAITING).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno")).await;
        let answer = client.answer().await;
        assert_eq!(answer.head.start, format!("HTTP/1.1 {status}"));
        assert_eq!(
            (answer.text().as_str(), answer.head.value("connection")),
            ("no", Some("close"))
        );
        client.closed().await;
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_body_that_did_not_wait_goes_up_once_the_upstream_wants_it() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for says in [CONTINUE, ""] {
        let began = Instant::now();
        let mut client = gateway.ask(format!("{WAITING}abc")).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(says).await;
        assert_eq!(upstream.take(3).await, b"abc");
        let waited = began.elapsed() >= Duration::from_millis(990);
        assert!(waited || !says.is_empty(), "a silent upstream gets it after a second");
        upstream.send(OK).await;
        // At most one 100, and none is needed.
        let mut answer = client.answer().await;
        if answer.status() == 100 {
            answer = client.answer().await;
        }
        assert_eq!(answer.text(), "ok");
    }
}

#[tokio::test]
async fn an_expectation_without_a_body_is_none_and_any_other_is_refused() {
    let backend = Answering::with(format!("{CONTINUE}{OK}")).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for ask in [
        "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\r\n",
        GET,
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let answer = gateway.ask(ask).await.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "no 100: {ask}");
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.head.all("expect"), "", "{ask}");
    }
    let asked = backend.count();
    for other in ["other", "100-continue, other", "100-continue\r\nexpect: other", ""] {
        let ask =
            format!("POST / HTTP/1.1\r\nhost: h\r\nexpect: {other}\r\ncontent-length: 3\r\n\r\n");
        let mut client = gateway.ask(ask).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.code()), (417, "expectation"), "{other}");
        client.closed().await;
    }
    assert_eq!(backend.count(), asked, "none of them went up");
}
