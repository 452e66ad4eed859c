//! Tokens that a worker has found good: repeated, they cost a look instead of a signature.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use crate::exchange::Caller;

/// Tokens and bytes of one half.
const TOKENS: usize = 2048;
const BYTES: usize = 4 << 20;
/// What one takes beside its text and its claims.
const BESIDE: usize = 256;

/// Good tokens in two halves: what is used moves to the young one, and when that is full, the old one goes. Only good
/// tokens come in, so nobody without one can push others out. The map's hash is keyed, and tokens are compared whole.
#[derive(Debug, Default)]
pub struct Verified {
    young: Half,
    old: Half,
    keyed: RandomState,
}

#[derive(Debug, Default)]
struct Half {
    /// By their hash, which is taken once.
    tokens: HashMap<u64, (Box<str>, Good)>,
    bytes: usize,
}

/// What is known of a good token.
#[derive(Clone, Debug)]
pub struct Good {
    /// By the clock since 1970.
    pub until: Duration,
    /// In which of the places it stood: what is taken from the request depends on it.
    pub spot: usize,
    /// Whose it is.
    pub caller: Rc<Caller>,
}

impl Verified {
    /// Whose a token is that was good before and still is.
    pub fn find(&mut self, token: &str, spot: usize, now: Duration) -> Option<Rc<Caller>> {
        let hash = self.keyed.hash_one(token);
        let holds = |kept: &(Box<str>, Good)| {
            *kept.0 == *token && kept.1.spot == spot && kept.1.until > now
        };
        if let Some(kept) = self.young.tokens.get(&hash) {
            return holds(kept).then(|| Rc::clone(&kept.1.caller));
        }
        let kept = self.old.tokens.remove(&hash).filter(holds)?;
        let caller = Rc::clone(&kept.1.caller);
        self.put(hash, kept);
        Some(caller)
    }

    /// One more.
    pub fn keep(&mut self, token: Box<str>, good: Good) {
        self.put(self.keyed.hash_one(&*token), (token, good));
    }

    fn put(&mut self, hash: u64, kept: (Box<str>, Good)) {
        let bytes = size(&kept.0, &kept.1);
        if self.young.tokens.len() >= TOKENS || self.young.bytes + bytes > BYTES {
            std::mem::swap(&mut self.young, &mut self.old);
            // Its room is used again.
            self.young.tokens.clear();
            self.young.bytes = 0;
        }
        self.young.bytes += bytes;
        self.young.tokens.insert(hash, kept);
    }

    /// All are to be checked again: the keys have changed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn size(token: &str, good: &Good) -> usize {
    let claims = good.caller.claims.iter().map(|(name, value)| name.len() + value.len() + 32);
    let headers = good.caller.headers.iter().map(|(_, value)| value.len() + 64);
    BESIDE + token.len() + claims.sum::<usize>() + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn good(name: &str) -> Good {
        let caller = Caller {
            name: name.into(),
            auth: "a".into(),
            claims: Vec::new(),
            headers: Vec::new(),
            strip: None,
        };
        Good { until: NOW + Duration::from_secs(1), spot: 0, caller: Rc::new(caller) }
    }

    #[test]
    fn a_token_is_found_whole_in_its_place_and_time() {
        let mut verified = Verified::default();
        verified.keep("abc".into(), good("x"));
        assert_eq!(
            verified.find("abc", 0, NOW).map(|caller| caller.name.clone()),
            Some("x".into())
        );
        assert!(verified.find("ab", 0, NOW).is_none());
        assert!(verified.find("abC", 0, NOW).is_none());
        assert!(verified.find("abc", 1, NOW).is_none());
        assert!(verified.find("abc", 0, NOW + Duration::from_secs(1)).is_none());
        verified.clear();
        assert!(verified.find("abc", 0, NOW).is_none());
    }

    #[test]
    fn what_is_used_stays_and_the_whole_is_bounded() {
        let mut verified = Verified::default();
        verified.keep("used".into(), good("x"));
        for n in 0..10 * TOKENS {
            verified.keep(format!("{n}").into(), good("y"));
            assert!(verified.find("used", 0, NOW).is_some(), "after {n}");
            assert!(verified.young.tokens.len() + verified.old.tokens.len() <= 2 * TOKENS);
        }
        assert!(verified.find("0", 0, NOW).is_none());
        let long = "l".repeat(16 << 10);
        for n in 0..TOKENS {
            verified.keep(format!("{n}{long}").into(), good("y"));
            assert!(verified.young.bytes + verified.old.bytes <= 2 * BYTES);
        }
    }
}
