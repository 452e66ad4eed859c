//! A small running whole, made by hand, with the admin server in front of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use frontgate::assemble::{Phase, World};
use frontgate::config::model::{
    AdminConfig, Found, HeaderEdits, HostPattern, Limits, ListenerConfig, LogConfig, PathPattern,
    PathRewrite, PoolConfig, RegistryConfig, RouteConfig, Segment, ServiceConfig,
};
use frontgate::config::{Config, Secret, Section};
use frontgate::exchange::{Ending, Exchange, Fate};
use frontgate::forward::Service;
use frontgate::gateway::{Route, Table};
use frontgate::observe::RouteNumbers;
use frontgate::refusal::Refusal;
use frontgate::registry::{
    CatalogQuery, Found as FoundSet, Health, Names, Query, Registered, Registration, Registry,
    State, Status,
};
use frontgate::rewrite::Rewrite;
use frontgate::router::Router;
use http::{HeaderValue, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A registry that says of itself what a test wants to see shown; it finds nothing.
pub(crate) struct Shown(Mutex<Status>);

impl Shown {
    fn new(status: Status) -> Arc<Self> {
        Arc::new(Self(Mutex::new(status)))
    }

    pub(crate) fn set(&self, status: Status) {
        *self.0.lock().unwrap() = status;
    }
}

impl Registry for Shown {
    fn watch(&self, _query: Query) -> watch::Receiver<Arc<FoundSet>> {
        let nothing = FoundSet { endpoints: Arc::from([]), state: State::Pending };
        watch::channel(Arc::new(nothing)).1
    }

    fn catalog(&self, _query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        None
    }

    fn register(&self, _registration: Registration) -> Option<Registered> {
        None
    }

    fn status(&self) -> Status {
        self.0.lock().unwrap().clone()
    }
}

/// The whole and the registry `main` in it.
pub(crate) struct Whole {
    pub(crate) world: Arc<World>,
    pub(crate) main: Arc<Shown>,
}

impl From<Whole> for Arc<World> {
    fn from(whole: Whole) -> Self {
        whole.world
    }
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

/// One written route and two of a catalog, on two registries of which the second was never heard.
pub(crate) fn world() -> Whole {
    let services = vec![
        service("orders", Found::Written(Vec::new())),
        service("main/stock", found("stock")),
        service("main/users", found("users")),
    ];
    let orders = RouteConfig {
        source: "routes/a.toml:3".into(),
        hosts: vec![HostPattern::Suffix(".example.com".into())],
        methods: vec![Method::GET],
        listen: vec![0],
        priority: 7,
        ..route("orders", "orders", "orders")
    };
    let stock = route("catalog.all/stock", "main/stock", "stock");
    let users = route("catalog.all/users", "main/users", "users");
    let config = config(&services, &[&orders, &stock, &users]);
    let routes = [(orders, "orders"), (stock, "catalog.all"), (users, "catalog.all")];
    let table = Table {
        routes: routes
            .into_iter()
            .enumerate()
            .map(|(service, (config, label))| {
                let numbers = Arc::new(RouteNumbers::new(config_workers()));
                let rewrite = Rewrite::new(&config).unwrap();
                Arc::new(Route {
                    config: config.into(),
                    label: label.into(),
                    service,
                    rewrite,
                    numbers,
                })
            })
            .collect(),
        services: services.into_iter().map(|config| Arc::new(running(config))).collect(),
        unrouted: Arc::new(RouteNumbers::new(config_workers())),
        router: Router::build(Vec::new()).0,
        trusted: Arc::new([]),
    };
    let main = Shown::new(status());
    let world = World {
        config: Arc::new(config),
        registries: vec![Arc::clone(&main) as Arc<dyn Registry>, Shown::new(Status::default())],
        table: watch::channel(Arc::new(table)).0,
        phase: watch::channel(Phase::Serving).0,
        listeners: vec![("web".into(), SocketAddr::from(([127, 0, 0, 1], 8080)))],
        connections: Arc::new([AtomicU64::new(3)]),
    };
    Whole { world: Arc::new(world), main }
}

fn config_workers() -> usize {
    2
}

fn running(config: ServiceConfig) -> Service {
    Service::new(Arc::new(config), config_workers())
}

fn found(name: &str) -> Found {
    Found::Registry { registry: 0, name: name.into(), tags: Vec::new(), passing_only: true }
}

fn service(name: &str, found: Found) -> ServiceConfig {
    ServiceConfig {
        name: name.into(),
        found,
        balance: "round_robin".into(),
        connect_timeout: Duration::from_secs(1),
        pool: PoolConfig::default(),
        source: None,
    }
}

fn route(name: &str, service: &str, segment: &str) -> RouteConfig {
    RouteConfig {
        name: name.into(),
        source: "frontgate.toml:1".into(),
        paths: vec![PathPattern::Prefix(vec![Segment::Literal(segment.into())])],
        hosts: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listen: Vec::new(),
        priority: 0,
        service: service.into(),
        path: PathRewrite::Keep,
        preserve_host: true,
        timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(60),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
    }
}

fn config(services: &[ServiceConfig], routes: &[&RouteConfig]) -> Config {
    let registry = |name: &str, required| RegistryConfig {
        name: name.into(),
        required,
        section: Section::from_toml(name, &frontgate::registry::INFOS[0], "kind = \"consul\"")
            .unwrap(),
    };
    Config {
        workers: config_workers(),
        shutdown_grace: Duration::from_secs(30),
        drain_delay: Duration::ZERO,
        log: LogConfig::default(),
        trusted_proxies: Vec::new(),
        listeners: vec![ListenerConfig {
            name: "web".into(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            reuse_port: false,
            limits: Limits::default(),
        }],
        admin: Some(AdminConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)), token: None }),
        registries: vec![registry("main", true), registry("spare", false)],
        catalogs: Vec::new(),
        registrations: Vec::new(),
        services: services.iter().cloned().map(Arc::new).collect(),
        routes: routes.iter().map(|route| Arc::new((*route).clone())).collect(),
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
    let exchange = Exchange {
        id: HeaderValue::from_static("0123"),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        route: Some(route),
        method: Method::GET,
        began: Instant::now(),
        refusal,
        allow: None,
        attempts: 1,
        retries: [0; 3],
    };
    let numbers = &world.table.borrow().routes[route].numbers;
    numbers.began(0);
    numbers.ended(0, &exchange, Ending { status, fate, took: Duration::from_millis(3) });
}

/// A serving admin.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Admin {
    pub(crate) async fn start(world: impl Into<Arc<World>>, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let token = token.map(|token| Secret::new(token.into()));
        let stopped = async {
            stopped.await.ok();
        };
        let served = tokio::spawn(frontgate::admin::serve(listener, world.into(), token, stopped));
        Self { address, stop, served }
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
