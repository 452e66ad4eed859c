//! The writer: what it says about length never depends on what a peer wrote.

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version};
use http_body::Frame;

use super::Link;
use crate::wire::Body;

/// How the end of a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No body, and nothing said about one.
    None,
    /// So many bytes; said even where none follow (an answer to HEAD).
    Length(u64),
    /// Chunks.
    Chunked,
    /// By closing; to an HTTP/1.0 client only.
    Close,
}

impl Ending {
    /// For a request's body of this length, if it is known.
    pub fn of_request(method: &Method, length: Option<u64>) -> Self {
        match length {
            None => Self::Chunked,
            // A method whose meaning includes a body says that there is none (RFC 9110 section 8.6).
            Some(0) if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
                Self::Length(0)
            }
            Some(0) => Self::None,
            Some(length) => Self::Length(length),
        }
    }

    /// For an answer's body.
    pub fn of_response(method: &Method, version: Version, status: StatusCode, body: &Body) -> Self {
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        match body {
            _ if bodiless => Self::None,
            Body::Empty if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED => {
                Self::None
            }
            Body::Empty
            | Body::Declared(_)
            | Body::Full(_)
            | Body::Request(_)
            | Body::Response(_)
            | Body::Switched(_) => match body.remaining() {
                Some(length) => Self::Length(length),
                None if version == Version::HTTP_11 => Self::Chunked,
                None => Self::Close,
            },
        }
    }
}

/// Most heads take less. A new connection makes room once instead of several times.
const HEAD_ROOM: usize = 512;

/// Writes a request's head: Host first, then the fields, then how its body ends.
pub fn request(out: &mut Vec<u8>, method: &Method, uri: &Uri, headers: &HeaderMap, ending: Ending) {
    out.reserve(HEAD_ROOM);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    put(out, &[method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nhost: "]);
    put(out, &[headers.get(HOST).map_or(b"".as_slice(), HeaderValue::as_bytes), b"\r\n"]);
    for (name, value) in headers {
        if *name != HOST {
            field(out, name, value);
        }
    }
    end(out, ending);
}

/// Writes an interim answer's head, which is all there is of it.
pub fn interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    response(out, status, headers, Ending::None, Persistence::Keep);
}

/// How an answer leaves the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// HTTP/1.1 keeps it without a word.
    Keep,
    /// An HTTP/1.0 client must be told.
    KeepAlive,
    /// It ends after this answer.
    Close,
}

impl Persistence {
    /// By the request's version and whether the connection goes on.
    pub fn of(version: Version, keep_alive: bool) -> Self {
        match (keep_alive, version == Version::HTTP_10) {
            (false, _) => Self::Close,
            (true, true) => Self::KeepAlive,
            (true, false) => Self::Keep,
        }
    }
}

/// Writes an answer's head.
pub fn response(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    ending: Ending,
    persistence: Persistence,
) {
    out.reserve(HEAD_ROOM);
    let reason = status.canonical_reason().unwrap_or_default();
    put(out, &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in headers {
        field(out, name, value);
    }
    match persistence {
        Persistence::Keep => {}
        Persistence::KeepAlive => put(out, &[b"connection: keep-alive\r\n"]),
        Persistence::Close => put(out, &[b"connection: close\r\n"]),
    }
    end(out, ending);
}

/// Queues a part of a body; `last` says that nothing comes after it.
pub fn frame(link: &mut Link, frame: Frame<Bytes>, ending: Ending, last: bool) {
    match (frame.into_data(), ending) {
        (Ok(data), Ending::Chunked) => {
            put(&mut link.out, &[hex(data.len(), &mut [0; 16]), b"\r\n"]);
            link.queue(data, if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
        }
        (Ok(data), _) => link.queue(data, b""),
        (Err(frame), Ending::Chunked) => {
            put(&mut link.out, &[b"0\r\n"]);
            for (name, value) in frame.trailers_ref().into_iter().flatten() {
                field(&mut link.out, name, value);
            }
            put(&mut link.out, &[b"\r\n"]);
        }
        // Trailers have no place in any other framing; dropping them is allowed (RFC 9110 section 6.5.2).
        (Err(_), _) => {}
    }
}

/// Queues the end of a body whose last part was not known to be the last.
pub fn end_of_body(link: &mut Link, ending: Ending) {
    if ending == Ending::Chunked {
        put(&mut link.out, &[b"0\r\n\r\n"]);
    }
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
}

fn end(out: &mut Vec<u8>, ending: Ending) {
    match ending {
        Ending::None | Ending::Close => put(out, &[b"\r\n"]),
        Ending::Length(length) => {
            put(out, &[b"content-length: ", decimal(length, &mut [0; 20]), b"\r\n\r\n"]);
        }
        Ending::Chunked => put(out, &[b"transfer-encoding: chunked\r\n\r\n"]),
    }
}

/// One reservation for several pieces.
fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.reserve(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

fn hex(mut number: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[number & 15];
        number >>= 4;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_the_standard_library_does() {
        for number in [0, 1, 9, 10, 255, 4096, 65_535, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
            let number = number as usize;
            assert_eq!(hex(number, &mut [0; 16]), format!("{number:x}").as_bytes());
        }
    }

    #[test]
    fn a_head_says_its_own_framing_and_host_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("1"));
        headers.insert(HOST, HeaderValue::from_static("h"));
        let mut out = Vec::new();
        let ending = Ending::of_request(&Method::POST, Some(0));
        request(&mut out, &Method::POST, &Uri::from_static("/a?b"), &headers, ending);
        assert_eq!(out, b"POST /a?b HTTP/1.1\r\nhost: h\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn answers_say_a_length_where_one_is_known() {
        let of = |method, version, status, body: &Body| {
            Ending::of_response(&method, version, status, body)
        };
        let full = Body::Full(Bytes::from_static(b"abc"));
        let (v11, ok) = (Version::HTTP_11, StatusCode::OK);
        assert_eq!(of(Method::GET, v11, ok, &full), Ending::Length(3));
        assert_eq!(of(Method::GET, v11, ok, &Body::Empty), Ending::Length(0));
        assert_eq!(of(Method::HEAD, v11, ok, &Body::Declared(9)), Ending::Length(9));
        assert_eq!(of(Method::HEAD, v11, ok, &Body::Empty), Ending::None);
        assert_eq!(of(Method::GET, v11, StatusCode::NOT_MODIFIED, &Body::Empty), Ending::None);
        assert_eq!(of(Method::GET, v11, StatusCode::NO_CONTENT, &Body::Empty), Ending::None);
    }
}
