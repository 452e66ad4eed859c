//! The gateway as a user runs it, and what its admin server shows.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::SOON;
use super::process::Process;
use super::support::client::{Answer, Client};
use super::support::wait;

/// Bound on a drain that has nothing to wait for.
const DRAINED: Duration = Duration::from_secs(15);

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) web: SocketAddr,
    pub(crate) admin: SocketAddr,
    _dir: TempDir,
}

/// `examples/apigateway/frontgate.toml` on free ports, with this agent.
pub(crate) fn apigateway(agent: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/apigateway/frontgate.toml");
    let written = std::fs::read_to_string(path).expect("the example is there");
    let mut text = written + "\n[admin]\naddress = \"127.0.0.1:0\"\n";
    for (from, to) in [("0.0.0.0:8080", "127.0.0.1:0"), ("http://127.0.0.1:8500", agent)] {
        assert_eq!(text.matches(from).count(), 1, "the example names {from}");
        text = text.replace(from, to);
    }
    text
}

/// Runs `frontgate` to its end.
pub(crate) fn frontgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_frontgate")).args(arguments).output().expect("it runs")
}

impl Gateway {
    /// `frontgate run` with this configuration, listening.
    pub(crate) async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("frontgate.toml");
        std::fs::write(&path, config).expect("a writable directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_frontgate"));
        command.arg("run").arg("--config").arg(path);
        Self::listening(Process::start(&mut command), dir).await
    }

    /// `frontgate demo` on free ports.
    pub(crate) async fn demo() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_frontgate"));
        command.args(["demo", "--port", "0", "--admin-port", "0"]).current_dir(dir.path());
        Self::listening(Process::start(&mut command), dir).await
    }

    async fn listening(mut process: Process, dir: TempDir) -> Self {
        let web = process.says("listening web ").await.parse().expect("an address");
        let admin = process.says("listening admin ").await.parse().expect("an address");
        Self { process, web, admin, _dir: dir }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.web)
    }

    /// An answer of the admin server.
    pub(crate) async fn see(&self, path: &str) -> Answer {
        Client::new(self.admin).get(path).await.expect("the admin server answers")
    }

    /// `/services/{name}`.
    pub(crate) async fn service(&self, name: &str) -> Value {
        self.see(&format!("/services/{name}")).await.json()
    }

    /// `/registries`, the only one.
    pub(crate) async fn registry(&self) -> Value {
        self.see("/registries").await.json()["registries"][0].clone()
    }

    /// `/readyz` is 200.
    pub(crate) async fn is_ready(&self, within: Duration) {
        wait::until("the gateway is ready", within, async || {
            (self.see("/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until the service is live with exactly these instances in rotation.
    pub(crate) async fn has(&self, service: &str, addresses: &[&str]) {
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        let what = format!("{service} is live with {wanted:?}");
        wait::until(&what, SOON, async || {
            let shown = self.service(service).await;
            (shown["source"] == "live" && in_rotation(&shown) == wanted).then_some(())
        })
        .await;
    }

    /// Waits until the service has so many instances in rotation.
    pub(crate) async fn has_ready(&self, service: &str, count: usize) {
        wait::until(&format!("{service} has {count} instances"), SOON, async || {
            (in_rotation(&self.service(service).await).len() == count).then_some(())
        })
        .await;
    }

    /// The value of a metric without labels but these, as `/metrics` shows it.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let page = self.see("/metrics").await.body;
        page.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
    }

    /// SIGTERM, and its end.
    pub(crate) async fn end(mut self) -> std::process::ExitStatus {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.ended(DRAINED).await
    }
}

/// Addresses of a shown service's instances that its registry has in rotation, sorted: those that are ready, and those
/// that the gateway ejected on its own, long before the registry may notice anything.
pub(crate) fn in_rotation(service: &Value) -> Vec<String> {
    let instances = service["instances"].as_array().map_or(&[][..], Vec::as_slice);
    let mut ready: Vec<_> = instances
        .iter()
        .filter(|instance| instance["state"] == "ready" || instance["state"] == "ejected")
        .filter_map(|instance| Some(instance["address"].as_str()?.to_owned()))
        .collect();
    ready.sort_unstable();
    ready
}
