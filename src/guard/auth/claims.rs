//! What a good token says (RFC 7519 section 4), and whether that is enough.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::jws::{Flaw, Names, Text, shown, text_of};

/// Names at the top level: every name is compared with all before it.
const NAMES: usize = 256;
/// Seconds up to the year 9999; a time in milliseconds lies beyond it.
const LAST: f64 = 253_402_300_799.0;

/// What is asked of every token.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Any of them; empty asks for none.
    pub issuers: Vec<String>,
    /// Any of them; empty asks for none.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// By claim, all that must be in it.
    pub required: Vec<(String, Vec<String>)>,
    /// Which claims the upstream is told, and as what.
    pub forward: Vec<(String, HeaderName)>,
}

/// The claims of a token, as they stand in it.
#[derive(Debug)]
pub struct Claims<'a> {
    all: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Why claims are not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The token lets nobody in, or not now, or not here.
    Bad(Flaw),
    /// It is good, and its bearer may not come in here.
    Forbidden(Flaw),
}

impl Rules {
    /// Until when these claims let in, by the clock since 1970, as `now`.
    pub fn check(&self, claims: &Claims<'_>, now: Duration) -> Result<Duration, Lack> {
        let until = self.times(claims, now).map_err(Lack::Bad)?;
        self.issuer(claims).map_err(Lack::Bad)?;
        self.audience(claims).map_err(Lack::Bad)?;
        for (name, words) in &self.required {
            let raw = claims.raw(name);
            let lacks = |word: &&String| !raw.is_some_and(|raw| holds(raw, word));
            if let Some(word) = words.iter().find(lacks) {
                let reason = match raw {
                    Some(_) => format!("claim {name} lacks {word:?}"),
                    None => format!("there is no claim {name}"),
                };
                return Err(Lack::Forbidden(Flaw::because(
                    "the token does not allow this",
                    reason,
                )));
            }
        }
        Ok(until)
    }

    fn times(&self, claims: &Claims<'_>, now: Duration) -> Result<Duration, Flaw> {
        let Some(expiry) = claims.time("exp")? else {
            return Err(Flaw::plain("the token has no expiry"));
        };
        let until = expiry + self.leeway;
        if until <= now {
            let ago = (now - expiry).as_secs();
            return Err(Flaw::because("the token has expired", format!("expired {ago} s ago")));
        }
        for (name, description) in
            [("nbf", "the token is not valid yet"), ("iat", "the token was issued in the future")]
        {
            if let Some(time) = claims.time(name)?.filter(|time| *time > now + self.leeway) {
                let ahead = (time - now).as_secs();
                return Err(Flaw::because(
                    description,
                    format!("{name} lies {ahead} s in the future"),
                ));
            }
        }
        Ok(until)
    }

    fn issuer(&self, claims: &Claims<'_>) -> Result<(), Flaw> {
        const DESCRIPTION: &str = "the token's issuer is not accepted";
        if self.issuers.is_empty() {
            return Ok(());
        }
        match claims.text("iss") {
            Some(issuer) if self.issuers.iter().any(|known| *known == *issuer) => Ok(()),
            Some(issuer) => Err(Flaw::because(
                DESCRIPTION,
                format!("iss {} is not among `issuer`", shown(&issuer)),
            )),
            None => Err(Flaw::because(DESCRIPTION, "there is no iss, or it is no string")),
        }
    }

    /// A string or a list of strings (RFC 7519 section 4.1.3). Whom a token is for is no concern of a gateway that was
    /// not told who it is.
    fn audience(&self, claims: &Claims<'_>) -> Result<(), Flaw> {
        const DESCRIPTION: &str = "the token is for another audience";
        if self.audiences.is_empty() {
            return Ok(());
        }
        let Some(raw) = claims.raw("aud") else {
            return Err(Flaw::because(DESCRIPTION, "there is no aud"));
        };
        let many = || serde_json::from_str::<Vec<Text<'_>>>(raw.get()).ok();
        let one = text(raw).map(|one| vec![Text(one)]);
        let Some(said) = one.or_else(many) else {
            return Err(Flaw::because(
                DESCRIPTION,
                "aud is neither a string nor a list of strings",
            ));
        };
        let meant = |Text(one): &Text<'_>| self.audiences.iter().any(|known| **known == **one);
        if said.iter().any(meant) {
            return Ok(());
        }
        let reason = said.first().map_or("aud is empty".to_owned(), |Text(one)| {
            format!("aud {} is not among `audience`", shown(one))
        });
        Err(Flaw::because(DESCRIPTION, reason))
    }

