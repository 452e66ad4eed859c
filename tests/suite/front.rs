//! The gateway in front of a registry, and backends to put into it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use frontgate::demo::{Backend, Sample};
use serde_json::Value;

use super::SOON;
use super::support::client::{Answer, Client};
use super::support::gateway::Gateway;
use super::support::load::{Ask, Load};
use super::support::real::Real;
use super::support::wait;

/// What a backend is given to finish.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// A request that any instance answers.
pub(crate) const ASK: Ask =
    Ask { line: "GET /orders/healthz", body: "", right: r#"{"status":"ok"}"# };

/// How a gateway is set before a registry.
pub(crate) struct Setting {
    keys: String,
    services: Vec<(String, String)>,
    state: String,
    policy: String,
    rest: String,
}

impl Setting {
    /// With the service `orders` under `/orders`, keeping no files.
    pub(crate) fn before<R: Real>(real: &R) -> Self {
        Self::with_keys(real, real.keys(real.port()))
    }

    pub(crate) fn with_keys<R: Real>(real: &R, keys: String) -> Self {
        let services = vec![("orders".to_owned(), real.service_keys("orders"))];
        let (policy, rest) = (String::new(), String::new());
        Self { keys, services, state: "false".into(), policy, rest }
    }

    /// With these services instead, each under its name.
    pub(crate) fn services(mut self, services: Vec<(String, String)>) -> Self {
        self.services = services;
        self
    }

    /// Keeping files here.
    pub(crate) fn state(mut self, folder: &Path) -> Self {
        self.state = format!("{:?}", folder.display().to_string());
        self
    }

    /// Keys of every service.
    pub(crate) fn policy(mut self, keys: &str) -> Self {
        self.policy = keys.to_owned();
        self
    }

    /// Further tables.
    pub(crate) fn tables(mut self, text: &str) -> Self {
        self.rest = text.to_owned();
        self
    }

    fn text(&self) -> String {
        let Self { keys, services, state, policy, rest } = self;
        let mut text = format!(
            "workers = 1\nstate_dir = {state}\n[listen.web]\naddress = \"127.0.0.1:0\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n[registry.it]\n{keys}\n{rest}\n"
        );
        for (name, keys) in services {
            write!(
                text,
                "[[route]]\nname = \"{name}\"\npath = \"/{name}/*\"\nservice = \"{name}\"\nstrip_prefix = true\n\
                 [service.{name}]\nregistry = \"it\"\n{keys}\n{policy}\n"
            )
            .expect("memory");
        }
        text
    }

    pub(crate) async fn start(&self) -> Front {
        Front { gateway: Gateway::start(&self.text(), None).await }
    }
}

/// A gateway in front of a registry.
pub(crate) struct Front {
    pub(crate) gateway: Gateway,
}

impl Front {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        Client::new(self.gateway.web()).get(path).await.expect("an answer")
    }

    /// Waits until a request to the path has this outcome: the instance that answers, or a status without one.
    pub(crate) async fn answers(&self, path: &str, expected: &str, within: Duration) {
        wait::until(&format!("{path}: {expected}"), within, async || {
            let answer = self.get(path).await;
            let who = answer.instance();
            let is = if who.is_empty() { answer.status.to_string() } else { who };
            (is == expected).then_some(())
        })
        .await;
    }

    /// Waits until the service `orders` consists of these instances, in whatever state.
    pub(crate) async fn has(&self, expected: &[SocketAddr], within: Duration) {
        let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        expected.sort();
        wait::until(&format!("orders is {expected:?}"), within, async || {
            let mut found: Vec<_> =
                self.instances().await.into_iter().map(|(address, _)| address).collect();
            found.sort();
            (found == expected).then_some(())
        })
        .await;
    }

    /// Addresses and states of the service `orders`, but those that only finish what they have.
    pub(crate) async fn instances(&self) -> Vec<(String, String)> {
        let shown = self.shown("/services/orders").await;
        let instances = shown["instances"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let each = instances.iter().map(|one| (text(&one["address"]), text(&one["state"])));
        each.filter(|(_, state)| state != "draining").collect()
    }

    /// What the admin server answers.
    pub(crate) async fn shown(&self, path: &str) -> Value {
        let answer = self.gateway.admin(path).await;
        serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Waits until `/registries` says this of the registry.
    pub(crate) async fn registry_is(&self, state: &str, within: Duration) {
        wait::until(&format!("the registry is {state}"), within, async || {
            (self.shown("/registries").await["registries"][0]["state"] == state).then_some(())
        })
        .await;
    }

    /// Waits until `/services/orders` says this of where its set comes from.
    pub(crate) async fn source_is(&self, source: &str, within: Duration) {
        wait::until(&format!("orders is {source}"), within, async || {
            (self.shown("/services/orders").await["source"] == source).then_some(())
        })
        .await;
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.gateway.admin("/readyz").await.status() == 200
    }

    /// Waits until everything was heard of, one way or the other.
    pub(crate) async fn becomes_ready(&self) {
        wait::until("ready", SOON, async || self.is_ready().await.then_some(())).await;
    }

    /// Some clients that ask for `orders`, once the worker has taken over what the admin server shows.
    pub(crate) async fn load(&self, clients: usize) -> Load {
        wait::until("orders answers", SOON, async || {
            (self.get("/orders/healthz").await.status == 200).then_some(())
        })
        .await;
        Load::start(self.gateway.web(), clients, ASK)
    }
}

/// A backend that answers `/healthz` and says who it is.
pub(crate) async fn backend() -> Backend {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Backend::start(Sample::Stringsvc, any).await.expect("a port")
}

pub(crate) async fn backends(count: usize) -> Vec<Backend> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(backend().await);
    }
    all
}

/// These as registered instances of `orders`.
pub(crate) fn orders(backends: &[Backend]) -> Vec<(String, SocketAddr)> {
    backends.iter().map(|backend| ("orders".to_owned(), backend.address())).collect()
}

pub(crate) fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(Backend::address).collect()
}

/// As much time as a change takes with this registry, and what a busy machine adds.
pub(crate) fn seen<R: Real>() -> Duration {
    R::SEEN + SOON
}
