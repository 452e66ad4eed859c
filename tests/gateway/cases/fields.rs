//! Names and values of header fields, byte by byte (RFC 9110 sections 5.1 and 5.5).

use frontgate::wire::h1::Malformed::{
    FieldName, FieldValue, HeadTooLarge, NoColon, ObsFold, SpaceBeforeColon, TooManyFields,
};

use super::{Case, bad, passes, play, refused};

fn with(line: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nhost: h\r\n", line.as_ref(), b"\r\n\r\n"].concat()
}

/// A name with this byte in its middle.
fn named(byte: u8) -> Vec<u8> {
    with([b"x".as_slice(), &[byte], b"y: 1"].concat())
}

/// A value with this byte in its middle.
fn valued(byte: u8) -> Vec<u8> {
    with([b"x: a".as_slice(), &[byte], b"b"].concat())
}

fn every_byte() -> Vec<Case> {
    let controls = || (0..b' ').chain([0x7f]).filter(|byte| *byte != b'\n');
    let mut cases: Vec<_> = controls().map(|byte| bad(named(byte), FieldName)).collect();
    cases
        .extend(controls().filter(|byte| *byte != b'\t').map(|byte| bad(valued(byte), FieldValue)));
    cases.extend(b" \"(),/;<=>?@[\\]{}".map(|byte| bad(named(byte), FieldName)));
    cases.extend([0x80, 0xa0, 0xc3, 0xff].map(|byte| bad(named(byte), FieldName)));
    cases
}

fn rest() -> Vec<Case> {
    let every: Vec<u8> = (b' '..0x7f).chain(0x80..=0xff).collect();
    let seen: String = every[1..].iter().copied().map(char::from).collect();
    let name = "!#$%&'*+-.^_`|~0189AZaz";
    vec![
        passes(
            with([b"x: ".as_slice(), &every].concat()),
            format!("GET / HTTP/1.1\nhost: h\nx: {seen}"),
        ),
        passes(
            with(format!("{name}: 1")),
            format!("GET / HTTP/1.1\nhost: h\n{}: 1", name.to_lowercase()),
        ),
        passes(with("x: a\tb"), "GET / HTTP/1.1\nhost: h\nx: a\tb"),
        passes(with("x:"), "GET / HTTP/1.1\nhost: h\nx: "),
        passes(with("x: \t "), "GET / HTTP/1.1\nhost: h\nx: "),
        passes(with("x:1"), "GET / HTTP/1.1\nhost: h\nx: 1"),
        passes(with("x:  1 \t"), "GET / HTTP/1.1\nhost: h\nx: 1"),
        passes(with("x: a:b: c"), "GET / HTTP/1.1\nhost: h\nx: a:b: c"),
        passes(with("x:: 1"), "GET / HTTP/1.1\nhost: h\nx: : 1"),
        // Equal names stay lines of their own, in their order.
        passes(
            with("X-A: 2\r\nx-b: 3\r\nx-a: 1"),
            "GET / HTTP/1.1\nhost: h\nx-a: 1\nx-a: 2\nx-b: 3",
        ),
        passes(
            with("cookie: a=1\r\ncookie: b=2"),
            "GET / HTTP/1.1\nhost: h\ncookie: a=1\ncookie: b=2",
        ),
        bad(with(": 1"), FieldName),
        bad(with(":"), FieldName),
        bad(with("x : 1"), SpaceBeforeColon),
        bad(with("x\t: 1"), SpaceBeforeColon),
        bad(with("x  \t: 1"), SpaceBeforeColon),
        bad(with(" : 1"), ObsFold),
        bad(with("no colon"), NoColon),
        bad(with("x"), NoColon),
        bad(with("GET / HTTP/1.1"), NoColon),
        bad(with("x: 1\r\n\0: 1"), FieldName),
        bad(with("x: a\x7f"), FieldValue),
        bad(with("x: \0"), FieldValue),
        bad(with("x: a\0transfer-encoding: chunked"), FieldValue),
        bad(with("GET http://a/ HTTP/1.1"), FieldName),
        refused(with("x: 1\r\n".repeat(100).trim_end()), 431, "headers_too_large", TooManyFields),
        refused(
            with(format!("x: {}", "x".repeat(64 << 10))),
            431,
            "headers_too_large",
            HeadTooLarge,
        ),
        refused(
            with(format!("{}: x", "x".repeat(64 << 10))),
            431,
            "headers_too_large",
            HeadTooLarge,
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [every_byte(), rest()].concat()
}

#[tokio::test]
async fn a_field_is_a_token_and_a_value_without_control_characters() {
    play(&cases()).await;
}
