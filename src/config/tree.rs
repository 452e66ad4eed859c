//! TOML as a tree with places. Syntax errors become problems of the same shape as all others.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use super::source::{Place, Source};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// What no key takes: a float, a date, an integer beyond 64 bits; its name with an article, and as written.
    Other(&'static str, String),
}

/// A key of a table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl PartialEq for Node {
    /// By value; where it stands, and in what order a table's keys stand, is no difference.
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Table(a), Value::Table(b)) => {
                a.len() == b.len() && a.iter().all(|entry| b.contains(entry))
            }
            (a, b) => a == b,
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Node {
    /// Its entries, when it is a table.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        if let Value::Table(entries) = &self.value { Some(entries) } else { None }
    }

    /// One entry's value, when it is a table.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// What it says, when it is a string.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// What it is, with an article, for messages.
    pub(super) fn what(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Flag(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(what, _) => what,
        }
    }
}

/// How files are read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The main file's folder.
    pub(super) folder: &'a Path,
    /// Names of keys whose values are never shown.
    pub(super) secrets: &'a [&'a str],
}

/// Parses a file.
pub(super) fn parse(
    path: &Path,
    text: String,
    reader: Reader<'_>,
    problems: &mut Problems,
) -> Option<Node> {
    let secrets = reader.secrets;
    let (table, errors) = DeTable::parse_recoverable(&text);
    let mut hidden = Vec::new();
    for (key, value) in table.get_ref() {
        hide(key.get_ref(), value, &text, secrets, &mut hidden);
    }
    if !errors.is_empty() {
        // The tree that was recovered may miss a value, so whatever follows a secret's name is hidden too.
        hide_lines(&text, secrets, &mut hidden);
    }
    let table = build_owned(&table);
    let errors: Vec<(String, Range<usize>)> =
        errors.iter().map(|e| (e.message().to_owned(), e.span().unwrap_or_default())).collect();
    let source = Arc::new(Source::new(path, text).seen_from(reader.folder, path).hide(hidden));
    if errors.is_empty() {
        return Some(place(table, &source));
    }
    syntax(&source, errors, problems);
    None
}

/// Reports doubled keys, each naming both places, and the first other error: what follows one is mostly its echo.
fn syntax(source: &Arc<Source>, mut errors: Vec<(String, Range<usize>)>, problems: &mut Problems) {
    errors.sort_by_key(|(_, span)| span.start);
    let mut broken = false;
    let mut echo = 0;
    for (message, span) in errors {
        let place = Place::new(source, span.clone());
        if message == "duplicate key" {
            if broken || span.start < echo {
                continue;
            }
            // The keys of a doubled table are mostly doubled too.
            let line = source.text()[..span.start].rfind('\n').map_or(0, |i| i + 1);
            if source.text()[line..].trim_start().starts_with('[') {
                let next = source.text()[span.start..].find("\n[");
                echo = next.map_or(source.text().len(), |i| span.start + i);
            }
            let name = source.text().get(span.clone()).unwrap_or_default();
            let also = earlier(source.text(), span)
                .map(|at| format!(", first at {}", Place::new(source, at)))
                .unwrap_or_default();
            problems.push(&place, format!("`{name}` is written twice{also}"), None);
        } else if !broken {
            broken = true;
            let message = match message.as_str() {
                // What the parser says when there is nothing at all.
                text if span.is_empty() && text.starts_with("string values") => {
                    "a value is missing"
                }
                text => text,
            };
            problems.push(&place, format!("not TOML: {message}"), None);
        }
    }
}

/// Where the same header, or the same key of the same table, stands for the first time.
fn earlier(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let name = text.get(span.clone())?;
    let start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
    let line = text[start..].lines().next()?.trim();
    let header = line.starts_with('[');
    let mut found = None;
    let mut at = 0;
    for earlier in text[..start].split_inclusive('\n') {
        let written = earlier.trim();
        if header {
            if written.split('#').next()?.trim() == line.split('#').next()?.trim() {
                found = earlier.find(name).map(|i| at + i);
                break;
            }
        } else if written.starts_with('[') {
            found = None;
        } else if found.is_none()
            && written.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        {
            found = earlier.find(name).map(|i| at + i);
        }
        at += earlier.len();
    }
    found.map(|at| at..at + name.len())
}

