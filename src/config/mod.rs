//! What the operator wrote, read and checked. Imports nothing else of ours.
//!
//! A file becomes a tree with places (`files`, `tree`), typed readers walk it (`table`) and report everything that is
//! wrong at once (`problem`), and what comes out is the model.

mod check;
mod doubts;
mod files;
mod guards;
mod headers;
mod listeners;
mod lookup;
mod paths;
mod policies;
mod registries;
mod resilience;
mod retries;
mod routes;
mod services;
mod tree;

pub mod kind;
pub mod model;
pub mod pattern;
pub mod problem;
pub mod schema;
pub mod secret;
pub mod show;
pub mod source;
pub mod table;
pub mod units;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use check::check_level;
pub use headers::is_owned;
pub use kind::{Key, Kind, KindInfo, Kinds, Section};
pub use model::Config;
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use show::show;
pub use source::Place;
pub use table::Table;

/// A good configuration.
#[derive(Debug)]
pub struct Loaded {
    /// As checked.
    pub config: Config,
    /// What is allowed and yet looks like a mistake.
    pub warnings: Problems,
    /// Where each of `config.routes` was written, for problems that only a part can find.
    pub route_places: Vec<Place>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read at all: exit code 1.
    Unreadable {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was read and is wrong: exit code 2.
    Wrong(Problems),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "{} cannot be read: {}", path.display(), files::reason(source))
            }
            Self::Wrong(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Wrong(_) => None,
        }
    }
}

/// Reads and checks a configuration and the files it names.
pub fn load(path: &Path, kinds: &Kinds<'_>) -> Result<Loaded, Error> {
    let bytes = std::fs::read(path)
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    read(path, bytes, kinds).map_err(Error::Wrong)
}

/// Checks a configuration that is at hand; `name` is what messages call it and what its paths are relative to.
pub fn parse(name: &Path, text: &str, kinds: &Kinds<'_>) -> Result<Loaded, Problems> {
    read(name, text.as_bytes().to_vec(), kinds)
}

fn read(path: &Path, bytes: Vec<u8>, kinds: &Kinds<'_>) -> Result<Loaded, Problems> {
    let mut problems = Problems::new();
    let mut warnings = Problems::new();
    let secrets = schema::secret_names(kinds);
    let files = files::read(path, bytes, &secrets, &mut problems, &mut warnings);
    let checked = files.map(|files| check::check(&files, kinds, &mut problems, &mut warnings));
    match checked {
        Some((config, route_places)) if problems.is_empty() => {
            Ok(Loaded { config, warnings, route_places })
        }
        _ => Err(problems),
    }
}
