//! The example backends as processes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::process::Process;

/// Bound on a leave: the backend's own drain and grace.
const LEFT: Duration = Duration::from_secs(15);

/// A running example.
#[derive(Debug)]
pub(crate) struct Backend {
    process: Process,
    /// `127.0.0.1:port`; what its `x-instance` says.
    pub(crate) address: String,
}

impl Backend {
    /// `sample` is `addsvc` or `stringsvc`; registers itself with this agent, if any.
    pub(crate) async fn start(sample: &str, agent: Option<&str>) -> Self {
        let mut command = Command::new(examples().join(sample));
        if let Some(agent) = agent {
            command.arg("--register").arg(format!("consul={agent}"));
        }
        let mut process = Process::start(&mut command);
        let address = process.says("listening ").await;
        Self { process, address }
    }

    pub(crate) fn port(&self) -> u16 {
        let (_, port) = self.address.rsplit_once(':').expect("an address");
        port.parse().expect("a port")
    }

    /// SIGTERM, and its end.
    pub(crate) async fn leave(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.ended(LEFT).await
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

/// Where the examples are. Built first: a run of this one test binary would leave them out, or leave old ones.
fn examples() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let binary = Path::new(env!("CARGO_BIN_EXE_frontgate"));
        let folder = binary.parent().expect("target/<profile>");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--profile", profile])
            .args(["--example", "addsvc", "--example", "stringsvc", "--target-dir"])
            .arg(folder.parent().expect("target"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the examples are built");
        folder.join("examples")
    })
}
