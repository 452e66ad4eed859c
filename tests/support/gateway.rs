//! The gateway as a process of its own, on ports of its own.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::peer::{Message, Peer, SOON};
use super::wait;

/// What a gateway is to be: one listener `web`, one route `all` over everything, one service with these instances,
/// and what a test adds to each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    instances: Vec<SocketAddr>,
    top: String,
    listen: String,
    route: String,
    service: String,
    rest: String,
    open_files: Option<u32>,
}

impl Setup {
    /// In front of these instances.
    pub(crate) fn to(instances: &[SocketAddr]) -> Self {
        Self { instances: instances.to_vec(), ..Self::default() }
    }

    /// Keys of the file itself; without any it has one worker.
    pub(crate) fn top(mut self, text: &str) -> Self {
        writeln!(self.top, "{text}").expect("memory");
        self
    }

    /// Keys of `listen.web.limits`.
    pub(crate) fn limits(mut self, text: &str) -> Self {
        self.listen = format!("limits = {{ {text} }}");
        self
    }

    /// Keys of the route.
    pub(crate) fn route(mut self, text: &str) -> Self {
        writeln!(self.route, "{text}").expect("memory");
        self
    }

    /// Keys of the service.
    pub(crate) fn service(mut self, text: &str) -> Self {
        writeln!(self.service, "{text}").expect("memory");
        self
    }

    /// Further tables.
    pub(crate) fn tables(mut self, text: &str) -> Self {
        writeln!(self.rest, "{text}").expect("memory");
        self
    }

    /// How many files the process may have open.
    pub(crate) fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    fn text(&self) -> String {
        let Self { top, listen, route, service, rest, .. } = self;
        let endpoints: Vec<_> =
            self.instances.iter().map(|address| format!("\"http://{address}\"")).collect();
        let top = if top.contains("workers") { top.clone() } else { format!("workers = 1\n{top}") };
        format!(
            "{top}\n[listen.web]\naddress = \"127.0.0.1:0\"\n{listen}\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nservice = \"backend\"\n{route}\n\
             [service.backend]\nendpoints = [{}]\n{service}\n{rest}",
            endpoints.join(", ")
        )
    }

    pub(crate) async fn start(&self) -> Gateway {
        Gateway::start(&self.text(), self.open_files).await
    }
}

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    addresses: HashMap<String, SocketAddr>,
    _dir: TempDir,
}

impl Gateway {
    /// Starts one and waits until it listens; `open_files` is the limit it gets.
    pub(crate) async fn start(config: &str, open_files: Option<u32>) -> Self {
        let mut gateway = Self::spawn(config, open_files);
        let ready = |said: &[String]| said.iter().any(|line| line.starts_with("listening admin"));
        wait::until("the gateway listens", SOON, async || {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                panic!("it ended with {status}: {}\n{config}", gateway.said().join("\n"));
            }
            ready(&gateway.said()).then_some(())
        })
        .await;
        for line in gateway.said() {
            if let Some((name, address)) =
                line.strip_prefix("listening ").and_then(|rest| rest.split_once(' '))
            {
                gateway.addresses.insert(name.to_owned(), address.parse().expect("an address"));
            }
        }
        gateway
    }

    /// Starts one that may not come to listen.
    pub(crate) fn spawn(config: &str, open_files: Option<u32>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("frontgate.toml");
        std::fs::write(&path, config).expect("a writable directory");
        let program = env!("CARGO_BIN_EXE_frontgate");
        let mut command = match open_files {
            None => Command::new(program),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &most.to_string(), program]);
                shell
            }
        };
        command.args(["run", "--config"]).arg(&path).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the gateway starts");
        let stderr = child.stderr.take().expect("a pipe");
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, said, addresses: HashMap::new(), _dir: dir }
    }

    /// The listener `web`.
    pub(crate) fn web(&self) -> SocketAddr {
        self.listener("web")
    }

    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far, line by line.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child");
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn exit(&mut self, within: Duration) -> Option<i32> {
        let child = &mut self.child;
        let ended =
            wait::until("it ends", within, async || child.try_wait().expect("our child")).await;
        ended.code()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A connection to `web` with this sent.
    pub(crate) async fn ask(&self, bytes: impl AsRef<[u8]>) -> Peer {
        Peer::asking(self.web(), bytes).await
    }

    /// The answer to one GET on a connection of its own.
    pub(crate) async fn fetch(&self, target: &str) -> Message {
        let ask = format!("GET {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        self.ask(ask).await.answer().await
    }

    /// What the admin server answers.
    pub(crate) async fn admin(&self, target: &str) -> Message {
        let ask = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        Peer::asking(self.listener("admin"), ask).await.answer().await
    }

    /// Asks the admin server to do something.
    pub(crate) async fn post(&self, target: &str) -> Message {
        let ask = format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        Peer::asking(self.listener("admin"), ask).await.answer().await
    }

    /// The sum over the series of a metric whose line holds all of these labels (`code="no_route"`).
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.admin("/metrics").await.text();
        let of_name = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        of_name
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_is(&self, name: &str, labels: &[&str], value: f64) {
        let mut last = f64::NAN;
        let reached = tokio::time::timeout(SOON, async {
            while last != value {
                last = self.metric(name, labels).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "{name}{labels:?} is {last}, not {value}");
    }

    /// A line of `/proc/<pid>/status` in KiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("it runs");
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let number = value.and_then(|text| text.split_whitespace().next()?.parse().ok());
        number.expect("a number of KiB")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway said:\n{}", self.said().join("\n"));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
