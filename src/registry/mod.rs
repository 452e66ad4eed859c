//! Where instances are, and how to register there. Never asked on the request path.
//!
//! A registry emits complete sets, never deltas; the latest value wins; an error keeps the last good set and marks it
//! stale. To add one: write its file, add its line to `KINDS`.

mod board;
pub mod consul;
pub mod dns;
pub mod etcd;
pub mod eureka;
mod fixed;
mod gate;
mod keeper;
pub mod kept;
mod ledger;
mod pace;
pub mod snapshot;
mod trouble;
mod value;
pub mod zookeeper;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

pub use fixed::Fixed;
pub use kept::Kept;

pub use crate::config::model::Lookup;
use crate::config::model::{Endpoint, HostPort};
use crate::config::{Kind, KindInfo, Problems, Secret, Section, Table};

/// Every kind of registry that a config may name.
pub const KINDS: &[Kind<Build>] = &[
    Kind {
        name: "consul",
        about: "Consul: blocking queries on the health endpoint, its catalog, registering with an agent",
        keys: consul::KEYS,
        build: Build { check: check::<consul::Consul>, open: open::<consul::Consul> },
    },
    Kind {
        name: "dns",
        about: "DNS: SRV records or addresses, looked up again when their time is over",
        keys: dns::KEYS,
        build: Build { check: check::<dns::Dns>, open: open::<dns::Dns> },
    },
    Kind {
        name: "etcd",
        about: "etcd v3: one watch of the keys under a prefix, its catalog, registering under a lease",
        keys: etcd::KEYS,
        build: Build { check: check::<etcd::Etcd>, open: open::<etcd::Etcd> },
    },
    Kind {
        name: "eureka",
        about: "Eureka: polls for what changed, its applications as a catalog, registering with heartbeats",
        keys: eureka::KEYS,
        build: Build { check: check::<eureka::Eureka>, open: open::<eureka::Eureka> },
    },
    Kind {
        name: "zookeeper",
        about: "ZooKeeper: the children of a node per service, and registering as an ephemeral one",
        keys: zookeeper::KEYS,
        build: Build { check: check::<zookeeper::Zookeeper>, open: open::<zookeeper::Zookeeper> },
    },
];

/// How a kind reads its section.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Reports every problem; starts nothing.
    pub check: fn(&mut Table<'_>),
    /// The registry under this name; asks nothing until it is used.
    pub open: fn(&str, &mut Table<'_>) -> Option<Arc<dyn Registry>>,
}

/// What a configuration must know of the kinds.
pub const INFOS: &[KindInfo] = &[
    KINDS[0].checked(KINDS[0].build.check),
    KINDS[1].checked(KINDS[1].build.check).of_names_only(),
    KINDS[2].checked(KINDS[2].build.check),
    KINDS[3].checked(KINDS[3].build.check),
    KINDS[4].checked(KINDS[4].build.check),
];

/// A kind that reads its own section. A problem of the whole is told by its key, after those of single values.
trait FromTable: Registry + Sized + 'static {
    fn from_table(name: &str, table: &mut Table<'_>) -> Result<Self, crate::fetch::tls::Problem>;
}

fn check<R: FromTable>(table: &mut Table<'_>) {
    read::<R>("", table);
}

fn open<R: FromTable>(name: &str, table: &mut Table<'_>) -> Option<Arc<dyn Registry>> {
    Some(Arc::new(read::<R>(name, table)?))
}

fn read<R: FromTable>(name: &str, table: &mut Table<'_>) -> Option<R> {
    let read = R::from_table(name, table);
    if let Err(problem) = &read {
        // A key of a table inside is reported where that table stands.
        let key = problem.key.split('.').next().unwrap_or(problem.key);
        table.problem(key, problem.to_string(), None::<String>);
    }
    read.ok()
}

/// The registry that a checked section describes; none when it has problems after all, which are reported.
pub fn build(section: &Section, problems: &mut Problems) -> Option<Arc<dyn Registry>> {
    let kind = KINDS.iter().find(|kind| kind.name == section.kind)?;
    (kind.build.open)(&section.name, &mut section.read(problems))
}

/// A place that knows where instances are. Created once per `[registry.…]`; every method returns at once and the
/// work goes on in tasks of the control plane until what was returned is dropped.
pub trait Registry: Send + Sync {
    /// Watches one service until every receiver is dropped.
    fn watch(&self, query: Query) -> watch::Receiver<Arc<Found>>;

    /// Watches the names of all services until every receiver is dropped; none when the registry has no catalog.
    fn catalog(&self, query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>>;

    /// Registers and keeps alive until [`Registered::deregister`]; none when one cannot register there.
    fn register(&self, registration: Registration) -> Option<Registered>;

    /// What an operator wants to know of it now.
    fn status(&self) -> Status;
}

/// Reads a secret anew from where it is kept.
pub type Reread = Arc<dyn Fn() -> Option<Secret> + Send + Sync>;

/// Which instances of which service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The name in the registry.
    pub service: String,
    /// Tags that must all be present.
    pub tags: Vec<String>,
    /// Only instances whose checks pass.
    pub passing_only: bool,
    /// What DNS is asked about the name; other registries do not look at it.
    pub lookup: Lookup,
}

/// A service's complete set of instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Sorted by address, each once.
    pub endpoints: Arc<[Endpoint]>,
    /// Those of them that the registry no longer names, kept until it has confirmed that for a while.
    pub held: Arc<[HostPort]>,
    /// How far it can be believed.
    pub state: State,
}

