//! Following the registries: sets of instances into services, catalogs into routes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{AbortHandle, JoinSet};

use super::{World, table};
use crate::config::model::{Found as Where, ServiceConfig};
use crate::forward::instance::Instance;
use crate::forward::service::{Change, Source};
use crate::forward::{self, Service};
use crate::gateway::Table;
use crate::registry::kept::{Follower, NamesFollower, Policy};
use crate::registry::{CatalogQuery, Query, State};

/// The tasks that follow the registries; they end when this is dropped.
pub struct Followed {
    _catalogs: JoinSet<()>,
    _state: Arc<Mutex<Following>>,
}

/// What is followed now.
struct Following {
    /// The services of each catalog.
    names: Vec<Vec<String>>,
    /// By the service's name.
    watches: HashMap<String, (Arc<Service>, AbortHandle)>,
    /// Every service of the table, by its name.
    tended: HashMap<String, (Arc<Service>, AbortHandle)>,
    tasks: JoinSet<()>,
    /// Tables that some worker may still hold. They are freed here, where it disturbs no request.
    retired: Vec<Arc<Table>>,
}

impl World {
    /// Starts to follow the registries. Returns at once; the sets come as the registries answer.
    pub fn follow(self: &Arc<Self>) -> Followed {
        let state = Arc::new(Mutex::new(Following {
            names: vec![Vec::new(); self.config.catalogs.len()],
            watches: HashMap::new(),
            tended: HashMap::new(),
            tasks: JoinSet::new(),
            retired: Vec::new(),
        }));
        self.table.borrow().shared.start();
        lock(&state).watch_services(self);
        let mut catalogs = JoinSet::new();
        for (at, catalog) in self.config.catalogs.iter().enumerate() {
            let query = CatalogQuery { tag: catalog.tag.clone() };
            let policy = policy(&catalog.service);
            match self.registries[catalog.registry].catalog(query, policy) {
                Some(names) => {
                    catalogs.spawn(follow_catalog(Arc::clone(self), Arc::clone(&state), at, names));
                }
                None => tracing::warn!(catalog = %catalog.name, "this registry has no catalog"),
            }
        }
        Followed { _catalogs: catalogs, _state: state }
    }
}

async fn follow_catalog(
    world: Arc<World>,
    state: Arc<Mutex<Following>>,
    at: usize,
    mut names: NamesFollower,
) {
    while let Some(now) = names.next().await {
        if !matches!(now.state, State::Pending | State::Unheard { .. }) {
            lock(&state).renew(&world, at, &now.services);
        }
    }
}

impl Following {
    /// Takes over the services of a catalog; a table that would be the same is not built.
    fn renew(&mut self, world: &Arc<World>, at: usize, services: &[String]) {
        if self.names[at] == services {
            return;
        }
        let known = std::mem::replace(&mut self.names[at], services.to_vec());
        let before = Arc::clone(&world.table.borrow());
        match table::build(&world.config, &self.names, &before.shared, Some(&before)) {
            Ok(table) => {
                let catalog = &world.config.catalogs[at].name;
                let news = services.iter().filter(|name| !known.contains(name));
                for service in news.filter(|name| !table::is_segment(name)) {
                    tracing::warn!(%catalog, ?service, "its name is not one path segment: it has no route");
                }
                let came = few(services.iter().filter(|name| !known.contains(name)));
                let left = few(known.iter().filter(|name| !services.contains(name)));
                tracing::info!(%catalog, came, left, services = services.len(), "catalog changed");
                world.table.send_replace(Arc::new(table));
                self.watch_services(world);
            }
            // The table in use stays.
            Err(error) => tracing::error!(%error, "a catalog could not be taken over"),
        }
        self.retired.push(before);
        self.retired.retain(|table| Arc::strong_count(table) > 1);
    }

    /// Tends every service of the table, and no other.
    fn tend_services(&mut self, table: &Table) {
        let mut before = std::mem::take(&mut self.tended);
        for service in &table.services {
            let name = service.config.name.clone();
            let tended = match before.remove(&name) {
                Some((known, task)) if Arc::ptr_eq(&known, service) => (known, task),
                other => {
                    other.inspect(|(_, task)| task.abort());
                    let tend = forward::tend(Arc::clone(service));
                    (Arc::clone(service), self.tasks.spawn(tend))
                }
            };
            self.tended.insert(name, tended);
        }
        before.into_values().for_each(|(_, task)| task.abort());
    }

    /// Watches every service of the table that lives in a registry, and no other.
    fn watch_services(&mut self, world: &Arc<World>) {
        let table = Arc::clone(&world.table.borrow());
        self.tend_services(&table);
        let mut before = std::mem::take(&mut self.watches);
        for service in &table.services {
            let Where::Registry { registry, name, tags, passing_only, lookup } =
                &service.config.found
            else {
                continue;
            };
            let watched = match before.remove(&service.config.name) {
                Some((known, task)) if Arc::ptr_eq(&known, service) => (known, task),
                other => {
                    if let Some((_, task)) = other {
                        task.abort();
                    }
                    let query = Query {
                        service: name.clone(),
                        tags: tags.clone(),
                        passing_only: *passing_only,
                        lookup: *lookup,
                    };
                    let found = world.registries[*registry].follow(query, policy(&service.config));
                    let follow = follow_service(Arc::clone(world), Arc::clone(service), found);
                    (Arc::clone(service), self.tasks.spawn(follow))
                }
            };
            self.watches.insert(service.config.name.clone(), watched);
        }
        for (_, task) in before.into_values() {
            task.abort();
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn follow_service(world: Arc<World>, service: Arc<Service>, mut found: Follower) {
    while let Some(now) = found.next().await {
        let change = service.update(&now.endpoints, &now.held, source(&now.state));
        say(&service, &change);
        // Only a mark: the workers ask each service whether it has changed.
        world.table.send_modify(|_| {});
    }
}

fn policy(service: &ServiceConfig) -> Policy {
    Policy { loss_guard: service.loss_guard, stale: service.stale }
}

/// One line for what came and went.
fn say(service: &Service, change: &Change) {
    if change.came.is_empty() && change.left.is_empty() {
        return;
    }
    let places = |instances: &[Arc<Instance>]| few(instances.iter().map(|one| &one.place));
    let (came, left) = (places(&change.came), places(&change.left));
    let instances = service.set().instances.len();
    tracing::info!(service = %service.config.name, came, left, instances, "instances changed");
}

/// As many as a line bears.
fn few(all: impl Iterator<Item = impl std::fmt::Display>) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    let mut count = 0;
    for one in all {
        count += 1;
        if count <= SHOWN {
            let comma = if count > 1 { "," } else { "" };
            text.push_str(&format!("{comma}{one}"));
        }
    }
    if count > SHOWN {
        text.push_str(&format!(" and {} more", count - SHOWN));
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

fn source(state: &State) -> Source {
    match state {
        State::Pending => Source::Pending,
        State::Unheard { reason, .. } => Source::Unheard { reason: reason.clone() },
        State::Snapshot { since, reason } => {
            Source::Snapshot { since: *since, reason: reason.clone() }
        }
        State::Live => Source::Live,
        State::Stale { since, reason } => Source::Stale { since: *since, reason: reason.clone() },
    }
}

fn lock(state: &Mutex<Following>) -> std::sync::MutexGuard<'_, Following> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
