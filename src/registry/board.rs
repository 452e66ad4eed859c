//! Where one task that knows everything of a registry shows it: a set for each query, the names for each catalog.

use std::collections::{BTreeSet, HashMap, HashSet};
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

    /// Why these entries, or without a service the names, cannot be believed though the registry answers; for kinds that
    /// read each service by itself.
    fn doubt(&self, _service: Option<&str>) -> Option<Doubt> {
        None
    }

    /// Whether a service opts in to a catalog with these tags. Some registries know more instances than may be used.
    fn is_tagged(&self, service: &str, tags: &[String]) -> bool {
        self.entries(service).any(|entry| entry.is_tagged(tags))
    }
}

/// Why a part of what a registry says cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It was not read yet.
    Unread,
    /// The registry does not give it, and says why; what was known of it stays.
    Refused(String),
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
        let (sender, receiver) = watch::channel(Arc::new(shown.find(&query, &State::Pending)));
        shown.found.insert(query, sender);
        receiver
    }

    /// Watches the names of all services.
    pub(super) fn catalog(&self, query: CatalogQuery) -> watch::Receiver<Arc<Names>> {
        let mut shown = self.shown();
        if let Some(sender) = shown.names.get(&query) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::new(shown.list(&query, &State::Pending)));
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

    /// The services that somebody watches, and whether somebody watches their names.
    pub(super) fn wanted(&self) -> (BTreeSet<String>, bool) {
        let mut shown = self.shown();
        shown.forget();
        let services = shown.found.keys().map(|query| query.service.clone()).collect();
        (services, !shown.names.is_empty())
    }

    /// Whether anybody watches anything.
    pub(super) fn is_watched(&self) -> bool {
        let mut shown = self.shown();
        shown.forget();
        !(shown.found.is_empty() && shown.names.is_empty())
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
        // Some registries tell no capitals from small letters; one set too many is looked at for nothing.
        let about: Option<HashSet<String>> =
            about.map(|names| names.iter().map(|name| name.to_lowercase()).collect());
        let concerned = |query: &Query| {
            about.as_ref().is_none_or(|names| names.contains(&query.service.to_lowercase()))
        };
        let mut changed = 0;
        for (query, sender) in self.found.iter().filter(|(query, _)| concerned(query)) {
            let found = self.find(query, &sender.borrow().state);
            changed += usize::from(replace(sender, found));
        }
        for (query, sender) in &self.names {
            let names = self.list(query, &sender.borrow().state);
            replace(sender, names);
        }
        changed
    }

    /// How far a part can be believed that was in the state `before`.
    fn state(&self, service: Option<&str>, before: &State) -> State {
        match (self.contents.doubt(service), &self.state) {
            (None, state) => state.clone(),
            (Some(Doubt::Refused(why)), _) => before.staled(&why).unwrap_or_else(|| before.clone()),
            (Some(Doubt::Unread), State::Pending | State::Live) => State::Pending,
            (
                Some(Doubt::Unread),
                State::Unheard { since, reason }
                | State::Snapshot { since, reason }
                | State::Stale { since, reason },
            ) => State::Unheard { since: *since, reason: reason.clone() },
        }
    }

    fn find(&self, query: &Query, before: &State) -> Found {
        let wanted =
            |entry: &&Entry| (entry.up || !query.passing_only) && entry.is_tagged(&query.tags);
        let entries = self.contents.entries(&query.service).filter(wanted);
        let endpoints = value::set(entries.map(|entry| entry.endpoint.clone()).collect());
        let state = self.state(Some(&query.service), before);
        Found { endpoints: endpoints.into(), held: Arc::default(), state }
    }

    fn list(&self, query: &CatalogQuery, before: &State) -> Names {
        let tag = query.tag.as_slice();
        let wanted = |name: &&str| tag.is_empty() || self.contents.is_tagged(name, tag);
        let mut services: Vec<String> =
            self.contents.services().into_iter().filter(wanted).map(str::to_owned).collect();
        services.sort_unstable();
        services.dedup();
        Names { services: services.into(), state: self.state(None, before) }
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
        assert!(!board.is_watched());
        let names = board.catalog(CatalogQuery { tag: None });
        assert!(board.is_watched());
        drop(names);
        assert!(!board.is_watched());
    }

    #[test]
    fn a_service_is_told_of_its_change_however_its_name_is_written() {
        let board = Board::<Capitals>::new();
        let found = ["Été", "été"].map(|name| board.watch(query(name)));
        board.update(|_| None);
        board.update(|Capitals(written)| {
            written.push(value::read(b"10.0.0.1:1").unwrap());
            Some(vec!["été".to_owned()])
        });
        assert_eq!(found.map(|found| found.borrow().endpoints.len()), [1, 1]);
    }

    /// One service, whatever it is called.
    #[derive(Default)]
    struct Capitals(Vec<Entry>);

    impl Contents for Capitals {
        fn entries<'a>(&'a self, _service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
            Box::new(self.0.iter())
        }

        fn services(&self) -> Vec<&str> {
            Vec::new()
        }
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

    /// Services whose names say what is wrong with them.
    #[derive(Default)]
    struct Doubtful(Written);

    impl Contents for Doubtful {
        fn entries<'a>(&'a self, service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
            self.0.entries(service)
        }

        fn services(&self) -> Vec<&str> {
            self.0.services()
        }

        fn doubt(&self, service: Option<&str>) -> Option<Doubt> {
            match service {
                Some("unread") => Some(Doubt::Unread),
                Some("refused") => Some(Doubt::Refused("no".into())),
                Some(_) | None => None,
            }
        }
    }

    #[test]
    fn what_is_in_doubt_is_not_live_though_the_rest_is() {
        let board = Board::<Doubtful>::new();
        let watched = ["good", "unread", "refused"].map(|name| board.watch(query(name)));
        let states = || watched.each_ref().map(|found| found.borrow().state.clone());
        board.update(|_| None);
        let [good, unread, refused] = states();
        assert_eq!((good, unread), (State::Live, State::Pending));
        assert!(matches!(refused, State::Unheard { reason, .. } if reason == "no"));
        board.ill("gone");
        let [good, unread, refused] = states();
        assert!(matches!(good, State::Stale { .. }));
        assert!(matches!(unread, State::Unheard { reason, .. } if reason == "gone"));
        assert!(matches!(refused, State::Unheard { reason, .. } if reason == "no"));
        assert_eq!(board.wanted().0.len(), 3);
        drop(watched);
        assert_eq!(board.wanted(), (BTreeSet::new(), false));
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
