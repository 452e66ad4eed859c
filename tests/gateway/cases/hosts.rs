//! Which host is meant (RFC 9112 section 3.2, RFC 9110 section 7.2).

use frontgate::wire::h1::Malformed::{Host, NoHost, TwoHosts};

use super::{Case, bad, passes, play};

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n")
}

/// A Host that arrives as it was sent.
macro_rules! kept {
    ($($host:literal)*) => {
        [$(passes(get(concat!("Host: ", $host)), concat!("GET / HTTP/1.1\nhost: ", $host))),*]
    };
}

/// Hosts that are none.
fn bad_hosts() -> Vec<Case> {
    [
        "",
        "a b",
        "a/b",
        "/",
        "a?b",
        "a#b",
        "a\\b",
        "u@a",
        "u:p@a",
        "@a",
        "a,b",
        "a, b",
        ":80",
        "a:b",
        "a:-1",
        "a:+80",
        "a:80:80",
        "a:65536",
        "a:99999",
        "a:123456",
        "[::1",
        "::1]",
        "::1",
        "1:2:3:4:5:6:7:8",
        "[::1]x",
        "[::1]:x",
        "[::1]:65536",
        "[]",
        "[::1%25eth0]",
        "[v1.a]",
        "[127.0.0.1]",
        "[[::1]]",
        "<a>",
        "\"a\"",
        "a{b}",
        "a|b",
        "a^b",
        "a`b",
        "a%",
        "a%41",
        "%61",
        "a%zz",
        "a%00",
        "\u{e9}",
        "http://a",
        "a\tb",
    ]
    .map(|host| bad(get(&format!("host: {host}")), Host))
    .into()
}

/// No host, several, or one beside an absolute target.
fn lines() -> Vec<Case> {
    vec![
        bad("GET / HTTP/1.1\r\n\r\n", NoHost),
        bad("POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", NoHost),
        bad("GET http://a/ HTTP/1.1\r\n\r\n", NoHost),
        bad(get("x-forwarded-host: a"), NoHost),
        bad(get("host_: a"), NoHost),
        bad(get("host: a\r\nhost: a"), TwoHosts),
        bad(get("host: a\r\nHOST: b"), TwoHosts),
        bad(get("host: a\r\nx: y\r\nhost:"), TwoHosts),
        bad("GET http://a/ HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", TwoHosts),
        bad("GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", TwoHosts),
        bad("GET http://a/ HTTP/1.1\r\nhost: a/b\r\n\r\n", Host),
        bad("GET http://a/ HTTP/1.1\r\nhost:\r\n\r\n", Host),
        bad("GET / HTTP/1.0\r\nhost: a b\r\n\r\n", Host),
        passes(get("host:a"), "GET / HTTP/1.1\nhost: a"),
        passes(get("host:\t a:80 "), "GET / HTTP/1.1\nhost: a:80"),
        passes("GET http://a:1/ HTTP/1.1\r\nhost: b:2\r\n\r\n", "GET / HTTP/1.1\nhost: a:1"),
        // Without a host an old client gets the instance's own.
        passes("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\nhost: BACKEND").closing(),
        passes("GET / HTTP/1.0\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\nhost: a").closing(),
        // Another name is another field.
        passes(get("host: a\r\nx-host: b"), "GET / HTTP/1.1\nhost: a\nx-host: b"),
        passes(get("host: a\r\nhost_: b"), "GET / HTTP/1.1\nhost: a\nhost_: b"),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let good = kept![
        "a" "A.Example" "a.example." "a:" "a:0" "a:65535" "a:00080" "127.0.0.1" "127.0.0.1:8080" "127.1" "[::1]" "[::1]:8080"
        "[2001:DB8::1]" "[::ffff:127.0.0.1]" "a_b" "_a._tcp.example" "-a" "xn--bcher-kva.example" "a~b" "a!$&'()*+;=b" "*"
    ];
    [bad_hosts(), lines(), good.into()].concat()
}

#[tokio::test]
async fn a_request_names_one_host_and_the_backend_sees_that_one() {
    play(&cases()).await;
}
