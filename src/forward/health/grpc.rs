//! gRPC's health checking protocol: `grpc.health.v1.Health/Check` over HTTP/2 in the clear.

use std::pin::pin;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};

use super::attend::Bad;
use super::message;
use crate::forward::connect::dial;
use crate::forward::instance::Instance;

/// A larger head is refused, as of other answers.
const HEAD_BYTES: u32 = 64 << 10;
/// A frame, or what of a body may come unasked.
const WINDOW_BYTES: u32 = 64 << 10;

/// Asks on a connection of its own about this service; the empty one is the whole server. The connection is driven
/// here and ends with the question, nothing runs on beside it.
pub(super) async fn ask(instance: &Instance, service: &str) -> Result<(), Bad> {
    let io = dial(instance).await.map_err(|error| Bad::connect(&error))?;
    let mut builder = client::Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD_BYTES);
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    let (sender, connection) = builder.handshake(io).await.map_err(|error| broken(&error))?;
    let request = request(instance, service)?;
    let mut called = pin!(call(sender, request));
    tokio::select! {
        biased;
        called = &mut called => called,
        // Whatever the connection had left to say, the call knows.
        ended = connection => match (called.await, ended) {
            (Err(_), Err(error)) => Err(broken(&error)),
            (called, _) => called,
        }
    }
}

fn request(instance: &Instance, service: &str) -> Result<(Request<()>, Bytes), Bad> {
    let uri = format!("http://{}/grpc.health.v1.Health/Check", instance.place);
    let head = Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("frontgate/", env!("CARGO_PKG_VERSION"), " (health check)"))
        .body(());
    let head = head.map_err(|_| Bad::failed("its name cannot stand in a request"))?;
    Ok((head, message::request(service)))
}

async fn call(sender: SendRequest<Bytes>, request: (Request<()>, Bytes)) -> Result<(), Bad> {
    let (head, question) = request;
    let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
    let (answer, mut body) = sender.send_request(head, false).map_err(|error| broken(&error))?;
    body.send_data(question, true).map_err(|error| broken(&error))?;
    let answer = answer.await.map_err(|error| broken(&error))?;
    let (head, mut body) = answer.into_parts();
    let head = Response::from_parts(head, ());
    is_grpc(&head)?;
    // An answer without a message has its status among the headers.
    if body.is_end_stream() {
        return Err(status(head.headers()).err().unwrap_or_else(|| Bad::failed("an empty answer")));
    }
    let message = collect(&mut body).await?;
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    status(&trailers.unwrap_or_default())?;
    message::serving(&message).map_err(Bad::failed)
}

fn is_grpc(head: &Response<()>) -> Result<(), Bad> {
    if head.status() != StatusCode::OK {
        return Err(Bad::failed(format!("not gRPC: status {}", head.status().as_u16())));
    }
    let kind = head.headers().get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    match kind.strip_prefix(b"application/grpc") {
        Some(b"" | [b'+' | b';', ..]) => Ok(()),
        _ => Err(Bad::failed("not gRPC: the answer has another content type")),
    }
}

/// The whole body, which is one short message.
async fn collect(body: &mut RecvStream) -> Result<Vec<u8>, Bad> {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broken(&error))?;
        if whole.len() + data.len() > message::MOST_BYTES {
            return Err(Bad::failed("the answer is too long for a health check"));
        }
        whole.extend_from_slice(&data);
        // Whether it may send more; a lost connection shows when it is read.
        body.flow_control().release_capacity(data.len()).ok();
    }
    Ok(whole)
}

/// `grpc-status`, by the names of gRPC's own list.
fn status(fields: &HeaderMap) -> Result<(), Bad> {
    let Some(status) = fields.get("grpc-status") else {
        return Err(Bad::failed("not gRPC: the answer has no grpc-status"));
    };
    Err(Bad::failed(match status.as_bytes() {
        b"0" => return Ok(()),
        b"5" => "grpc-status 5 (not found): it does not know this service".to_owned(),
        b"12" => "grpc-status 12 (unimplemented): it has no health service".to_owned(),
        other => match std::str::from_utf8(other).ok().and_then(|text| text.parse::<u32>().ok()) {
            Some(number) => format!("grpc-status {number}"),
            None => "not gRPC: grpc-status is no number".to_owned(),
        },
    }))
}

fn broken(error: &h2::Error) -> Bad {
    if let Some(error) = error.get_io() {
        return Bad::broke(error);
    }
    let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
    let who = if error.is_remote() { "it said" } else { "not HTTP/2" };
    Bad::failed(format!("the connection broke: {who}: {}", reason.description()))
}
