//! Request heads: bytes in, parts and one framing out, or the rule that was broken.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use memchr::memchr;

use super::fields::{self, Keep};
use super::scan::Scan;
use super::{Framing, Malformed, target};
use crate::wire::list::members;

/// The first byte of every TLS connection (RFC 8446 section 5.1), and of no method.
const HANDSHAKE: u8 = 0x16;

/// What a head may hold. Sizes are bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The whole head.
    pub head: usize,
    /// Its target.
    pub target: usize,
    /// Its fields.
    pub fields: usize,
}

/// A request's head, read.
#[derive(Debug)]
pub struct Head {
    /// Method, target in origin form, version, fields.
    pub parts: Parts,
    /// How its body ends.
    pub framing: Framing,
    /// Whether the client lets the connection be used again.
    pub keep_alive: bool,
    /// Whether the client waits for 100 before its body.
    pub expects_continue: bool,
}

/// Takes one head from the start of `buffer`, once it is all there. `map` is an empty map to fill. One that breaks a rule
/// stays in the buffer.
pub fn take(
    buffer: &mut BytesMut,
    scan: &mut Scan,
    bounds: &Bounds,
    map: &mut HeaderMap,
) -> Result<Option<Head>, Malformed> {
    if buffer.first() == Some(&HANDSHAKE) {
        return Err(Malformed::Tls);
    }
    // What stands beyond the bound is not looked at: what is wrong must not depend on how the bytes arrive.
    let within = &buffer[..buffer.len().min(bounds.head)];
    if !target_fits(within, bounds) {
        return Err(Malformed::TargetTooLong);
    }
    let before = scan.has_first_line();
    let end = scan.end(within);
    if !before && scan.has_first_line() {
        first_line(within)?;
    }
    let Some(end) = end? else {
        return if buffer.len() > bounds.head { Err(Malformed::HeadTooLarge) } else { Ok(None) };
    };
    let head = buffer.split_to(end).freeze();
    read(&head, bounds, map).map(Some).inspect_err(|_| {
        let behind = buffer.split();
        buffer.extend_from_slice(&head);
        buffer.unsplit(behind);
    })
}

/// The method of a request whose head is not complete or breaks a rule, if that much of it is there.
pub fn method(buffer: &[u8]) -> Option<Method> {
    let end = memchr(b' ', &buffer[..buffer.len().min(METHOD + 1)])?;
    Method::from_bytes(&buffer[..end]).ok()
}

/// A method longer than this is no method, and would otherwise hide the target's length.
const METHOD: usize = 64;

/// Refuses a first line that begins no request at once: HTTP/0.9 and other protocols have no head to wait for.
fn first_line(buffer: &[u8]) -> Result<(), Malformed> {
    let line = &buffer[..memchr(b'\n', buffer).unwrap_or(buffer.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    split(line).map(|_| ())
}

/// Whether the target, as far as it came, is within its bound.
fn target_fits(buffer: &[u8], bounds: &Bounds) -> bool {
    let most = METHOD + bounds.target + b" HTTP/1.1\r\n".len();
    buffer.len() <= most || memchr(b'\n', &buffer[..=most]).is_some()
}

fn read(head: &Bytes, bounds: &Bounds, map: &mut HeaderMap) -> Result<Head, Malformed> {
    let line_end = memchr(b'\n', head).ok_or(Malformed::RequestLine)?;
    let line = head.slice(..line_end - 1);
    let (method, target, version) = request_line(&line)?;
    if target.len() > bounds.target {
        return Err(Malformed::TargetTooLong);
    }
    let mut seen = Seen::default();
    let read = fields::read(head, line_end + 1, bounds.fields, map, |n, v| seen.note(n, v));
    if method == Method::CONNECT {
        return Err(Malformed::Connect);
    }
    read?;
    let (uri, authority) = target::read(&method, &target)?;
    if seen.hosts == 0 && version == Version::HTTP_11 {
        return Err(Malformed::NoHost);
    }
    if let Some(authority) = authority {
        let host = HeaderValue::from_maybe_shared(authority).map_err(|_| Malformed::Host)?;
        map.insert(HOST, host);
    }
    let framing = seen.framing(version)?;
    let keep_alive = !seen.close && (version == Version::HTTP_11 || seen.keep_alive);
    // HTTP/1.0 has no interim answers (RFC 9110 section 10.1.1).
    let expects_continue = seen.expects
        && version == Version::HTTP_11
        && !matches!(framing, Framing::None | Framing::Length(0));
    if seen.expects && !expects_continue {
        // It means nothing here, and must not make the upstream wait or speak.
        map.remove(EXPECT);
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri;
    parts.version = version;
    parts.headers = std::mem::take(map);
    Ok(Head { parts, framing, keep_alive, expects_continue })
}

fn request_line(line: &Bytes) -> Result<(Method, Bytes, Version), Malformed> {
    let (method, target, version) = split(line)?;
    let method = Method::from_bytes(&line[..method]).map_err(|_| Malformed::Method)?;
    Ok((method, line.slice(target), version))
}

/// Where the method ends, where the target stands, and the version.
fn split(line: &[u8]) -> Result<(usize, Range<usize>, Version), Malformed> {
    let first = memchr(b' ', line).ok_or(Malformed::RequestLine)?;
    let second = memchr(b' ', &line[first + 1..]).ok_or(Malformed::RequestLine)? + first + 1;
    let version = match &line[second + 1..] {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Malformed::Version);
        }
        _ => return Err(Malformed::RequestLine),
    };
    Ok((first, first + 1..second, version))
}

/// What the fields say about the message itself.
#[derive(Debug, Default)]
struct Seen {
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
}

impl Seen {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<Keep, Malformed> {
        if *name == HOST {
            self.hosts += 1;
            if self.hosts > 1 {
                return Err(Malformed::TwoHosts);
            }
            target::host(value.as_bytes())?;
            return Ok(Keep::Yes);
        }
        if *name == CONTENT_LENGTH {
            let length = number(value.as_bytes())?;
            if self.length.replace(length).is_some() {
                return Err(Malformed::RepeatedLength);
            }
        } else if *name == TRANSFER_ENCODING {
            self.chunked = coding(self.chunked, value)?;
        } else if *name == CONNECTION {
            let (close, keep_alive) = connection(value);
            self.close |= close;
            self.keep_alive |= keep_alive;
        } else if *name == EXPECT {
            if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                return Err(Malformed::Expectation);
            }
            self.expects = true;
        }
        Ok(Keep::Yes)
    }

    fn framing(&self, version: Version) -> Result<Framing, Malformed> {
        match (self.chunked, self.length) {
            (true, _) if version != Version::HTTP_11 => Err(Malformed::CodingInOldVersion),
            (true, Some(_)) => Err(Malformed::LengthAndCoding),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::None),
        }
    }
}

/// A content-length: digits and nothing else, as much as 64 bits hold.
pub(super) fn number(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Length);
    }
    Ok(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A transfer-encoding: one `chunked` and nothing else.
pub(super) fn coding(seen: bool, value: &HeaderValue) -> Result<bool, Malformed> {
    if seen || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Malformed::Coding);
    }
    Ok(true)
}

/// Whether a Connection field asks to close, and whether to keep alive.
pub(super) fn connection(value: &HeaderValue) -> (bool, bool) {
    members(value).fold((false, false), |(close, keep_alive), option| {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        (close | is(b"close"), keep_alive | is(b"keep-alive"))
    })
}

#[cfg(test)]
mod tests;