    /// What the upstream is told.
    pub fn headers(&self, claims: &Claims<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let header =
            |(claim, name): &(String, HeaderName)| Some((name.clone(), value(claims.raw(claim)?)?));
        self.forward.iter().filter_map(header).collect()
    }
}

impl<'a> Claims<'a> {
    /// Of a payload whose signature was good.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Flaw> {
        let text = text_of(payload, "payload")?;
        serde_json::from_str(text).map_err(|error| {
            Flaw::because("the token is malformed", format!("its claims: {error}"))
        })
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.all.iter().find(|(known, _)| *known == name).map(|(_, raw)| *raw)
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).and_then(text)
    }

    /// Each claim with its text: a string's own, anything else as JSON.
    pub fn shown(&self) -> Vec<(Box<str>, Box<str>)> {
        self.all.iter().map(|(name, raw)| ((**name).into(), plain(raw).into())).collect()
    }

    /// Seconds since 1970, perhaps with a fraction (RFC 7519 section 2, `NumericDate`).
    fn time(&self, name: &str) -> Result<Option<Duration>, Flaw> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let number = raw.get().parse::<f64>().ok();
        let seconds = number.filter(|seconds| (0.0..=LAST).contains(seconds)).ok_or_else(|| {
            let reason = format!("{name} is {}", shown(raw.get()));
            Flaw::because("the token has a time that is none", reason)
        })?;
        Ok(Some(Duration::from_secs_f64(seconds)))
    }
}

/// A string's own text.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get().starts_with('"').then(|| serde_json::from_str::<Text<'_>>(raw.get()));
    text?.ok().map(|Text(text)| text)
}

fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| serde_json::from_str(raw.get()))?.ok()
}

fn plain(raw: &RawValue) -> Cow<'_, str> {
    text(raw).unwrap_or(Cow::Borrowed(raw.get()))
}

/// Whether a claim says a word: a string as a whole or as one of its words (RFC 8693 section 4.2), a list as one of its
/// entries, anything else as JSON.
fn holds(raw: &RawValue, word: &str) -> bool {
    if let Some(text) = text(raw) {
        return text == word || text.split(' ').any(|one| one == word);
    }
    match list(raw) {
        Some(list) => list.iter().any(|entry| plain(entry) == word),
        None => raw.get() == word,
    }
}

/// A claim as a header's value; a list is joined by commas. None where it would be read as something else: an entry
/// with a comma is two, and a space at the end is not there.
fn value(raw: &RawValue) -> Option<HeaderValue> {
    if raw.get() == "null" {
        return None;
    }
    let text = match list(raw) {
        Some(list) => {
            let entries: Vec<_> = list.iter().map(|entry| plain(entry)).collect();
            if entries.iter().any(|entry| entry.contains(',') || entry.trim() != entry) {
                return None;
            }
            Cow::Owned(entries.join(","))
        }
        None => plain(raw),
    };
    if text.trim() != text {
        return None;
    }
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Claims<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

/// Reads claims; of a name that comes twice nobody would know which one another reader takes.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
        let mut seen = Names::new(NAMES);
        let mut values = Vec::with_capacity(16);
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            values.push(map.next_value::<&'de RawValue>()?);
            seen.add(name).map_err(A::Error::custom)?;
        }
        Ok(Claims { all: seen.into_names().into_iter().zip(values).collect() })
    }
}

#[cfg(test)]
mod tests;
