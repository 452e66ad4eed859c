//! Pluggable parts: a name, a line about it, its keys, and how it is built from its section.

/// One entry of a part's `const KINDS` table.
#[derive(Clone, Copy, Debug)]
pub struct Kind<B> {
    /// What `kind = "…"` says.
    pub name: &'static str,
    /// One line for `frontgate kinds`.
    pub about: &'static str,
    /// Its own settings, for `frontgate schema` and for naming unknown keys.
    pub keys: &'static [Key],
    /// Builds it.
    pub build: B,
}

/// A key that a table may hold.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What a value looks like: `duration`, `size`, `string`, `list of strings`.
    pub shape: &'static str,
    /// As it would be written; empty when there is none.
    pub default: &'static str,
    /// One line.
    pub about: &'static str,
}

/// A part's table as written, kept with its positions until its kind reads it. Equal when the values are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The name behind the dot of the table's header.
    pub name: String,
    /// Known to exist.
    pub kind: String,
}
