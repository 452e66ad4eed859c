//! Sets that somebody in this process writes: a config's `endpoints`, the demo's backends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use super::{
    CatalogQuery, Found, Health, Names, Query, Registered, Registration, Registry, State, Status,
};
use crate::config::model::Endpoint;

/// A registry held in memory; always live. Tags and health are unknown here: a query's are not looked at.
pub struct Fixed {
    services: Mutex<BTreeMap<String, watch::Sender<Arc<Found>>>>,
    names: watch::Sender<Arc<Names>>,
    written: Mutex<Option<SystemTime>>,
}

impl Default for Fixed {
    fn default() -> Self {
        let nothing = Names { services: Arc::default(), state: State::Live };
        Self {
            services: Mutex::default(),
            names: watch::Sender::new(Arc::new(nothing)),
            written: Mutex::default(),
        }
    }
}

impl Fixed {
    /// Replaces a service's set; an empty one takes its name out of the catalog.
    pub fn set(&self, service: &str, mut endpoints: Vec<Endpoint>) {
        endpoints.sort_by(|a, b| a.address.cmp(&b.address));
        endpoints.dedup_by(|a, b| a.address == b.address);
        let mut services = self.services();
        channel(&mut services, service).send_replace(Arc::new(Found::live(endpoints)));
        let filled = services.iter().filter(|(_, found)| !found.borrow().endpoints.is_empty());
        let names = filled.map(|(name, _)| name.clone()).collect();
        self.names.send_replace(Arc::new(Names { services: names, state: State::Live }));
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Arc<Found>>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn channel<'a>(
    services: &'a mut BTreeMap<String, watch::Sender<Arc<Found>>>,
    service: &str,
) -> &'a watch::Sender<Arc<Found>> {
    services
        .entry(service.to_owned())
        .or_insert_with(|| watch::Sender::new(Arc::new(Found::live(Vec::new()))))
}

impl Registry for Fixed {
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>> {
        channel(&mut self.services(), &query.service).subscribe()
    }

    fn catalog(&self, _query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        Some(self.names.subscribe())
    }

    fn register(&self, _registration: Registration) -> Option<Registered> {
        None
    }

    fn status(&self) -> Status {
        let services = self.services();
        Status {
            health: Health::Ok,
            last_success: *self.written.lock().unwrap_or_else(PoisonError::into_inner),
            last_error: None,
            services: services.len(),
            instances: services.values().map(|found| found.borrow().endpoints.len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{HostPort, Lookup, Scheme};

    fn endpoint(port: u16) -> Endpoint {
        let address = HostPort { host: "127.0.0.1".into(), port };
        Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
    }

    #[test]
    fn a_written_set_is_live_at_once_and_replaced_whole() {
        let registry = Fixed::default();
        let query = Query {
            service: "a".into(),
            tags: Vec::new(),
            passing_only: true,
            lookup: Lookup::Srv,
        };
        let mut found = registry.watch(query);
        assert_eq!(**found.borrow(), Found::live(Vec::new()));
        registry.set("a", vec![endpoint(2), endpoint(1), endpoint(2)]);
        assert!(found.has_changed().unwrap());
        assert_eq!(*found.borrow_and_update().endpoints, [endpoint(1), endpoint(2)]);
        registry.set("a", vec![endpoint(3)]);
        assert_eq!(*found.borrow().endpoints, [endpoint(3)]);
    }

    #[test]
    fn the_catalog_names_what_has_instances() {
        let registry = Fixed::default();
        let names = registry.catalog(CatalogQuery { tag: None }).unwrap();
        registry.set("b", vec![endpoint(1)]);
        registry.set("a", vec![endpoint(1)]);
        assert_eq!(*names.borrow().services, ["a", "b"]);
        registry.set("b", Vec::new());
        assert_eq!(*names.borrow().services, ["a"]);
    }
}
