//! Where one task that knows everything of a registry shows it: a set for each query, the names for each catalog.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::value::{self, Entry};
use super::{CatalogQuery, Found, Names, Query, State};

/// Everything a registry said.
pub(super) trait Contents: Default + Send + 'static {
    /// The instances of a service.
    fn entries<'a>(&'a self, service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a>;

    /// The names of all services that have instances.
    fn services(&self) -> Vec<&str>;
}

/// The board. Who watches something sees at once what is known.
pub(super) struct Board<C> {
    shown: Mutex<Shown<C>>,
}

struct Shown<C> {
    contents: C,
    state: State,
    found: HashMap<Query, watch::Sender<Arc<Found>>>,
    names: HashMap<CatalogQuery, watch::Sender<Arc<Names>>>,
}

impl<C: Contents> Board<C> {
    /// Nothing was heard yet.
    pub(super) fn new() -> Self {
        Self {
            shown: Mutex::new(Shown {
                contents: C::default(),
                state: State::Pending,
                found: HashMap::new(),
                names: HashMap::new(),
            }),
        }
    }

    /// Watches one service.
    pub(super) fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        let mut shown = self.shown();
        if let Some(sender) = shown.found.get(&query) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::new(shown.find(&query)));
        shown.found.insert(query, sender);
        receiver
    }

    /// Watches the names of all services.
    pub(super) fn catalog(&self, query: CatalogQuery) -> watch::Receiver<Arc<Names>> {
        let mut shown = self.shown();
        if let Some(sender) = shown.names.get(&query) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::new(shown.list(&query)));
        shown.names.insert(query, sender);
        receiver
    }

    /// The registry said something: changes what is known, and shows it as live. `change` says which services it is
    /// about; none means any. Returns how many sets are another than before.
    pub(super) fn update(&self, change: impl FnOnce(&mut C) -> Option<Vec<String>>) -> usize {
        let mut shown = self.shown();
        let about = change(&mut shown.contents);
        let was_live = std::mem::replace(&mut shown.state, State::Live) == State::Live;
        shown.publish(about.filter(|_| was_live).as_deref())
    }

    /// The registry does not answer: what is known stays, and is stale.
    pub(super) fn ill(&self, why: &str) {
        let mut shown = self.shown();
        if let Some(state) = shown.state.staled(why) {
            shown.state = state;
            shown.publish(None);
        }
    }

    /// Whether nobody watches anything; what was known is forgotten then, for nobody keeps it up to date.
    pub(super) fn is_abandoned(&self) -> bool {
        let mut shown = self.shown();
        shown.forget();
        let abandoned = shown.found.is_empty() && shown.names.is_empty();
        if abandoned {
            (shown.contents, shown.state) = (C::default(), State::Pending);
        }
        abandoned
    }

    /// Whether the last thing heard was good.
    pub(super) fn is_live(&self) -> bool {
        self.shown().state == State::Live
    }

    /// Services and instances watched.
    pub(super) fn watched(&self) -> (usize, usize) {
        let mut shown = self.shown();
        shown.forget();
        let instances = shown.found.values().map(|found| found.borrow().endpoints.len()).sum();
        (shown.found.len(), instances)
    }

    fn shown(&self) -> MutexGuard<'_, Shown<C>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Contents> Shown<C> {
    /// Drops what nobody watches any more. Under the lock, so that nobody can subscribe to what is about to end.
    fn forget(&mut self) {
        self.found.retain(|_, sender| !sender.is_closed());
        self.names.retain(|_, sender| !sender.is_closed());
    }

    fn publish(&mut self, about: Option<&[String]>) -> usize {
        self.forget();
        let concerned = |query: &Query| {
            about.is_none_or(|names| {
                names.iter().any(|name| name.eq_ignore_ascii_case(&query.service))
            })
        };
        let mut changed = 0;
        for (query, sender) in self.found.iter().filter(|(query, _)| concerned(query)) {
            changed += usize::from(replace(sender, self.find(query)));
        }
        for (query, sender) in &self.names {
            replace(sender, self.list(query));
        }
        changed
    }

    fn find(&self, query: &Query) -> Found {
        let wanted =
            |entry: &&Entry| (entry.up || !query.passing_only) && entry.is_tagged(&query.tags);
        let entries = self.contents.entries(&query.service).filter(wanted);
        let endpoints = value::set(entries.map(|entry| entry.endpoint.clone()).collect());
        Found { endpoints: endpoints.into(), held: Arc::default(), state: self.state.clone() }
    }

    fn list(&self, query: &CatalogQuery) -> Names {
        let tag = query.tag.as_slice();
        let wanted = |name: &&str| {
            tag.is_empty() || self.contents.entries(name).any(|entry| entry.is_tagged(tag))
        };
        let mut services: Vec<String> =
            self.contents.services().into_iter().filter(wanted).map(str::to_owned).collect();
        services.sort_unstable();
        services.dedup();
        Names { services: services.into(), state: self.state.clone() }
    }
}

