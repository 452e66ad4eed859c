//! The files of a configuration: the main one, and those its patterns name.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::Problems;
use super::source::{Place, Source};
use super::tree::{self, Node, Reader, Value};

/// Every file, parsed.
pub(super) struct Files {
    pub(super) main: Node,
    /// In the order they were found.
    pub(super) routes: Vec<Node>,
}

impl Files {
    /// The main one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.main).chain(&self.routes)
    }
}

/// Reads the main file's text and what its `routes` names. None when a file is not TOML: what the others then seem to
/// miss may well stand in it.
pub(super) fn read(
    path: &Path,
    bytes: Vec<u8>,
    secrets: &[&str],
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Files> {
    let reader = Reader { folder: path.parent().unwrap_or(Path::new("")), secrets };
    let main = parse(path, bytes, reader, problems)?;
    let mut routes = Vec::new();
    let mut whole = true;
    for found in found(&main, problems, warnings) {
        match std::fs::read(&found.path) {
            Ok(bytes) => match parse(&found.path, bytes, reader, problems) {
                Some(node) => routes.push(node),
                None => whole = false,
            },
            Err(error) => {
                let shown = found.path.display();
                let message = format!("{shown} cannot be read: {}", reason(&error));
                problems.push(&found.named_at, message, None);
            }
        }
    }
    whole.then_some(Files { main, routes })
}

fn parse(path: &Path, bytes: Vec<u8>, reader: Reader<'_>, problems: &mut Problems) -> Option<Node> {
    match String::from_utf8(bytes) {
        Ok(text) => tree::parse(path, text, reader, problems),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            // The line may hold a secret in a form that cannot be recognised: nothing after the last good one is shown.
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let line = text.rfind('\n').map_or(0, |i| i + 1);
            #[expect(clippy::single_range_in_vec_init, reason = "one range is hidden")]
            let source = Source::new(path, text).hide(vec![line..valid]);
            problems.push(
                &Place::new(&Arc::new(source), valid..valid),
                "not TOML: a byte that is not UTF-8",
                None,
            );
            None
        }
    }
}

struct Found {
    path: PathBuf,
    named_at: Place,
}

/// The route files, in the order of the patterns and in byte order, each once.
fn found(main: &Node, problems: &mut Problems, warnings: &mut Problems) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    let mut known = HashSet::new();
    // What is not a list of strings is reported where the main file is checked.
    let patterns = match main.entry("routes").map(|entry| &entry.value.value) {
        Some(Value::List(patterns)) => patterns.as_slice(),
        _ => &[],
    };
    for item in patterns {
        let Value::Text(pattern) = &item.value else { continue };
        let base = item.place.source().folder();
        let paths = if pattern.contains(['*', '?']) {
            let paths = expand(base, pattern);
            if paths.is_empty() {
                warnings.push(&item.place, "no file matches this pattern", None);
            }
            paths
        } else {
            let path = base.join(pattern);
            if path.is_file() {
                vec![path]
            } else {
                let what = if path.is_dir() { "is a folder" } else { "does not exist" };
                let hint = path.is_dir().then(|| format!("{pattern}/*.toml names the files in it"));
                problems.push(&item.place, format!("the file {pattern} {what}"), hint);
                continue;
            }
        };
        for path in paths {
            if known.insert(path.clone()) {
                all.push(Found { path, named_at: item.place.clone() });
            }
        }
    }
    all
}

/// Files that match, in byte order; a name that begins with `.` is matched by nothing but itself.
fn expand(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { base.into() }];
    for segment in pattern.split('/').filter(|segment| !segment.is_empty()) {
        if !segment.contains(['*', '?']) {
            paths.iter_mut().for_each(|path| path.push(segment));
            continue;
        }
        paths = paths.iter().flat_map(|folder| matching(folder, segment)).collect();
    }
    paths.retain(|path| path.is_file());
    paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    paths
}

fn matching(folder: &Path, segment: &str) -> Vec<PathBuf> {
    // An empty path is the current folder, which the system does not know by that name.
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && glob(segment.as_bytes(), name.as_bytes()))
        .map(|name| folder.join(name))
        .collect()
}

/// `*` is any run of bytes, `?` any one character's byte.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                // Let the last star take one byte more.
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Why a file cannot be read, for people, without its path and the system's number.
pub(super) fn reason(error: &io::Error) -> String {
    const WORDS: [(io::ErrorKind, &str); 4] = [
        (io::ErrorKind::NotFound, "no such file"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
        (io::ErrorKind::IsADirectory, "it is a folder"),
        (io::ErrorKind::InvalidData, "it is not UTF-8"),
    ];
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.kind().to_string(), |(_, words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_a_pattern_come_in_byte_order_without_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("r/sub.toml")).unwrap();
        for name in ["b.toml", "a.toml", "Z.toml", "é.toml", ".hidden.toml", "c.txt"] {
            fs::write(folder.path().join("r").join(name), "").unwrap();
        }
        let names: Vec<String> = expand(folder.path(), "r/*.toml")
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["Z.toml", "a.toml", "b.toml", "é.toml"]);
        assert_eq!(expand(folder.path(), "r/?.txt").len(), 1);
        assert_eq!(expand(folder.path(), "*/c.txt").len(), 1);
        assert!(expand(folder.path(), "nowhere/*.toml").is_empty());
    }

    #[test]
    fn a_star_matches_any_run_of_bytes() {
        let matches = |pattern: &str, name: &str| glob(pattern.as_bytes(), name.as_bytes());
        assert!(matches("*.toml", ".toml") && matches("a*b*c", "axxbxbc") && matches("**", ""));
        assert!(!matches("*.toml", "a.tom") && !matches("a?c", "ac") && !matches("", "a"));
    }
}
