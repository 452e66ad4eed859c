//! Who the client is: forged by one that is not trusted, and said by one that is (RFC 7239).

use super::{Case, passes, play, play_before};

/// A GET with these lines.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n")
}

const BARE: &str = "GET / HTTP/1.1\nhost: h";

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = [
        "X-Forwarded-For: 1.2.3.4",
        "x-forwarded-for: 127.0.0.1, 1.2.3.4",
        "x-forwarded-for: a\r\nX-FORWARDED-FOR: b",
        "x-forwarded-for:",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Prefix: /admin",
        "X-Forwarded-Server: x",
        "X-Forwarded-User: root",
        "X-Real-IP: 1.2.3.4",
        "Forwarded: for=1.2.3.4;host=evil;proto=https",
        "forwarded: for=a\r\nforwarded: for=b",
        "X_Forwarded_For: 1.2.3.4",
        "x_forwarded-for: 1.2.3.4",
        "X-Forwarded_Host: evil",
        "x_forwarded_proto: https",
        "x.forwarded.for: 1.2.3.4",
        "X_Real_IP: 1.2.3.4",
        "x-real_ip: 1.2.3.4",
        "X-Request-Id: mine",
        "X_Request_Id: mine",
        "x-request_id: a\r\nx-request-id: b",
    ]
    .map(|lines| passes(get(lines), BARE))
    .into();
    cases.extend(
        [
            "x-forwarded: 1",
            "xx-forwarded-for: 1.2.3.4",
            "forwarded-for: 1.2.3.4",
            "x-client-ip: 1.2.3.4",
            "x-original-host: a",
            "true-client-ip: 1.2.3.4",
        ]
        .map(|line| passes(get(line), format!("{BARE}\n{line}"))),
    );
    cases
}

#[tokio::test]
async fn a_client_that_is_not_trusted_cannot_say_who_it_is_under_any_spelling() {
    play(&cases()).await;
}

/// What a trusted peer says, and what the backend gets of it.
fn trusted() -> Vec<Case> {
    let said = |sent: &str, seen: &str| passes(get(sent), format!("{BARE}\n{seen}"));
    vec![
        passes(get("x: 1"), format!("{BARE}\nx: 1")),
        said("x-forwarded-for: 1.2.3.4", "x-forwarded-for: 1.2.3.4, 127.0.0.1\nx-real-ip: 1.2.3.4"),
        said(
            "x-forwarded-for: 9.9.9.9, 1.2.3.4, 10.0.0.1",
            "x-forwarded-for: 9.9.9.9, 1.2.3.4, 10.0.0.1, 127.0.0.1\nx-real-ip: 1.2.3.4",
        ),
        said(
            "x-forwarded-for: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4",
            "x-forwarded-for: 9.9.9.9, 1.2.3.4, 127.0.0.1\nx-real-ip: 1.2.3.4",
        ),
        said(
            "x-forwarded-for: [2001:db8::1]:80",
            "x-forwarded-for: [2001:db8::1]:80, 127.0.0.1\nx-real-ip: 2001:db8::1",
        ),
        // What is no address ends the walk.
        said("x-forwarded-for: 1.2.3.4, unknown", "x-forwarded-for: 1.2.3.4, unknown, 127.0.0.1"),
        said("x-forwarded-for: ", ""),
        said("x-forwarded-proto: https", "x-forwarded-proto: https"),
        said("x-forwarded-host: shop.example", "x-forwarded-host: shop.example"),
        said("x-forwarded-port: 443", "x-forwarded-port: 443"),
        said("x-forwarded-prefix: /shop", "x-forwarded-prefix: /shop"),
        said("x-real-ip: 1.2.3.4", "x-real-ip: 1.2.3.4"),
        said("x-request-id: mine-1", "x-request-id: mine-1"),
        said("x-request-id: a b", ""),
        said("x-request-id: a\r\nx-request-id: b", ""),
        said(
            "forwarded: for=1.2.3.4",
            "forwarded: for=1.2.3.4, for=127.0.0.1;host=\"h\";proto=http\nx-real-ip: 1.2.3.4",
        ),
        said(
            "forwarded: for=9.9.9.9;proto=https, For=\"[2001:db8::1]:80\"",
            "forwarded: for=9.9.9.9;proto=https, For=\"[2001:db8::1]:80\", for=127.0.0.1;host=\"h\";proto=http\nx-real-ip: 2001:db8::1",
        ),
        // An alias is a forgery, whoever sends it.
        said("x_forwarded_for: 1.2.3.4", ""),
        said("x_real_ip: 1.2.3.4\r\nx_request_id: a", ""),
        said(
            "connection: x-forwarded-for\r\nx-forwarded-for: 1.2.3.4",
            "x-forwarded-for: 1.2.3.4, 127.0.0.1\nx-real-ip: 1.2.3.4",
        ),
    ]
}

#[tokio::test]
async fn what_a_trusted_peer_says_is_kept_and_continued() {
    let trusts = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    play_before(&trusted(), usize::MAX, |setup| setup.top(trusts)).await;
}