impl Found {
    /// Nothing was heard yet.
    pub fn pending() -> Self {
        Self { endpoints: Arc::default(), held: Arc::default(), state: State::Pending }
    }

    /// What the registry says now.
    pub fn live(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints: endpoints.into(), held: Arc::default(), state: State::Live }
    }

    /// The same set after a failure; none when that changes nothing.
    fn staled(&self, why: &str) -> Option<Self> {
        Some(Self { state: self.state.staled(why)?, ..self.clone() })
    }
}

/// Which services a catalog wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CatalogQuery {
    /// Only services with this tag; none means all.
    pub tag: Option<String>,
}

/// The complete set of service names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Sorted.
    pub services: Arc<[String]>,
    /// How far it can be believed.
    pub state: State,
}

impl Names {
    /// Nothing was heard yet.
    pub fn pending() -> Self {
        Self { services: Arc::default(), state: State::Pending }
    }
}

/// How far a set can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was heard yet; the set is empty.
    Pending,
    /// Nothing was heard yet, and the registry does not answer; the set is empty.
    Unheard {
        /// Since the first failure.
        since: SystemTime,
        /// The newest error in one line.
        reason: String,
    },
    /// As the registry says now.
    Live,
    /// A set that an earlier process found; the registry has not answered this one yet.
    Snapshot {
        /// When the registry last confirmed it.
        since: SystemTime,
        /// The newest error in one line.
        reason: String,
    },
    /// The last good set; the registry does not answer.
    Stale {
        /// Since the first failure.
        since: SystemTime,
        /// The newest error in one line.
        reason: String,
    },
}

impl State {
    /// The state after a failure; none when that changes nothing.
    fn staled(&self, why: &str) -> Option<Self> {
        let reason = why.to_owned();
        Some(match self {
            Self::Pending => Self::Unheard { since: SystemTime::now(), reason },
            Self::Live => Self::Stale { since: SystemTime::now(), reason },
            Self::Unheard { reason: known, .. }
            | Self::Snapshot { reason: known, .. }
            | Self::Stale { reason: known, .. }
                if known == why =>
            {
                return None;
            }
            Self::Unheard { since, .. } => Self::Unheard { since: *since, reason },
            Self::Snapshot { since, .. } => Self::Snapshot { since: *since, reason },
            Self::Stale { since, .. } => Self::Stale { since: *since, reason },
        })
    }
}

/// What to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Unique in the registry: `<name>-<host>-<port>` by default.
    pub id: String,
    /// The service's name.
    pub name: String,
    /// Where it is reached.
    pub address: HostPort,
    /// Tags, or metadata where there are none.
    pub tags: Vec<String>,
    /// How its liveness is shown.
    pub check: Liveness,
}

/// How a registered instance shows that it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The registry asks this address over HTTP (`http://10.0.0.5:8080/healthz`); starts as passing.
    Http(String),
    /// A heartbeat is sent to the registry.
    Heartbeat,
}

/// A registration that is kept alive.
#[derive(Debug)]
pub struct Registered {
    /// Told to end; the task answers by ending.
    pub stop: tokio::sync::oneshot::Sender<()>,
    /// Ends once the registry was told, or could not be within its time limit.
    pub done: tokio::task::JoinHandle<()>,
}

impl Registered {
    /// Takes the registration back; ends once the registry was told or could not be told.
    pub async fn deregister(self) {
        drop(self.stop);
        self.done.await.ok();
    }
}

/// What an operator wants to know of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub health: Health,
    /// The newest answer.
    pub last_success: Option<SystemTime>,
    /// The newest failure.
    pub last_error: Option<(SystemTime, String)>,
    /// Services watched.
    pub services: usize,
    /// Instances in them.
    pub instances: usize,
}

/// Where a registry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Every watch is live.
    Ok,
    /// Nothing was heard yet.
    #[default]
    Connecting,
    /// Never answered this process; what an earlier one found serves.
    Snapshot,
    /// Answered once, does not answer now.
    Stale,
    /// Never answered, and says no: wrong token, wrong protocol.
    Failed,
}
