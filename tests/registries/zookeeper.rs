//! A real ZooKeeper as a registry.

mod catalog;
mod failing;
mod finding;
mod guarded;
mod hostile;
mod many;
mod registering;

use frontgate::registry::zookeeper::{Settings, Zookeeper};

use super::support::zookeeper as real;

/// The server as a registry, with the defaults of a configuration.
fn registry(server: &real::Server) -> Zookeeper {
    Zookeeper::new(&Settings::new("test", &server.address())).expect("good settings")
}
