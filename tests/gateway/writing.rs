//! How what leaves is framed: by the client's version, method and status, never by what a peer wrote about length.

use std::time::{Duration, Instant};

use crate::support::backend::{Answering, OK};
use crate::support::gateway::Setup;
use crate::support::peer::Peer;

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde";
const CHUNKS: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const NO_CONTENT_WITH_LENGTH: &str = "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";
const UNMODIFIED: &str = "HTTP/1.1 304 Not Modified\r\n\r\n";
const UNMODIFIED_WITH_LENGTH: &str = "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n";
const UNMODIFIED_IN_CHUNKS: &str =
    "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n";
const HEAD_OF_LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
const HEAD_OF_CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A request line's end with the client's own `connection`, and the upstream's answer; then the answer's content-length,
/// transfer-encoding and connection, its body, and whether the client's connection goes on.
type Row = (
    (&'static str, &'static str, &'static str, &'static str),
    (&'static str, &'static str, &'static str, &'static str, bool),
);

const FRAMINGS: [Row; 27] = [
    (("GET", "1.1", "", LENGTH), ("5", "", "", "abcde", true)),
    (("GET", "1.1", "close", LENGTH), ("5", "", "close", "abcde", false)),
    (("GET", "1.1", "keep-alive", LENGTH), ("5", "", "", "abcde", true)),
    (("GET", "1.1", "", CHUNKS), ("", "chunked", "", "abcde", true)),
    (("GET", "1.1", "close", CHUNKS), ("", "chunked", "close", "abcde", false)),
    (("GET", "1.1", "", EMPTY), ("0", "", "", "", true)),
    (("GET", "1.1", "", NO_CONTENT), ("", "", "", "", true)),
    (("GET", "1.1", "", NO_CONTENT_WITH_LENGTH), ("", "", "", "", true)),
    (("GET", "1.1", "", UNMODIFIED), ("", "", "", "", true)),
    (("GET", "1.1", "", UNMODIFIED_WITH_LENGTH), ("5", "", "", "", true)),
    (("GET", "1.1", "", UNMODIFIED_IN_CHUNKS), ("", "", "", "", true)),
    (("HEAD", "1.1", "", HEAD_OF_LENGTH), ("5", "", "", "", true)),
    (("HEAD", "1.1", "close", HEAD_OF_LENGTH), ("5", "", "close", "", false)),
    (("HEAD", "1.1", "", HEAD_OF_CHUNKS), ("", "", "", "", true)),
    (("GET", "1.0", "", LENGTH), ("5", "", "close", "abcde", false)),
    (("GET", "1.0", "keep-alive", LENGTH), ("5", "", "keep-alive", "abcde", true)),
    (("GET", "1.0", "Keep-Alive, close", LENGTH), ("5", "", "close", "abcde", false)),
    (("GET", "1.0", "", CHUNKS), ("", "", "close", "abcde", false)),
    (("GET", "1.0", "keep-alive", CHUNKS), ("", "", "close", "abcde", false)),
    (("GET", "1.0", "keep-alive", EMPTY), ("0", "", "keep-alive", "", true)),
    (("GET", "1.0", "keep-alive", NO_CONTENT), ("", "", "keep-alive", "", true)),
    (("GET", "1.0", "keep-alive", UNMODIFIED), ("", "", "keep-alive", "", true)),
    (("GET", "1.0", "keep-alive", UNMODIFIED_WITH_LENGTH), ("5", "", "keep-alive", "", true)),
    (("HEAD", "1.0", "", HEAD_OF_LENGTH), ("5", "", "close", "", false)),
    (("HEAD", "1.0", "keep-alive", HEAD_OF_LENGTH), ("5", "", "keep-alive", "", true)),
    (("HEAD", "1.0", "keep-alive", HEAD_OF_CHUNKS), ("", "", "keep-alive", "", true)),
    (("POST", "1.0", "keep-alive", LENGTH), ("5", "", "keep-alive", "abcde", true)),
];

#[tokio::test]
async fn every_client_gets_a_framing_it_can_read() {
    // The answer is chosen by the row's number, so that one gateway and its kept connections serve them all.
    let backend = Answering::by(|request| {
        let target = request.head.start.split(['/', ' ']).nth(2).unwrap_or_default();
        let number: usize = target.parse().expect("a row's number");
        FRAMINGS[number].0.3.as_bytes().to_vec()
    })
    .await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for (number, (ask, answer)) in FRAMINGS.iter().enumerate() {
        let (method, version, connection, upstream) = *ask;
        let (length, coding, persistence, body, goes_on) = *answer;
        let said = match connection {
            "" => String::new(),
            said => format!("connection: {said}\r\n"),
        };
        let ask = format!("{method} /{number} HTTP/{version}\r\nhost: h\r\n{said}\r\n");
        let row = format!("{ask}{upstream}");
        let mut client = Peer::connect(gateway.web()).await;
        for _ in 0..if goes_on { 2 } else { 1 } {
            client.send(&ask).await;
            let got = client.answer_to(method).await;
            let of = |name| got.head.all(name);
            let framing = (of("content-length"), of("transfer-encoding"), of("connection"));
            let expected = (length.to_owned(), coding.to_owned(), persistence.to_owned());
            assert_eq!(framing, expected, "{row}");
            assert_eq!(got.text(), body, "{row}");
        }
        if !goes_on {
            client.closed().await;
        }
    }
    assert_eq!(backend.connections(), 1, "every answer was read to its end");
}

