//! What a user does, from end to end: a real agent, the example backends as processes, the gateway as a process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod apigateway;
mod away;
mod backend;
mod catalog;
mod demo;
mod gateway;
mod leaving;
mod once;
mod own;
mod process;
mod rotation;

use std::time::Duration;

use backend::Backend;
use gateway::Gateway;
use support::consul::Consul;

/// Bound on what should take milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(15);

/// A gateway from the example's configuration and two of each backend behind it, all in rotation.
struct Scene {
    gateway: Gateway,
    addsvc: Vec<Backend>,
    stringsvc: Vec<Backend>,
}

impl Scene {
    async fn set(agent: &Consul) -> Self {
        let url = agent.url();
        let (mut addsvc, mut stringsvc) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            addsvc.push(Backend::start("addsvc", Some(&url)).await);
            stringsvc.push(Backend::start("stringsvc", Some(&url)).await);
        }
        let gateway = Gateway::start(&gateway::apigateway(&url)).await;
        gateway.has("addsvc", &addresses(&addsvc)).await;
        gateway.has("stringsvc", &addresses(&stringsvc)).await;
        Self { gateway, addsvc, stringsvc }
    }
}

fn addresses(backends: &[Backend]) -> Vec<&str> {
    backends.iter().map(|backend| backend.address.as_str()).collect()
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
