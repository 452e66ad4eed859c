//! Answer heads from upstreams, as strict as requests: what is ambiguous ends the connection.

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use memchr::memchr;

use super::fields::{self, Keep};
use super::request::{coding, connection, number};
use super::scan::Scan;
use super::{Framing, Malformed};

/// A larger head is refused, as most servers would not send one.
const HEAD_BYTES: usize = 64 << 10;
/// More fields are refused; Tomcat, nginx and Go send at most about a hundred.
const FIELDS: usize = 256;

/// An answer's head, read.
#[derive(Debug)]
pub struct Head {
    /// Status, version, fields; not those that only say how the body ends or whether the connection does.
    pub parts: Parts,
    /// How its body ends.
    pub framing: Framing,
    /// The length it declares, which an answer to HEAD and a 304 do without sending a body.
    pub declared: Option<u64>,
    /// Whether the upstream lets the connection be used again.
    pub keep_alive: bool,
}

/// Takes one head from the start of `buffer`, once it is all there. `map` is an empty map to fill.
pub fn take(
    buffer: &mut BytesMut,
    scan: &mut Scan,
    method: &Method,
    map: &mut HeaderMap,
) -> Result<Option<Head>, Malformed> {
    let Some(end) = scan.end(&buffer[..buffer.len().min(HEAD_BYTES)])? else {
        return if buffer.len() > HEAD_BYTES { Err(Malformed::HeadTooLarge) } else { Ok(None) };
    };
    let head = buffer.split_to(end).freeze();
    read(&head, method, map).map(Some)
}

fn read(head: &Bytes, method: &Method, map: &mut HeaderMap) -> Result<Head, Malformed> {
    let line_end = memchr(b'\n', head).ok_or(Malformed::StatusLine)?;
    let (version, status) = status_line(&head[..line_end - 1])?;
    let mut seen = Seen::default();
    fields::read(head, line_end + 1, FIELDS, map, |name, value| seen.note(name, value))?;
    let framing = seen.framing(method, status, version)?;
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.version = version;
    parts.headers = std::mem::take(map);
    // A 204 has no body (RFC 9112 section 6.3); one that was announced may still come, and be taken for an answer.
    let haunted = status == StatusCode::NO_CONTENT && (seen.chunked || seen.length > Some(0));
    let keep_alive =
        version == Version::HTTP_11 && !seen.close && framing != Framing::Close && !haunted;
    Ok(Head { parts, framing, declared: seen.length, keep_alive })
}

fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Malformed> {
    let (version, rest) = match (line.strip_prefix(b"HTTP/1.1 "), line.strip_prefix(b"HTTP/1.0 ")) {
        (Some(rest), _) => (Version::HTTP_11, rest),
        (_, Some(rest)) => (Version::HTTP_10, rest),
        (None, None) => return Err(Malformed::StatusLine),
    };
    // The reason may be missing, with or without the space before it, as many servers send.
    let (code, after) = rest.split_at_checked(3).ok_or(Malformed::StatusLine)?;
    let reason = match after {
        [] => after,
        [b' ', reason @ ..] => reason,
        _ => return Err(Malformed::StatusLine),
    };
    if reason.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return Err(Malformed::StatusLine);
    }
    match StatusCode::from_bytes(code) {
        Ok(status) if (100..600).contains(&status.as_u16()) => Ok((version, status)),
        Ok(_) | Err(_) => Err(Malformed::StatusLine),
    }
}

/// What the fields say about the message itself.
#[derive(Debug, Default)]
struct Seen {
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Seen {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<Keep, Malformed> {
        if *name == CONTENT_LENGTH {
            let length = number(value.as_bytes())?;
            // Repeating the same number is harmless where nothing else is routed by it.
            if self.length.replace(length).is_some_and(|before| before != length) {
                return Err(Malformed::RepeatedLength);
            }
            return Ok(Keep::No);
        } else if *name == TRANSFER_ENCODING {
            self.chunked = coding(self.chunked, value)?;
            return Ok(Keep::No);
        } else if *name == CONNECTION {
            let said = connection(value);
            self.close |= said.0;
            // Usually it names no other field.
            if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value == "close" {
                return Ok(Keep::No);
            }
        }
        Ok(Keep::Yes)
    }

    fn framing(
        &self,
        method: &Method,
        status: StatusCode,
        version: Version,
    ) -> Result<Framing, Malformed> {
        if self.chunked && version != Version::HTTP_11 {
            return Err(Malformed::CodingInOldVersion);
        }
        if self.chunked && self.length.is_some() {
            return Err(Malformed::LengthAndCoding);
        }
        let bodiless = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || method == Method::HEAD;
        Ok(match (bodiless, self.chunked, self.length) {
            (true, _, _) => Framing::None,
            (false, true, _) => Framing::Chunked,
            (false, false, Some(length)) => Framing::Length(length),
            (false, false, None) => Framing::Close,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, wire: &str) -> Result<Head, Malformed> {
        let mut buffer = BytesMut::from(wire.as_bytes());
        take(&mut buffer, &mut Scan::default(), method, &mut HeaderMap::new()).map(Option::unwrap)
    }

    #[test]
    fn decides_framing_by_method_status_and_fields() {
        for (method, wire, framing, keep_alive) in [
            (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), true),
            (
                Method::GET,
                "HTTP/1.1 200\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
            (
                Method::GET,
                "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n",
                Framing::Chunked,
                true,
            ),
            (Method::GET, "HTTP/1.1 200 OK\r\n\r\n", Framing::Close, false),
            (
                Method::GET,
                "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
                Framing::Length(5),
                false,
            ),
            (
                Method::GET,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
                Framing::Length(5),
                false,
            ),
            (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::None, true),
            (
                Method::GET,
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
                Framing::None,
                true,
            ),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", Framing::None, true),
            (
                Method::GET,
                "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
                Framing::None,
                true,
            ),
            (
                Method::GET,
                "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
                Framing::None,
                false,
            ),
            (
                Method::GET,
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
                Framing::None,
                false,
            ),
            (Method::GET, "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", Framing::None, true),
        ] {
            let head = parse(&method, wire).unwrap();
            assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{wire}");
        }
        let head = parse(&Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap();
        assert_eq!(head.declared, Some(5));
    }

    #[test]
    fn refuses_answers_that_could_be_read_two_ways() {
        for (wire, rule) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
                Malformed::RepeatedLength,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
                Malformed::LengthAndCoding,
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Malformed::Coding),
            (
                "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                Malformed::CodingInOldVersion,
            ),
            ("HTTP/1.1 099 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 600 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/2 200 OK\r\n\r\n", Malformed::StatusLine),
            ("ICY 200 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 200 OK\r\n folded: a\r\n\r\n", Malformed::ObsFold),
        ] {
            assert_eq!(parse(&Method::GET, wire).unwrap_err(), rule, "{wire}");
        }
    }
}
