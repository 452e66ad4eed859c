use super::*;

const BOUNDS: Bounds = Bounds { head: 4096, target: 256, fields: 20 };

fn parse(wire: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut buffer = BytesMut::from(wire);
    take(&mut buffer, &mut Scan::default(), &BOUNDS, &mut HeaderMap::new())
}

/// The head of a GET with these lines, each without its CRLF.
fn get(lines: &[&str]) -> Result<Head, Malformed> {
    let wire = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        lines.iter().map(|l| format!("{l}\r\n")).collect::<String>()
    );
    parse(wire.as_bytes()).map(Option::unwrap)
}

#[test]
fn reads_a_whole_head_and_leaves_the_rest() {
    let mut buffer = BytesMut::from(
        &b"POST /a?b HTTP/1.1\r\nHost: x:1\r\nX-A:  b c \r\nContent-Length: 3\r\n\r\nabcGET"[..],
    );
    let head =
        take(&mut buffer, &mut Scan::default(), &BOUNDS, &mut HeaderMap::new()).unwrap().unwrap();
    assert_eq!(head.parts.method, Method::POST);
    assert_eq!(head.parts.uri, "/a?b");
    assert_eq!(head.parts.headers["x-a"], "b c");
    assert_eq!(head.framing, Framing::Length(3));
    assert!(head.keep_alive);
    assert_eq!(&buffer[..], b"abcGET");
}

#[test]
fn decides_framing_only_where_it_is_certain() {
    for (lines, framing) in [
        (&["host: a"][..], Ok(Framing::None)),
        (&["host: a", "content-length: 0"], Ok(Framing::Length(0))),
        (&["host: a", "transfer-encoding: chunked"], Ok(Framing::Chunked)),
        (&["host: a", "transfer-encoding: Chunked"], Ok(Framing::Chunked)),
        (
            &["host: a", "content-length: 3", "transfer-encoding: chunked"],
            Err(Malformed::LengthAndCoding),
        ),
        (
            &["host: a", "transfer-encoding: chunked", "transfer-encoding: chunked"],
            Err(Malformed::Coding),
        ),
        (&["host: a", "transfer-encoding: chunked, chunked"], Err(Malformed::Coding)),
        (&["host: a", "transfer-encoding: gzip, chunked"], Err(Malformed::Coding)),
        (&["host: a", "transfer-encoding: identity"], Err(Malformed::Coding)),
        (&["host: a", "transfer-encoding:"], Err(Malformed::Coding)),
        (&["host: a", "transfer-encoding: \x0bchunked"], Err(Malformed::FieldValue)),
        (&["host: a", "content-length: 3", "content-length: 3"], Err(Malformed::RepeatedLength)),
        (&["host: a", "content-length: 3, 3"], Err(Malformed::Length)),
        (&["host: a", "content-length: +3"], Err(Malformed::Length)),
        (&["host: a", "content-length: 3 3"], Err(Malformed::Length)),
        (&["host: a", "content-length: 0x3"], Err(Malformed::Length)),
        (&["host: a", "content-length:"], Err(Malformed::Length)),
        (&["host: a", "content-length: 99999999999999999999"], Err(Malformed::Length)),
    ] {
        assert_eq!(get(lines).map(|head| head.framing), framing, "{lines:?}");
    }
    let old = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(parse(old).unwrap_err(), Malformed::CodingInOldVersion);
}

#[test]
fn refuses_heads_that_could_be_read_two_ways() {
    for (lines, rule) in [
        (&[][..], Malformed::NoHost),
        (&["host: a", "host: a"], Malformed::TwoHosts),
        (&["host: a b"], Malformed::Host),
        (&["host: a", " folded"], Malformed::ObsFold),
        (&["host: a", "x-a : b"], Malformed::SpaceBeforeColon),
        (&["host: a", "x a: b"], Malformed::FieldName),
        (&["host: a", ": b"], Malformed::FieldName),
        (&["host: a", "nocolon"], Malformed::NoColon),
        (&["host: a", "x-a: b\0c"], Malformed::FieldValue),
        (&["host: a", "x-a: b\rc"], Malformed::FieldValue),
        (&["host: a", "expect: 200-ok"], Malformed::Expectation),
    ] {
        assert_eq!(get(lines).unwrap_err(), rule, "{lines:?}");
    }
    for (line, rule) in [
        ("GET  / HTTP/1.1", Malformed::RequestLine),
        ("GET / HTTP/1.1 ", Malformed::RequestLine),
        ("GET /", Malformed::RequestLine),
        ("GET / http/1.1", Malformed::RequestLine),
        ("GET / HTTP/1.2", Malformed::Version),
        ("PRI * HTTP/2.0", Malformed::Version),
        ("G(T / HTTP/1.1", Malformed::Method),
        ("CONNECT a:1 HTTP/1.1", Malformed::Connect),
        (" GET / HTTP/1.1", Malformed::RequestLine),
    ] {
        let wire = format!("{line}\r\nhost: a\r\n\r\n");
        assert_eq!(parse(wire.as_bytes()).unwrap_err(), rule, "{line}");
    }
}

