//! Following one service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::guard::Guard;
use super::{Core, Past, Place, Policy, Shown, left, probe, until};
use crate::config::model::{Endpoint, HostPort};
use crate::registry::{Found, Query, State};

/// Between two probes of what is held.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Probes that end within this time make one set.
const GATHER: Duration = Duration::from_millis(50);

/// Who was asked, and whether somebody answers; an error when the asking itself broke.
type Probed = Result<(HostPort, bool), tokio::task::JoinError>;

/// A service's sets as they may be believed.
pub struct Follower {
    core: Arc<Core>,
    query: Arc<Query>,
    policy: Policy,
    raw: watch::Receiver<Arc<Found>>,
    /// As the registry said last.
    heard: Arc<Found>,
    /// As was said last.
    shown: Option<Arc<Found>>,
    past: Option<Past<Arc<[Endpoint]>>>,
    guard: Guard<HostPort, Endpoint>,
    probes: JoinSet<(HostPort, bool)>,
    next_probe: Option<Instant>,
    place: Place,
    news: watch::Receiver<()>,
}

impl Follower {
    pub(super) fn new(core: Arc<Core>, query: Query, policy: Policy) -> Self {
        let raw = core.raw.watch(query.clone());
        let past = core.store.as_ref().and_then(|store| store.ask(&query));
        let place = Place::new(&core);
        let query = Arc::new(query);
        place.shows(Shown {
            query: Some(Arc::clone(&query)),
            is_awaited: true,
            ..Shown::default()
        });
        Self {
            heard: Arc::new(Found::pending()),
            shown: None,
            past: past.map(|past| Past::new(past, policy.stale)),
            guard: Guard::new(policy.loss_guard),
            probes: JoinSet::new(),
            next_probe: None,
            place,
            news: core.news.subscribe(),
            core,
            query,
            policy,
            raw,
        }
    }

    /// The next set that differs from the one before; the first at once. None when the registry is gone.
    pub async fn next(&mut self) -> Option<Arc<Found>> {
        loop {
            self.hear();
            if let Some(found) = self.renew() {
                return Some(found);
            }
            let wake = self.wake();
            tokio::select! {
                changed = self.raw.changed() => changed.ok()?,
                Some(probed) = self.probes.join_next() => self.probed(probed).await,
                () = until(wake) => self.overdue(),
                Ok(()) = self.news.changed(), if self.past.is_some() => {}
            }
        }
    }

    /// Takes note of what the registry says now.
    fn hear(&mut self) {
        let now = Arc::clone(&self.raw.borrow_and_update());
        if Arc::ptr_eq(&now, &self.heard) {
            return;
        }
        let before = std::mem::replace(&mut self.heard, now);
        let named = by_address(&self.heard.endpoints);
        match self.heard.state {
            State::Live => {
                let missed = self.past.take().and_then(|past| past.missed(named.is_empty()));
                let before = self.shown.as_ref().map_or(&before.state, |shown| &shown.state);
                let missed = missed.map(|missed| by_address(&missed));
                let came_back = self.guard.resumes(before, missed);
                self.answered(named, came_back);
            }
            State::Stale { .. } => {
                self.past = None;
                self.guard.believe(named);
            }
            State::Pending | State::Unheard { .. } | State::Snapshot { .. } => {}
        }
    }

    fn answered(&mut self, named: BTreeMap<HostPort, Endpoint>, came_back: bool) {
        let verdict = self.guard.answered(named, came_back, Instant::now());
        let (registry, service) = (self.core.name.as_str(), self.query.service.as_str());
        if verdict.named_again > 0 {
            let instances = verdict.named_again;
            tracing::info!(registry, service, instances, "held instances are named again");
        }
        if verdict.held > 0 {
            self.core.count("held", verdict.held);
            let hold = self.policy.loss_guard.map(|guard| guard.hold).unwrap_or_default();
            tracing::warn!(
                registry,
                service,
                missing = verdict.held,
                of = verdict.of,
                ?hold,
                "many instances vanished at once: those that answer a connect are held"
            );
            self.probe();
        }
    }

    fn probe(&mut self) {
        let held = self.guard.held();
        self.next_probe = (held.len() > 0).then(|| Instant::now() + PROBE_EVERY);
        for (address, _) in held {
            let turns = Arc::clone(&self.core.probes);
            self.probes.spawn(probe::connect(address.clone(), turns));
        }
    }

    /// Takes note of this probe and of those that end just after it: each makes a set, and there may be thousands.
    async fn probed(&mut self, first: Probed) {
        let mut dead = 0;
        let mut note = |guard: &mut Guard<_, _>, probed: Probed| {
            // A probe that panicked says nothing.
            if let Ok((address, false)) = probed {
                dead += usize::from(guard.dead(&address));
            }
        };
        note(&mut self.guard, first);
        let over = tokio::time::sleep(GATHER);
        tokio::pin!(over);
        while !self.probes.is_empty() {
            tokio::select! {
                Some(probed) = self.probes.join_next() => note(&mut self.guard, probed),
                () = &mut over => break,
            }
        }
        if dead > 0 {
            self.core.count("held_dead", dead);
            let (registry, service) = (self.core.name.as_str(), self.query.service.as_str());
            tracing::info!(
                registry,
                service,
                instances = dead,
                "held, and nobody answers: they go"
            );
        }
    }

