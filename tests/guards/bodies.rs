//! How long a request's body may be.

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Message, Peer};

const CHUNKED: &str = "transfer-encoding: chunked";

async fn limited(backend: &Backend) -> Gateway {
    Setup::to(&[backend.address]).route("max_body = \"10B\"").start().await
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n\r\n{body}")
}

fn assert_too_large(answer: &Message) {
    assert_eq!((answer.status(), answer.code()), (413, "body_too_large"));
    assert_eq!(answer.head.value("connection"), Some("close"));
}

#[tokio::test]
async fn a_body_of_the_limits_length_passes_and_one_byte_more_does_not() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).route("max_body = \"10B\"").start().await;
    for (fields, body) in [
        ("content-length: 10", "0123456789"),
        (CHUNKED, "a\r\n0123456789\r\n0\r\n\r\n"),
        (CHUNKED, "5\r\n01234\r\n5\r\n56789\r\n0\r\nx-sum: 45\r\n\r\n"),
    ] {
        let answer = gateway.ask(post(fields, body)).await.answer().await;
        assert_eq!(answer.text(), "ok", "{body:?}");
        assert_eq!(backend.requests().pop().expect("a request").body, b"0123456789");
    }
    for (fields, body) in [
        ("content-length: 11", "01234"),
        ("content-length: 99999999999999999", ""),
        (CHUNKED, "b\r\n0123456789"),
        (CHUNKED, "5\r\n01234\r\n5\r\n56789\r\n1\r\na\r\n"),
        (CHUNKED, "fffffffffffffff\r\n0123456789a"),
    ] {
        let mut client = gateway.ask(post(fields, body)).await;
        if body.starts_with("b\r\n") {
            client.send("a").await;
        }
        assert_too_large(&client.answer().await);
        client.closed().await;
    }
    assert_eq!(backend.count(), 3);
}

#[tokio::test]
async fn a_declared_length_over_the_limit_reaches_nobody_and_is_not_asked_for() {
    let backend = Backend::new().await;
    let gateway = limited(&backend).await;
    let mut client = gateway.ask(post("content-length: 11\r\nexpect: 100-continue", "")).await;
    // The first that comes: no 100 before it.
    assert_too_large(&client.answer().await);
    client.closed().await;
    backend.assert_untouched().await;
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_breaks_off_the_upstreams_request() {
    let backend = Backend::new().await;
    let gateway = limited(&backend).await;
    let mut client = gateway.ask(post(CHUNKED, "8\r\n01234567\r\n")).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    assert_eq!(upstream.chunk().await.as_deref(), Some(&b"01234567"[..]));
    client.send("3\r\n89a\r\n").await;
    assert_too_large(&client.answer().await);
    // Without a last chunk, so that nobody takes it for whole.
    let (rest, _) = upstream.rest().await;
    assert_eq!(String::from_utf8_lossy(&rest), "");
    // Nobody else is asked, and the instance is not to blame.
    backend.assert_untouched().await;
    client.closed().await;
    gateway.metric_is("frontgate_attempts_total", &["result=\"client_gone\""], 1.0).await;
    assert_eq!(gateway.metric("frontgate_attempts_total", &[]).await, 1.0);
    gateway.metric_is("frontgate_refusals_total", &["code=\"body_too_large\""], 1.0).await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_gets_its_413() {
    let backend = Backend::new().await;
    let gateway = limited(&backend).await;
    let mut client = gateway.ask(post(CHUNKED, "8000\r\n")).await;
    // Less than what is read and thrown away before the connection closes.
    client.send(vec![b'x'; 0x4000]).await;
    let answer = client.answer().await;
    assert_too_large(&answer);
    client.try_send(vec![b'x'; 0x4000]).await.ok();
    client.half_close().await;
    assert_eq!(client.ended().await, End::Closed);
}

#[tokio::test]
async fn no_bytes_at_all_is_a_limit_too() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).route("max_body = \"0B\"").start().await;
    assert_eq!(gateway.fetch("/").await.text(), "ok");
    for (fields, body) in [("content-length: 0", ""), (CHUNKED, "0\r\n\r\n")] {
        assert_eq!(gateway.ask(post(fields, body)).await.answer().await.text(), "ok");
    }
    for (fields, body) in [("content-length: 1", "a"), (CHUNKED, "1\r\na\r\n0\r\n\r\n")] {
        let answer = gateway.ask(post(fields, body)).await.answer().await;
        assert_eq!((answer.status(), answer.code()), (413, "body_too_large"));
    }
}

#[tokio::test]
async fn an_early_answer_of_the_upstream_is_not_replaced() {
    let backend = Backend::new().await;
    let gateway = limited(&backend).await;
    let mut client = gateway.ask(post(CHUNKED, "8\r\n01234567\r\n")).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.chunk().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsta").await;
    assert_eq!(client.head().await.status(), 200);
    client.send("8\r\n89abcdef\r\n").await;
    upstream.send("rts").await;
    assert_eq!(client.take(6).await, b"starts");
}

#[tokio::test]
async fn an_idempotent_upload_that_is_too_long_is_sent_to_nobody_else() {
    let (one, two) = (Backend::new().await, Backend::new().await);
    let setup = Setup::to(&[one.address, two.address]).route("max_body = \"10B\"");
    let gateway = setup.start().await;
    let head = "PUT / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = Peer::asking(gateway.web(), format!("{head}4\r\n0123\r\n")).await;
    let mut upstream = tokio::select! {
        upstream = one.accept() => upstream,
        upstream = two.accept() => upstream,
    };
    upstream.head().await;
    client.send("8\r\n456789ab\r\n").await;
    assert_too_large(&client.answer().await);
    one.assert_untouched().await;
    two.assert_untouched().await;
}
