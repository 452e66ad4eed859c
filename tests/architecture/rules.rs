//! The rules of ARCHITECTURE.md, as a machine can check them.

use crate::source::{Mention, Source};

/// From the top down: a module may import what stands in a row below its own.
const ROWS: [&[&str]; 12] = [
    &["main", "lib"],
    &["cli"],
    &["demo"],
    &["listen", "admin", "reload"],
    &["assemble"],
    &["gateway"],
    &["router", "guard", "rewrite", "forward", "registry", "observe"],
    &["exchange"],
    &["refusal"],
    &["fetch", "state"],
    &["wire"],
    &["config"],
];

/// Kinds read their own settings and speak their own formats.
const KINDS: [&str; 6] = [
    "config/",
    "registry/",
    "guard/auth/",
    "forward/balance/",
    "forward/breaker/",
    "observe/exporter/",
];
/// Places that read or write JSON without being a kind.
const JSON: [&str; 3] = ["admin/", "cli", "demo/"];
/// The last one reads whom the system asks and notices when that changes, as every program that resolves names does.
const OUTSIDE: [&str; 6] =
    ["config/", "cli", "listen/tls", "state", "guard/auth/basic_file", "registry/dns/system"];

const FILE_LINES: usize = 400;
const MEDIAN_LINES: usize = 150;
const FUNCTION_LINES: usize = 60;
const PARAMETERS: usize = 5;
const LEVELS: usize = 3;

const EMPTY_NAMES: [&str; 11] = [
    "utils", "util", "common", "helper", "helpers", "manager", "inner", "misc", "types", "globals",
    "core",
];

/// Every breach of every rule, one line each.
pub(crate) fn breaches(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut lengths = Vec::new();
    for source in sources {
        words(source, &mut found);
        if source.is_tests() {
            continue;
        }
        for mention in source.mentions() {
            let place = format!("{}:{}", source.path, mention.line);
            let reasons = [import(source, &mention), place_of(&source.path, &mention.path)];
            found.extend(reasons.into_iter().flatten().map(|reason| format!("{place}: {reason}")));
        }
        names(source, &mut found);
        sizes(source, &mut found);
        lengths.push(source.lines);
    }
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    if lengths.len() > 1 && median > MEDIAN_LINES {
        found.push(format!("src: the median file has {median} lines, at most {MEDIAN_LINES}"));
    }
    found
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// Rows point down; what stands in one row does not know its neighbours; wire and config know nothing of ours.
fn import(source: &Source, mention: &Mention) -> Option<String> {
    let path: Vec<_> = mention.path.iter().map(String::as_str).collect();
    let supers = path.iter().take_while(|word| **word == "super").count();
    let to = match path.first().copied() {
        Some("crate" | "frontgate") => path.get(1).copied(),
        Some("super") if supers >= source.depth() => path.get(supers).copied(),
        _ => None,
    }?;
    let from = source.module();
    if to == "*" {
        return Some("imports the whole crate, so nobody sees what of it".to_owned());
    }
    let below = row(from)? < row(to)? && from != "wire";
    (from != to && !below).then(|| format!("{from} may not import {to}"))
}

/// Crates, and parts of the standard library, that belong in some places only.
fn place_of(path: &str, mention: &[String]) -> Option<String> {
    let within = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let words: Vec<_> = mention.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [name @ ("axum" | "tower" | "tower_http"), ..] => {
            (!within(&["admin/"])).then(|| format!("{name} belongs under admin/"))
        }
        [name @ ("serde" | "serde_json"), ..] => (!within(&KINDS) && !within(&JSON))
            .then(|| format!("{name} belongs in config/, a kind's file, {}", JSON.join(", "))),
        ["toml", ..] => {
            (!within(&KINDS)).then(|| "toml belongs in config/ and a kind's file".to_owned())
        }
        ["std", "env", ..] => (!within(&OUTSIDE))
            .then(|| format!("the environment belongs in {}", OUTSIDE.join(", "))),
        ["std" | "tokio", "fs", ..] => (!within(&OUTSIDE))
            .then(|| format!("the file system belongs in {}", OUTSIDE.join(", "))),
        _ => None,
    }
}

fn names(source: &Source, found: &mut Vec<String>) {
    let path = &source.path;
    if row(source.module()).is_none() && !source.is_tests() {
        found.push(format!(
            "{path}: {} has no row in the map of who may import whom",
            source.module()
        ));
    }
    let folders = path.trim_end_matches(".rs").split('/').map(|name| (1, name));
    for (line, name) in folders.chain(source.modules()) {
        // A `mod x;` is reported once, for its file.
        let declared = line > 1 && source.text.contains(&format!("mod {name};"));
        if EMPTY_NAMES.contains(&name) && !declared {
            found.push(format!("{path}:{line}: {name} says nothing: name what it is"));
        }
    }
    for function in source.functions() {
        if function.name.starts_with("get_") {
            found.push(format!("{path}:{}: {}: no get_", function.line, function.name));
        }
    }
    if !source.text.starts_with("//! ") {
        found.push(format!("{path}:1: a file must open with `//!` and a line of what it is"));
    }
}

fn sizes(source: &Source, found: &mut Vec<String>) {
    let path = &source.path;
    if source.lines > FILE_LINES {
        found.push(format!("{path}: {} lines, at most {FILE_LINES}", source.lines));
    }
    if path.split('/').count() > LEVELS {
        found.push(format!("{path}: at most {LEVELS} levels under src"));
    }
    for function in source.functions() {
        let (line, name) = (function.line, &function.name);
        if function.lines > FUNCTION_LINES {
            let lines = function.lines;
            found.push(format!(
                "{path}:{line}: fn {name} has {lines} lines, at most {FUNCTION_LINES}"
            ));
        }
        if function.parameters > PARAMETERS && !function.dictated {
            let count = function.parameters;
            found.push(format!(
                "{path}:{line}: fn {name} has {count} parameters, at most {PARAMETERS}"
            ));
        }
    }
}

/// Work put off belongs in the tracker, where somebody sees it.
fn words(source: &Source, found: &mut Vec<String>) {
    for (index, line) in source.text.lines().enumerate() {
        for word in line.split(|c: char| !c.is_alphanumeric()) {
            if ["TODO", "FIXME", "XXX"].contains(&word) {
                found.push(format!("{}:{}: {word}: do it or file it", source.path, index + 1));
            }
        }
    }
}
