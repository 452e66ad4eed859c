//! `[auth.<name>]` of kind `key`: a text that only one caller has.

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::digest;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::named::{self, Named};
use super::{Denied, Desk, FromTable, Scheme, Setting, Verdict, spot};
use crate::config::{Key, Table};
use crate::exchange::{Caller, Exchange, Spot};

/// Its keys.
pub const KEYS: &[Key] = &[
    Key::new(
        "from",
        "list of strings",
        "[\"header:x-api-key\"]",
        "where a key may stand: header:x, cookie:x, query:x",
    ),
    Key::new(
        "keys",
        "table of secrets",
        "",
        "by the name of who has it: { mobile = { env = \"MOBILE_KEY\" } }",
    ),
    named::KEYS[0],
    named::KEYS[1],
];

/// Callers and their keys.
#[derive(Debug)]
pub struct ApiKeys {
    challenge: HeaderValue,
    spots: Box<[Spot]>,
    /// Of each key, so that all are equally long and none is kept.
    sums: Box<[Sum]>,
    /// For each of the spots one for each of the keys.
    callers: Box<[Caller]>,
    named: Named,
}

type Sum = [u8; digest::SHA256_OUTPUT_LEN];

fn sum(key: &str) -> Sum {
    let mut sum = Sum::default();
    sum.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    sum
}

impl Scheme for ApiKeys {
    fn desk(self: Arc<Self>) -> Rc<dyn Desk> {
        let callers = self.callers.iter().map(|caller| Rc::new(caller.clone())).collect();
        Rc::new(KeyDesk { callers, scheme: self })
    }

    fn headers(&self) -> &[HeaderName] {
        self.named.headers()
    }
}

#[derive(Debug)]
struct KeyDesk {
    scheme: Arc<ApiKeys>,
    callers: Box<[Rc<Caller>]>,
}

impl Desk for KeyDesk {
    fn check(&self, asked: &Parts, _exchange: &Exchange) -> Verdict {
        let scheme = &*self.scheme;
        let mut found: Option<(usize, Sum)> = None;
        for (at, spot) in scheme.spots.iter().enumerate() {
            let key = match spot::find(spot, asked) {
                Ok(None) => continue,
                Ok(Some(key)) => sum(&key),
                Err(reason) => return bad(reason),
            };
            match found {
                None => found = Some((at, key)),
                // The upstream would get to see the other.
                Some(_) if scheme.named.strips() => return bad("there are keys in several places"),
                Some((_, known)) if known != key => return bad("there are several keys"),
                Some(_) => {}
            }
        }
        let Some((spot, key)) = found else { return Verdict::Out(Denied::Missing) };
        match scheme.whose(&key) {
            Some(at) => Verdict::In(Rc::clone(&self.callers[spot * scheme.sums.len() + at])),
            None => bad("nobody has this key"),
        }
    }

    fn challenge(&self, _denied: &Denied) -> Option<HeaderValue> {
        Some(self.scheme.challenge.clone())
    }
}

fn bad(reason: &str) -> Verdict {
    Verdict::Out(Denied::Bad { error: "", description: "", reason: reason.to_owned() })
}

impl ApiKeys {
    /// Compares with every key in full, so that the time tells neither which it is nor how much of it.
    fn whose(&self, key: &Sum) -> Option<usize> {
        let mut whose = u64::MAX;
        for (at, sum) in (0..).zip(&self.sums) {
            whose.conditional_assign(&at, sum.ct_eq(key));
        }
        usize::try_from(whose).ok().filter(|at| *at < self.sums.len())
    }
}

impl FromTable for ApiKeys {
    fn from_table(setting: Setting<'_>, table: &mut Table<'_>) -> Option<Self> {
        let spots = spots(table);
        // Of a header only ASCII is read; elsewhere a key may be any text.
        let in_headers = |spots: &[Spot]| spots.iter().all(|spot| matches!(spot, Spot::Header(_)));
        let keys = keys(spots.as_deref().is_some_and(in_headers), table);
        let named = Named::read(setting, table);
        let (spots, keys) = (spots?, keys?);
        let callers = spots.iter().flat_map(|spot| {
            let named = &named;
            keys.iter().map(move |(name, _)| named.caller(name, spot))
        });
        Some(Self {
            challenge: challenge(setting.name, &spots)?,
            callers: callers.collect::<Option<_>>()?,
            sums: keys.iter().map(|(_, sum)| *sum).collect(),
            spots,
            named,
        })
    }
}

/// No registered scheme says that a key is wanted: this one says by its parameters where it may stand.
fn challenge(name: &str, spots: &[Spot]) -> Option<HeaderValue> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!("ApiKey realm=\"{}\"", quoted(name));
    for spot in spots {
        let (what, name) = match spot {
            Spot::Header(name) => ("header", name.as_str()),
            Spot::Cookie(name) => ("cookie", &**name),
            Spot::Query(name) => ("query", &**name),
        };
        write!(text, ", {what}=\"{}\"", quoted(name)).ok()?;
    }
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

