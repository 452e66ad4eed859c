//! How long a body is, said in every way there is: CL.TE, TE.CL, TE.TE, CL.0, repeated and odd lengths.

use frontgate::wire::h1::Malformed::{
    Coding, CodingInOldVersion, FieldName, FieldValue, Length, LengthAndCoding, ObsFold,
    RepeatedLength, SpaceBeforeColon,
};

use super::{Case, bad, passes, play};

/// A POST with these lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n{body}")
}

const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\nabc";
const LENGTH: &str = "POST / HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc";

/// Both framings: whichever a backend believed, the rest would be a request of its own.
fn both() -> Vec<Case> {
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nhost: h\r\n\r\n";
    vec![
        bad(post("content-length: 3\r\ntransfer-encoding: chunked", CHUNKS), LengthAndCoding),
        bad(post("transfer-encoding: chunked\r\ncontent-length: 3", CHUNKS), LengthAndCoding),
        bad(post("content-length: 44\r\ntransfer-encoding: chunked", smuggled), LengthAndCoding),
        bad(post("content-length: 0\r\ntransfer-encoding: chunked", smuggled), LengthAndCoding),
        bad(post("Transfer-Encoding: Chunked\r\nContent-Length: 5", smuggled), LengthAndCoding),
        bad(post("content-length: 3\r\nTRANSFER-ENCODING:chunked", CHUNKS), LengthAndCoding),
        bad(post("content-length: 3\r\ntransfer-encoding: gzip", "abc"), Coding),
        bad(post("content-length: 3\r\ntransfer-encoding: identity", "abc"), Coding),
        bad(post("content-length: 3\r\ntransfer-encoding:", "abc"), Coding),
        bad(post("content-length: 3\r\ntransfer-encoding : chunked", CHUNKS), SpaceBeforeColon),
        bad(post("content-length: x\r\ntransfer-encoding: chunked", CHUNKS), Length),
        bad(
            "GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc",
            LengthAndCoding,
        ),
    ]
}

/// A POST in this transfer coding.
fn te(value: &str) -> String {
    post(&format!("transfer-encoding: {value}"), CHUNKS)
}

/// Other codings than one `chunked`.
fn codings() -> Vec<Case> {
    [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ", chunked",
        "chunked;q=1",
        "chunked ; a=b",
        "x-chunked",
        "xchunked",
        "chunkedx",
        "chunke",
        "\"chunked\"",
        "'chunked'",
        "chunked chunked",
        "identity",
        "identity, chunked",
        "cow",
        "",
        "chunked\u{a0}",
        "\u{a0}chunked",
        "c\u{127}unked",
    ]
    .map(|value| bad(te(value), Coding))
    .into()
}

