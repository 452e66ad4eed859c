//! The id of an exchange: a trusted proxy's, or a fresh one.

use std::hash::{BuildHasher, RandomState};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use http::{HeaderMap, HeaderValue};

use crate::exchange::REQUEST_ID;

/// Makes ids, one block at a time; each worker has its own.
#[derive(Debug)]
pub struct RequestIds {
    random: Rng,
    /// Sets this one apart from others whose random numbers happen to meet its own.
    salt: u64,
    block: Bytes,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestIds {
    /// Seeded by the operating system.
    pub fn new() -> Self {
        let seed = || RandomState::new().hash_one(std::thread::current().id());
        Self { random: Rng::with_seed(seed()), salt: seed(), block: Bytes::new() }
    }

    /// The id of a request: what a trusted peer sent if that is 1 to 128 visible ASCII characters, else a fresh one.
    pub fn of(&mut self, headers: &HeaderMap, trusted: bool) -> HeaderValue {
        if trusted {
            let mut sent = headers.get_all(REQUEST_ID).iter();
            if let (Some(id), None) = (sent.next(), sent.next())
                && (1..=128).contains(&id.len())
                && id.as_bytes().iter().all(u8::is_ascii_graphic)
            {
                return id.clone();
            }
        }
        self.fresh()
    }

    /// 32 hex digits, a slice of a block.
    pub fn fresh(&mut self) -> HeaderValue {
        if self.block.is_empty() {
            self.block = self.filled();
        }
        let id = self.block.split_to(DIGITS);
        // Hex digits are always a value.
        HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static(""))
    }

    fn filled(&mut self) -> Bytes {
        let mut block = BytesMut::with_capacity(DIGITS * IDS_PER_BLOCK);
        for _ in 0..IDS_PER_BLOCK {
            for half in [self.random.u64(..) ^ self.salt, self.random.u64(..)] {
                block.extend_from_slice(&hex(half));
            }
        }
        block.freeze()
    }
}

/// Sixteen digits at once: each nibble gets a byte of its own, and 0–9 and a–f are told apart without a branch.
fn hex(number: u64) -> [u8; 16] {
    const ONES: u128 = u128::from_be_bytes([1; 16]);
    const LETTERS: u128 = (b'a' - b'9' - 1) as u128;
    let spread = |nibbles: u128, (shift, lanes): (u32, u128)| (nibbles | nibbles << shift) & lanes;
    let nibbles = [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f),
    ]
    .into_iter()
    .fold(u128::from(number), spread);
    let letters = ((nibbles + ONES * 6) >> 4) & ONES;
    (nibbles + ONES * u128::from(b'0') + letters * LETTERS).to_be_bytes()
}

const DIGITS: usize = 32;
/// One allocation for so many requests; a block lives as long as one of its ids, so it stays at 2 KiB.
const IDS_PER_BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX, 0xfedc_ba98_7654_3210] {
            assert_eq!(hex(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn ids_are_32_hex_digits_and_never_the_same() {
        let (mut one, mut other) = (RequestIds::new(), RequestIds::new());
        let mut seen = HashSet::new();
        for _ in 0..10 * IDS_PER_BLOCK {
            for id in [one.fresh(), other.fresh()] {
                let text = id.to_str().unwrap().to_owned();
                assert_eq!(text.len(), 32);
                assert!(text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{text}");
                assert!(seen.insert(text));
            }
        }
    }

    #[test]
    fn a_trusted_id_is_kept_when_it_is_short_and_visible() {
        let mut ids = RequestIds::new();
        let long = "x".repeat(129);
        for (sent, kept) in [
            (&["abc-123/!"][..], true),
            (&[&long[..128]], true),
            (&[&long[..]], false),
            (&[""], false),
            (&["a b"], false),
            (&["a\tb"], false),
            (&["caf\u{e9}"], false),
            (&["a", "b"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(REQUEST_ID, HeaderValue::try_from(*value).unwrap());
            }
            let id = ids.of(&headers, true);
            assert_eq!(sent.first().is_some_and(|sent| id == *sent), kept, "{sent:?}");
            assert!(kept || id.len() == 32);
            assert_eq!(ids.of(&headers, false).len(), 32, "an untrusted one is never kept");
        }
    }
}
