//! What a request must be like beyond its host and path.

use std::borrow::Cow;

use http::{HeaderName, Method};

use super::{Ask, Entry};
use crate::config::model::Condition;
use crate::config::pattern::{Regex, escaped, whole_regex};

/// The conditions of one entry.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Empty means any.
    pub(super) methods: Vec<Method>,
    headers: Vec<(HeaderName, Test)>,
    query: Vec<(String, Test)>,
    listen: Vec<usize>,
}

/// How far a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    /// All but the method.
    WrongMethod,
    Unmet,
}

#[derive(Debug)]
enum Test {
    Equals(String),
    Matches(Regex),
    Present,
    Absent,
}

impl Conditions {
    /// Fails with a line about the first regular expression that cannot be used.
    pub(super) fn new<T>(entry: &Entry<T>) -> Result<Self, String> {
        let headers = entry.headers.iter();
        let query = entry.query.iter();
        Ok(Self {
            methods: entry.methods.clone(),
            headers: headers
                .map(|(name, condition)| Ok((name.clone(), Test::new(condition)?)))
                .collect::<Result<_, String>>()?,
            query: query
                .map(|(name, condition)| Ok((name.clone(), Test::new(condition)?)))
                .collect::<Result<_, String>>()?,
            listen: entry.listen.clone(),
        })
    }

    /// The method comes last, so that a wrong one is the only thing wrong.
    pub(super) fn verdict(&self, ask: &Ask<'_>) -> Verdict {
        let met = (self.listen.is_empty() || self.listen.contains(&ask.listener))
            && self.headers.iter().all(|(name, test)| {
                let mut values = ask.headers.get_all(name).iter().map(|value| value.as_bytes());
                test.of_bytes(&mut values)
            })
            && self.query.iter().all(|(name, test)| test.of_query(name, ask.query));
        if !met {
            Verdict::Unmet
        } else if self.takes(ask.method) {
            Verdict::Met
        } else {
            Verdict::WrongMethod
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

impl Test {
    fn new(condition: &Condition) -> Result<Self, String> {
        Ok(match condition {
            Condition::Equals(value) => Self::Equals(value.clone()),
            Condition::Matches(source) => Self::Matches(whole_regex(source)?),
            Condition::Present => Self::Present,
            Condition::Absent => Self::Absent,
        })
    }

    /// One of several values is enough.
    fn of_bytes<'a>(&self, values: &mut impl Iterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Equals(wanted) => values.any(|value| value == wanted.as_bytes()),
            Self::Matches(regex) => values.any(|value| regex.is_match(value)),
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
        }
    }

    fn of_query(&self, name: &str, query: Option<&str>) -> bool {
        let mut values = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(key, _)| decoded(key).eq(name.bytes()))
            .map(|(_, value)| value);
        match self {
            Self::Equals(wanted) => values.any(|value| decoded(value).eq(wanted.bytes())),
            Self::Matches(regex) => values.any(|value| {
                let plain = !value.contains(['%', '+']);
                let value = if plain {
                    Cow::Borrowed(value.as_bytes())
                } else {
                    Cow::Owned(decoded(value).collect())
                };
                regex.is_match(&*value)
            }),
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
        }
    }
}

/// Decoded as forms are (`application/x-www-form-urlencoded` of the URL standard): `+` is a space.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        Some(match byte {
            b'+' => b' ',
            b'%' => match escaped(tail) {
                Some(byte) => {
                    rest = &tail[2..];
                    byte
                }
                None => b'%',
            },
            _ => byte,
        })
    })
}