/// Codings in disguise, and what only looks like one.
fn disguises() -> Vec<Case> {
    vec![
        bad(post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", CHUNKS), Coding),
        bad(post("transfer-encoding: chunked\r\ntransfer-encoding: cow", CHUNKS), Coding),
        bad(post("transfer-encoding: cow\r\ntransfer-encoding: chunked", CHUNKS), Coding),
        bad(post("transfer-encoding: chunked\r\ntransfer-encoding:", CHUNKS), Coding),
        bad(te("\x0bchunked"), FieldValue),
        bad(te("chunked\x0b"), FieldValue),
        bad(te("\x0cchunked"), FieldValue),
        bad(te("chunked\0"), FieldValue),
        bad(te("chun\rked"), FieldValue),
        bad(te("chunked\r"), FieldValue),
        bad(post("transfer-encoding:\r\n chunked", CHUNKS), Coding),
        bad(post("x: 1\r\n transfer-encoding: chunked", CHUNKS), ObsFold),
        bad(post("transfer-encoding\t: chunked", CHUNKS), SpaceBeforeColon),
        bad(post("transfer\u{2d}encoding\x0b: chunked", CHUNKS), FieldName),
        bad(post("\x00transfer-encoding: chunked", CHUNKS), FieldName),
        bad(
            "POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            CodingInOldVersion,
        ),
        bad(
            "POST / HTTP/1.0\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            CodingInOldVersion,
        ),
        // Blanks around a value and the case of letters mean nothing (RFC 9110 sections 5.5 and 8.4.1).
        passes(te("chunked"), CHUNKED),
        passes(te("CHUNKED"), CHUNKED),
        passes(te("\tchunked"), CHUNKED),
        passes(te(" chunked \t "), CHUNKED),
        passes(post("Transfer-Encoding:chunked", CHUNKS), CHUNKED),
        // Another name is another field, whatever it looks like.
        passes(
            post("x-transfer-encoding: chunked\r\ncontent-length: 3", "abc"),
            "POST / HTTP/1.1\nhost: h\ncontent-length: 3\nx-transfer-encoding: chunked\n\nabc",
        ),
        passes(
            post("content-encoding: chunked\r\ncontent-length: 3", "abc"),
            "POST / HTTP/1.1\nhost: h\ncontent-encoding: chunked\ncontent-length: 3\n\nabc",
        ),
    ]
}

/// One length, written in every way.
fn lengths() -> Vec<Case> {
    let cl = |value: &str| post(&format!("content-length: {value}"), "abc");
    let mut cases: Vec<_> = [
        "+3",
        "-3",
        "3 3",
        "3, 3",
        "3,3",
        "3,",
        ",3",
        "3;",
        "3;a=b",
        "0x3",
        "3.0",
        "3e0",
        "3_",
        "three",
        "\"3\"",
        "",
        "18446744073709551616",
        "99999999999999999999",
        "00000000000000000003",
        "\u{663}",
    ]
    .map(|value| bad(cl(value), Length))
    .into();
    cases.extend([
        bad(post("content-length: 3\r\ncontent-length: 3", "abc"), RepeatedLength),
        bad(post("content-length: 3\r\ncontent-length: 4", "abcd"), RepeatedLength),
        bad(
            post("content-length: 0\r\nContent-Length: 30", "GET /admin HTTP/1.1\r\n\r\n"),
            RepeatedLength,
        ),
        bad(post("content-length: 3\r\ncontent-length:", "abc"), Length),
        bad(cl("3\0"), FieldValue),
        bad(cl("\x0b3"), FieldValue),
        bad(post("content-length:\r\n 3", "abc"), Length),
        bad(post("content-length : 3", "abc"), SpaceBeforeColon),
        passes(cl("3"), LENGTH),
        passes(cl("  3\t"), LENGTH),
        passes(post("CONTENT-LENGTH:3", "abc"), LENGTH),
        // Leading zeros are digits (RFC 9110 section 8.6); what is sent on has none.
        passes(cl("03"), LENGTH),
        passes(cl("0000000000000000003"), LENGTH),
    ]);
    cases
}

/// Bodies where none is usual, and none where one is.
fn unusual() -> Vec<Case> {
    vec![
        passes("POST / HTTP/1.1\r\nhost: h\r\n\r\n", "POST / HTTP/1.1\nhost: h\ncontent-length: 0"),
        passes(
            "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n",
            "PUT / HTTP/1.1\nhost: h\ncontent-length: 0",
        ),
        passes(
            "PATCH / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "PATCH / HTTP/1.1\nhost: h\ntransfer-encoding: chunked",
        ),
        passes("GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n", "GET / HTTP/1.1\nhost: h"),
        passes(
            "GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc",
            "GET / HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc",
        ),
        passes(
            "DELETE / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "DELETE / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\na",
        ),
        passes(
            "HEAD / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc",
            "HEAD / HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc",
        ),
        passes("DELETE / HTTP/1.1\r\nhost: h\r\n\r\n", "DELETE / HTTP/1.1\nhost: h"),
        passes(
            "BREW / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx",
            "BREW / HTTP/1.1\nhost: h\ncontent-length: 1\n\nx",
        ),
        // A body that looks like a request is a body.
        passes(
            post("content-length: 40", "GET /admin HTTP/1.1\r\nhost: h\r\nx-a: b\r\n\r\n"),
            "POST / HTTP/1.1\nhost: h\ncontent-length: 40\n\nGET /admin HTTP/1.1\r\nhost: h\r\nx-a: b\r\n\r\n",
        ),
        passes(
            post(
                "transfer-encoding: chunked",
                "1b\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n\r\n0\r\n\r\n",
            ),
            "POST / HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\nGET / HTTP/1.1\r\nhost: h\r\n\r\n",
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [both(), codings(), disguises(), lengths(), unusual()].concat()
}

#[tokio::test]
async fn a_body_is_as_long_for_the_backend_as_it_is_here_or_it_does_not_arrive() {
    play(&cases()).await;
}
