//! Versions, what is no HTTP/1 at all, and expectations (RFC 9112 section 2.3, RFC 9110 section 10.1.1).

use frontgate::wire::h1::Malformed::{Expectation, RequestLine, Tls, Version};

use super::{Case, bad, passes, play, refused};

fn versions() -> Vec<Case> {
    let spoken = |version: &str| format!("GET / {version}\r\nhost: h\r\n\r\n");
    let mut cases: Vec<_> =
        ["HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0"]
            .map(|version| refused(spoken(version), 505, "version", Version))
            .into();
    cases.extend(
        [
            "http/1.1",
            "Http/1.1",
            "HTTP/1",
            "HTTP/11",
            "HTTP/1.",
            "HTTP/1.10",
            "HTTP/01.1",
            "HTTP/+1.1",
            "HTTP/1,1",
            "HTTP 1.1",
            "HTTP/x.y",
            "HTTP/-1.1",
            "HTTPS/1.1",
            "HTCPCP/1.0",
            "HTTP/2",
            "SIP/2.0",
            "1.1",
            "HTTP/1.1\0",
        ]
        .map(|version| bad(spoken(version), RequestLine)),
    );
    cases.extend([
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version", Version),
        // A simple request of HTTP/0.9 and its like have no head to wait for.
        bad("GET /\r\n", RequestLine),
        bad("GET / \r\n", RequestLine),
        bad("HELO mail.example\r\n", RequestLine),
        bad("*1\r\n$4\r\nPING\r\n", RequestLine),
        bad("SSH-2.0-OpenSSH_9.2\r\n", RequestLine),
        refused("GET / HTTP/3.0\r\n", 505, "version", Version),
        bad(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Tls),
        bad(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", Tls),
    ]);
    cases
}

/// What an old client is kept for, and what it is not told.
fn old() -> Vec<Case> {
    let get = "GET / HTTP/1.1\nhost: h";
    vec![
        passes("GET / HTTP/1.0\r\nhost: h\r\n\r\n", get).closing(),
        passes("GET / HTTP/1.0\r\nhost: h\r\nconnection: close\r\n\r\n", get).closing(),
        passes("GET / HTTP/1.0\r\nhost: h\r\nconnection: Keep-Alive\r\n\r\n", get),
        passes("GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive, close\r\n\r\n", get).closing(),
        passes("GET / HTTP/1.0\r\nhost: h\r\nkeep-alive: 5\r\n\r\n", get).closing(),
        passes(
            "POST / HTTP/1.0\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc",
        )
        .closing(),
        passes("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", get).closing(),
        passes("GET / HTTP/1.1\r\nhost: h\r\nconnection: foo, CLOSE ,bar\r\n\r\n", get).closing(),
        passes("GET / HTTP/1.1\r\nhost: h\r\nconnection: closed\r\n\r\n", get),
    ]
}

fn expectations() -> Vec<Case> {
    let expecting = |what: &str| format!("GET / HTTP/1.1\r\nhost: h\r\n{what}\r\n\r\n");
    let mut cases: Vec<_> = [
        "200-ok",
        "",
        "100",
        "100-continue, x",
        "100-continue;q=1",
        "x=100-continue",
        "continue",
        "100-continue 100-continue",
    ]
    .map(|value| refused(expecting(&format!("expect: {value}")), 417, "expectation", Expectation))
    .into();
    cases.extend([
        refused(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nexpect: 100-continue, x\r\n\r\nabc",
            417,
            "expectation",
            Expectation,
        ),
        refused(expecting("expect: 100-continue\r\nexpect: x"), 417, "expectation", Expectation),
        // Without a body there is nothing to go on with.
        passes(expecting("expect: 100-continue"), "GET / HTTP/1.1\nhost: h"),
        passes(expecting("Expect: 100-Continue"), "GET / HTTP/1.1\nhost: h"),
        // An old client is told nothing before its answer.
        passes(
            "POST / HTTP/1.0\r\nhost: h\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc",
            "POST / HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc",
        )
        .closing(),
    ]);
    cases
}

pub(super) fn cases() -> Vec<Case> {
    [versions(), old(), expectations()].concat()
}

#[tokio::test]
async fn two_versions_are_spoken_here_and_one_expectation_is_met() {
    play(&cases()).await;
}