fn replace<T: PartialEq>(sender: &watch::Sender<Arc<T>>, value: T) -> bool {
    sender.send_if_modified(|before| {
        let changed = **before != value;
        if changed {
            *before = Arc::new(value);
        }
        changed
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::registry::Lookup;

    #[derive(Default)]
    struct Written(BTreeMap<String, Vec<Entry>>);

    impl Contents for Written {
        fn entries<'a>(&'a self, service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
            Box::new(self.0.get(service).into_iter().flatten())
        }

        fn services(&self) -> Vec<&str> {
            self.0.keys().map(String::as_str).collect()
        }
    }

    fn query(service: &str) -> Query {
        Query { service: service.into(), tags: Vec::new(), passing_only: true, lookup: Lookup::Srv }
    }

    fn put(board: &Board<Written>, service: &str, values: &[&str]) -> usize {
        board.update(|written| {
            let entries =
                values.iter().map(|value| value::read(value.as_bytes()).expect("good")).collect();
            written.0.insert(service.to_owned(), entries);
            Some(vec![service.to_owned()])
        })
    }

    #[test]
    fn who_comes_late_sees_what_is_known_and_who_is_not_concerned_is_not_woken() {
        let board = Board::new();
        let mut early = board.watch(query("a"));
        assert_eq!(early.borrow_and_update().state, State::Pending);
        put(&board, "a", &["10.0.0.1:2", "10.0.0.1:1", "10.0.0.1:1"]);
        assert!(early.has_changed().unwrap());
        assert_eq!(early.borrow_and_update().endpoints.len(), 2, "each address once");
        let mut late = board.watch(query("a"));
        assert_eq!(late.borrow_and_update().endpoints.len(), 2);
        assert_eq!(put(&board, "b", &["10.0.0.1:1"]), 0);
        assert!(!early.has_changed().unwrap());
        assert_eq!(board.watched(), (1, 2));
        drop((early, late));
        assert_eq!(board.watched(), (0, 0));
    }

    #[test]
    fn a_failure_makes_everything_stale_and_the_next_word_about_one_service_makes_all_live() {
        let board = Board::new();
        let names = board.catalog(CatalogQuery { tag: None });
        put(&board, "a", &["10.0.0.1:1"]);
        let a = board.watch(query("a"));
        board.ill("gone");
        assert!(matches!(a.borrow().state, State::Stale { .. }));
        assert!(matches!(names.borrow().state, State::Stale { .. }));
        put(&board, "b", &["10.0.0.1:1"]);
        assert_eq!((a.borrow().state.clone(), a.borrow().endpoints.len()), (State::Live, 1));
        assert_eq!(*names.borrow().services, ["a", "b"]);
    }

    #[test]
    fn what_nobody_watches_is_forgotten() {
        let board = Board::new();
        let a = board.watch(query("a"));
        put(&board, "a", &["10.0.0.1:1"]);
        assert!(!board.is_abandoned());
        drop(a);
        let names = board.catalog(CatalogQuery { tag: None });
        assert!(!board.is_abandoned());
        drop(names);
        assert!(board.is_abandoned());
        assert_eq!(**board.watch(query("a")).borrow(), Found::pending());
    }

    #[test]
    fn tags_choose_instances_and_services() {
        let board = Board::new();
        put(&board, "a", &["10.0.0.1:1", r#"{"address":"10.0.0.1:2","tags":["Frontgate"]}"#]);
        put(&board, "b", &["10.0.0.1:3"]);
        let tagged = Query { tags: vec!["frontgate".into()], ..query("a") };
        assert_eq!(board.watch(tagged).borrow().endpoints.len(), 1);
        let names = board.catalog(CatalogQuery { tag: Some("frontgate".into()) });
        assert_eq!(*names.borrow().services, ["a"]);
    }
}
