//! Values that are never printed.

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
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}
