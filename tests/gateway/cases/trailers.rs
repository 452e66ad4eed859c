//! What comes after the last chunk (RFC 9112 section 7.1.2, RFC 9110 section 6.5.1).

use frontgate::wire::h1::Malformed::{
    BareLf, FieldName, FieldValue, NoColon, ObsFold, SpaceBeforeColon, TooManyFields,
    TrailersTooLarge,
};

use super::{Case, broken, passes, play};

/// A POST with these lines after its chunks.
fn post(trailers: impl AsRef<str>) -> String {
    let trailers = trailers.as_ref();
    format!(
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailers}\r\n\r\n"
    )
}

const ABC: &str = "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\nabc";

/// Names that may not come here, and are left out.
fn forbidden() -> Vec<Case> {
    [
        // Framing and routing.
        "content-length: 7",
        "transfer-encoding: chunked",
        "Host: evil",
        "trailer: x",
        "te: gzip",
        "content-encoding: gzip",
        "content-type: text/html",
        "content-range: bytes 0-1/2",
        "expect: 100-continue",
        "max-forwards: 0",
        "cache-control: no-store",
        // Who is asking.
        "Authorization: Basic eA==",
        "proxy-authorization: x",
        "cookie: a=b",
        "set-cookie: a=b",
        "www-authenticate: x",
        "X-Forwarded-For: 1.2.3.4",
        "x-forwarded-user: root",
        "x_forwarded_for: 1.2.3.4",
        "x-forwarded_host: evil",
        "x-real-ip: 1.2.3.4",
        "x_real_ip: 1.2.3.4",
        "forwarded: for=1.2.3.4",
        "x-request-id: mine",
        "x_request_id: mine",
        "X-Frontgate-Code: ok",
        "content_length: 7",
        "transfer_encoding: chunked",
        // This connection.
        "connection: close",
        "keep-alive: 5",
        "upgrade: h2c",
        "http2-settings: x",
        "proxy-connection: close",
        "proxy-authenticate: x",
    ]
    .map(|line| passes(post(line), ABC))
    .into()
}

fn rest() -> Vec<Case> {
    vec![
        passes(post("X-Sum: 1"), format!("{ABC}\nx-sum: 1")),
        passes(post("x-sum:1\r\nx-two:  2\t"), format!("{ABC}\nx-sum: 1\nx-two: 2")),
        passes(post("x-sum: 1\r\nhost: evil"), format!("{ABC}\nx-sum: 1")),
        passes(
            post("grpc-status: 0\r\ngrpc-message: ok"),
            format!("{ABC}\ngrpc-status: 0\ngrpc-message: ok"),
        ),
        broken(post("no colon"), NoColon),
        broken(post("x : y"), SpaceBeforeColon),
        broken(post(": y"), FieldName),
        broken(post("x(y): z"), FieldName),
        broken(post("x\0: z"), FieldName),
        broken(post("x: a\0b"), FieldValue),
        broken(post("x: a\rb"), FieldValue),
        broken(post("x: a\x7f"), FieldValue),
        broken(post("x: 1\r\n folded"), ObsFold),
        broken(post(" folded: 1"), ObsFold),
        broken(post("x: a\nb"), BareLf),
        broken(post("x: a\n"), BareLf),
        broken(post("x: 1\r\n".repeat(101).trim_end()), TooManyFields),
        broken(post(format!("x: {}", "t".repeat(64 << 10))), TrailersTooLarge),
        broken(post("x: 1\r\n".repeat(11_000).trim_end()), TrailersTooLarge),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [forbidden(), rest()].concat()
}

#[tokio::test]
async fn trailers_pass_unless_they_frame_route_or_authenticate() {
    play(&cases()).await;
}
