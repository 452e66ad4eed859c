//! What is for one connection only, and what `Connection` may not take along (RFC 9110 section 7.6.1).

use super::{Case, passes, play};

/// A GET with these lines.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n")
}

/// What a GET without further fields is at the backend.
const BARE: &str = "GET / HTTP/1.1\nhost: h";

fn named() -> Vec<Case> {
    let kept = |line: &str| format!("{BARE}\n{line}");
    vec![
        passes(get("connection: x\r\nx: 1"), BARE),
        passes(get("Connection: X\r\nx: 1\r\nX: 2"), BARE),
        passes(get("connection: keep-alive, x,,y\t,\r\nx: 1\r\ny: 2\r\nz: 3"), kept("z: 3")),
        passes(get("connection: x\r\nconnection: y\r\nx: 1\r\ny: 2"), BARE),
        passes(get("x: 1\r\nconnection: x"), BARE),
        passes(get("connection: x y\r\nx: 1\r\ny: 2"), kept("x: 1\ny: 2")),
        passes(get("connection: \"x\"\r\nx: 1"), kept("x: 1")),
        passes(get("connection: x;y\r\nx: 1"), kept("x: 1")),
        passes(get("connection: \u{e9}, x\r\nx: 1"), BARE),
        passes(get("connection:\r\nx: 1"), kept("x: 1")),
        // What a route is found by, and who is asking.
        passes(get("connection: host"), BARE),
        passes(get("connection: HOST, close"), BARE).closing(),
        passes(
            get("connection: authorization\r\nauthorization: Basic eA=="),
            kept("authorization: Basic eA=="),
        ),
        passes(
            get("connection: Authorization , x\r\nauthorization: Basic eA==\r\nx: 1"),
            kept("authorization: Basic eA=="),
        ),
        // Whether the upstream's word is waited for.
        passes(
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: Expect\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\nhost: h\ncontent-length: 3\nexpect: 100-continue\n\nabc",
        ),
        // What the gateway says itself.
        passes(get("connection: x-forwarded-for\r\nx-forwarded-for: 1.2.3.4"), BARE),
        passes(
            get(
                "connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Port",
            ),
            BARE,
        ),
        passes(get("connection: x-real-ip, forwarded, x-request-id"), BARE),
        passes(get("connection: x-request-id\r\nx-request-id: mine"), BARE),
        // Framing is our own.
        passes(
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: content-length\r\ncontent-length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc",
        ),
        passes(
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\nabc",
        ),
        passes(
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: connection, content-length\r\ncontent-length: 0\r\n\r\n",
            "POST / HTTP/1.1\nhost: h\ncontent-length: 0",
        ),
        // Any other field goes when it is named: the contract excepts no more than the above.
        passes(get("connection: cookie\r\ncookie: a=b"), BARE),
        passes(get("connection: cache-control\r\ncache-control: no-store"), BARE),
        passes(get("connection: accept\r\naccept: */*"), BARE),
    ]
}

fn listed() -> Vec<Case> {
    let mut cases: Vec<_> = [
        "keep-alive: timeout=5",
        "proxy-connection: keep-alive",
        "proxy-authorization: Basic eA==",
        "proxy-authenticate: Basic",
        "te: gzip",
        "te: trailersx",
        "trailer: x-sum",
        "upgrade: h2c",
        "upgrade: websocket",
        "http2-settings: AAMAAABkAAQAAP",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP",
        "connection: upgrade\r\nupgrade: tls/1.2",
        "connection: close, te\r\nconnection: keep-alive",
    ]
    .map(|lines| passes(get(lines), BARE))
    .into();
    let last = cases.pop().map(Case::closing);
    cases.extend(last);
    cases.extend([
        passes(get("te: trailers"), format!("{BARE}\nconnection: te\nte: trailers")),
        passes(
            get("connection: te\r\nte: gzip;q=1, Trailers"),
            format!("{BARE}\nconnection: te\nte: trailers"),
        ),
        passes(
            get("te: gzip\r\nte: trailers;q=0.5"),
            format!("{BARE}\nconnection: te\nte: trailers"),
        ),
        // No `Via` of our own, and none is taken away.
        passes(get("via: 1.0 a"), format!("{BARE}\nvia: 1.0 a")),
        passes(get("max-forwards: 0"), format!("{BARE}\nmax-forwards: 0")),
    ]);
    cases
}

pub(super) fn cases() -> Vec<Case> {
    [named(), listed()].concat()
}

#[tokio::test]
async fn what_is_for_this_connection_stays_here_and_nothing_else_does() {
    play(&cases()).await;
}
