//! Registries against real servers; against a scripted one for what a real one cannot be made to do.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

#[path = "../support/mod.rs"]
mod support;

mod catalog;
mod dns;
mod encrypted;
mod etcd;
mod eureka;
mod failing;
mod finding;
mod many;
mod registering;
mod scripted;
mod zookeeper;

use std::sync::Arc;
use std::time::Duration;

use frontgate::registry::consul::{Consul, Settings};
use frontgate::registry::{Found, Lookup, Query, State};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Bound on what should take milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(5);

type Watching = watch::Receiver<Arc<Found>>;

/// The agent as a registry, with the defaults of a configuration.
fn registry(agent: &support::consul::Consul) -> Consul {
    let mut settings = Settings::new("test", &agent.url());
    settings.token = agent.token.clone().map(frontgate::config::Secret::new);
    Consul::new(&settings).expect("good settings")
}

/// All passing instances of a service.
fn query(service: &str) -> Query {
    Query { service: service.into(), tags: Vec::new(), passing_only: true, lookup: Lookup::Srv }
}

/// A service with a TTL check called `<id>-alive` that starts as passing.
fn service(name: &str, id: &str, port: u16) -> Value {
    let check = json!({ "CheckID": format!("{id}-alive"), "TTL": "1h", "Status": "passing" });
    json!({ "ID": id, "Name": name, "Address": "10.0.0.1", "Port": port, "Check": check })
}

fn addresses(found: &Found) -> Vec<String> {
    found.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

/// Waits until the set is live and holds exactly these addresses.
async fn live(found: &mut Watching, expected: &[&str], within: Duration) -> Arc<Found> {
    let what = format!("live with {expected:?}");
    support::wait::seen(found, &what, within, |found| {
        found.state == State::Live && addresses(found) == expected
    })
    .await
}

/// Waits until the set is stale.
async fn stale(found: &mut Watching, within: Duration) -> Arc<Found> {
    support::wait::seen(found, "stale", within, |f| matches!(f.state, State::Stale { .. })).await
}

/// Where a test ends early because the real server is missing.
macro_rules! or_skip {
    ($started:expr) => {
        match $started {
            Some(server) => server,
            None => return,
        }
    };
}
use or_skip;
