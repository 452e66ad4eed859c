//! Several requests at once, and bodies that look like requests: where one ends, the next begins, for all alike.

use frontgate::wire::h1::Malformed::{
    BareLf, BlankLine, ChunkEnd, Coding, FieldName, Length, LengthAndCoding, Method, NoHost,
    RequestLine, TargetCharacter, Version,
};

use super::{Case, bad, broken, passes, play, refused};

const FIRST: &str = "GET /1 HTTP/1.1\r\nhost: h\r\n\r\n";
const POST: &str = "POST /1 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc";
const THIRD: &str = "GET /3 HTTP/1.1\r\nhost: h\r\n\r\n";
const FIRST_SEEN: &str = "GET /1 HTTP/1.1\nhost: h";
const POST_SEEN: &str = "POST /1 HTTP/1.1\nhost: h\ncontent-length: 3\n\nabc";

/// A bad request behind a good one: the first is answered, the second refused, the third never read.
fn bad_second() -> Vec<Case> {
    let second = |head: &str| format!("{FIRST}{head}{THIRD}");
    vec![
        bad(second("GET /a\\b HTTP/1.1\r\nhost: h\r\n\r\n"), TargetCharacter).after(FIRST_SEEN),
        bad(second("GET /2 HTTP/1.1\r\n\r\n"), NoHost).after(FIRST_SEEN),
        bad(second("GET /2\r\n\r\n"), RequestLine).after(FIRST_SEEN),
        bad(second("\r\n"), BlankLine).after(FIRST_SEEN),
        bad(second("\n"), BareLf).after(FIRST_SEEN),
        bad(second("\0"), Method).after(FIRST_SEEN),
        refused(second("GET /2 HTTP/2.0\r\n\r\n"), 505, "version", Version).after(FIRST_SEEN),
        bad(
            second("POST /2 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"),
            LengthAndCoding,
        )
        .after(FIRST_SEEN),
        bad(second("POST /2 HTTP/1.1\r\nhost: h\r\ncontent-length: 3, 3\r\n\r\nabc"), Length)
            .after(FIRST_SEEN),
        bad(second("POST /2 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: cow\r\n\r\nabc"), Coding)
            .after(FIRST_SEEN),
        broken(
            second("POST /2 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
            ChunkEnd,
        )
        .after(FIRST_SEEN),
        bad(format!("{FIRST}{POST}GET /3 HTTP/1.1\r\nhost: h\r\nx(: 1\r\n\r\n"), FieldName)
            .after(POST_SEEN)
            .after(FIRST_SEEN),
    ]
}

/// More or less than a head said: the rest is the next request, and has to be a good one.
fn rests() -> Vec<Case> {
    let chunked = "POST /1 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let chunked_seen = "POST /1 HTTP/1.1\nhost: h\ntransfer-encoding: chunked";
    let third_seen = "GET /3 HTTP/1.1\nhost: h";
    vec![
        passes(format!("{FIRST}{THIRD}"), third_seen).after(FIRST_SEEN),
        passes(format!("{POST}{THIRD}"), third_seen).after(POST_SEEN),
        passes(format!("{chunked}{THIRD}"), third_seen).after(chunked_seen),
        passes(format!("{POST}{chunked}{THIRD}"), third_seen).after(chunked_seen).after(POST_SEEN),
        // A length that is not said is none (RFC 9112 section 6.3).
        passes(format!("POST /1 HTTP/1.1\r\nhost: h\r\n\r\n{THIRD}"), third_seen)
            .after("POST /1 HTTP/1.1\nhost: h\ncontent-length: 0"),
        bad("POST /1 HTTP/1.1\r\nhost: h\r\n\r\na=b\r\n", RequestLine)
            .after("POST /1 HTTP/1.1\nhost: h\ncontent-length: 0"),
        bad(format!("{POST}d{FIRST}").replace("dGET", "d GET"), RequestLine).after(POST_SEEN),
        bad(format!("{POST}\r\n{THIRD}"), BlankLine).after(POST_SEEN),
        bad(format!("{chunked}\r\n{THIRD}"), BlankLine).after(chunked_seen),
        // What a client sends behind its last request is nothing.
        passes(
            format!("GET /1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n{THIRD}"),
            FIRST_SEEN,
        )
        .closing(),
        passes(format!("GET /1 HTTP/1.0\r\nhost: h\r\n\r\n{THIRD}"), FIRST_SEEN).closing(),
        passes(
            format!("GET /1 HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{THIRD}", THIRD.len()),
            format!("GET /1 HTTP/1.1\nhost: h\ncontent-length: {}\n\n{THIRD}", THIRD.len()),
        ),
        passes(
            format!(
                "PUT /1 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{:x};x={}\r\n{THIRD}\r\n0\r\n\r\n",
                THIRD.len(),
                "GET /2 HTTP/1.1"
            ),
            format!("PUT /1 HTTP/1.1\nhost: h\ntransfer-encoding: chunked\n\n{THIRD}"),
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [bad_second(), rests()].concat()
}

#[tokio::test]
async fn what_is_good_before_a_bad_request_is_answered_and_nothing_after_it_is_read() {
    play(&cases()).await;
}
