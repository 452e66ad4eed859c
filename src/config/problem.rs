//! What is wrong with a configuration: all of it at once, each with its place and a hint.

use std::collections::BTreeSet;
use std::fmt;

use super::source::Place;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, in one line, without secrets.
    pub message: String,
    /// What to do about it, when that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    /// `file:line:column: message`, the source line, carets under the value, the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, carets) = self.place.excerpt();
        let line = self.place.line().to_string();
        let margin = " ".repeat(line.len());
        writeln!(f, "{}: {}", self.place, self.message)?;
        writeln!(f, "{}", format!("  {line} | {text}").trim_end())?;
        writeln!(f, "  {margin} | {carets}")?;
        if let Some(hint) = &self.hint {
            writeln!(f, "  {margin} = hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong, each once, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: BTreeSet<Problem>,
}

impl Problems {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; the same one twice is one.
    pub fn push(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<Hint>) {
        let Hint(hint) = hint.into();
        // Whoever reports a value may quote it.
        let message = plain(place.source().scrub(&message.into()));
        let hint = hint.map(|hint| plain(place.source().scrub(&hint)));
        self.list.insert(Problem { place: place.clone(), message, hint });
    }

    /// Adds those of another.
    pub fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// In the order of files and lines.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

impl fmt::Display for Problems {
    /// One after the other, an empty line between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What to do about a problem; made from text, or from `None`.
pub struct Hint(Option<String>);

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self(Some(text))
    }
}

impl From<Option<String>> for Hint {
    fn from(text: Option<String>) -> Self {
        Self(text)
    }
}

/// `did you mean …?` when a known name is near, else the list of known names.
pub(super) fn suggest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(written, &known) {
        return Some(format!("did you mean `{near}`?"));
    }
    match known.len() {
        0 => None,
        1..=24 => Some(format!("known here: {}", known.join(", "))),
        more => Some(format!("known here: {}, and {} more", known[..24].join(", "), more - 24)),
    }
}

/// The known name that is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = written.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= (name.len().max(written.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// One line, and nothing that steers a terminal: a sign of that kind stands as it would have to be typed.
fn plain(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    for sign in text.chars() {
        if sign.is_control() {
            plain.extend(sign.escape_default());
        } else {
            plain.push(sign);
        }
    }
    plain
}
