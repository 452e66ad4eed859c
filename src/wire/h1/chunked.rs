//! The chunked coding, read strictly (RFC 9112 section 7.1).

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, header};
use memchr::memchr;

use super::Malformed;
use super::fields::{self, Keep};
use super::framing::Taken;
use super::scan::Scan;

/// A longer extension is refused: nothing uses them, and they cost as much as data without being counted as such.
const EXTENSION_BYTES: usize = 256;
/// Sixteen hexadecimal digits are all that 64 bits hold.
const SIZE_DIGITS: usize = 16;
/// As many trailers as a request may have headers by default.
const TRAILERS: usize = 100;
/// The end of a chunk followed by the end of a body without trailers.
const LAST: &[u8] = b"\r\n0\r\n\r\n";

/// Where in a chunked body the reader stands.
#[derive(Debug)]
pub struct Chunks {
    at: At,
    trailer_bytes: usize,
}

#[derive(Debug)]
enum At {
    Size,
    Data(u64),
    DataEnd,
    Trailers(Scan),
    Over,
}

impl Chunks {
    /// At the start of a body.
    pub fn new(trailer_bytes: usize) -> Self {
        Self { at: At::Size, trailer_bytes }
    }

    /// Whether the last chunk and the end of the trailers were taken.
    pub fn is_over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    /// Takes what there is. Extensions are dropped.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Taken, Malformed> {
        loop {
            match &mut self.at {
                At::Size => match size(buffer)? {
                    None => return Ok(Taken::More),
                    Some(0) => self.at = At::Trailers(Scan::default()),
                    Some(size) => self.at = At::Data(size),
                },
                At::Data(missing) => {
                    if buffer.is_empty() {
                        return Ok(Taken::More);
                    }
                    let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(buffer.len());
                    *missing -= here as u64;
                    let data = buffer.split_to(here).freeze();
                    if *missing == 0 {
                        self.at = At::DataEnd;
                        // Seen at once, the end can leave in the same write as the last data.
                        if buffer.starts_with(LAST) {
                            buffer.advance(LAST.len());
                            self.at = At::Over;
                        }
                    }
                    return Ok(Taken::Data(data));
                }
                At::DataEnd => {
                    if !b"\r\n".starts_with(&buffer[..buffer.len().min(2)]) {
                        return Err(Malformed::ChunkEnd);
                    }
                    if buffer.len() < 2 {
                        return Ok(Taken::More);
                    }
                    buffer.advance(2);
                    self.at = At::Size;
                }
                At::Trailers(scan) => {
                    let taken = trailers(scan, buffer, self.trailer_bytes)?;
                    if !matches!(taken, Taken::More) {
                        self.at = At::Over;
                    }
                    return Ok(taken);
                }
                At::Over => return Ok(Taken::End),
            }
        }
    }
}

/// Takes the line with a chunk's size.
fn size(buffer: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let longest = SIZE_DIGITS + EXTENSION_BYTES + 2;
    let Some(end) = memchr(b'\n', &buffer[..buffer.len().min(longest + 1)]) else {
        // What is wrong already need not wait for its line to end.
        let digits = buffer.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let odd = buffer.get(digits).is_some_and(|b| !matches!(b, b';' | b'\r'));
        return match (digits > SIZE_DIGITS || odd, buffer.len() > longest) {
            (true, _) => Err(Malformed::ChunkSize),
            (false, true) => Err(Malformed::ChunkExtension),
            (false, false) => Ok(None),
        };
    };
    let Some(line) = buffer[..end].strip_suffix(b"\r") else {
        return Err(Malformed::ChunkSize);
    };
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (number, extension) = line.split_at(digits);
    if digits == 0 || digits > SIZE_DIGITS {
        return Err(Malformed::ChunkSize);
    }
    match extension.first() {
        None => {}
        Some(b';') if extension.len() <= EXTENSION_BYTES && !extension.iter().any(control) => {}
        Some(b';') => return Err(Malformed::ChunkExtension),
        Some(_) => return Err(Malformed::ChunkSize),
    }
    let size = number.iter().fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    buffer.advance(end + 1);
    Ok(Some(size))
}

fn control(byte: &u8) -> bool {
    (*byte < b' ' && *byte != b'\t') || *byte == 0x7f
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn trailers(scan: &mut Scan, buffer: &mut BytesMut, most: usize) -> Result<Taken, Malformed> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Taken::End);
    }
    if buffer.len() < 2 && b"\r\n".starts_with(buffer) {
        return Ok(Taken::More);
    }
    let Some(end) = scan.end(&buffer[..buffer.len().min(most)])? else {
        return if buffer.len() > most {
            Err(Malformed::TrailersTooLarge)
        } else {
            Ok(Taken::More)
        };
    };
    let lines = buffer.split_to(end).freeze();
    let mut map = HeaderMap::new();
    fields::read(&lines, 0, TRAILERS, &mut map, |_, _| Ok(Keep::Yes))?;
    let forbidden: Vec<_> = map.keys().filter(|name| is_forbidden(name)).cloned().collect();
    for name in forbidden {
        map.remove(name);
    }
    Ok(if map.is_empty() { Taken::End } else { Taken::Trailers(map) })
}

