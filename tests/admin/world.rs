//! A small running whole, made by hand, with the admin server in front of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use frontgate::assemble::{self, Followed, Parts, World};
use frontgate::config::model::{Endpoint, HostPort, Scheme};
use frontgate::config::{KindInfo, Kinds, Secret, parse};
use frontgate::exchange::{Client, Ending, Exchange, Fate};
use frontgate::forward::service::Source;
use frontgate::refusal::Refusal;
use frontgate::registry::{
    CatalogQuery, Found, Health, Names, Query, Registered, Registration, Registry, State, Status,
};
use http::{HeaderValue, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// One written route and a catalog, on two registries.
const CONFIG: &str = r#"
workers = 2
state_dir = false
[listen.web]
address = "127.0.0.1:8080"
[admin]
token = "hidden"
[registry.main]
kind = "shown"
[registry.spare]
kind = "shown"
required = false
[catalog.all]
registry = "main"
path = "/{service}/*"
[service.orders]
endpoints = ["http://127.0.0.1:9001"]
[[route]]
name = "orders"
path = "/orders/*"
hosts = ["*.example.com"]
methods = ["GET"]
listen = ["web"]
priority = 7
service = "orders"
"#;

/// A registry that says what a test wants to see shown. It finds the services `stock` and `users` with one instance
/// each, or nothing ever.
pub(crate) struct Shown {
    status: Mutex<Status>,
    silent: bool,
    found: watch::Sender<Arc<Found>>,
    names: watch::Sender<Arc<Names>>,
}

impl Shown {
    fn new(status: Status, silent: bool) -> Arc<Self> {
        let state = if silent { State::Pending } else { State::Live };
        let address = HostPort { host: "127.0.0.1".into(), port: 9002 };
        let instance =
            Endpoint { scheme: Scheme::Http, address, weight: 3, zone: Some("a".into()) };
        let found =
            Found { endpoints: Arc::from([instance]), held: Arc::default(), state: state.clone() };
        let names = Names { services: Arc::from(["stock".into(), "users".into()]), state };
        Arc::new(Self {
            status: Mutex::new(status),
            silent,
            found: watch::channel(Arc::new(found)).0,
            names: watch::channel(Arc::new(names)).0,
        })
    }

    pub(crate) fn set(&self, status: Status) {
        *self.status.lock().unwrap() = status;
    }

    /// From now on every set is the last good one.
    pub(crate) fn lose(&self, since: SystemTime, reason: &str) {
        self.found.send_modify(|found| {
            let state = State::Stale { since, reason: reason.into() };
            *found = Arc::new(Found { state, ..(**found).clone() });
        });
    }
}

impl Registry for Shown {
    fn watch(&self, _query: Query) -> watch::Receiver<Arc<Found>> {
        self.found.subscribe()
    }

    fn catalog(&self, _query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        (!self.silent).then(|| self.names.subscribe())
    }

    fn register(&self, _registration: Registration) -> Option<Registered> {
        None
    }

    fn status(&self) -> Status {
        self.status.lock().unwrap().clone()
    }
}

/// The whole, following, and the registry `main` in it.
pub(crate) struct Whole {
    pub(crate) world: Arc<World>,
    pub(crate) main: Arc<Shown>,
    followed: Followed,
}

/// What `main` says of itself at first.
pub(crate) fn status() -> Status {
    Status {
        health: Health::Ok,
        last_success: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
        last_error: None,
        services: 2,
        instances: 5,
    }
}

/// The whole once its catalog is routed and its services are found.
pub(crate) async fn world() -> Whole {
    let shown =
        KindInfo { name: "shown", about: "for tests", keys: &[], check: None, names_only: false };
    let kinds = Kinds { registries: &[shown], ..assemble::KINDS };
    let loaded = parse(Path::new("frontgate.toml"), CONFIG, &kinds).unwrap();
    let main = Shown::new(status(), false);
    let registries =
        vec![Arc::clone(&main) as Arc<dyn Registry>, Shown::new(Status::default(), true)];
    let listeners = vec![("web".into(), SocketAddr::from(([127, 0, 0, 1], 8080)))];
    let world = Arc::new(
        World::new(loaded.config, Parts { registries, ..Parts::default() }, listeners).unwrap(),
    );
    world.connections[0].store(3, Ordering::Relaxed);
    let followed = world.follow();
    let whole = Whole { world, main, followed };
    whole.sources(|source| *source == Source::Live).await;
    whole
}

impl Whole {
    /// Waits until the services of the catalog are there and their sources are as they should be.
    pub(crate) async fn sources(&self, should: fn(&Source) -> bool) {
        let there = || {
            let table = self.world.table.borrow().clone();
            let found = table.services.iter().filter(|s| s.config.name.starts_with("main/"));
            found.filter(|service| should(&service.snapshot().source)).count() == 2
        };
        let mut changes = self.world.table.subscribe();
        let wait = async {
            while !there() {
                tokio::time::timeout(Duration::from_millis(10), changes.changed()).await.ok();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }
}

/// Counts a GET of 3 ms that ended so.
pub(crate) fn count(
    world: &World,
    route: usize,
    status: u16,
    fate: Fate,
    refusal: Option<Refusal>,
) {
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 1)), 0, 8080, false);
    let mut exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("0123"));
    exchange.refusal = refusal;
    let numbers = &world.table.borrow().routes[route].numbers;
    numbers.began(0);
    numbers.ended(0, &exchange, Ending { status, fate, took: Duration::from_millis(3) });
}

/// A serving admin.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    _followed: Followed,
}

impl Admin {
    pub(crate) async fn start(whole: Whole, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let token = token.map(|token| Secret::new(token.into()));
        let stopped = async {
            stopped.await.ok();
        };
        let served = tokio::spawn(frontgate::admin::serve(listener, whole.world, token, stopped));
        Self { address, stop, served, _followed: whole.followed }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for header in headers.iter().chain(&["connection: close"]) {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        self.raw(request).await
    }

    /// Sends these bytes on a connection of their own and reads what comes until its end.
    pub(crate) async fn raw(&self, request: String) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
        Answer::parse(&answer)
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let head = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Self { status, head, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}
