//! Following the names of all services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::guard::Guard;
use super::{Core, Past, Place, Policy, Shown, until};
use crate::registry::{CatalogQuery, Names, State};

/// A catalog's names as they may be believed. A name that vanished in bulk is held as long as an instance would be.
pub struct NamesFollower {
    core: Arc<Core>,
    query: CatalogQuery,
    raw: watch::Receiver<Arc<Names>>,
    heard: Arc<Names>,
    shown: Option<Arc<Names>>,
    past: Option<Past<Arc<[String]>>>,
    guard: Guard<String, ()>,
    place: Place,
    /// Names that are no longer told, of services that still have instances.
    lingering: BTreeSet<String>,
    news: watch::Receiver<()>,
}

impl NamesFollower {
    pub(super) fn new(
        core: Arc<Core>,
        raw: watch::Receiver<Arc<Names>>,
        query: CatalogQuery,
        policy: Policy,
    ) -> Self {
        let past = core.store.as_ref().and_then(|store| store.ask(&query));
        let place = Place::new(&core);
        place.shows(Shown { is_awaited: true, ..Shown::default() });
        Self {
            heard: Arc::new(Names::pending()),
            shown: None,
            past: past.map(|past| Past::new(past, policy.stale)),
            guard: Guard::new(policy.loss_guard),
            place,
            lingering: BTreeSet::new(),
            news: core.news.subscribe(),
            core,
            query,
            raw,
        }
    }

    /// The next list that differs from the one before; the first at once. None when the registry is gone.
    pub async fn next(&mut self) -> Option<Arc<Names>> {
        loop {
            self.hear();
            if let Some(names) = self.renew() {
                return Some(names);
            }
            let past = self.past.as_ref().and_then(|past| past.next(&self.heard.state));
            let wake = [past, self.guard.next()].into_iter().flatten().min();
            tokio::select! {
                changed = self.raw.changed() => changed.ok()?,
                () = until(wake) => drop(self.guard.expire(Instant::now())),
                Ok(()) = self.news.changed(), if self.past.is_some() || !self.lingering.is_empty() => {}
            }
        }
    }

    fn hear(&mut self) {
        let now = Arc::clone(&self.raw.borrow_and_update());
        if Arc::ptr_eq(&now, &self.heard) {
            return;
        }
        let before = std::mem::replace(&mut self.heard, now);
        let named = by_name(&self.heard.services);
        match self.heard.state {
            State::Live => {
                let missed = self.past.take().and_then(|past| past.missed(named.is_empty()));
                let before = self.shown.as_ref().map_or(&before.state, |shown| &shown.state);
                let missed = missed.map(|missed| by_name(&missed));
                let came_back = self.guard.resumes(before, missed);
                self.linger();
                let verdict = self.guard.answered(named, came_back, Instant::now());
                if verdict.held > 0 {
                    self.core.count("names_held", verdict.held);
                    let (missing, of) = (verdict.held, verdict.of);
                    let registry = self.core.name.as_str();
                    tracing::warn!(
                        registry,
                        missing,
                        of,
                        "many services vanished from the catalog at once: they are held"
                    );
                }
            }
            State::Stale { .. } => {
                self.past = None;
                self.guard.believe(named);
            }
            State::Pending | State::Unheard { .. } | State::Snapshot { .. } => {}
        }
    }

    /// A service whose instances are held, or which is just about to hear that they are gone, keeps its name: its last
    /// instance takes it along.
    fn linger(&mut self) {
        let before = self.shown.iter().flat_map(|names| names.services.iter());
        let vanished = before.filter(|name| self.heard.services.binary_search(name).is_err());
        self.lingering = vanished.cloned().collect();
    }

    fn renew(&mut self) -> Option<Arc<Names>> {
        let (core, tag, heard) = (&self.core, self.query.tag.as_ref(), &self.heard);
        self.lingering.retain(|name| {
            heard.services.binary_search(name).is_err() && core.has_instances(name, tag)
        });
        let names = self.compose();
        if names.state != State::Live && names.services.is_empty() {
            self.guard.forget();
        }
        if self.shown.as_deref() == Some(&names) {
            return None;
        }
        let was_snapshot = self.is_from_snapshot();
        let names = Arc::new(names);
        self.shown = Some(Arc::clone(&names));
        let from_snapshot = self.is_from_snapshot();
        let is_awaited = names.state == State::Pending;
        self.place.shows(Shown { is_awaited, from_snapshot, ..Shown::default() });
        if from_snapshot && !was_snapshot {
            self.guard.believe(by_name(&names.services));
        }
        if let Some(store) = &self.core.store {
            match &names.state {
                State::Live => store.keep(&self.query, &names.services),
                State::Stale { since, .. } => store.doubt(&self.query, *since),
                State::Pending | State::Unheard { .. } | State::Snapshot { .. } => {}
            }
        }
        Some(names)
    }

    fn compose(&self) -> Names {
        let heard = &*self.heard;
        if let Some(past) = &self.past {
            return match past.serves(&heard.state, &self.core) {
                Some(state) => Names { services: Arc::clone(&past.what), state },
                None => heard.clone(),
            };
        }
        if self.guard.held().len() == 0 && self.lingering.is_empty() {
            return heard.clone();
        }
        let held = self.guard.held().map(|(name, ())| name.clone());
        let kept = held.chain(self.lingering.iter().cloned());
        let mut services: Vec<String> = heard.services.iter().cloned().chain(kept).collect();
        services.sort_unstable();
        services.dedup();
        Names { services: services.into(), state: heard.state.clone() }
    }

    fn is_from_snapshot(&self) -> bool {
        self.shown.as_ref().is_some_and(|names| matches!(names.state, State::Snapshot { .. }))
    }
}

impl Drop for NamesFollower {
    fn drop(&mut self) {
        if let Some(store) = &self.core.store {
            store.forget(&self.query);
        }
    }
}

fn by_name(services: &[String]) -> BTreeMap<String, ()> {
    services.iter().map(|name| (name.clone(), ())).collect()
}
