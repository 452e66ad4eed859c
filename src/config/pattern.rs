//! How written paths and regular expressions are compared with what a client sent.
//!
//! Backends decode escapes, so `/%6frders` and `/orders` must find the same route, or a guard on one of them could be
//! passed by spelling the other. An escape of what a path cannot hold as itself, `%2F` above all, stays an escape.

use std::borrow::Cow;
use std::iter::FusedIterator;

pub use regex_automata::meta::Regex;

/// The bytes of a path or segment in its one spelling (RFC 3986 §6.2.2): escapes of characters that a segment may hold
/// are decoded, everything else is escaped with upper-case digits, `/` stays.
pub fn canonical(path: &str) -> Canonical<'_> {
    Canonical { rest: path.as_bytes(), digits: [0; 2], left: 0 }
}

/// A whole path in its one spelling; copied only if it is written otherwise.
pub fn canonical_path(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte == b'/' || is_pchar(byte)) {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(canonical(path).map(char::from).collect())
    }
}

/// See [`canonical`]. Yields ASCII only.
#[derive(Clone, Debug)]
pub struct Canonical<'a> {
    rest: &'a [u8],
    digits: [u8; 2],
    left: usize,
}

impl Canonical<'_> {
    fn spell(&mut self, byte: u8) -> u8 {
        if is_pchar(byte) {
            return byte;
        }
        self.digits = hex_digits(byte);
        self.left = 2;
        b'%'
    }
}

impl Iterator for Canonical<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        if self.left > 0 {
            self.left -= 1;
            return Some(self.digits[1 - self.left]);
        }
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        if byte == b'/' || is_pchar(byte) {
            return Some(byte);
        }
        if byte == b'%'
            && let Some(decoded) = escaped(rest)
        {
            self.rest = &rest[2..];
            return Some(self.spell(decoded));
        }
        Some(self.spell(byte))
    }
}

impl FusedIterator for Canonical<'_> {}

/// Whether a path segment may hold this byte as itself (`pchar` of RFC 3986 §3.3, without escapes).
#[inline]
pub fn is_pchar(byte: u8) -> bool {
    PCHAR[usize::from(byte)]
}

/// The byte that the two digits behind a `%` stand for.
pub fn escaped(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    u8::try_from(high << 4 | low).ok()
}

/// The two upper-case digits that stand for a byte behind a `%`.
pub fn hex_digits(byte: u8) -> [u8; 2] {
    let digits = b"0123456789ABCDEF";
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

const PCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"-._~!$&'()*+,;=:@";
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut other = 0;
    while other < others.len() {
        table[others[other] as usize] = true;
        other += 1;
    }
    table
};

/// A regular expression that is searched for, as written. Linear time, bounded in size; the error is one line.
pub fn regex(source: &str) -> Result<Regex, String> {
    let config = Regex::config().nfa_size_limit(Some(REGEX_BYTES)).utf8_empty(false);
    // Values are bytes, so a class may match what is not UTF-8 when its author says so: `(?-u:.)`.
    let syntax = regex_automata::util::syntax::Config::new().utf8(false);
    Regex::builder().configure(config).syntax(syntax).build(source).map_err(|error| {
        if error.size_limit().is_some() {
            return format!(
                "the expression is too large (over {} KiB compiled)",
                REGEX_BYTES >> 10
            );
        }
        let text = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
        let line = text.lines().last().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })
}

/// A regular expression that must match a whole value.
pub fn whole_regex(source: &str) -> Result<Regex, String> {
    // First by itself: `a)(b` is wrong although `(?:a)(b)` is not.
    regex(source)?;
    regex(&format!(r"\A(?:{source})\z"))
}

/// Whether a regular expression (without its `~`) can be used; otherwise one line saying why not.
pub fn check_regex(source: &str) -> Result<(), String> {
    whole_regex(source).map(drop)
}

/// Bound on one compiled expression: room for a few hundred Unicode classes, little enough for linear time to be short.
const REGEX_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for (written, spelled) in [
            ("/orders", "/orders"),
            ("/%6frders", "/orders"),
            ("/%6Frders", "/orders"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%40b", "/a@b"),
            ("/ü b", "/%C3%BC%20b"),
            ("/100%", "/100%25"),
            ("/100%25", "/100%25"),
            ("/%2541", "/%2541"),
            ("/%4", "/%254"),
        ] {
            assert_eq!(canonical_path(written), spelled, "{written}");
            assert_eq!(canonical_path(spelled), spelled, "spelled twice: {written}");
        }
    }

    #[test]
    fn a_bad_regex_is_explained_in_one_line() {
        for source in ["(", "a)(b", "[z-a]", r"\w{1000}{1000}", "(?x) a # comment"] {
            let error = check_regex(source).expect_err(source);
            assert!(!error.is_empty() && !error.contains('\n'), "{source}: {error}");
        }
        assert_eq!(check_regex(r"^/orders/\d+$"), Ok(()));
    }

    #[test]
    fn a_whole_regex_does_not_stop_at_the_first_alternative() {
        let regex = whole_regex("a|ab").unwrap();
        assert!(regex.is_match("ab") && regex.is_match("a") && !regex.is_match("abc"));
    }
}
