//! DNS as a registry: against named, against Consul's own DNS, and against a server that does what these never would.

mod failing;
mod finding;
mod hostile;
mod many;
mod script;

use frontgate::registry::dns::{Dns, Settings};
use frontgate::registry::{Lookup, Query};

use super::support::dns::Dns as Named;

/// The server as a registry, with the defaults of a configuration.
fn registry(named: &Named) -> Dns {
    asking(&[&named.address().to_string()])
}

/// A registry that asks these servers.
fn asking(servers: &[&str]) -> Dns {
    Dns::new(&settings(servers)).expect("good settings")
}

fn settings(servers: &[&str]) -> Settings {
    let servers = servers.iter().map(|&server| server.to_owned()).collect();
    Settings { servers: Some(servers), ..Settings::new("test") }
}

/// SRV records of a name.
fn srv(name: &str) -> Query {
    super::query(name)
}

/// Addresses of a name.
fn host(name: &str, port: u16) -> Query {
    Query { lookup: Lookup::Host { port }, ..super::query(name) }
}
