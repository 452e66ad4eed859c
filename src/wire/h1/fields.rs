//! Field lines, for heads and trailers alike (RFC 9112 section 5).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::Malformed;

/// Whether a field that was seen goes into the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As any other.
    Yes,
    /// It was for the wire alone, which has taken from it what it says.
    No,
}

/// Reads the field lines of `head` from `at` to its empty line into `map`, showing each to `see` first.
///
/// Values are slices of `head`; a standard name costs no allocation. `head` ends with its empty line, and every line
/// ends in CRLF: [`super::scan::Scan`] saw to that.
pub fn read(
    head: &Bytes,
    mut at: usize,
    most: usize,
    map: &mut HeaderMap,
    mut see: impl FnMut(&HeaderName, &HeaderValue) -> Result<Keep, Malformed>,
) -> Result<(), Malformed> {
    let mut count = 0;
    while let Some(end) = memchr(b'\n', &head[at..]).map(|found| at + found) {
        let line = head[at..end].strip_suffix(b"\r").ok_or(Malformed::BareLf)?;
        if line.is_empty() {
            return Ok(());
        }
        count += 1;
        if count > most {
            return Err(Malformed::TooManyFields);
        }
        let colon = memchr(b':', line);
        let name = name(line, colon)?;
        let value = at + colon.unwrap_or(0) + 1..at + line.len();
        let (before, after) = blanks(&head[value.clone()]);
        let value = head.slice(value.start + before..value.end - after);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::FieldValue)?;
        if see(&name, &value)? == Keep::Yes {
            map.try_append(name, value).map_err(|_| Malformed::TooManyFields)?;
        }
        at = end + 1;
    }
    // A head ends with an empty line, or it would not have been taken for one.
    Err(Malformed::BareLf)
}

fn name(line: &[u8], colon: Option<usize>) -> Result<HeaderName, Malformed> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Malformed::ObsFold);
    }
    let name = &line[..colon.ok_or(Malformed::NoColon)?];
    HeaderName::from_bytes(name).map_err(|_| match name.last() {
        Some(b' ' | b'\t') => Malformed::SpaceBeforeColon,
        Some(_) | None => Malformed::FieldName,
    })
}

/// How many blanks stand before and after the value proper.
fn blanks(value: &[u8]) -> (usize, usize) {
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
    let before = value.iter().take_while(blank).count();
    let after = value[before..].iter().rev().take_while(blank).count();
    (before, after)
}
