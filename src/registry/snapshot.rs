//! The last good sets of one registry in one small file: read at start, written whenever they change.
//!
//! The file is replaced whole, never written in place, so that a crash leaves the one before. Its time says when the
//! registry last confirmed what is in it.

mod file;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use self::file::{Contents, Saved};
use super::{CatalogQuery, Query};
use crate::config::model::Endpoint;
use crate::state;

/// Changes within this time are one writing.
const GATHER: Duration = Duration::from_millis(100);
/// Between two writings, at least.
const REST: Duration = Duration::from_secs(1);
/// How often a file whose registry answers is marked as still true.
const CONFIRM: Duration = Duration::from_secs(60);
/// How long an answer of an earlier run is kept that nobody has asked for: a catalog may still tell of its service.
const UNASKED: Duration = Duration::from_hours(1);

/// What is kept of one registry.
#[derive(Debug)]
pub struct Store {
    shelf: Arc<Shelf>,
    started: Once,
}

/// What a registry is asked, with a list for an answer.
pub(super) trait Question: Clone + Debug + Eq + Hash {
    /// An entry of the answer.
    type Item: Clone + Debug;

    /// Where the answers are kept.
    fn answers(entries: &mut Entries) -> &mut Answers<Self>;
}

/// By question.
#[derive(Debug)]
pub(super) struct Answers<Q: Question> {
    known: HashMap<Q, Answer<Q::Item>>,
    /// How many ask it now; not those that nobody does.
    asked: HashMap<Q, usize>,
}

/// What is kept for one question.
#[derive(Clone, Debug)]
pub(super) struct Answer<T> {
    what: Arc<[T]>,
    /// Since when nobody confirms it; none while somebody does.
    unconfirmed: Option<SystemTime>,
}

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Entries {
    sets: Answers<Query>,
    names: Answers<CatalogQuery>,
    /// Grows with every change.
    version: u64,
    /// Nothing changes any more: the process is about to end.
    closed: bool,
}

impl Question for Query {
    type Item = Endpoint;

    fn answers(entries: &mut Entries) -> &mut Answers<Self> {
        &mut entries.sets
    }
}

impl Question for CatalogQuery {
    type Item = String;

    fn answers(entries: &mut Entries) -> &mut Answers<Self> {
        &mut entries.names
    }
}

#[derive(Debug)]
struct Shelf {
    registry: String,
    path: PathBuf,
    opened: Instant,
    entries: Mutex<Entries>,
    dirty: Notify,
    /// One writer at a time.
    written: tokio::sync::Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    /// What is on disk; none when it may be anything.
    version: Option<u64>,
    failed: bool,
}

impl Store {
    /// What an earlier process kept of this registry, from a folder that was prepared. A damaged file is reported and
    /// counts as none.
    pub fn open(folder: &Path, registry: &str) -> Self {
        let path = folder.join(file::name(registry));
        let contents = file::read(&path).unwrap_or_else(|why| {
            let path = path.display();
            tracing::warn!(registry, %path, why, "a snapshot cannot be used; it counts as none");
            Contents::default()
        });
        let entries = Entries {
            sets: Answers::of(contents.sets),
            names: Answers::of(contents.names),
            ..Entries::default()
        };
        let shelf = Shelf {
            registry: registry.to_owned(),
            path,
            opened: Instant::now(),
            entries: Mutex::new(entries),
            dirty: Notify::new(),
            // What was read is what is there.
            written: tokio::sync::Mutex::new(Written { version: Some(0), failed: false }),
        };
        Self { shelf: Arc::new(shelf), started: Once::new() }
    }

    /// Somebody asks until it is forgotten. What was kept, and when the registry last confirmed it; none for what it
    /// confirms now.
    pub(super) fn ask<Q: Question>(&self, question: &Q) -> Option<(Arc<[Q::Item]>, SystemTime)> {
        let mut entries = self.shelf.entries();
        let answers = Q::answers(&mut entries);
        *answers.asked.entry(question.clone()).or_default() += 1;
        let answer = answers.known.get(question)?;
        Some((Arc::clone(&answer.what), answer.unconfirmed?))
    }

    /// The answer is this, confirmed until the contrary is said.
    pub(super) fn keep<Q: Question>(&self, question: &Q, what: &Arc<[Q::Item]>) {
        let answer = Answer { what: Arc::clone(what), unconfirmed: None };
        self.change(|entries| drop(Q::answers(entries).known.insert(question.clone(), answer)));
    }

