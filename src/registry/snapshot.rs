//! The last good sets of one registry in one small file: read at start, written whenever they change.
//!
//! The file is replaced whole, never written in place, so that a crash leaves the one before. Its time says when the
//! registry last confirmed what is in it.

mod file;

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use self::file::{Contents, Saved};
use super::{CatalogQuery, Query};
use crate::config::model::Endpoint;

/// Changes within this time are one writing.
const GATHER: Duration = Duration::from_millis(100);
/// Between two writings, at least.
const REST: Duration = Duration::from_secs(1);
/// How often a file whose registry answers is marked as still true.
const CONFIRM: Duration = Duration::from_secs(60);

/// Whether files can be kept in this folder, which is made when it is not there. The error is one line.
pub fn prepare(folder: &Path) -> Result<(), String> {
    file::prepare(folder).map_err(|error| {
        format!("the state directory {} cannot be used: {error}", folder.display())
    })
}

/// What is kept of one registry.
#[derive(Debug)]
pub struct Store {
    shelf: Arc<Shelf>,
    started: Once,
}

/// What a registry is asked, with a list for an answer.
pub(super) trait Question: Clone + Eq + Hash {
    /// An entry of the answer.
    type Item: Clone;

    /// Where the answers are kept.
    fn answers(entries: &mut Entries) -> &mut Answers<Self>;
}

/// By question.
type Answers<Q> = HashMap<Q, Answer<<Q as Question>::Item>>;

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
    sets: HashMap<Query, Answer<Endpoint>>,
    names: HashMap<CatalogQuery, Answer<String>>,
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
    entries: Mutex<Entries>,
    dirty: Notify,
    /// One writer at a time.
    written: tokio::sync::Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    version: u64,
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
            sets: contents.sets.into_iter().map(Answer::of).collect(),
            names: contents.names.into_iter().map(Answer::of).collect(),
            ..Entries::default()
        };
        let shelf = Shelf {
            registry: registry.to_owned(),
            path,
            entries: Mutex::new(entries),
            dirty: Notify::new(),
            written: tokio::sync::Mutex::default(),
        };
        Self { shelf: Arc::new(shelf), started: Once::new() }
    }

    /// What was kept for a question, and when the registry last confirmed it; none for what it confirms now.
    pub(super) fn known<Q: Question>(&self, question: &Q) -> Option<(Arc<[Q::Item]>, SystemTime)> {
        let mut entries = self.shelf.entries();
        let answer = Q::answers(&mut entries).get(question)?;
        Some((Arc::clone(&answer.what), answer.unconfirmed?))
    }

    /// The answer is this, confirmed until the contrary is said.
    pub(super) fn keep<Q: Question>(&self, question: &Q, what: &Arc<[Q::Item]>) {
        let answer = Answer { what: Arc::clone(what), unconfirmed: None };
        self.change(|entries| drop(Q::answers(entries).insert(question.clone(), answer)));
    }

    /// Nobody confirms the answer any more.
    pub(super) fn doubt<Q: Question>(&self, question: &Q, since: SystemTime) {
        self.change(|entries| {
            if let Some(answer) = Q::answers(entries).get_mut(question) {
                answer.unconfirmed = Some(since);
            }
        });
    }

    /// Nobody asks any more.
    pub(super) fn forget<Q: Question>(&self, question: &Q) {
        self.change(|entries| drop(Q::answers(entries).remove(question)));
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
        let (contents, version) = {
            let entries = self.entries();
            let contents = Contents {
                sets: entries.sets.iter().map(Answer::saved).collect(),
                names: entries.names.iter().map(Answer::saved).collect(),
            };
            (contents, entries.version)
        };
        if version == written.version {
            return;
        }
        let path = self.path.clone();
        let result = tokio::task::spawn_blocking(move || file::write(&path, contents)).await;
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("its writer panicked".to_owned()),
        };
        if let Some(why) = &failure
            && !written.failed
        {
            let (registry, path) = (self.registry.as_str(), self.path.display());
            tracing::warn!(registry, %path, why, "the snapshot cannot be written; the one before stays");
        }
        *written = Written { version, failed: failure.is_some() };
    }

    /// Nothing changed, and what was confirmed still is: the file's time says so.
    async fn confirm(&self) {
        let _written = self.written.lock().await;
        if self.entries().is_any_confirmed() {
            let path = self.path.clone();
            // A file that is gone is written again with the next change.
            tokio::task::spawn_blocking(move || file::touch(&path)).await.ok();
        }
    }
}

impl Entries {
    fn is_any_confirmed(&self) -> bool {
        self.sets.values().any(|set| set.unconfirmed.is_none())
            || self.names.values().any(|names| names.unconfirmed.is_none())
    }
}
