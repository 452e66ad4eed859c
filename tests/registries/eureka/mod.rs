//! Eureka against the real server, and against a scripted one for what a real one cannot be made to do.

mod encrypted;
mod failing;
mod finding;
mod registering;
mod scripted;

use std::net::SocketAddr;
use std::time::Duration;

use frontgate::registry::eureka::{Eureka as Registry, Settings};

use super::support::eureka::{self, Eureka};
use super::support::ports;

/// Bound on a change being found: a poll each second, on a machine that is busy with other things.
const SEEN: Duration = Duration::from_secs(10);

/// Settings for these servers, asked each second.
fn settings(servers: &[&Eureka]) -> Settings {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut settings = Settings::new("test", &urls);
    settings.poll = Duration::from_secs(1);
    settings
}

/// A registry whose server is not there yet, and where it will be.
fn without_server() -> (Registry, u16) {
    let port = ports::free(1)[0];
    let mut settings = Settings::new("test", &[&format!("http://127.0.0.1:{port}/eureka")]);
    settings.poll = Duration::from_secs(1);
    (Registry::new(&settings).expect("good settings"), port)
}

fn registry(server: &Eureka) -> Registry {
    Registry::new(&settings(&[server])).expect("good settings")
}

/// `10.0.0.1:port`.
fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}
