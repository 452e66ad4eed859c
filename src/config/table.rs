//! A table's typed reader: each getter pushes a problem for what it cannot read, and goes on.

mod policy;
mod secret;

use std::path::PathBuf;
use std::time::Duration;

pub(super) use policy::Policy;

use super::kind::Key;
use super::problem::{Hint, Problems, nearest, suggest};
use super::secret::{Secret, variable};
use super::source::Place;
use super::tree::{Node, Value};
use super::{files, units};

/// A table that is being read, over the tables whose keys it inherits.
pub struct Table<'a> {
    /// How messages call it: `[listen.web]`.
    title: String,
    /// Before every key in [`Key::name`]: `limits.`.
    prefix: String,
    keys: &'static [Key],
    /// Nearest first.
    layers: Vec<&'a Node>,
    secrets: &'a [(&'static str, Option<Secret>)],
    problems: &'a mut Problems,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        title: String,
        keys: &'static [Key],
        layers: Vec<&'a Node>,
        problems: &'a mut Problems,
    ) -> Self {
        Self { title, prefix: String::new(), keys, layers, secrets: &[], problems }
    }

    pub(super) fn with_secrets(mut self, secrets: &'a [(&'static str, Option<Secret>)]) -> Self {
        self.secrets = secrets;
        self
    }

    /// Whether the key is written, here or in a table it is inherited from.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.spot(key).map(|(text, _)| text)
    }

    /// A string and where it stands.
    pub(super) fn spot(&mut self, key: &str) -> Option<(String, Place)> {
        let node = self.find(key)?;
        match node.text() {
            Some(text) => Some((text.to_owned(), node.place.clone())),
            None => self.wrong(key, node, "a string", None),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let node = self.find(key)?;
        if let Value::Flag(flag) = &node.value {
            return Some(*flag);
        }
        self.wrong(key, node, "true or false", None)
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str) -> Option<i64> {
        let node = self.find(key)?;
        if let Value::Integer(number) = &node.value {
            return Some(*number);
        }
        self.wrong(key, node, "a whole number", None)
    }

    /// A whole number from `least` on.
    pub fn count(&mut self, key: &str, least: usize) -> Option<usize> {
        let number = self.integer(key)?;
        let count = usize::try_from(number).ok().filter(|count| *count >= least);
        if count.is_none() {
            self.problem(key, format!("`{}` must be at least {least}", self.full(key)), None);
        }
        count
    }

    /// A duration: `"500ms"`, `"2s"`, `"1m30s"`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let node = self.find(key)?;
        let hint = with_unit(node, ["s", "ms"]);
        let hint =
            hint.unwrap_or("like \"500ms\", \"2s\" or \"1m30s\", in whole numbers".to_owned());
        let duration = node.text().and_then(units::parse_duration);
        duration.or_else(|| self.wrong(key, node, "a duration", Some(hint)))
    }

    /// A size in bytes: `"64KiB"`, `"1MiB"`.
    pub fn size(&mut self, key: &str) -> Option<usize> {
        let node = self.find(key)?;
        let hint = with_unit(node, ["B", "KiB"]);
        let hint =
            hint.unwrap_or("like \"512B\", \"64KiB\" or \"1MiB\", in whole numbers".to_owned());
        let size = node.text().and_then(units::parse_size);
        size.or_else(|| self.wrong(key, node, "a size", Some(hint)))
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        Some(self.spots(key)?.into_iter().map(|(text, _)| text).collect())
    }

    /// A list of strings, each with where it stands.
    pub(super) fn spots(&mut self, key: &str) -> Option<Vec<(String, Place)>> {
        let node = self.find(key)?;
        let Value::List(items) = &node.value else {
            let hint = node.text().map(|_| "put it in brackets: [\"…\"]".to_owned());
            return self.wrong(key, node, "a list of strings", hint);
        };
        let mut spots = Vec::new();
        for item in items {
            match item.text() {
                Some(text) => spots.push((text.to_owned(), item.place.clone())),
                None => {
                    let message =
                        format!("`{}` holds strings, not {}", self.full(key), item.what());
                    self.problems.push(&item.place, message, None);
                }
            }
        }
        Some(spots)
    }

    /// A string or a list of strings.
    pub fn one_or_more(&mut self, key: &str) -> Option<Vec<String>> {
        match self.find(key)?.text() {
            Some(text) => Some(vec![text.to_owned()]),
            None => self.strings(key),
        }
    }

    /// A string, a whole number or a flag, or a list of these, each as text.
    pub fn words(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.find(key)?;
        let items: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Flag(_)
            | Value::Table(_)
            | Value::Other(..) => vec![node],
        };
        let mut words = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(text) => words.push(text.clone()),
                Value::Integer(number) => words.push(number.to_string()),
                Value::Flag(flag) => words.push(flag.to_string()),
                Value::List(_) | Value::Table(_) | Value::Other(..) => {
                    return self.wrong(key, item, "strings, whole numbers or booleans", None);
                }
            }
        }
        Some(words)
    }

    /// The keys that this table itself writes, for one whose keys are the operator's own.
    pub fn written(&self) -> Vec<String> {
        let entries = self.layers[0].entries().unwrap_or_default();
        entries.iter().map(|entry| entry.key.clone()).collect()
    }

    /// A path, relative to the file that writes it.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let (text, place) = self.spot(key)?;
        Some(place.source().folder().join(text))
    }

    /// What a file holds, found as [`Table::path`]; one that cannot be read is a problem.
    pub fn contents(&mut self, key: &str) -> Option<Vec<u8>> {
        let (text, place) = self.spot(key)?;
        match std::fs::read(place.source().folder().join(&text)) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let reason = files::reason(&error);
                let message = format!("the file {text} cannot be read: {reason}");
                self.problems.push(&place, message, None);
                None
            }
        }
    }

    /// A variable of the environment; one that is empty counts as unset.
    pub fn env(&self, name: &str) -> Option<String> {
        variable(name)
    }

    /// A table inside; its keys are those that begin with `key.`. Read from every layer that writes one.
    pub fn table(&mut self, key: &str) -> Option<Table<'_>> {
        let layers = self.tables(key);
        if layers.is_empty() {
            return None;
        }
        Some(self.inside(key, layers))
    }

    /// The table under a key in every layer that writes one, nearest first.
    pub(super) fn tables(&mut self, key: &str) -> Vec<&'a Node> {
        let mut tables = Vec::new();
        for layer in self.layers.clone() {
            let Some(entry) = layer.entry(key) else { continue };
            if entry.value.entries().is_some() {
                tables.push(&entry.value);
            } else {
                self.wrong::<()>(key, &entry.value, "a table", None);
            }
        }
        tables
    }

    /// Reports a key's value, or the table itself when the key is not written.
    pub fn problem(&mut self, key: &str, message: impl Into<String>, hint: impl Into<Hint>) {
        let place = self.find(key).map_or(self.place(), |node| node.place.clone());
        self.problems.push(&place, message, hint);
    }

    /// Reports a place inside it.
    pub(super) fn problem_at(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<Hint>,
    ) {
        self.problems.push(place, message, hint);
    }

    /// A string that must be there.
    pub(super) fn required(&mut self, key: &str) -> Option<(String, Place)> {
        if !self.has(key) {
            let (full, title) = (self.full(key), &self.title);
            let message = format!("{title} needs `{full}`");
            self.problem(key, message, None);
        }
        self.spot(key)
    }

    /// The nearest layer's value of a key.
    pub(super) fn find(&self, key: &str) -> Option<&'a Node> {
        self.layers.iter().find_map(|layer| layer.entry(key)).map(|entry| &entry.value)
    }

    /// The value of a key as this table itself writes it.
    pub(super) fn own(&self, key: &str) -> Option<&'a Node> {
        self.layers[0].entry(key).map(|entry| &entry.value)
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.layers[0].place.clone()
    }

    /// How messages call it.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// The problems so far.
    pub(super) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Reports keys that are neither its own nor among `also`, here and in the tables inside.
    pub(super) fn reject_unknown(&mut self, also: &[&'static str]) {
        let layer = self.layers[0];
        self.reject_in(layer, &self.prefix.clone(), also);
    }

    fn reject_in(&mut self, node: &Node, prefix: &str, also: &[&'static str]) {
        let known: Vec<&'static str> = self
            .keys
            .iter()
            .filter_map(|key| key.name.strip_prefix(prefix))
            .map(|name| name.split_once('.').map_or(name, |(first, _)| first))
            .chain(also.iter().copied())
            .collect();
        for entry in node.entries().unwrap_or_default() {
            let inside = format!("{prefix}{}.", entry.key);
            if !known.contains(&entry.key.as_str()) {
                let title = match prefix.strip_suffix('.') {
                    Some(table) if self.prefix != prefix => format!("`{table}`"),
                    _ => self.title.clone(),
                };
                let mut sorted = known.clone();
                sorted.sort_unstable();
                sorted.dedup();
                let message = format!("`{}` is not a key of {title}", entry.key);
                // A table of its own is more often a key of a later version than a slip of the hand.
                let hint = match nearest(&entry.key, &sorted) {
                    Some(near) => Some(format!("did you mean `{near}`?")),
                    None => suggest(&entry.key, sorted),
                };
                self.problems.push(&entry.place, message, hint);
            } else if self.keys.iter().any(|key| key.name.starts_with(&inside)) {
                self.reject_in(&entry.value, &inside, &[]);
            }
        }
    }

    /// Reads every key by its shape, for the problems.
    pub(super) fn check_shapes(&mut self) {
        for key in self.keys {
            let Some(name) = key.name.strip_prefix(self.prefix.as_str()) else { continue };
            if let Some((table, _)) = name.split_once('.') {
                let table = table.to_owned();
                if let Some(mut inside) = self.table(&table) {
                    inside.check_shapes();
                }
                continue;
            }
            match key.shape {
                "string" => drop(self.text(name)),
                "boolean" => drop(self.flag(name)),
                "integer" => drop(self.integer(name)),
                "duration" => drop(self.duration(name)),
                "size" => drop(self.size(name)),
                "secret" => drop(self.secret(name)),
                "path" => drop(self.contents(name)),
                "list of strings" => drop(self.strings(name)),
                "table of secrets" => drop(self.secrets(name)),
                _ => {}
            }
        }
    }

    /// The key with the tables before it: `limits.headers`.
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Reports a value that is not what it should be.
    fn wrong<T>(
        &mut self,
        key: &str,
        node: &Node,
        expected: &str,
        hint: Option<String>,
    ) -> Option<T> {
        let full = self.full(key);
        let message = if node.text().is_some()
            && matches!(expected, "a duration" | "a size" | "a share" | "a rate")
        {
            // The right type with the wrong words in it.
            format!("`{full}` must be {expected}")
        } else {
            format!("`{full}` must be {expected}, not {}", node.what())
        };
        self.problems.push(&node.place, message, hint);
        None
    }
}

/// What a bare number would be with a unit.
fn with_unit(node: &Node, units: [&str; 2]) -> Option<String> {
    let Value::Integer(number) = node.value else { return None };
    Some(format!("with its unit: \"{number}{}\" or \"{number}{}\"", units[0], units[1]))
}
