//! A sample backend as a process of its own, which registers itself and leaves without losing a request.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::backend::{Backend, Sample};
use crate::config::model::HostPort;
use crate::config::units::parse_duration;
use crate::registry::consul::{Consul, Settings};
use crate::registry::etcd::{self, Etcd};
use crate::registry::eureka::{self, Eureka};
use crate::registry::zookeeper::{self, Zookeeper};
use crate::registry::{Liveness, Registered, Registration, Registry};

/// How long what runs may take once nothing is accepted any more.
const GRACE: Duration = Duration::from_secs(10);

/// What `main` returns: an error is printed and the exit code is 1.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Flags of a sample backend.
#[derive(clap::Parser, Clone, Debug)]
#[command(version, about = "A sample backend to put behind frontgate")]
pub struct Options {
    /// Port to listen on; 0 is any free one, which is printed
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Address to listen on and to register
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Where to register: consul=http://127.0.0.1:8500; may be given more than once
    #[arg(long, value_name = "KIND=ADDRESS", value_parser = Target::parse)]
    pub register: Vec<Target>,
    /// How long to go on serving after deregistering, until every gateway has heard of it
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub drain: Duration,
}

/// A registry to register in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A registry's kind.
    pub kind: String,
    /// Its address.
    pub address: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.split_once('=') {
            Some((kind, address)) if !kind.is_empty() && !address.is_empty() => {
                Ok(Self { kind: kind.to_owned(), address: address.to_owned() })
            }
            _ => Err("expected KIND=ADDRESS, such as consul=http://127.0.0.1:8500"),
        }
    }

    fn open(&self) -> Result<Box<dyn Registry>, Box<dyn Error>> {
        match self.kind.as_str() {
            "consul" => Ok(Box::new(Consul::new(&Settings::new("register", &self.address))?)),
            "etcd" => Ok(Box::new(Etcd::new(&etcd::Settings::new("register", &self.address))?)),
            "eureka" => {
                Ok(Box::new(Eureka::new(&eureka::Settings::new("register", &[&self.address]))?))
            }
            "zookeeper" => {
                Ok(Box::new(Zookeeper::new(&zookeeper::Settings::new("register", &self.address))?))
            }
            other => Err(format!(
                "one cannot register in `{other}`; known: consul, etcd, eureka, zookeeper"
            )
            .into()),
        }
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("expected a duration, such as 500ms or 1m30s")
}

/// Serves until SIGTERM or SIGINT, then leaves: deregister, go on serving for the drain, finish what runs.
pub fn run(sample: Sample, options: &Options) -> Outcome {
    let coloured = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(coloured).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(sample, options))
}

async fn serve(sample: Sample, options: &Options) -> Outcome {
    let mut signals = Signals::listen()?;
    let registries = options.register.iter().map(Target::open).collect::<Result<Vec<_>, _>>()?;
    let backend = Backend::start(sample, SocketAddr::new(options.host, options.port)).await?;
    // A reader of a pipe waits for this line: it must not stay in a buffer.
    let mut out = std::io::stdout();
    writeln!(out, "listening {}", backend.address())?;
    out.flush()?;
    let registered: Vec<_> = registries
        .iter()
        .filter_map(|registry| registry.register(registration(sample, backend.address())))
        .collect();
    signals.next().await;
    tokio::select! {
        () = leave(backend, registered, options.drain) => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// The order is what loses no request: nobody is sent here any more before anything is refused here.
async fn leave(backend: Backend, registered: Vec<Registered>, drain: Duration) {
    let drain = if registered.is_empty() { Duration::ZERO } else { drain };
    for one in registered {
        one.deregister().await;
    }
    backend.leave();
    tokio::time::sleep(drain).await;
    backend.stop(GRACE).await;
}

fn registration(sample: Sample, address: SocketAddr) -> Registration {
    let (name, host, port) = (sample.name(), address.ip().to_string(), address.port());
    Registration {
        id: format!("{name}-{host}-{port}"),
        name: name.to_owned(),
        address: HostPort { host, port },
        tags: Vec::new(),
        check: Liveness::Http(format!("http://{address}/healthz")),
    }
}

/// The first asks to leave, the second not to wait any longer.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
