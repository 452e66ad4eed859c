//! What counts as a good answer to gRPC's own question.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::{asking, turned};
use crate::support::backend::{Answering, OK};

const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

/// What a server answers.
#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    kind: &'static str,
    head: &'static str,
    body: Vec<u8>,
    trailer: Option<&'static str>,
}

impl Reply {
    /// A whole answer with this message.
    fn message(body: impl Into<Vec<u8>>) -> Self {
        let (status, kind, head) = (200, "application/grpc", "");
        Self { status, kind, head, body: body.into(), trailer: Some("0") }
    }

    /// An answer that has only a status.
    fn only(status: &'static str) -> Self {
        let body = Vec::new();
        Self { status: 200, kind: "application/grpc", head: status, body, trailer: None }
    }
}

type Asked = Arc<Mutex<Vec<(Request<()>, Vec<u8>)>>>;

/// A server in HTTP/2 that answers every question alike, and what it was asked.
async fn server(reply: Reply) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, reply.clone(), Arc::clone(&seen)));
        }
    });
    (address, asked)
}

/// None at the end of the connection.
async fn converse(stream: TcpStream, reply: Reply, asked: Asked) -> Option<()> {
    let mut connection = Builder::new().handshake::<_, Bytes>(stream).await.ok()?;
    while let Some(Ok((request, answer))) = connection.accept().await {
        tokio::spawn(answered(request, answer, reply.clone(), Arc::clone(&asked)));
    }
    Some(())
}

async fn answered(
    request: Request<h2::RecvStream>,
    mut answer: SendResponse<Bytes>,
    reply: Reply,
    asked: Asked,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        whole.extend_from_slice(&data.ok()?);
    }
    let question = (Request::from_parts(head, ()), whole);
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(question);
    let mut head = Response::builder().status(reply.status).header("content-type", reply.kind);
    if !reply.head.is_empty() {
        head = head.header("grpc-status", reply.head);
    }
    let head = head.body(()).ok()?;
    if reply.body.is_empty() && reply.trailer.is_none() {
        return answer.send_response(head, true).ok().map(drop);
    }
    let mut stream = answer.send_response(head, false).ok()?;
    let Some(status) = reply.trailer else {
        return stream.send_data(reply.body.into(), true).ok();
    };
    stream.send_data(reply.body.into(), false).ok()?;
    let mut trailers = HeaderMap::new();
    if !status.is_empty() {
        trailers.insert("grpc-status", status.parse().ok()?);
    }
    stream.send_trailers(trailers).ok()
}

const NEVER_AGAIN: &str = "kind = \"grpc\", interval = \"1h\", unhealthy_interval = \"1h\"";

#[tokio::test]
async fn asks_as_the_protocol_says() {
    let (address, asked) = server(Reply::message(SERVING)).await;
    let with_service = format!("{NEVER_AGAIN}, service = \"orders.v1\"");
    for (health, question) in
        [(NEVER_AGAIN, &b"\0\0\0\0\0"[..]), (&with_service, b"\0\0\0\0\x0b\x0a\x09orders.v1")]
    {
        let gateway = asking(&[address], health).await;
        turned(&gateway, address, "up").await;
        let (head, body) =
            asked.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("a question");
        assert_eq!(body, question);
        let uri = format!("http://{address}/grpc.health.v1.Health/Check");
        assert_eq!((head.method().as_str(), head.uri().to_string()), ("POST", uri));
        let fields: HashMap<_, _> =
            head.headers().iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(fields["content-type"], "application/grpc");
        assert_eq!(fields["te"], "trailers");
        assert!(fields["user-agent"].to_str().is_ok_and(|agent| agent.starts_with("frontgate/")));
    }
}

#[tokio::test]
async fn only_serving_is_up_and_everything_else_says_what_is_wrong() {
    let long = [&[0, 0, 0, 8, 0, 8, 1][..], &[0; 3000]].concat();
    let cases = [
        (Reply::message(SERVING), None),
        (Reply { kind: "application/grpc+proto", ..Reply::message(SERVING) }, None),
        (Reply::message(NOT_SERVING), Some("it answers NOT_SERVING")),
        (Reply::message([0, 0, 0, 0, 0]), Some("it answers UNKNOWN")),
        (Reply::message([0, 0, 0, 0, 2, 8, 3]), Some("it answers SERVICE_UNKNOWN")),
        (Reply::only("5"), Some("grpc-status 5 (not found)")),
        (Reply::only("12"), Some("grpc-status 12 (unimplemented)")),
        (Reply::only("0"), Some("an empty answer")),
        (Reply::only(""), Some("not gRPC: the answer has no grpc-status")),
        (Reply { trailer: Some("14"), ..Reply::message(SERVING) }, Some("grpc-status 14")),
        (
            Reply { trailer: Some("ok"), ..Reply::message(SERVING) },
            Some("not gRPC: grpc-status is no number"),
        ),
        (
            Reply { trailer: None, ..Reply::message(SERVING) },
            Some("not gRPC: the answer has no grpc-status"),
        ),
        (Reply::message(&SERVING[..6]), Some("not gRPC: the answer is not one message")),
        (Reply::message([0, 0, 0, 0, 2, 8, 0x81]), Some("not gRPC: the message cannot be read")),
        (Reply::message([1, 0, 0, 0, 2, 8, 1]), Some("not gRPC: compressed")),
        (Reply::message(long), Some("the answer is too long")),
        (
            Reply { kind: "text/html", ..Reply::message(SERVING) },
            Some("not gRPC: the answer has another content type"),
        ),
        (Reply { kind: "application/grpcx", ..Reply::message(SERVING) }, Some("not gRPC")),
        (Reply { status: 404, ..Reply::message(SERVING) }, Some("not gRPC: status 404")),
    ];
    let (mut instances, mut expected) = (Vec::new(), Vec::new());
    for (reply, error) in cases {
        let (address, _) = server(reply.clone()).await;
        instances.push(address);
        expected.push((address, reply, error));
    }
    let gateway = asking(&instances, NEVER_AGAIN).await;
    for (address, reply, error) in expected {
        let health = if error.is_some() { "down" } else { "up" };
        let one = turned(&gateway, address, health).await;
        let said = one["health_error"].as_str().unwrap_or_default();
        assert!(said.starts_with(error.unwrap_or_default()), "{reply:?}: {one}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_http_2_is_down() {
    let silent = Answering::with("").await;
    let old = Answering::with(OK).await;
    let gateway = asking(&[silent.address, old.address], NEVER_AGAIN).await;
    for address in [silent.address, old.address] {
        let down = turned(&gateway, address, "down").await;
        let error = down["health_error"].as_str().unwrap_or_default();
        assert!(error.starts_with("the connection broke"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_late() {
    let hanging = crate::support::backend::Backend::new().await;
    let gateway = asking(&[hanging.address], &format!("{NEVER_AGAIN}, timeout = \"50ms\"")).await;
    let down = turned(&gateway, hanging.address, "down").await;
    assert_eq!(down["health_error"], "no answer within 50ms");
}
