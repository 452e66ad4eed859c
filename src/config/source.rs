//! A file as it was read, and places in it: what every message points at.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file as it was read.
pub struct Source {
    /// As shown: what the operator typed, or the pattern that found it.
    name: String,
    /// Seen from the main file, for those who ask a running gateway.
    short: String,
    /// What its relative paths are relative to.
    folder: PathBuf,
    text: String,
    /// Where each line begins: a file of ten thousand routes is asked for as many.
    lines: Vec<usize>,
    /// Bytes that are never shown, in order.
    hidden: Vec<Range<usize>>,
}

impl Source {
    /// A file of this path and text, nothing of it hidden yet.
    pub fn new(path: &Path, text: String) -> Self {
        let begins =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            name: path.display().to_string(),
            short: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            lines: std::iter::once(0).chain(begins).collect(),
            folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            text,
            hidden: Vec::new(),
        }
    }

    pub(super) fn hide(mut self, mut ranges: Vec<Range<usize>>) -> Self {
        ranges.retain(|range| range.start < range.end);
        ranges.sort_by_key(|range| range.start);
        self.hidden = ranges;
        self
    }

    /// Called as it is seen from a folder, when it is in there.
    pub(super) fn seen_from(mut self, folder: &Path, path: &Path) -> Self {
        if let Ok(short) = path.strip_prefix(folder) {
            self.short = short.display().to_string();
        }
        self
    }

    /// As shown in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its relative paths are relative to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything in it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn line_range(&self, at: usize) -> Range<usize> {
        let line = self.lines.partition_point(|begin| *begin <= at);
        let start = self.lines[line - 1];
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        let end = if end > start && self.text.as_bytes()[end - 1] == b'\r' { end - 1 } else { end };
        start..end
    }

    /// The bytes of a range for display, with what is hidden replaced by `***`.
    fn shown(&self, range: Range<usize>) -> String {
        let mut shown = String::new();
        let mut at = range.start;
        for hidden in &self.hidden {
            let (from, to) = (hidden.start.max(at), hidden.end.min(range.end));
            if from < to {
                shown.push_str(self.text.get(at..from).unwrap_or_default());
                shown.push_str("***");
                at = to;
            }
        }
        shown.push_str(self.text.get(at..range.end).unwrap_or_default());
        shown
    }
}

impl Source {
    /// A text that may quote the file, without what is hidden there.
    pub(super) fn scrub(&self, text: &str) -> String {
        let hidden = self.hidden.iter().filter_map(|range| self.text.get(range.clone()));
        hidden
            .map(|hidden| hidden.trim_matches(['"', '\'', '\n', ' ']))
            // A shorter one stands in too many words, and is no secret worth the name.
            .filter(|hidden| hidden.len() >= 4 && text.contains(hidden))
            .fold(text.to_owned(), |text, hidden| text.replace(hidden, "***"))
    }
}

impl fmt::Debug for Source {
    /// Its name only: the text may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// A range of bytes in a file.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl Place {
    pub(super) fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        // A parser may point past the end, or into a character: move to the nearest boundary before.
        let clamp = |mut at: usize| {
            at = at.min(source.text.len());
            while !source.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = clamp(range.start);
        Self { source: source.clone(), start, end: clamp(range.end).max(start) }
    }

    /// The file.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.source.lines.partition_point(|begin| *begin <= self.start)
    }

    /// Column in characters, from 1; a byte order mark is none.
    pub fn column(&self) -> usize {
        let start = self.source.line_range(self.start).start.min(self.start);
        1 + self.source.text[start..self.start].chars().filter(|c| *c != '\u{feff}').count()
    }

    /// `file:line`, the file as seen from the main one.
    pub fn file_line(&self) -> String {
        format!("{}:{}", self.source.short, self.line())
    }

    /// The line it begins in and carets under it, both without what is hidden.
    pub(super) fn excerpt(&self) -> (String, String) {
        let line = self.source.line_range(self.start);
        let start = self.start.min(line.end);
        let before = self.source.shown(line.start..start);
        let under = self.source.shown(start..self.end.clamp(start, line.end));
        let after = self.source.shown(self.end.clamp(start, line.end)..line.end);
        let text = format!("{before}{under}{after}").replace('\u{feff}', "");
        let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
        let mut carets: String = before.chars().filter(|c| *c != '\u{feff}').map(blank).collect();
        carets.extend(std::iter::repeat_n('^', under.chars().count().max(1)));
        (text.trim_end().to_owned(), carets)
    }
}

impl fmt::Display for Place {
    /// `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.source.name, self.start, self.end).cmp(&(&other.source.name, other.start, other.end))
    }
}