    /// Nobody confirms the answer any more.
    pub(super) fn doubt<Q: Question>(&self, question: &Q, since: SystemTime) {
        self.change(|entries| {
            if let Some(answer) = Q::answers(entries).known.get_mut(question) {
                answer.unconfirmed = Some(since);
            }
        });
    }

    /// One of those who asked does no more; the last one takes the answer with it.
    pub(super) fn forget<Q: Question>(&self, question: &Q) {
        self.change(|entries| Q::answers(entries).leave(question));
    }

    /// Writes what is not yet on disk, and takes no more changes: those who ask are about to end with the process.
    pub(super) async fn close(&self) {
        self.shelf.entries().closed = true;
        self.shelf.write().await;
    }

    fn change(&self, change: impl FnOnce(&mut Entries)) {
        let mut entries = self.shelf.entries();
        if entries.closed {
            return;
        }
        change(&mut entries);
        entries.version += 1;
        drop(entries);
        self.shelf.dirty.notify_one();
        let Ok(runtime) = Handle::try_current() else { return };
        self.started.call_once(|| drop(runtime.spawn(tend(Arc::downgrade(&self.shelf)))));
    }
}

impl<Q: Question> Default for Answers<Q> {
    fn default() -> Self {
        Self { known: HashMap::new(), asked: HashMap::new() }
    }
}

impl<Q: Question> Answers<Q> {
    fn of(saved: Vec<Saved<Q, Q::Item>>) -> Self {
        Self { known: saved.into_iter().map(Answer::of).collect(), ..Self::default() }
    }

    fn saved(&self) -> Vec<Saved<Q, Q::Item>> {
        self.known.iter().map(Answer::saved).collect()
    }

    fn leave(&mut self, question: &Q) {
        match self.asked.get_mut(question) {
            Some(asked) if *asked > 1 => *asked -= 1,
            Some(_) | None => {
                self.asked.remove(question);
                self.known.remove(question);
            }
        }
    }

    fn drop_unasked(&mut self) {
        self.known.retain(|question, _| self.asked.contains_key(question));
    }

    fn is_any_confirmed(&self) -> bool {
        self.known.values().any(|answer| answer.unconfirmed.is_none())
    }
}

impl<T: Clone> Answer<T> {
    fn of<Q>(saved: Saved<Q, T>) -> (Q, Self) {
        (saved.question, Self { what: saved.what.into(), unconfirmed: saved.confirmed })
    }

    fn saved<Q: Clone>((question, answer): (&Q, &Self)) -> Saved<Q, T> {
        Saved {
            question: question.clone(),
            what: answer.what.to_vec(),
            confirmed: answer.unconfirmed,
        }
    }
}

/// Writes after changes, and confirms in between, until nobody needs it any more.
async fn tend(shelf: Weak<Shelf>) {
    loop {
        let Some(shelf) = shelf.upgrade() else { return };
        if tokio::time::timeout(CONFIRM, shelf.dirty.notified()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
            shelf.write().await;
        } else {
            shelf.confirm().await;
        }
        drop(shelf);
        tokio::time::sleep(REST).await;
    }
}

impl Shelf {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self) {
        let mut written = self.written.lock().await;
        self.write_as(&mut written).await;
    }

    /// Writes what is newer than what is on disk. What could not be written is tried again with the next change or
    /// confirmation.
    async fn write_as(&self, written: &mut Written) {
        let (contents, version) = {
            let mut entries = self.entries();
            if written.version == Some(entries.version) {
                return;
            }
            if self.opened.elapsed() > UNASKED {
                entries.drop_unasked();
            }
            let contents = Contents { sets: entries.sets.saved(), names: entries.names.saved() };
            (contents, entries.version)
        };
        let path = self.path.clone();
        let result = tokio::task::spawn_blocking(move || file::write(&path, contents)).await;
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("its writer panicked".to_owned()),
        };
        let (registry, path) = (self.registry.as_str(), self.path.display());
        let failed_before = std::mem::replace(&mut written.failed, failure.is_some());
        match failure {
            None => {
                written.version = Some(version);
                if failed_before {
                    tracing::info!(registry, %path, "the snapshot is written again");
                }
            }
            Some(why) if !failed_before => {
                tracing::warn!(registry, %path, why, "the snapshot cannot be written; the one before stays");
            }
            Some(_) => {}
        }
    }

    /// Nothing changed, and what was confirmed still is: the file's time says so. Not of a file that is out of date.
    async fn confirm(&self) {
        let mut written = self.written.lock().await;
        let (version, is_any_confirmed) = {
            let entries = self.entries();
            (entries.version, entries.is_any_confirmed())
        };
        if written.version == Some(version) && is_any_confirmed {
            let path = self.path.clone();
            let touched = tokio::task::spawn_blocking(move || state::touch(&path)).await;
            if !matches!(touched, Ok(Ok(()))) {
                written.version = None;
            }
        }
        self.write_as(&mut written).await;
    }
}

