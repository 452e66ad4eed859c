//! A client stays with the instance that first answered it: a cookie says which.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::key::cookies;
use super::pool::Slot;
use crate::config::model::StickyConfig;
use crate::exchange::Exchange;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Instances by what a cookie says of them: their digest, which no restart and no other gateway changes.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<u128, Rc<Slot>, BuildHasherDefault<Low>>);

impl Known {
    /// Those that a client may be sent to because it was there before: also one of another zone, and one whose breaker
    /// lets a few through to see.
    pub(super) fn of(slots: &[Rc<Slot>], panic: bool) -> Self {
        let known = slots.iter().filter(|slot| may_stay(slot, panic));
        Self(known.map(|slot| (slot.instance.digest, Rc::clone(slot))).collect())
    }

    /// The first that a request's cookies name.
    pub(super) fn named(&self, sticky: &StickyConfig, headers: &HeaderMap) -> Option<&Rc<Slot>> {
        digests(sticky, headers).find_map(|digest| self.0.get(&digest))
    }
}

/// Whether a client may come back to an instance now.
pub(super) fn may_stay(slot: &Slot, panic: bool) -> bool {
    let reasons = slot.instance.standing.reasons();
    reasons.is_usable(panic) || reasons.is_probing(panic)
}

/// Has the answer tell the client where it was, unless it knows.
pub(super) fn mark(sticky: &StickyConfig, slot: &Slot, parts: &Parts, exchange: &mut Exchange) {
    let digest = slot.instance.digest;
    if digests(sticky, &parts.headers).any(|named| named == digest) {
        return;
    }
    // Of several proxies the first spoke to the client.
    let proto = parts.headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
    let first = proto.and_then(|proto| proto.split(|byte| *byte == b',').next());
    let by_proxy = first.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"));
    let secure = exchange.tls || (exchange.trusted && by_proxy);
    if let Ok(value) = HeaderValue::try_from(line(sticky, digest, secure)) {
        exchange.marks.push((SET_COOKIE, value));
    }
}

/// RFC 6265 section 4.1; `SameSite` as browsers have it.
fn line(sticky: &StickyConfig, digest: u128, secure: bool) -> String {
    let mut line = format!("{}={digest:032x}; Path=/; HttpOnly; SameSite=Lax", sticky.cookie);
    if let Some(ttl) = sticky.ttl {
        // Less than a second would end the cookie at once.
        let written = write!(line, "; Max-Age={}", ttl.as_secs().max(1));
        debug_assert!(written.is_ok(), "memory takes all");
    }
    if secure {
        line.push_str("; Secure");
    }
    line
}

/// What cookies of the name say, as far as it is something that was said here.
fn digests<'a>(
    sticky: &'a StickyConfig,
    headers: &'a HeaderMap,
) -> impl Iterator<Item = u128> + use<'a> {
    cookies(headers, &sticky.cookie).filter_map(|value| {
        let is_digest = value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(value).ok().filter(|_| is_digest)?;
        u128::from_str_radix(text, 16).ok()
    })
}

/// A digest is a hash already, and nobody but the gateway puts one into the table.
#[derive(Debug, Default)]
struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn says_what_browsers_must_know() {
        let mut sticky = StickyConfig { cookie: "at".to_owned(), ttl: None };
        let plain = "at=000000000000000000000000000000ff; Path=/; HttpOnly; SameSite=Lax";
        assert_eq!(line(&sticky, 255, false), plain);
        assert_eq!(line(&sticky, 255, true), format!("{plain}; Secure"));
        sticky.ttl = Some(Duration::from_secs(3600));
        assert_eq!(line(&sticky, 255, false), format!("{plain}; Max-Age=3600"));
        sticky.ttl = Some(Duration::from_millis(1));
        assert_eq!(line(&sticky, 255, false), format!("{plain}; Max-Age=1"));
    }

    #[test]
    fn takes_only_what_it_may_have_said() {
        let sticky = StickyConfig { cookie: "at".to_owned(), ttl: None };
        let mut headers = HeaderMap::new();
        let fields = [
            "at=ff; at=+00000000000000000000000000000ff; at=; at",
            "x=000000000000000000000000000000aa; at=000000000000000000000000000000bb ;at=zz",
            "at=000000000000000000000000000000CC; AT=000000000000000000000000000000dd",
        ];
        for field in fields {
            headers.append("cookie", HeaderValue::from_static(field));
        }
        assert_eq!(digests(&sticky, &headers).collect::<Vec<_>>(), [0xbb, 0xcc]);
    }
}
