//! Pluggable parts: a name, a line about it, its keys, and how it is built from its section.

use std::fmt;
use std::path::Path;

use super::problem::Problems;
use super::schema;
use super::source::Place;
use super::table::Table;
use super::tree::{self, Node};

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

impl<B> Kind<B> {
    /// What a configuration must know of it.
    pub const fn info(&self) -> KindInfo {
        KindInfo {
            name: self.name,
            about: self.about,
            keys: self.keys,
            check: None,
            names_only: false,
        }
    }

    /// The same, with a reader of its section that reports every problem and starts nothing.
    pub const fn checked(&self, check: fn(&mut Table<'_>)) -> KindInfo {
        KindInfo { check: Some(check), ..self.info() }
    }
}

/// What a configuration must know of a kind: config knows no part.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// What `kind = "…"` says.
    pub name: &'static str,
    /// One line for `frontgate kinds`.
    pub about: &'static str,
    /// Its own settings.
    pub keys: &'static [Key],
    /// Reads its section only to report problems. Without one each key is checked by its shape.
    pub check: Option<fn(&mut Table<'_>)>,
    /// Whether a registry of it is asked for one name and knows nothing else: no tags, no catalog, no registering. How
    /// it is asked is said by `dns` and `port` of a service.
    pub names_only: bool,
}

impl KindInfo {
    /// The same, of a kind that is asked for one name and knows nothing else.
    pub const fn of_names_only(self) -> Self {
        Self { names_only: true, ..self }
    }
}

/// The kinds that a configuration may name.
#[derive(Clone, Copy, Debug)]
pub struct Kinds<'a> {
    /// `registry.<name>.kind`.
    pub registries: &'a [KindInfo],
    /// `service.<name>.balance`.
    pub balancers: &'a [KindInfo],
}

/// A key that a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As written; a key of a table inside is `table.key`.
    pub name: &'static str,
    /// What a value looks like: `string`, `boolean`, `integer`, `duration`, `size`, `secret`, `path`,
    /// `list of strings`, or words for people.
    pub shape: &'static str,
    /// As it would be written; empty when there is none.
    pub default: &'static str,
    /// One line.
    pub about: &'static str,
}

impl Key {
    /// A line of a table of keys.
    pub const fn new(
        name: &'static str,
        shape: &'static str,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, shape, default, about }
    }
}

/// A part's table as written, kept with its positions until its kind reads it. Equal when the values are equal,
/// also those of secrets read from elsewhere.
#[derive(Clone)]
pub struct Section {
    /// The name behind the dot of the table's header.
    pub name: String,
    /// Known to exist.
    pub kind: String,
    title: String,
    keys: &'static [Key],
    node: Node,
    /// Of the keys with the shape `secret`: what they stood for when the file was read.
    secrets: Vec<(&'static str, Option<super::Secret>)>,
}

impl Section {
    pub(super) fn new(
        name: &str,
        kind: &KindInfo,
        title: String,
        node: &Node,
        problems: &mut Problems,
    ) -> Self {
        let mut section = Self {
            name: name.to_owned(),
            kind: kind.name.to_owned(),
            title,
            keys: kind.keys,
            node: node.clone(),
            secrets: Vec::new(),
        };
        let mut table = section.read(problems);
        let mut secrets = Vec::new();
        for key in kind.keys.iter().filter(|key| key.shape == "secret") {
            if table.has(key.name) {
                secrets.push((key.name, table.secret(key.name)));
            }
        }
        section.secrets = secrets;
        section
    }

    /// A section of this kind from the text of its table, for tests and for parts made by the program itself.
    pub fn from_toml(name: &str, kind: &KindInfo, text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let kinds = Kinds { registries: &[*kind], balancers: &[] };
        let secrets = schema::secret_names(&kinds);
        let reader = tree::Reader { folder: Path::new(""), secrets: &secrets };
        let node = tree::parse(Path::new(name), text.to_owned(), reader, &mut problems);
        let section = node.map(|node| {
            let section = Self::new(name, kind, format!("[{name}]"), &node, &mut problems);
            section.read(&mut problems).reject_unknown(&COMMON);
            section
        });
        section.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// Its typed reader.
    pub fn read<'a>(&'a self, problems: &'a mut Problems) -> Table<'a> {
        let layers = vec![&self.node];
        Table::new(self.title.clone(), self.keys, layers, problems).with_secrets(&self.secrets)
    }

    /// Where its table stands.
    pub fn place(&self) -> &Place {
        &self.node.place
    }

    /// Its settings for display: a secret's value never.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The keys of its kind.
    pub fn keys(&self) -> &'static [Key] {
        self.keys
    }
}

/// Keys of every registry's table that are not its kind's.
pub(super) const COMMON: [&str; 2] = ["kind", "required"];

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && self.node == other.node
            && self.secrets == other.secrets
    }
}

impl fmt::Debug for Section {
    /// Without its values, some of which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