#[test]
fn says_that_a_handshake_is_no_request() {
    assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01").unwrap_err(), Malformed::Tls);
}

#[test]
fn a_first_line_that_begins_no_request_is_refused_before_its_head_is_complete() {
    for (wire, rule) in [
        ("GET /\r\n", Malformed::RequestLine),
        ("SSH-2.0-OpenSSH_9.2\r\n", Malformed::RequestLine),
        ("GET / HTTP/2.0\r\nhost", Malformed::Version),
    ] {
        assert_eq!(parse(wire.as_bytes()).unwrap_err(), rule, "{wire}");
    }
    for wire in ["GET /", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\n", "GET / HTTP/1.0\r\nhost"] {
        assert!(parse(wire.as_bytes()).unwrap().is_none(), "{wire}");
    }
}

#[test]
fn holds_every_bound_exactly_and_before_the_head_is_complete() {
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "t".repeat(n - 1));
    assert!(parse(target(256).as_bytes()).is_ok());
    assert_eq!(parse(target(257).as_bytes()).unwrap_err(), Malformed::TargetTooLong);
    let endless = format!("GET /{}", "t".repeat(400));
    assert_eq!(parse(endless.as_bytes()).unwrap_err(), Malformed::TargetTooLong);
    let head = |n: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "v".repeat(n - 32));
    assert_eq!(head(4096).len(), 4096);
    assert!(parse(head(4096).as_bytes()).is_ok());
    assert_eq!(parse(head(4097).as_bytes()).unwrap_err(), Malformed::HeadTooLarge);
    assert_eq!(parse(&head(5000).as_bytes()[..4500]).unwrap_err(), Malformed::HeadTooLarge);
    let fields =
        |n: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(n - 1));
    assert!(parse(fields(20).as_bytes()).is_ok());
    assert_eq!(parse(fields(21).as_bytes()).unwrap_err(), Malformed::TooManyFields);
}

#[test]
fn knows_when_a_connection_may_be_used_again() {
    for (wire, keep_alive) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: foo, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n", false),
    ] {
        assert_eq!(parse(wire.as_bytes()).unwrap().unwrap().keep_alive, keep_alive, "{wire}");
    }
}

#[test]
fn an_absolute_target_replaces_the_host() {
    let head = parse(b"GET http://real/x HTTP/1.1\r\nhost: forged\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.parts.headers["host"], "real");
    assert_eq!(head.parts.uri, "/x");
}

#[test]
fn what_is_wrong_does_not_depend_on_how_the_bytes_arrive() {
    let read = |wire: &[u8], step: usize| {
        let (mut buffer, mut scan, mut map) = (BytesMut::new(), Scan::default(), HeaderMap::new());
        for piece in wire.chunks(step) {
            buffer.extend_from_slice(piece);
            if let Some(head) = take(&mut buffer, &mut scan, &BOUNDS, &mut map)? {
                return Ok(Some(head.framing));
            }
        }
        Ok(None)
    };
    let lines = "host: a\r\n".repeat(500);
    for (wire, rule) in [
        // Broken beyond the bound on heads, and in a line that is too long.
        (format!("GET / HTTP/1.1\r\n{lines}\n"), Malformed::HeadTooLarge),
        (format!("GET /{} HTTP/1.1\n", "t".repeat(4000)), Malformed::TargetTooLong),
        (format!("GET /{} HTTP/1.2\r\n\r\n", "t".repeat(400)), Malformed::TargetTooLong),
        (format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", "M".repeat(400)), Malformed::TargetTooLong),
        (format!("GET /{} HTTP/1.1\n{lines}", "t".repeat(100)), Malformed::BareLf),
        // Broken in the first line and in a later one, and only in the later one.
        ("abc\r\nno end of a line, only\n".to_owned(), Malformed::RequestLine),
        ("GET / HTTP/1.1\r\nno end of a line, only\n".to_owned(), Malformed::BareLf),
    ] {
        for step in [1, 7, wire.len()] {
            assert_eq!(read(wire.as_bytes(), step), Err(rule), "{step}: {}", &wire[..25]);
        }
    }
}