/// Whether a name may not come after a body, under any spelling that a receiver may take for it.
fn is_forbidden(name: &HeaderName) -> bool {
    let plain: String =
        name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    plain.starts_with("x-forwarded-")
        || OURS.contains(&plain.as_str())
        || FORBIDDEN.iter().any(|forbidden| *forbidden == plain.as_str())
}

/// What the gateway itself tells, and what belongs to one connection.
const OURS: [&str; 6] = [
    "x-real-ip",
    "x-request-id",
    "x-frontgate-code",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
];

/// Names that frame, route, authenticate or control a message, and so may not come after its body
/// (RFC 9110 section 6.5.1).
const FORBIDDEN: [HeaderName; 20] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    /// The body and trailers of `wire`, fed in pieces of `step` bytes.
    fn read(wire: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap), Malformed> {
        let mut chunks = Chunks::new(1024);
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        let mut pieces = wire.chunks(step);
        loop {
            match chunks.take(&mut buffer)? {
                Taken::Data(data) => body.extend_from_slice(&data),
                Taken::Trailers(map) => return Ok((body, map)),
                Taken::End => return Ok((body, HeaderMap::new())),
                Taken::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => panic!("{} ends too soon", wire.escape_ascii()),
                },
            }
        }
    }

    #[test]
    fn reads_the_same_body_in_any_pieces() {
        let wire = b"5\r\nhello\r\n1;a=b\r\n \r\n0000A\r\n0123456789\r\n0\r\nx-sum: 1\r\nhost: evil\r\nX-Forwarded-Port: 1\r\nx_forwarded_for: 2\r\nx-real-ip: 3\r\n\r\n";
        for step in 1..wire.len() {
            let (body, trailers) = read(wire, step).unwrap();
            assert_eq!(body, b"hello 0123456789", "{step}");
            assert_eq!(trailers.len(), 1);
            assert_eq!(trailers["x-sum"], "1");
        }
    }

    #[test]
    fn refuses_what_another_reader_might_take_otherwise() {
        for (wire, rule) in [
            (&b"5 \r\nhello\r\n0\r\n\r\n"[..], Malformed::ChunkSize),
            (b" 5\r\nhello\r\n0\r\n\r\n", Malformed::ChunkSize),
            (b"5\nhello\r\n0\r\n\r\n", Malformed::ChunkSize),
            (b"+5\r\nhello\r\n0\r\n\r\n", Malformed::ChunkSize),
            (b"0x5\r\nhello\r\n0\r\n\r\n", Malformed::ChunkSize),
            (b"-1\r\n", Malformed::ChunkSize),
            (b"\r\n", Malformed::ChunkSize),
            (b"00000000000000005\r\nhello\r\n0\r\n\r\n", Malformed::ChunkSize),
            (b"5\r\nhello0\r\n\r\n", Malformed::ChunkEnd),
            (b"5\r\nhello\n0\r\n\r\n", Malformed::ChunkEnd),
            (b"5;a\x01\r\nhello\r\n0\r\n\r\n", Malformed::ChunkExtension),
            (b"5;a\rb\r\nhello\r\n0\r\n\r\n", Malformed::ChunkExtension),
            (b"0\r\nbad trailer\r\n\r\n", Malformed::NoColon),
            (b"0\r\na: b\n\r\n", Malformed::BareLf),
            (b"0\r\n\n", Malformed::BareLf),
        ] {
            for step in [1, 2, wire.len()] {
                let got = read(wire, step).unwrap_err();
                assert_eq!(got, rule, "{:?} by {step}", String::from_utf8_lossy(wire));
            }
        }
    }

    #[test]
    fn bounds_extensions_and_trailers() {
        let extension = |n| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(n)).into_bytes();
        assert!(read(&extension(255), 7).is_ok());
        assert_eq!(read(&extension(256), 7).unwrap_err(), Malformed::ChunkExtension);
        assert_eq!(read(&extension(4000), 7).unwrap_err(), Malformed::ChunkExtension);
        let trailer = |n| format!("0\r\na: {}\r\n\r\n", "t".repeat(n)).into_bytes();
        assert!(read(&trailer(1000), 7).is_ok());
        let broken = [&trailer(1024)[..1020], b"\n"].concat();
        assert_eq!(read(&broken, 7).unwrap_err(), Malformed::BareLf);
        let broken_beyond = [&trailer(1200)[..1100], b"\n"].concat();
        // Whatever is wrong beyond the bound, and in whatever pieces.
        for wire in [trailer(1024), broken_beyond] {
            for step in [1, 7, wire.len()] {
                assert_eq!(read(&wire, step).unwrap_err(), Malformed::TrailersTooLarge);
            }
        }
    }
}
