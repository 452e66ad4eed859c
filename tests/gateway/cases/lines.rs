//! Line ends, request lines, folded lines.

use frontgate::wire::h1::Malformed::{
    BareLf, BlankLine, FieldValue, Method, ObsFold, RequestLine, TargetCharacter,
};

use super::{Case, bad, passes, play};

fn line(line: &str) -> String {
    format!("{line}\r\nhost: h\r\n\r\n")
}

fn ends() -> Vec<Case> {
    vec![
        bad("GET / HTTP/1.1\nhost: h\n\n", BareLf),
        bad("GET / HTTP/1.1\nhost: h\r\n\r\n", BareLf),
        bad("GET / HTTP/1.1\r\nhost: h\nx: 1\r\n\r\n", BareLf),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: 1\n\r\n", BareLf),
        bad("GET / HTTP/1.1\r\nhost: h\r\n\n", BareLf),
        bad("GET / HTTP/1.1\r\nhost: h\n\nGET / HTTP/1.1\r\n\r\n", BareLf),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: a\nb\r\n\r\n", BareLf),
        bad("\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", BareLf),
        bad("\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n", BlankLine),
        bad("\r\n\r\n", BlankLine),
        bad("GET / HTTP/1.1\r\r\nhost: h\r\n\r\n", RequestLine),
        bad("GET / HTTP/1.1\rhost: h\r\n\r\n", RequestLine),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n", FieldValue),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: a\r\r\n\r\n", FieldValue),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: a\rtransfer-encoding: chunked\r\n\r\n", FieldValue),
    ]
}

fn folds() -> Vec<Case> {
    vec![
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n folded\r\n\r\n", ObsFold),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n\tfolded\r\n\r\n", ObsFold),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n \r\n\r\n", ObsFold),
        bad("GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n y: 2\r\n\r\n", ObsFold),
        bad("GET / HTTP/1.1\r\n folded: h\r\nhost: h\r\n\r\n", ObsFold),
        bad("GET / HTTP/1.1\r\n\thost: h\r\n\r\n", ObsFold),
    ]
}

fn request_lines() -> Vec<Case> {
    let mut cases: Vec<_> = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1\t",
        "GET",
        "GET /",
        "GET / ",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "/ HTTP/1.1",
        "GET / / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET /\u{b}HTTP/1.1",
        "GET /\0HTTP/1.1",
    ]
    .map(|it| bad(line(it), RequestLine))
    .into();
    cases.extend([
        bad(line(" / HTTP/1.1"), Method),
        bad(line("G(T / HTTP/1.1"), Method),
        bad(line("GET: / HTTP/1.1"), Method),
        bad(line("\"GET\" / HTTP/1.1"), Method),
        bad(line("G\u{e9}T / HTTP/1.1"), Method),
        bad(line("GE\0T / HTTP/1.1"), Method),
        bad(line("GE\rT / HTTP/1.1"), Method),
        bad(line("GET /\0 HTTP/1.1"), TargetCharacter),
        bad(line("GET /a\tb HTTP/1.1"), TargetCharacter),
        bad(line("GET /a\u{b}b HTTP/1.1"), TargetCharacter),
        bad(line("GET /a\rb HTTP/1.1"), TargetCharacter),
        // Methods are tokens, in the case they are written in (RFC 9110 section 9.1).
        passes(line("get / HTTP/1.1"), "get / HTTP/1.1\nhost: h"),
        passes(line("M-SEARCH / HTTP/1.1"), "M-SEARCH / HTTP/1.1\nhost: h"),
        passes(line("!#$%&'*+-.^_`|~ / HTTP/1.1"), "!#$%&'*+-.^_`|~ / HTTP/1.1\nhost: h"),
    ]);
    cases
}

pub(super) fn cases() -> Vec<Case> {
    [ends(), folds(), request_lines()].concat()
}

#[tokio::test]
async fn a_line_ends_in_one_way_and_a_request_line_has_three_parts() {
    play(&cases()).await;
}
