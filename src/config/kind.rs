//! Pluggable parts: a name, a line about it, its keys, and how it is built from its section.

use std::fmt;
use std::path::Path;

use super::problem::{Problems, suggest};
use super::schema;
use super::source::Place;
use super::table::Table;
use super::tree::{self, Entry, Node};

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
    /// `auth.<name>.kind`.
    pub auths: &'a [KindInfo],
    /// `rate_store.<name>.kind`.
    pub rate_stores: &'a [KindInfo],
}

impl Kinds<'_> {
    /// None of any part.
    pub const NONE: Kinds<'static> =
        Kinds { registries: &[], balancers: &[], auths: &[], rate_stores: &[] };
}

/// A key that a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As written; a key of a table inside is `table.key`.
    pub name: &'static str,
    /// What a value looks like: `string`, `boolean`, `integer`, `duration`, `size`, `secret`, `path`,
    /// `list of strings`, `table of secrets`, or words for people.
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
    /// The same of those with the shape `table of secrets`.
    tables: Vec<Option<Vec<(String, super::Secret)>>>,
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
            tables: Vec::new(),
        };
        let mut table = section.read(problems);
        let mut secrets = Vec::new();
        for key in kind.keys.iter().filter(|key| key.shape == "secret") {
            if table.has(key.name) {
                secrets.push((key.name, table.secret(key.name)));
            }
        }
        let of_secrets = kind.keys.iter().filter(|key| key.shape == "table of secrets");
        // Its problems are reported by who checks the section.
        let mut unreported = Problems::new();
        let mut table = section.read(&mut unreported);
        let tables = of_secrets.map(|key| table.secrets(key.name)).collect();
        section.secrets = secrets;
        section.tables = tables;
        section
    }

    /// A section of this kind from the text of its table, for tests and for parts made by the program itself.
    pub fn from_toml(name: &str, kind: &KindInfo, text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let kinds = Kinds { registries: &[*kind], ..Kinds::NONE };
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
/// Keys of every other table with a kind that are not its kind's.
pub(super) const KIND_ONLY: [&str; 1] = ["kind"];

/// Reads `[<part>.<name>]` whose `kind` is one of these; `common` are its keys that are not the kind's.
pub(super) fn section(
    (part, kinds): (&str, &[KindInfo]),
    entry: &Entry,
    common: &[&'static str],
    problems: &mut Problems,
) -> Option<Section> {
    let title = format!("[{part}.{}]", entry.key);
    let mut table = Table::new(title.clone(), schema::OF_KIND, vec![&entry.value], problems);
    let known = || kinds.iter().map(|kind| kind.name);
    if !table.has("kind") {
        let hint = if known().any(|kind| kind == entry.key) {
            Some(format!("kind = \"{}\"", entry.key))
        } else {
            suggest(&entry.key, known())
        };
        table.problem("kind", format!("{title} needs `kind`"), hint);
    }
    let (kind, place) = table.spot("kind")?;
    let Some(kind) = kinds.iter().find(|known| known.name == kind) else {
        let message = format!("no {part} is of the kind `{kind}`");
        table.problem_at(&place, message, suggest(&kind, known()));
        return None;
    };
    let section = Section::new(&entry.key, kind, title, &entry.value, problems);
    let mut table = section.read(problems);
    table.reject_unknown(common);
    match kind.check {
        Some(check) => check(&mut table),
        None => table.check_shapes(),
    }
    Some(section)
}

impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && self.node == other.node
            && self.secrets == other.secrets
            && self.tables == other.tables
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
