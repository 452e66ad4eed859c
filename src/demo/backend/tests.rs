//! A backend on a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Backend, Sample};

const DEADLINE: Duration = Duration::from_secs(10);

async fn start(sample: Sample) -> Backend {
    Backend::start(sample, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Sends one request and reads its one answer; the connection stays open.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    read_answer(stream).await
}

async fn read_answer(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    tokio::time::timeout(DEADLINE, async {
        loop {
            let mut chunk = vec![0; 4096];
            let n = stream.read(&mut chunk).await.unwrap();
            seen.extend_from_slice(&chunk[..n]);
            let text = String::from_utf8_lossy(&seen);
            let body = text.split_once("\r\n\r\n").map(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                (length.map_or(0, |n| n.parse::<usize>().unwrap()), body.len())
            });
            if n == 0 || body.is_some_and(|(length, have)| have >= length) {
                break;
            }
        }
    })
    .await
    .unwrap();
    String::from_utf8(seen).unwrap()
}

/// Whether the peer closes without a further byte.
async fn closes(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    matches!(read, Ok(Ok(0)))
}

#[tokio::test]
async fn answers_every_operation_and_says_which_instance_did() {
    for (sample, path, body, expected) in [
        (Sample::Addsvc, "/sum", r#"{"a":1,"b":2}"#, r#"{"v":3}"#),
        (Sample::Addsvc, "/concat", r#"{"a":"x","b":"y"}"#, r#"{"v":"xy"}"#),
        (Sample::Stringsvc, "/uppercase", r#"{"s":"hello"}"#, r#"{"v":"HELLO"}"#),
        (Sample::Stringsvc, "/count", r#"{"s":"hello"}"#, r#"{"v":5}"#),
    ] {
        let backend = start(sample).await;
        let mut stream = TcpStream::connect(backend.address()).await.unwrap();
        let answer = ask(&mut stream, &post(path, body)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
        assert!(answer.contains(&format!("x-instance: {}\r\n", backend.address())), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_error_is_json_with_the_fitting_status() {
    let backend = start(Sample::Stringsvc).await;
    let large = format!(r#"{{"s":"{}"}}"#, "a".repeat(70 << 10));
    for (request, status, error) in [
        (post("/uppercase", r#"{"s":""}"#), 400, "empty string"),
        (post("/uppercase", "{"), 400, "EOF while parsing"),
        (post("/uppercase", &large), 413, "more than 64 KiB"),
        (post("/sum", "{}"), 404, "no such path"),
        ("GET /count HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405, "only POST"),
    ] {
        let mut stream = TcpStream::connect(backend.address()).await.unwrap();
        let answer = ask(&mut stream, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(&format!(r#"{{"error":"{error}"#)), "{answer}");
        assert_eq!(answer.contains("allow: POST\r\n"), status == 405, "{answer}");
    }
}

#[tokio::test]
async fn says_that_it_is_healthy() {
    let backend = start(Sample::Addsvc).await;
    let mut stream = TcpStream::connect(backend.address()).await.unwrap();
    let answer = ask(&mut stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_leaving_backend_answers_new_and_kept_connections_and_closes_them() {
    let backend = start(Sample::Addsvc).await;
    let mut kept = TcpStream::connect(backend.address()).await.unwrap();
    let answer = ask(&mut kept, &post("/sum", r#"{"a":1}"#)).await;
    assert!(!answer.contains("connection: close"), "{answer}");
    backend.leave();
    let mut new = TcpStream::connect(backend.address()).await.unwrap();
    for stream in [&mut kept, &mut new] {
        let answer = ask(stream, &post("/sum", r#"{"a":1}"#)).await;
        assert!(answer.ends_with(r#"{"v":1}"#), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(closes(stream).await);
    }
}

#[tokio::test]
async fn stopping_finishes_a_request_that_is_half_sent() {
    let backend = start(Sample::Addsvc).await;
    let address = backend.address();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut busy, &post("/sum", r#"{"a":1}"#)).await;
    ask(&mut idle, &post("/sum", r#"{"a":1}"#)).await;
    let request =
        post("/sum", r#"{"a":40,"b":2}"#).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let (begun, rest) = request.split_at(request.len() - 4);
    busy.write_all(begun.as_bytes()).await.unwrap();
    // The interim answer shows that the operation waits for the body, so stopping meets a running request.
    assert!(read_answer(&mut busy).await.starts_with("HTTP/1.1 100 "));
    let stopping = tokio::spawn(backend.stop(DEADLINE));
    assert!(closes(&mut idle).await, "an idle connection is closed at once");
    assert!(TcpStream::connect(address).await.is_err(), "nothing is accepted any more");
    let answer = ask(&mut busy, rest).await;
    assert!(answer.ends_with(r#"{"v":42}"#), "{answer}");
    assert!(closes(&mut busy).await);
    tokio::time::timeout(DEADLINE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dropped_backend_is_gone_at_once() {
    let backend = start(Sample::Addsvc).await;
    let mut stream = TcpStream::connect(backend.address()).await.unwrap();
    ask(&mut stream, &post("/sum", r#"{"a":1}"#)).await;
    drop(backend);
    assert!(closes(&mut stream).await);
}