/// The client's head up to its end, and whether it can take trailers.
const TAKERS: [(&str, bool); 4] = [
    ("GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te\r\n", true),
    // What knows nothing of trailers passes over them (RFC 9112 section 7.1.2).
    ("GET / HTTP/1.1\r\nhost: h\r\n", true),
    ("GET / HTTP/1.0\r\n", false),
    ("HEAD / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te\r\n", false),
];

#[tokio::test]
async fn trailers_of_an_answer_reach_those_whose_framing_has_a_place_for_them() {
    let backend = Answering::by(|request| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
        let body = if request.head.start.starts_with("HEAD") {
            ""
        } else {
            "2\r\nok\r\n0\r\nX-Sum: 1\r\nGrpc-Status: 0\r\nContent-Length: 9\r\nWWW-Authenticate: x\r\n\
             Location-Is: x\r\nConnection: x\r\nX-Request-Id: forged\r\n\r\n"
        };
        format!("{head}{body}").into_bytes()
    })
    .await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for (ask, takes) in TAKERS {
        let mut client = gateway.ask(format!("{ask}\r\n")).await;
        let answer = client.answer_to(ask.split(' ').next().unwrap_or_default()).await;
        let names: Vec<_> = answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
        let passed = ["x-sum", "grpc-status", "location-is"];
        assert_eq!(names, if takes { &passed[..] } else { &[] }, "{ask}");
        assert_eq!(answer.text(), if ask.starts_with("HEAD") { "" } else { "ok" }, "{ask}");
        let request = backend.requests().pop().expect("a request");
        let te = if ask.contains("te: trailers") { "trailers" } else { "" };
        assert_eq!(request.head.all("te"), te, "{ask}");
        // It is for the next connection only (RFC 9110 section 10.1.4).
        assert_eq!(request.head.all("connection"), if te.is_empty() { "" } else { "te" }, "{ask}");
    }
}

/// A request's trailers as they are sent, and those that arrive.
const TRAILERS: [(&str, &str); 6] = [
    ("", ""),
    ("X-Sum: 1\r\n", "x-sum: 1"),
    ("X-Sum: 1\r\nX-Sum: 2\r\n", "x-sum: 1, x-sum: 2"),
    ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n", ""),
    ("Host: evil\r\nX-Forwarded-For: 1.1.1.1\r\nX-Sum: 1\r\nForwarded: for=1\r\n", "x-sum: 1"),
    ("Authorization: x\r\nCookie: a=b\r\nX_Real_IP: 1\r\nTE: x\r\nUpgrade: websocket\r\n", ""),
];

#[tokio::test]
async fn trailers_of_a_request_go_up_in_chunks_but_those_that_would_change_what_it_means() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for (sent, arrived) in TRAILERS {
        let head = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send(format!("{head}3\r\nabc\r\n0\r\n{sent}\r\n")).await;
        assert_eq!(client.answer().await.text(), "ok", "{sent}");
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.body, b"abc");
        let lines: Vec<_> =
            request.trailers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(lines.join(", "), arrived, "{sent}");
    }
}

#[tokio::test]
async fn the_gateway_dates_its_own_answers_and_no_others() {
    const DATED: &str =
        "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2001 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n";
    const TWICE: &str = "HTTP/1.1 200 OK\r\ndate: a\r\ndate: b\r\ncontent-length: 0\r\n\r\n";
    for (answer, date) in
        [(OK, ""), (DATED, "Mon, 01 Jan 2001 00:00:00 GMT"), (TWICE, "a|b"), (NO_CONTENT, "")]
    {
        let backend = Answering::with(answer).await;
        let gateway = Setup::to(&[backend.address]).start().await;
        assert_eq!(gateway.fetch("/").await.head.all("date"), date, "{answer}");
        for bad in ["GET /a\\b HTTP/1.1\r\nhost: h\r\n\r\n", "GET / HTTP/3.0\r\nhost: h\r\n\r\n"] {
            let refused = gateway.ask(bad).await.answer().await;
            let date = refused.head.value("date").expect("a date");
            assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_its_connection_is_not_kept_back() {
    /// How long the kernel keeps what it was told that more follows.
    const KEPT_BACK: Duration = Duration::from_millis(200);
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    // Read to its end or not: the connection is closed, or lingers.
    for request in [
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\nmore of it",
    ] {
        let mut best = Duration::MAX;
        // A busy machine is slow now and then, the kernel each time.
        for _ in 0..10 {
            let mut client = gateway.ask(request).await;
            let began = Instant::now();
            client.answer().await;
            best = best.min(began.elapsed());
        }
        assert!(best < KEPT_BACK / 2, "{best:?} for {request:?}");
    }
}