fn hide(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    text: &str,
    secrets: &[&str],
    hidden: &mut Vec<Range<usize>>,
) {
    let raw = || text.get(value.span()).unwrap_or_default();
    // Of a URL only who asks is secret, wherever it stands.
    let is_url = || names_secret(key, &["url"]) && raw().contains("://");
    let is_of_another = key.len() <= SHORT && (is_of_another(value) || is_url());
    let secret = names_secret(key, secrets) && !is_of_another;
    match value.get_ref() {
        DeValue::Table(table) if secret => {
            for (key, value) in table {
                if !matches!(key.get_ref().as_ref(), "env" | "file") {
                    hidden.push(value.span());
                }
            }
        }
        DeValue::Table(table) => {
            for (key, value) in table {
                hide(key.get_ref(), value, text, secrets, hidden);
            }
        }
        _ if secret => hidden.push(value.span()),
        DeValue::Array(list) => {
            for value in list {
                // Of a list under a short name only `user:password` is hidden.
                if key.len() > SHORT || text.get(value.span()).is_none_or(|raw| raw.contains(':')) {
                    hide(key, value, text, secrets, hidden);
                }
            }
        }
        DeValue::String(_) => {
            let raw = raw();
            let quotes = raw.len() - raw.trim_start_matches(['"', '\'']).len();
            let begin = value.span().start + quotes;
            hidden.extend(user_of_url(&raw[quotes..]).map(|u| begin + u.start..begin + u.end));
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// Where the name and password of a URL stand: `http://user:password@host`, or without the scheme, which some keys allow.
pub(super) fn user_of_url(text: &str) -> Option<Range<usize>> {
    let to = text.rfind('@')?;
    let from = match text.find("://") {
        Some(scheme) => scheme + 3,
        // `name@host` may be anything.
        None if text[..to].contains(':') => 0,
        None => return None,
    };
    (from < to).then_some(from..to)
}

fn hide_lines(text: &str, secrets: &[&str], hidden: &mut Vec<Range<usize>>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        for (equals, _) in line.match_indices('=') {
            let key = line[..equals].trim_end().trim_end_matches(['"', '\'']);
            let key = key.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next();
            if key.is_some_and(|key| names_secret(key, secrets)) {
                hidden.push(at + equals + 1..at + line.trim_end().len());
                break;
            }
        }
        at += line.len();
    }
}

/// Names of so many letters, such as `auth`, have neighbours that mean something else (`path`), and stand for other
/// things in other tables.
const SHORT: usize = 4;

/// Whether a key is a secret's name, or so near to one that it may be meant.
fn names_secret(key: &str, secrets: &[&str]) -> bool {
    let key = key.to_lowercase();
    // Two letters of `open` make it `token`.
    secrets.iter().any(|name| match name.len().min(key.len()) {
        0..=SHORT => strsim::osa_distance(&key, name) <= 1,
        _ => key.contains(name) || strsim::osa_distance(&key, name) <= 2,
    })
}

/// Whether a value can be no secret, so that its key must be another's: `auth = ["staff"]`, `[auth.staff]`.
fn is_of_another(value: &Spanned<DeValue<'_>>) -> bool {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    match value.get_ref() {
        DeValue::Array(_) => true,
        DeValue::Table(table) => table.iter().any(|(_, value)| is_table(value)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}

/// A tree whose places are still ranges: the file is not an `Arc` before what it hides is known.
struct Loose(LooseValue, Range<usize>);

enum LooseValue {
    Leaf(Value),
    List(Vec<Loose>),
    Table(Vec<(String, Range<usize>, Loose)>),
}

fn build_owned(table: &Spanned<DeTable<'_>>) -> Loose {
    // The whole file's own place is its first character.
    Loose(loose_table(table.get_ref()), 0..0)
}

fn loose_table(table: &DeTable<'_>) -> LooseValue {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), key.span(), loose(value)))
        .collect();
    // In the order of the file, which the parser's map does not keep.
    entries.sort_by_key(|(_, span, _)| span.start);
    LooseValue::Table(entries)
}

fn loose(value: &Spanned<DeValue<'_>>) -> Loose {
    let built = match value.get_ref() {
        DeValue::String(text) => LooseValue::Leaf(Value::Text(text.to_string())),
        DeValue::Boolean(flag) => LooseValue::Leaf(Value::Flag(*flag)),
        DeValue::Integer(number) => {
            LooseValue::Leaf(match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Other("an integer beyond 64 bits", number.as_str().to_owned()),
            })
        }
        DeValue::Float(number) => {
            LooseValue::Leaf(Value::Other("a float", number.as_str().to_owned()))
        }
        DeValue::Datetime(date) => LooseValue::Leaf(Value::Other("a date", date.to_string())),
        DeValue::Array(list) => LooseValue::List(list.iter().map(loose).collect()),
        DeValue::Table(table) => loose_table(table),
    };
    Loose(built, value.span())
}

fn place(Loose(value, span): Loose, source: &Arc<Source>) -> Node {
    let value = match value {
        LooseValue::Leaf(value) => value,
        LooseValue::List(list) => {
            Value::List(list.into_iter().map(|item| place(item, source)).collect())
        }
        LooseValue::Table(entries) => Value::Table(
            entries
                .into_iter()
                .map(|(key, span, value)| Entry {
                    key,
                    place: Place::new(source, span),
                    value: place(value, source),
                })
                .collect(),
        ),
    };
    Node { value, place: Place::new(source, span) }
}
