//! Values that are never printed.

use std::path::Path;

/// A secret: a string, `{ env = "NAME" }` or `{ file = "path" }`, already read.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into safekeeping.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that must use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// From a file; newlines at its end are no part of it. The error is for people and names no path.
    pub(super) fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| super::files::reason(&error))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(Self(text.to_owned())) }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A variable of the environment; one that is empty counts as unset.
pub(super) fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of config that reads the environment"
    )]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
