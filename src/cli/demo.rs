//! `frontgate demo`: the gateway with sample backends in one process, for a first look.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{DemoFlags, LogFlags, check, complain, run, say};
use crate::assemble::{self, Parts};
use crate::config::model::{Endpoint, HostPort, Scheme};
use crate::config::{self, Error, KindInfo, Kinds, Problems};
use crate::demo::{Backend, Sample};
use crate::registry::{Fixed, Registry};

/// The embedded registry's kind: what the demo's configuration names, and no other may.
const EMBEDDED: KindInfo = KindInfo {
    name: "demo",
    about: "held in memory by the demo",
    keys: &[],
    check: None,
    names_only: false,
};
/// Instances of each sample.
const INSTANCES: usize = 2;
/// Between two replacements of an instance: often enough to be seen, seldom enough to be followed.
const CHANGE: Duration = Duration::from_secs(20);
/// How long an instance goes on serving once it is no longer found.
const LEAVE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);

/// Serves the demo, or prints its configuration.
pub fn run(flags: &DemoFlags, logging: &LogFlags) -> ExitCode {
    let text = text(flags);
    if flags.print_config {
        return say(&text);
    }
    let kinds = Kinds { registries: &[EMBEDDED], ..assemble::KINDS };
    let loaded = config::parse(Path::new("demo"), &text, &kinds).and_then(|loaded| {
        let mut problems = Problems::new();
        assemble::check(&loaded, &mut problems);
        if problems.is_empty() { Ok(loaded) } else { Err(problems) }
    });
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return check::report(&Error::Wrong(problems)),
    };
    let registry = Arc::new(Fixed::default());
    let registries: Vec<Arc<dyn Registry>> = vec![Arc::clone(&registry) as Arc<dyn Registry>];
    let parts = Parts { registries, ..Parts::default() };
    run::serve(loaded, parts, logging, move |listening| backends(registry, try_this(listening)))
}

fn text(flags: &DemoFlags) -> String {
    let (port, admin_port) = (flags.port, flags.admin_port);
    format!(
        r#"# What `frontgate demo` serves. Its registry is the demo's own; elsewhere write kind = "consul" for an agent.

# A demo leaves nothing behind: elsewhere the last good sets of the registries are kept in a folder.
state_dir = false

[listen.web]
address = "127.0.0.1:{port}"

[admin]
address = "127.0.0.1:{admin_port}"

[registry.demo]
kind = "demo"

[[route]]
name = "addsvc"
path = "/addsvc/*"
service = "addsvc"
strip_prefix = true

[[route]]
name = "stringsvc"
path = "/stringsvc/*"
service = "stringsvc"
strip_prefix = true

# Every service of the registry, by its name.
[catalog.all]
registry = "demo"
path = "/by-name/{{service}}/*"
"#
    )
}

/// Starts the samples, says what to try, and goes on replacing one instance after the other.
async fn backends(registry: Arc<Fixed>, try_this: String) {
    let mut running: Vec<(Sample, Vec<Backend>)> = Vec::new();
    for sample in Sample::ALL {
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.extend(start(sample).await);
        }
        publish(&registry, sample, &instances);
        running.push((sample, instances));
    }
    complain(&try_this);
    for turn in 0.. {
        tokio::time::sleep(CHANGE).await;
        let samples = running.len();
        let (sample, instances) = &mut running[turn % samples];
        let Some(new) = start(*sample).await else { continue };
        if instances.is_empty() {
            instances.push(new);
            publish(&registry, *sample, instances);
            continue;
        }
        let old = instances.remove(0);
        tracing::info!(service = sample.name(), leaves = %old.address(), comes = %new.address(), "demo: an instance is replaced");
        instances.push(new);
        publish(&registry, *sample, instances);
        old.leave();
        tokio::time::sleep(LEAVE).await;
        old.stop(GRACE).await;
    }
}

/// What to say once the samples are up. The ports are those it got, which are not the flags' when these are 0.
fn try_this(listening: &run::Listening) -> String {
    let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
    let admin_port = port(listening.admin);
    let port = port(listening.listeners.first().map(|(_, address)| *address));
    format!(
        r#"
two instances of addsvc and of stringsvc are up, found through the demo's registry; try

  curl localhost:{port}/stringsvc/uppercase -d '{{"s":"hello"}}'
  curl localhost:{port}/addsvc/sum -d '{{"a":1,"b":2}}'
  curl -i localhost:{port}/by-name/stringsvc/count -d '{{"s":"hello"}}'     x-instance says who answered
  curl localhost:{admin_port}/metrics | grep frontgate_requests_total
  frontgate instances --admin http://127.0.0.1:{admin_port}

every {} s one instance is replaced by another, and no request is lost; Ctrl-C drains and ends

"#,
        CHANGE.as_secs()
    )
}

async fn start(sample: Sample) -> Option<Backend> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match Backend::start(sample, any).await {
        Ok(backend) => Some(backend),
        Err(error) => {
            tracing::error!(service = sample.name(), %error, "demo: an instance could not be started");
            None
        }
    }
}

fn publish(registry: &Fixed, sample: Sample, instances: &[Backend]) {
    let endpoint = |backend: &Backend| Endpoint {
        scheme: Scheme::Http,
        address: HostPort {
            host: backend.address().ip().to_string(),
            port: backend.address().port(),
        },
        weight: 1,
        zone: None,
    };
    registry.set(sample.name(), instances.iter().map(endpoint).collect());
}
