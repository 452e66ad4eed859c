//! Several gateways count together in a Redis server: one script, run once per request, over one connection per worker.
//!
//! The protocol is spoken here and not by a client crate, because what a server sends must be bounded and nothing on the
//! path of a request may lock.

use std::cell::RefCell;
use std::fmt;
use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;

use hyper_rustls::HttpsConnector;
use tokio::task::JoinHandle;

use super::gcra::Wish;
use super::redis_breaker::Health;
use super::redis_link::{self, Link};
use super::redis_script;
use super::redis_settings::{Settings, WORKERS};
use super::{Counted, Counter, Counting, Store};
use crate::config::Table;
use crate::fetch::{self, Capped};

pub(super) use super::redis_settings::KEYS;

/// `[rate_store.<name>]` of kind `redis`.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) settings: Settings,
    pub(super) connector: HttpsConnector<Capped>,
    pub(super) health: Arc<Health>,
}

/// Reports every problem.
pub(super) fn check(table: &mut Table<'_>) {
    read("", table);
}

/// The store under this name.
pub(super) fn open(name: &str, table: &mut Table<'_>) -> Option<Arc<dyn Store>> {
    Some(Arc::new(read(name, table)?))
}

fn read(name: &str, table: &mut Table<'_>) -> Option<Redis> {
    let settings = Settings::read(table)?;
    match fetch::connector(&settings.tls, WORKERS) {
        Ok(connector) => {
            let health = Health::new(name, settings.on_error.word());
            Some(Redis { settings, connector, health })
        }
        Err(problem) => {
            let key = problem.key.split('.').next().unwrap_or(problem.key);
            table.problem(key, problem.to_string(), None);
            None
        }
    }
}

impl Store for Redis {
    fn counter(self: Arc<Self>) -> Rc<dyn Counter> {
        let unasked = self.settings.on_error.counted();
        let prefix = self.settings.prefix.clone();
        Rc::new(Own { link: Rc::new(Link::new(self)), prefix, unasked, keeper: RefCell::default() })
    }
}

/// A worker's.
struct Own {
    link: Rc<Link>,
    prefix: Box<str>,
    /// What a request that is not counted comes to.
    unasked: Counted,
    /// Begins with the first request.
    keeper: RefCell<Option<JoinHandle<()>>>,
}

impl Counter for Own {
    fn take(&self, key: &str, wish: Wish) -> Counting {
        let unasked = self.unasked;
        if self.link.breaker.is_open() {
            self.link.breaker.missed();
            return Box::pin(ready(unasked));
        }
        self.keeper.borrow_mut().get_or_insert_with(|| {
            tokio::task::spawn_local(redis_link::keep(Rc::clone(&self.link)))
        });
        let link = Rc::clone(&self.link);
        let place = redis_script::place(&self.prefix, key);
        Box::pin(async move {
            let taken = link.take(&place, wish).await;
            taken.map(Counted::Taken).unwrap_or_else(|| {
                link.breaker.missed();
                unasked
            })
        })
    }

    fn give_back(&self, key: &str, wish: Wish) {
        if !self.link.breaker.is_open() {
            self.link.give_back(&redis_script::place(&self.prefix, key), wish);
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}