    /// What is due without anybody saying anything.
    fn overdue(&mut self) {
        let now = Instant::now();
        let gone = self.guard.expire(now);
        if gone > 0 {
            self.core.count("held_confirmed", gone);
            let (registry, service) = (self.core.name.as_str(), self.query.service.as_str());
            tracing::info!(registry, service, instances = gone, "held for long enough: they go");
        }
        if self.next_probe.is_some_and(|at| at <= now) && self.probes.is_empty() {
            self.probe();
        }
    }

    /// What is to be said, when that is news.
    fn renew(&mut self) -> Option<Arc<Found>> {
        let found = self.compose();
        if found.state != State::Live && found.endpoints.is_empty() {
            self.guard.forget();
        }
        if self.shown.as_deref() == Some(&found) {
            return None;
        }
        let was_snapshot = self.is_from_snapshot();
        let found = Arc::new(found);
        self.shown = Some(Arc::clone(&found));
        let from_snapshot = self.is_from_snapshot();
        let instances = found.endpoints.len();
        let is_awaited = found.state == State::Pending;
        let query = Some(Arc::clone(&self.query));
        self.place.shows(Shown { query, is_awaited, instances, from_snapshot });
        if from_snapshot && !was_snapshot {
            self.guard.believe(by_address(&found.endpoints));
            self.tell_of_snapshot(&found);
        }
        if let Some(store) = &self.core.store {
            match &found.state {
                State::Live => store.keep(&*self.query, &found.endpoints),
                State::Stale { since, .. } => store.doubt(&*self.query, *since),
                State::Pending | State::Unheard { .. } | State::Snapshot { .. } => {}
            }
        }
        Some(found)
    }

    fn compose(&self) -> Found {
        let heard = &*self.heard;
        if let Some(past) = &self.past {
            return match past.serves(&heard.state, &self.core) {
                Some(state) => {
                    Found { endpoints: Arc::clone(&past.what), held: Arc::default(), state }
                }
                None => heard.clone(),
            };
        }
        if let (State::Stale { since, reason }, Some(age)) =
            (&heard.state, self.policy.stale.max_age)
            && left(*since, age).is_none()
        {
            let reason = format!("{reason}; stale for longer than `stale.max_age` allows");
            return Found { state: State::Stale { since: *since, reason }, ..Found::pending() };
        }
        if self.guard.held().len() == 0 {
            return heard.clone();
        }
        let (held, kept): (Vec<_>, Vec<_>) = self
            .guard
            .held()
            .map(|(address, endpoint)| (address.clone(), endpoint.clone()))
            .unzip();
        let mut endpoints = [&heard.endpoints, kept.as_slice()].concat();
        endpoints.sort_by(|a, b| a.address.cmp(&b.address));
        Found { endpoints: endpoints.into(), held: held.into(), state: heard.state.clone() }
    }

    fn is_from_snapshot(&self) -> bool {
        self.shown.as_ref().is_some_and(|found| matches!(found.state, State::Snapshot { .. }))
    }

    fn tell_of_snapshot(&self, found: &Found) {
        let State::Snapshot { since, reason } = &found.state else { return };
        self.core.count("snapshot", 1);
        let age = since.elapsed().unwrap_or_default().as_secs();
        let (registry, service) = (self.core.name.as_str(), self.query.service.as_str());
        let instances = found.endpoints.len();
        tracing::warn!(
            registry,
            service,
            instances,
            age_seconds = age,
            reason,
            "the registry does not answer: the last good set of an earlier run serves"
        );
    }

    /// When something is due though nobody says anything.
    fn wake(&self) -> Option<Instant> {
        let past = self.past.as_ref().and_then(|past| past.next(&self.heard.state));
        let stale = match (&self.heard.state, self.policy.stale.max_age) {
            (State::Stale { since, .. }, Some(age)) => {
                left(*since, age).and_then(|left| Instant::now().checked_add(left))
            }
            _ => None,
        };
        let probe =
            self.next_probe.filter(|_| self.probes.is_empty() && self.guard.held().len() > 0);
        [past, stale, probe, self.guard.next()].into_iter().flatten().min()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(store) = &self.core.store {
            store.forget(&*self.query);
        }
    }
}

fn by_address(endpoints: &[Endpoint]) -> BTreeMap<HostPort, Endpoint> {
    endpoints.iter().map(|e| (e.address.clone(), e.clone())).collect()
}