impl Entries {
    fn is_any_confirmed(&self) -> bool {
        self.sets.is_any_confirmed() || self.names.is_any_confirmed()
    }

    fn drop_unasked(&mut self) {
        self.sets.drop_unasked();
        self.names.drop_unasked();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::model::{HostPort, Scheme};
    use crate::registry::Lookup;
    use crate::state::prepare;

    fn query(service: &str) -> Query {
        Query { service: service.into(), tags: Vec::new(), passing_only: true, lookup: Lookup::Srv }
    }

    fn endpoints(ports: &[u16]) -> Arc<[Endpoint]> {
        let address = |port: &u16| HostPort { host: "127.0.0.1".into(), port: *port };
        let endpoint =
            |port| Endpoint { scheme: Scheme::Http, address: address(port), weight: 1, zone: None };
        ports.iter().map(endpoint).collect()
    }

    /// What a process that starts now would find.
    fn found(folder: &Path, service: &str) -> Option<(usize, Duration)> {
        let (what, confirmed) = Store::open(folder, "r").ask(&query(service))?;
        Some((what.len(), confirmed.elapsed().unwrap_or_default()))
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_not_called_confirmed_and_is_written_once_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "r");
        store.keep(&query("a"), &endpoints(&[1]));
        store.shelf.write().await;
        let path = &store.shelf.path;
        let old = SystemTime::now() - Duration::from_secs(1000);
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
        // Nothing can be written where a folder stands in the way, as on a disk that is full.
        let in_the_way = state::fresh(path);
        fs::create_dir(&in_the_way).unwrap();
        store.keep(&query("a"), &endpoints(&[1, 2]));
        store.shelf.write().await;
        store.shelf.confirm().await;
        let (count, age) = found(folder.path(), "a").unwrap();
        assert_eq!(count, 1);
        assert!(
            age > Duration::from_secs(900),
            "out of date, and said to be confirmed {age:?} ago"
        );
        fs::remove_dir(&in_the_way).unwrap();
        store.shelf.confirm().await;
        assert_eq!(found(folder.path(), "a").unwrap().0, 2, "though nothing changed since");
    }

    #[tokio::test]
    async fn a_file_that_somebody_removed_is_written_again_though_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        prepare(&state).unwrap();
        let store = Store::open(&state, "r");
        store.keep(&query("a"), &endpoints(&[1]));
        store.shelf.confirm().await;
        fs::remove_dir_all(&state).unwrap();
        store.shelf.confirm().await;
        assert_eq!(found(&state, "a").unwrap().0, 1);
    }

    #[tokio::test]
    async fn an_answer_is_kept_while_anybody_asks_and_goes_with_the_last_one_or_when_nobody_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "r");
        // A service of its own and one of a catalog may ask the same.
        store.ask(&query("a"));
        store.ask(&query("a"));
        store.ask(&query("b"));
        store.keep(&query("a"), &endpoints(&[1]));
        store.keep(&query("b"), &endpoints(&[1]));
        store.forget(&query("a"));
        store.shelf.write().await;
        assert!(found(folder.path(), "a").is_some(), "the other one still asks");
        store.forget(&query("a"));
        store.shelf.write().await;
        assert!(found(folder.path(), "a").is_none());
        let later = Store::open(folder.path(), "r");
        later.keep(&query("c"), &endpoints(&[1]));
        later.ask(&query("c"));
        later.shelf.write().await;
        assert!(found(folder.path(), "b").is_some(), "its service may come yet");
        later.shelf.entries().drop_unasked();
        later.keep(&query("c"), &endpoints(&[2]));
        later.shelf.write().await;
        assert!(found(folder.path(), "b").is_none() && found(folder.path(), "c").is_some());
    }
}