fn spots(table: &mut Table<'_>) -> Option<Box<[Spot]>> {
    if !table.has("from") {
        return Some(Box::new([Spot::Header(HeaderName::from_static("x-api-key"))]));
    }
    let mut spots = Vec::new();
    let written = table.strings("from")?;
    if written.is_empty() {
        table.problem("from", "nobody could come in: `from` is empty", spot::LIKE);
    }
    for text in &written {
        match spot::parse(text) {
            Some(spot) if !spots.contains(&spot) => spots.push(spot),
            Some(_) => table.problem("from", format!("{text:?} stands here twice"), None::<String>),
            None => table.problem("from", format!("no key can stand in {text:?}"), spot::LIKE),
        }
    }
    (spots.len() == written.len() && !spots.is_empty()).then(|| spots.into())
}

/// `ascii`: no place of a key could hold anything else.
fn keys(ascii: bool, table: &mut Table<'_>) -> Option<Vec<(String, Sum)>> {
    if !table.has("keys") {
        let hint = "keys = { mobile = { env = \"MOBILE_KEY\" } }";
        table.problem("", "nobody could come in: there are no `keys`", hint);
    }
    let secrets = table.secrets("keys")?;
    let mut keys = table.table("keys")?;
    let count = keys.written().len();
    if count == 0 {
        keys.problem("", "nobody could come in: `keys` is empty", None::<String>);
    }
    let mut read: Vec<(String, Sum)> = Vec::new();
    for (name, secret) in secrets {
        let key = secret.reveal();
        let sum = sum(key);
        if name.is_empty() || name.trim() != name || name.chars().any(char::is_control) {
            keys.problem(&name, format!("nobody can be called {name:?}"), None::<String>);
        } else if key.trim() != key || key.chars().any(char::is_control) {
            let message = format!("no request can carry `keys.{name}`");
            keys.problem(&name, message, "there are blanks around it or control signs in it");
        } else if ascii && !key.is_ascii() {
            let message = format!("no request can carry `keys.{name}`");
            keys.problem(&name, message, "in a header there is only ASCII");
        } else if let Some((other, _)) = read.iter().find(|(_, known)| *known == sum) {
            let message = format!("`keys.{name}` is the same as `keys.{other}`");
            keys.problem(&name, message, "each caller needs a key of its own");
        } else {
            read.push((name, sum));
        }
    }
    // Some of them only is not what was written.
    (read.len() == count && count > 0).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, Section};
    use crate::guard::auth;

    #[test]
    fn a_key_is_found_wherever_it_stands_among_many() {
        let info = auth::INFOS.iter().find(|info| info.name == "key").unwrap();
        let keys: Vec<_> = (0..50).map(|at| format!("k{at} = 'the-key-of-{at}'")).collect();
        let text = format!(
            "kind = 'key'\nfrom = ['header:x-a', 'query:b']\nkeys = {{ {} }}",
            keys.join(", ")
        );
        let section = Section::from_toml("auth.keys", info, &text).unwrap();
        let mut problems = Problems::new();
        let setting = Setting { name: "keys", state: None };
        let scheme = ApiKeys::from_table(setting, &mut section.read(&mut problems)).unwrap();
        assert!(problems.is_empty(), "{problems}");
        for at in 0..50 {
            assert_eq!(scheme.whose(&sum(&format!("the-key-of-{at}"))), Some(at));
        }
        for wrong in ["", "the-key-of-", "the-key-of-50", "the-key-of-1 ", "THE-KEY-OF-1"] {
            assert_eq!(scheme.whose(&sum(wrong)), None, "{wrong}");
        }
        assert_eq!(scheme.callers.len(), 100);
        assert_eq!(scheme.challenge, "ApiKey realm=\"keys\", header=\"x-a\", query=\"b\"");
    }

    #[test]
    fn what_no_request_could_carry_or_tell_is_a_problem() {
        let info = auth::INFOS.iter().find(|info| info.name == "key").unwrap();
        let problems = |text: &str| {
            let text = format!("kind = 'key'\n{text}");
            let section = Section::from_toml("auth.keys", info, &text).unwrap();
            let mut problems = Problems::new();
            let setting = Setting { name: "keys", state: None };
            let scheme = ApiKeys::from_table(setting, &mut section.read(&mut problems));
            assert_eq!(scheme.is_some(), problems.is_empty(), "{text}: {problems}");
            problems.to_string()
        };
        assert!(problems("keys = { 'app ' = 'k' }").contains("nobody can be called \"app \""));
        assert!(problems("keys = { app = 'k ' }").contains("no request can carry `keys.app`"));
        assert!(problems("keys = { app = 'clé' }").contains("no request can carry `keys.app`"));
        assert_eq!(problems("from = ['query:k']\nkeys = { app = 'clé' }"), "");
        assert_eq!(problems("keys = { 'my app' = 'a key' }"), "");
    }
}
