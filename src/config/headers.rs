//! `request_headers`, `response_headers`, and conditions on headers and parameters.

use http::{HeaderName, HeaderValue};

use super::model::{Condition, HeaderEdits};
use super::pattern;
use super::problem::Problems;
use super::source::Place;
use super::table::Table;
use super::tree::{Entry, Node, Value};

/// Names that the gateway writes itself, or that are of one connection only (RFC 9110 §7.6.1).
const OWNED: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-frontgate-code",
    "x-request-id",
];

/// Whether the gateway writes it itself, or it is of one connection only.
pub fn is_owned(name: &HeaderName) -> bool {
    OWNED.contains(&name.as_str())
}

/// The edits under a key: those of the nearest table, and of the others what concerns other headers.
pub(super) fn edits(table: &mut Table<'_>, key: &str) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for layer in table.tables(key) {
        let mut layer = Table::new(key.to_owned(), &[], vec![layer], table.problems());
        let next = written(&mut layer, key);
        let known: Vec<&HeaderName> = names(&edits).collect();
        let new = |name: &HeaderName| !known.contains(&name);
        let next = HeaderEdits {
            remove: next.remove.into_iter().filter(new).collect(),
            set: next.set.into_iter().filter(|(name, _)| new(name)).collect(),
            add: next.add.into_iter().filter(|(name, _)| new(name)).collect(),
        };
        edits.remove.extend(next.remove);
        edits.set.extend(next.set);
        edits.add.extend(next.add);
    }
    edits
}

fn names(edits: &HeaderEdits) -> impl Iterator<Item = &HeaderName> {
    let valued = edits.set.iter().chain(&edits.add).map(|(name, _)| name);
    edits.remove.iter().chain(valued)
}

fn written(table: &mut Table<'_>, key: &str) -> HeaderEdits {
    let request = key == "request_headers";
    let mut edits = HeaderEdits::default();
    for (text, place) in table.spots("remove").unwrap_or_default() {
        let Some(name) = name(&text, &place, table.problems()) else { continue };
        if name == http::header::HOST && request {
            table.problem_at(&place, "every request has a Host", "`set` gives it another");
        }
        edits.remove.push(name);
    }
    edits.set = values(table, "set");
    edits.add = values(table, "add");
    if let Some((at, _)) =
        edits.add.iter().enumerate().find(|(_, (name, _))| name == http::header::HOST)
        && request
    {
        edits.add.remove(at);
        table.problem("add", "a request has one Host", "`set` gives it another");
    }
    edits
}

fn values(table: &mut Table<'_>, key: &str) -> Vec<(HeaderName, HeaderValue)> {
    let mut values: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for entry in entries(table, key) {
        let Some(name) = name(&entry.key, &entry.place, table.problems()) else { continue };
        if values.iter().any(|(known, _)| *known == name) {
            let message = format!("`{name}` is written twice: case is no difference");
            table.problem_at(&entry.place, message, None);
        }
        let place = &entry.value.place;
        let Value::Text(text) = &entry.value.value else {
            let message = format!("a header's value must be a string, not {}", entry.value.what());
            table.problem_at(place, message, None);
            continue;
        };
        match HeaderValue::from_str(text) {
            Ok(value) => values.push((name, value)),
            Err(_) => {
                let message = "a header's value holds no line breaks and no control characters";
                table.problem_at(place, message, None);
            }
        }
    }
    values
}

/// The entries of a table with free keys.
fn entries<'a>(table: &mut Table<'a>, key: &str) -> &'a [Entry] {
    let Some(node) = table.find(key) else { return &[] };
    let entries = node.entries();
    if entries.is_none() {
        table.problem(key, format!("`{key}` must be a table, not {}", node.what()), None);
    }
    entries.unwrap_or_default()
}

fn name(text: &str, place: &Place, problems: &mut Problems) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        problems.push(place, format!("{text:?} cannot be a header's name"), None);
        return None;
    };
    if is_owned(&name) {
        problems.push(place, format!("`{name}` is written by the gateway itself"), None);
        return None;
    }
    Some(name)
}

/// `headers` of a route.
pub(super) fn header_conditions(table: &mut Table<'_>) -> Vec<(HeaderName, Condition)> {
    let mut conditions: Vec<(HeaderName, Condition)> = Vec::new();
    for entry in entries(table, "headers") {
        let Ok(name) = HeaderName::from_bytes(entry.key.as_bytes()) else {
            let message = format!("{:?} cannot be a header's name", entry.key);
            table.problem_at(&entry.place, message, None);
            continue;
        };
        if conditions.iter().any(|(known, _)| *known == name) {
            let message = format!("`{name}` is written twice: case is no difference");
            table.problem_at(&entry.place, message, None);
        }
        conditions.extend(condition(&entry.value, table.problems()).map(|one| (name, one)));
    }
    conditions
}

/// `query` of a route.
pub(super) fn query_conditions(table: &mut Table<'_>) -> Vec<(String, Condition)> {
    entries(table, "query")
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), condition(&entry.value, table.problems())?)))
        .collect()
}

fn condition(node: &Node, problems: &mut Problems) -> Option<Condition> {
    match &node.value {
        Value::Flag(true) => Some(Condition::Present),
        Value::Flag(false) => Some(Condition::Absent),
        Value::Text(text) => match text.strip_prefix('~') {
            None => Some(Condition::Equals(text.clone())),
            Some(regex) => match pattern::check_regex(regex) {
                Ok(()) => Some(Condition::Matches(regex.to_owned())),
                Err(error) => {
                    let message = format!("this is not a regular expression: {error}");
                    problems.push(&node.place, message, None);
                    None
                }
            },
        },
        Value::Integer(_) | Value::Other(..) | Value::List(_) | Value::Table(_) => {
            let message = format!("a condition must be a string or a boolean, not {}", node.what());
            let hint = "\"value\", \"~regex\", true (present) or false (absent)";
            problems.push(&node.place, message, hint);
            None
        }
    }
}
