//! The life of the process: bind, serve, drain.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::{check, complain, log};
use crate::admin;
use crate::assemble::{self, Parts, Phase, World};
use crate::config::model::{AdminConfig, HostPort, RegistrationConfig};
use crate::config::{Config, Loaded};
use crate::listen::{self, Bound, Share, Traffic, Workers};
use crate::observe;
use crate::registry::{Liveness, Registered, Registration};

/// Threads of the control plane: it waits most of the time, and must not take the workers' cores.
const CONTROL_THREADS: usize = 2;
/// What is left of the control plane when everything else has ended.
const LAST: Duration = Duration::from_secs(1);
/// Between two looks at whether the workers have ended.
const LOOK: Duration = Duration::from_millis(10);
/// Between two looks at whether one has while it should serve: an idle gateway should sleep.
const WATCH: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, then drains. 1 when it could not start or was told twice to end.
pub fn run(flags: &super::ConfigFlag, logging: &super::LogFlags) -> ExitCode {
    let loaded = match check::load(&flags.config, &assemble::KINDS, assemble::check) {
        Ok(loaded) => loaded,
        Err(error) => return check::report(&error),
    };
    check::warn(&loaded);
    let parts = match assemble::parts(&loaded.config) {
        Ok(parts) => parts,
        Err(problems) => return check::report(&crate::config::Error::Wrong(problems)),
    };
    serve(loaded, parts, logging, |_| std::future::ready(()))
}

/// Where the process listens, once it does: not what was written when that is port 0.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Listeners by name.
    pub listeners: Vec<(String, SocketAddr)>,
    /// The admin server, unless it is switched off.
    pub admin: Option<SocketAddr>,
}

/// Serves a checked configuration with these parts, and `beside` it what goes on in the control plane as long.
pub fn serve<F: Future<Output = ()> + Send + 'static>(
    loaded: Loaded,
    parts: Parts,
    logging: &super::LogFlags,
    beside: impl FnOnce(&Listening) -> F,
) -> ExitCode {
    let started = log::start(&loaded.config.log, logging).and_then(|()| {
        control_plane().map_err(|error| format!("the control plane cannot start: {error}"))
    });
    let served = started.and_then(|control| {
        raise_file_limit();
        let served = control.block_on(live(loaded.config, parts, beside));
        control.shutdown_timeout(LAST);
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&format!("frontgate: {message}\n"));
            ExitCode::FAILURE
        }
    }
}

fn control_plane() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
}

async fn live<F: Future<Output = ()> + Send + 'static>(
    config: Config,
    parts: Parts,
    beside: impl FnOnce(&Listening) -> F,
) -> Result<(), String> {
    ignore_hangup().map_err(|error| format!("signals cannot be received: {error}"))?;
    let mut ends =
        Ends::listen().map_err(|error| format!("signals cannot be received: {error}"))?;
    let bound = bind(&config)?;
    let admin = match &config.admin {
        Some(admin) => Some((bind_admin(admin).await?, admin.token.clone())),
        None => None,
    };
    let listeners: Vec<_> =
        bound.iter().map(|b| (b.listener.config.name.clone(), b.listener.address)).collect();
    let listening = Listening {
        listeners: listeners.clone(),
        admin: admin.as_ref().and_then(|(listener, _)| listener.local_addr().ok()),
    };
    // Before anything counts: what is counted earlier is lost.
    observe::install();
    let world = Arc::new(World::new(config, parts, listeners)?);
    let followed = world.follow();
    let workers = start(&world, bound)?;
    listening.say();
    let (stop_admin, admin_stopped) = oneshot::channel::<()>();
    let admin = admin.map(|(listener, token)| {
        let stopped = async {
            admin_stopped.await.ok();
        };
        tokio::spawn(admin::serve(listener, Arc::clone(&world), token, stopped))
    });
    let registered = register(&world, &listening);
    let beside = tokio::spawn(beside(&listening));
    tokio::select! {
        () = ends.next() => {}
        // A gateway that has lost a worker answers some clients and not others: whoever runs it should start it anew.
        () = until(|| workers.is_any_over(), WATCH) => return Err("a worker has ended; see the log".to_owned()),
    }
    tokio::spawn(async move {
        ends.next().await;
        complain("frontgate: told twice to end, leaving at once\n");
        leave_at_once();
    });
    drain(&world, &workers, registered).await;
    for registry in &world.registries {
        registry.close().await;
    }
    drop(followed);
    beside.abort();
    drop(stop_admin);
    if let Some(admin) = admin {
        admin.await.ok();
    }
    Ok(())
}

