//! Configuration text: no panic, problems that point into the file, and what is good stays good.

#![no_main]

use std::path::Path;

use frontgate::assemble::{self, KINDS};
use frontgate::config::{self, Loaded, Problems};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NAME: &str = "frontgate.toml";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if reads_files(text) {
        return;
    }
    match config::parse(Path::new(NAME), text, &KINDS) {
        Ok(loaded) => stays_good(text, loaded),
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal has a reason");
            point_into(text, &problems);
        }
    }
});

/// What is found must not depend on the machine: no other file is looked at.
fn reads_files(text: &str) -> bool {
    ["routes", "file"].iter().any(|key| {
        text.match_indices(key).any(|(at, _)| {
            let after = text[at + key.len()..].trim_start_matches(['"', '\'', ' ', '\t']);
            after.starts_with('=')
        })
    }) || text.contains("\\u")
        || text.contains("\\U")
}

fn point_into(text: &str, problems: &Problems) {
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems.iter() {
        let (line, column) = (problem.place.line(), problem.place.column());
        assert_eq!(problem.place.source().name(), NAME);
        let written =
            lines.get(line - 1).unwrap_or_else(|| panic!("line {line} of {}", lines.len()));
        assert!(
            column >= 1 && column <= written.chars().count() + 1,
            "{line}:{column} of {written:?}"
        );
        assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
        let shown = problem.to_string();
        assert!(shown.starts_with(&format!("{NAME}:{line}:{column}: ")), "{shown}");
    }
}

fn stays_good(text: &str, loaded: Loaded) {
    point_into(text, &loaded.warnings);
    let mut problems = Problems::new();
    assemble::check(&loaded, &mut problems);
    point_into(text, &problems);
    let again = config::parse(Path::new(NAME), text, &KINDS).expect("good twice");
    assert_eq!(loaded.config, again.config, "two readings are equal");
    let shown = config::show(&loaded.config);
    assert_eq!(shown, config::show(&again.config));
    means_what_is_shown(shown);
}

/// What `GET /config` shows, written as a file, is the same configuration.
fn means_what_is_shown(mut shown: Value) {
    bare(&mut shown);
    let text = toml::to_string(&shown).expect("every value has its form in TOML");
    let again = config::parse(Path::new(NAME), &text, &KINDS);
    let again = again.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let mut again = config::show(&again.config);
    bare(&mut again);
    assert_eq!(shown, again);
}

/// Without what is not set, and where routes were written.
fn bare(shown: &mut Value) {
    match shown {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(bare);
            if entries.contains_key("preserve_host") {
                entries.remove("source");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(bare),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
