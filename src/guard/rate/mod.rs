//! How often. To add a store: write its file, add its line to `KINDS`.

mod cells;
pub mod gcra;
mod keys;
mod left;
mod limit;
mod limits;
mod redis;
mod redis_breaker;
mod redis_link;
mod redis_reply;
mod redis_script;
mod redis_settings;
mod redis_wire;

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use self::gcra::{Take, Wish};
pub use self::limits::Limits;
use crate::config::{Kind, KindInfo, Problems, Section, Table};

/// Every kind of store that a config may name.
pub const KINDS: &[Kind<Build>] = &[Kind {
    name: "redis",
    about: "Redis: gateways count together in one server, by a script that it runs once per request",
    keys: redis::KEYS,
    build: Build { check: redis::check, open: redis::open },
}];

/// What a configuration must know of the kinds.
pub const INFOS: &[KindInfo] = &[KINDS[0].checked(KINDS[0].build.check)];

/// How a kind reads its section.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Reports every problem; starts nothing.
    pub check: fn(&mut Table<'_>),
    /// The store; asks nobody before it is started.
    pub open: fn(&str, &mut Table<'_>) -> Option<Arc<dyn Store>>,
}

/// The store that a checked section describes; none when it has problems after all, which are reported.
pub fn build(section: &Section, problems: &mut Problems) -> Option<Arc<dyn Store>> {
    let kind = KINDS.iter().find(|kind| kind.name == section.kind)?;
    (kind.build.open)(&section.name, &mut section.read(problems))
}

/// One `[rate_store.…]`, where several gateways count together; shared by all workers.
pub trait Store: Debug + Send + Sync {
    /// Begins what goes on beside requests, in the runtime of the control plane, until the store is dropped.
    fn start(&self) {}

    /// A worker's part of it. Never leaves its thread.
    fn counter(self: Arc<Self>) -> Rc<dyn Counter>;
}

/// One worker's part of a store.
pub trait Counter: Debug {
    /// Takes one of what `key` may have, in one round trip. `key` names the limit and who shares it.
    fn take(&self, key: &str, wish: Wish) -> Counting;

    /// Gives back one that was taken for a request that did not come in after all. Nobody waits for it, and it may be lost.
    fn give_back(&self, key: &str, wish: Wish);
}

/// What a store says, when it has said it.
pub type Counting = Pin<Box<dyn Future<Output = Counted>>>;

/// What a store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It has counted; [`Wish::granted`] says whether there was room.
    Taken(Take),
    /// It cannot, and its `on_error` lets everybody in.
    Allow,
    /// It cannot, and its `on_error` lets nobody in.
    Deny,
    /// It cannot, and this gateway shall count by itself meanwhile.
    Local,
}