fn bind(config: &Config) -> Result<Vec<Bound>, String> {
    let bind = |(index, listener)| {
        listen::bind(index, listener, config.workers).map_err(|error| {
            format!("listener {} cannot use {}: {error}", listener.name, listener.address)
        })
    };
    config.listeners.iter().enumerate().map(bind).collect()
}

async fn bind_admin(admin: &AdminConfig) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(admin.address).await;
    bound.map_err(|error| format!("the admin server cannot use {}: {error}", admin.address))
}

fn start(world: &World, bound: Vec<Bound>) -> Result<Workers, String> {
    let share = Share {
        table: world.table.subscribe(),
        phase: world.phase.subscribe(),
        traffic: Arc::new(Traffic::new(Arc::clone(&world.connections), world.config.workers)),
        grace: world.config.shutdown_grace,
    };
    listen::start(bound, &share).map_err(|error| format!("a worker cannot start: {error}"))
}

/// Registers the gateway where the config says; none of it delays serving.
fn register(world: &World, listening: &Listening) -> Vec<Registered> {
    let register = |written: &RegistrationConfig| {
        let registered =
            world.registries[written.registry].register(registration(written, listening));
        if registered.is_none() {
            tracing::warn!(registration = %written.table, "one cannot register in this registry");
        }
        registered
    };
    world.config.registrations.iter().filter_map(register).collect()
}

fn registration(written: &RegistrationConfig, listening: &Listening) -> Registration {
    // An id stands in the path of requests, where brackets would have to be escaped.
    let host = written.address.host.replace(':', "-");
    Registration {
        id: format!("{}-{host}-{}", written.name, written.address.port),
        name: written.name.clone(),
        address: written.address.clone(),
        tags: written.tags.clone(),
        check: match &written.check {
            Some(path) => Liveness::Http(listening.check_url(&written.address, path)),
            None => Liveness::Heartbeat,
        },
    }
}

impl Listening {
    fn say(&self) {
        for (name, address) in &self.listeners {
            complain(&format!("listening {name} {address}\n"));
        }
        if let Some(address) = self.admin {
            complain(&format!("listening admin {address}\n"));
        }
    }

    /// The gateway's own health is answered by its admin server; any other path where it is registered, by a route.
    fn check_url(&self, registered: &HostPort, path: &str) -> String {
        match self.admin {
            Some(admin) if matches!(path, "/healthz" | "/readyz") => {
                // Listening everywhere it is reached where the gateway is.
                let host = if admin.ip().is_unspecified() {
                    registered.host.clone()
                } else {
                    admin.ip().to_string()
                };
                format!("http://{}{path}", HostPort { host, port: admin.port() })
            }
            Some(_) | None => format!("http://{registered}{path}"),
        }
    }
}

/// Fails readiness, takes registrations back, waits for what goes on, closes the rest when patience is over.
async fn drain(world: &World, workers: &Workers, registered: Vec<Registered>) {
    tracing::info!("draining");
    world.phase.send_replace(Phase::Draining);
    let mut leaving = tokio::task::JoinSet::new();
    for registered in registered {
        leaving.spawn(registered.deregister());
    }
    let deregistered = async { while leaving.join_next().await.is_some() {} };
    tokio::join!(deregistered, tokio::time::sleep(world.config.drain_delay));
    world.phase.send_replace(Phase::Closing);
    let over = || until(|| workers.are_over(), LOOK);
    if tokio::time::timeout(world.config.shutdown_grace, over()).await.is_err() {
        let open: u64 =
            world.connections.iter().map(|c| c.load(std::sync::atomic::Ordering::Relaxed)).sum();
        tracing::warn!(connections = open, "shutdown_grace is over, closing what is left");
        world.phase.send_replace(Phase::Over);
        // What is cut off must end in a reset, which only its worker can see to.
        tokio::time::timeout(LAST, over()).await.ok();
    } else {
        tracing::info!("drained");
    }
}

async fn until(holds: impl Fn() -> bool, look: Duration) {
    while !holds() {
        tokio::time::sleep(look).await;
    }
}

/// The signals that end the process.
struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ends {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// By default SIGHUP kills, and requests with it: a closed terminal or a habit must not.
fn ignore_hangup() -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!("SIGHUP: a changed configuration is taken over by a restart only");
        }
    });
    Ok(())
}

#[expect(clippy::exit, reason = "whoever says it twice does not want to wait for anything")]
fn leave_at_once() {
    std::process::exit(1);
}

/// Every connection is a descriptor; what the operator allows is used.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
