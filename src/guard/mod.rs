//! Who may come in, and how often. A guard may refuse; what it learns are facts of the exchange, which others act on.

pub mod auth;
pub mod body;
pub mod clients;
pub mod cors;
pub mod in_flight;
pub mod rate;

use std::rc::Rc;
use std::sync::Arc;

use self::auth::{Auth, Desk, Scheme};
use self::body::BodyLimit;
use self::clients::Clients;
use self::cors::Cors;
use self::in_flight::InFlight;
use self::rate::{Counter, Limits, Store};
use crate::config::model::{RateConfig, RateKey, RouteConfig};

/// What a route lets in, shared by all workers. In the order in which the gateway asks.
#[derive(Debug)]
pub struct Guard {
    /// From where.
    pub clients: Clients,
    /// For pages of which other origins.
    pub cors: Option<Cors>,
    /// How long a body.
    pub body: BodyLimit,
    /// How often, as far as that can be told without knowing who calls. What is dear comes after them.
    pub limits: Limits,
    /// Whom.
    pub auth: Auth,
    /// How often each caller.
    pub caller_limits: Limits,
    /// How many at a time.
    pub in_flight: InFlight,
}

/// What guards of several routes have in common, in the order of the config.
#[derive(Debug, Default)]
pub struct Shared {
    /// Of [`crate::config::Config::auths`], by name.
    pub schemes: Vec<(Arc<str>, Arc<dyn Scheme>)>,
    /// Of [`crate::config::Config::rate_stores`], by name.
    pub stores: Vec<(Arc<str>, Arc<dyn Store>)>,
}

/// One worker's part of it.
#[derive(Debug, Default)]
pub struct Desks {
    /// Of the schemes.
    pub schemes: Vec<Rc<dyn Desk>>,
    /// Of the stores.
    pub counters: Vec<Rc<dyn Counter>>,
}

impl Desks {
    /// A worker's.
    pub fn new(shared: &Shared) -> Self {
        Self {
            schemes: shared.schemes.iter().map(|(_, one)| Arc::clone(one).desk()).collect(),
            counters: shared.stores.iter().map(|(_, one)| Arc::clone(one).counter()).collect(),
        }
    }
}

impl Shared {
    /// Begins what goes on beside requests, in the runtime of the control plane.
    pub fn start(&self) {
        self.schemes.iter().for_each(|(_, scheme)| scheme.start());
        self.stores.iter().for_each(|(_, store)| store.start());
    }
}

impl Guard {
    /// A route's. A limit that is equal `before` goes on where it stands.
    pub fn new(route: &RouteConfig, shared: &Shared, before: Option<&Self>) -> Self {
        let (name, config) = (route.name.as_str(), &route.guard);
        let (by_caller, others): (Vec<&RateConfig>, Vec<&RateConfig>) = config
            .rates
            .iter()
            .partition(|rate| rate.keys.iter().any(|key| matches!(key, RateKey::Claim(_))));
        Self {
            clients: Clients::new(&config.allow, &config.deny),
            cors: config.cors.as_ref().map(Cors::new),
            body: BodyLimit(config.max_body),
            limits: Limits::new(&others, name, shared, before.map(|before| &before.limits)),
            auth: Auth::new(&config.auth, shared),
            caller_limits: Limits::new(
                &by_caller,
                name,
                shared,
                before.map(|before| &before.caller_limits),
            ),
            in_flight: InFlight::new(config.in_flight, before.map(|before| &before.in_flight)),
        }
    }
}
