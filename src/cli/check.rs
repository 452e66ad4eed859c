//! `frontgate check`: every problem, or one line.

use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit};

use super::{complain, say};
use crate::config::{self, Config, Error, Kinds, Loaded, Problems};

/// The exit code for a configuration that is wrong.
pub const WRONG: u8 = 2;

/// Reports every problem with exit code 2, or one summary line. `verify` adds what only the parts can find.
pub fn check(
    path: &Path,
    kinds: &Kinds<'_>,
    verify: impl FnOnce(&Loaded, &mut Problems),
) -> ExitCode {
    match load(path, kinds, verify) {
        Ok(loaded) => {
            warn(&loaded);
            for line in too_many_connections(&loaded.config) {
                complain(&format!("warning: {line}\n"));
            }
            say(&format!("{} is good: {}\n", path.display(), summary(&loaded.config)))
        }
        Err(error) => report(&error),
    }
}

/// Reads a configuration and asks the parts as well.
pub fn load(
    path: &Path,
    kinds: &Kinds<'_>,
    verify: impl FnOnce(&Loaded, &mut Problems),
) -> Result<Loaded, Error> {
    let loaded = config::load(path, kinds)?;
    let mut problems = Problems::new();
    verify(&loaded, &mut problems);
    if problems.is_empty() { Ok(loaded) } else { Err(Error::Wrong(problems)) }
}

/// Writes the warnings to standard error.
pub fn warn(loaded: &Loaded) {
    for warning in loaded.warnings.iter() {
        complain(&format!("warning: {warning}"));
    }
}

/// Writes why there is no configuration to standard error: 1 for a file that cannot be read, 2 for a wrong one.
pub fn report(error: &Error) -> ExitCode {
    match error {
        Error::Unreadable { .. } => {
            complain(&format!("{error}\n"));
            ExitCode::FAILURE
        }
        Error::Wrong(problems) => {
            complain(&format!("{problems}\n{}\n", count(problems.len(), "problem")));
            ExitCode::from(WRONG)
        }
    }
}

fn summary(config: &Config) -> String {
    let counts = [
        count(config.listeners.len(), "listener"),
        count(config.registries.len(), "registr"),
        count(config.services.len(), "service"),
        count(config.routes.len(), "route"),
        count(config.catalogs.len(), "catalog"),
    ];
    counts.join(", ")
}

fn count(number: usize, word: &str) -> String {
    // The one word among them whose plural is irregular is given as its stem.
    let ending = match (word.ends_with("registr"), number) {
        (true, 1) => "y",
        (true, _) => "ies",
        (false, 1) => "",
        (false, _) => "s",
    };
    format!("{number} {word}{ending}")
}

/// A listener that may hold more connections than the process may open files.
fn too_many_connections(config: &Config) -> Vec<String> {
    // The limit is raised to the hard one at start.
    let Some(files) = getrlimit(Resource::Nofile).maximum else { return Vec::new() };
    let beyond = |connections: usize| u64::try_from(connections).is_ok_and(|c| c > files);
    let listeners = config.listeners.iter().filter(|l| beyond(l.limits.connections));
    listeners
        .map(|listener| {
            format!(
                "[listen.{}] takes {} connections, and the process may open only {files} files",
                listener.name, listener.limits.connections
            )
        })
        .collect()
}
