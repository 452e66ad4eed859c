//! A real Consul agent: started on free loopback ports, stopped by process id.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::real::Real;
use super::{ports, servers, wait};

/// Bound on an agent's start: it takes 0.3 s alone and some seconds beside others.
const START: Duration = Duration::from_secs(30);

/// What an agent remembers over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Nothing (`-dev`).
    Forgets,
    /// Its services and the cluster's state (`-server -bootstrap-expect 1 -data-dir …`).
    Keeps,
}

/// A running agent. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Consul {
    program: PathBuf,
    child: Child,
    dir: TempDir,
    ports: Vec<u16>,
    memory: Memory,
    /// Sent with every call of the test's own.
    pub(crate) token: Option<String>,
}

impl Consul {
    /// An agent that forgets; none when Consul is missing and tests may skip.
    pub(crate) async fn dev() -> Option<Self> {
        Self::start(Memory::Forgets, None).await
    }

    /// An agent that forgets and asks for a token; `root` may do everything.
    pub(crate) async fn with_access_control() -> Option<Self> {
        let acl = r#"acl { enabled = true, default_policy = "deny", tokens { master = "root" } }"#;
        let mut agent = Self::start(Memory::Forgets, Some(acl)).await?;
        agent.token = Some("root".into());
        wait::until("access control is up", START, async || {
            let (status, _) = agent.call("GET", "/v1/acl/tokens", "").await.ok()?;
            (status == 200).then_some(())
        })
        .await;
        Some(agent)
    }

    /// `config` is further configuration in HCL or JSON: limits, access control.
    pub(crate) async fn start(memory: Memory, config: Option<&str>) -> Option<Self> {
        let program = servers::find("consul")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        if let Some(text) = config {
            std::fs::write(dir.path().join("more.hcl"), text).expect("a writable directory");
        }
        let ports = ports::free(4);
        let child = spawn(&program, &dir, &ports, memory).expect("consul starts");
        let mut agent = Self { program, child, dir, ports, memory, token: None };
        agent.up().await;
        Some(agent)
    }

    /// `127.0.0.1:port` of its HTTP interface.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    /// `127.0.0.1:port` of its DNS interface.
    pub(crate) fn dns(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[1]))
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it again on the same ports, with what it remembers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.dir, &self.ports, self.memory).expect("it starts");
        self.up().await;
    }

    /// Stops it in its tracks: its connections stay, nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child");
    }

    /// Waits until this very process listens and a leader is named.
    async fn up(&mut self) {
        let pid = self.child.id();
        let port = self.ports[0];
        let child = &mut self.child;
        let dir = &self.dir;
        wait::until("the agent owns its port", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                panic!("consul ended with {status}: {log}");
            }
            ports::owned_by(pid, port).then_some(())
        })
        .await;
        wait::until("a leader is named", START, async || {
            let (status, body) = self.call("GET", "/v1/status/leader", "").await.ok()?;
            (status == 200 && body.as_str().is_some_and(|leader| !leader.is_empty())).then_some(())
        })
        .await;
    }

    /// One call to the agent's HTTP interface: status and body as JSON (null when there is none).
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, Value)> {
        let address = self.address();
        let token = self.token.as_ref().map(|t| format!("X-Consul-Token: {t}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{}Content-Length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len(),
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.into()));
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, value))
    }

    /// A call that must succeed.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, value) = self.call(method, path, &text).await.expect("the agent answers");
        assert_eq!(status, 200, "{method} {path}: {value}");
        value
    }

    /// Registers a service with the agent (`{"ID":…,"Name":…,"Port":…}`).
    pub(crate) async fn register(&self, service: &Value) {
        self.ask("PUT", "/v1/agent/service/register?replace-existing-checks=1", service).await;
    }

    /// Takes a service back.
    pub(crate) async fn deregister(&self, id: &str) {
        self.ask("PUT", &format!("/v1/agent/service/deregister/{id}"), &Value::Null).await;
    }

    /// Sets the status of a TTL check (`passing`, `warning`, `critical`).
    pub(crate) async fn set_check(&self, check: &str, status: &str) {
        let body = serde_json::json!({ "Status": status });
        self.ask("PUT", &format!("/v1/agent/check/update/{check}"), &body).await;
    }
}

/// The node of what the suite registers: in the catalog, where no agent looks after it.
const ELSEWHERE: &str = "elsewhere";
/// Operations that a transaction takes.
const TRANSACTION: usize = 64;

impl Consul {
    async fn transact(&self, operations: &[Value]) {
        for some in operations.chunks(TRANSACTION) {
            self.ask("PUT", "/v1/txn", &Value::from(some)).await;
        }
    }

    async fn entries(&self, service: &str) -> Vec<Value> {
        let all = self.ask("GET", &format!("/v1/health/service/{service}"), &Value::Null).await;
        all.as_array().cloned().unwrap_or_default()
    }
}

fn at(entry: &Value) -> String {
    let service = &entry["Service"];
    format!("{}:{}", service["Address"].as_str().expect("an address"), service["Port"])
}

impl Real for Consul {
    const KIND: &'static str = "consul";
    const SEEN: Duration = Duration::from_secs(1);
    const GONE: Option<Duration> = Some(Duration::from_secs(5));
    const CATALOG: bool = true;
    const REGISTERS: bool = true;

    async fn start() -> Option<Self> {
        Self::start(Memory::Keeps, None).await
    }

    async fn guarded() -> Option<Self> {
        Self::with_access_control().await
    }

    fn port(&self) -> u16 {
        self.ports[0]
    }

    fn keys(&self, port: u16) -> String {
        let token = self.token.as_ref().map(|token| format!("\ntoken = \"{token}\""));
        let token = token.unwrap_or_default();
        format!("kind = \"consul\"\naddress = \"http://127.0.0.1:{port}\"{token}")
    }

    fn wrong_keys(&self, port: u16) -> String {
        format!("kind = \"consul\"\naddress = \"http://127.0.0.1:{port}\"\ntoken = \"wrong\"")
    }

    async fn put_all(&self, instances: &[(String, SocketAddr)]) {
        let node = json!({ "Node": ELSEWHERE, "Address": "127.0.0.1", "SkipNodeUpdate": false });
        self.ask("PUT", "/v1/catalog/register", &node).await;
        let set = |(service, address): &(String, SocketAddr)| {
            let id = format!("{service}-{address}");
            let (host, port) = (address.ip().to_string(), address.port());
            let service = json!({ "ID": id, "Service": service, "Address": host, "Port": port });
            json!({ "Service": { "Verb": "set", "Node": ELSEWHERE, "Service": service } })
        };
        self.transact(&instances.iter().map(set).collect::<Vec<_>>()).await;
    }

    async fn put_tagged(&self, service: &str, address: SocketAddr) {
        let (host, port) = (address.ip().to_string(), address.port());
        self.register(
            &json!({ "Name": service, "Address": host, "Port": port, "Tags": ["frontgate"] }),
        )
        .await;
    }

    async fn put_dying(&self, service: &str, address: SocketAddr) {
        let (host, port) = (address.ip().to_string(), address.port());
        let check = json!({ "TTL": "2s", "Status": "passing" });
        let id = format!("dying-{address}");
        let dying =
            json!({ "ID": id, "Name": service, "Address": host, "Port": port, "Check": check });
        self.register(&dying).await;
    }

    async fn put_garbage(&self, service: &str) {
        let other = json!({ "scheme": "gopher" });
        for bad in [
            json!({ "ID": "portless", "Name": service, "Address": "127.0.0.1" }),
            json!({ "ID": "odd", "Name": service, "Address": "a b c", "Port": 1 }),
            json!({ "ID": "old", "Name": service, "Address": "127.0.0.1", "Port": 1, "Meta": other }),
        ] {
            self.register(&bad).await;
        }
    }

    async fn take_all(&self, instances: &[(String, SocketAddr)]) {
        let mut transaction = Vec::new();
        let mut services: Vec<&String> = instances.iter().map(|(service, _)| service).collect();
        services.dedup();
        for service in services {
            let wanted = |entry: &&Value| {
                instances
                    .iter()
                    .any(|(of, address)| of == service && address.to_string() == at(entry))
            };
            for entry in self.entries(service).await.iter().filter(wanted) {
                let id = entry["Service"]["ID"].as_str().expect("an id");
                if entry["Node"]["Node"] == ELSEWHERE {
                    let service = json!({ "ID": id, "Service": service });
                    transaction.push(
                        json!({ "Service": { "Verb": "delete", "Node": ELSEWHERE, "Service": service } }),
                    );
                } else {
                    self.deregister(id).await;
                }
            }
        }
        self.transact(&transaction).await;
    }

    async fn listed(&self, service: &str) -> Vec<String> {
        let mut all: Vec<_> = self.entries(service).await.iter().map(at).collect();
        all.sort();
        all
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    async fn restart(&mut self) {
        Self::restart(self).await;
    }

    async fn restart_empty(&mut self) {
        Self::kill(self);
        std::fs::remove_dir_all(self.dir.path().join("data")).ok();
        Self::restart(self).await;
    }

    fn freeze(&self) {
        Self::freeze(self);
    }

    fn thaw(&self) {
        Self::thaw(self);
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &PathBuf, dir: &TempDir, ports: &[u16], memory: Memory) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.path().join("log"))?;
    let mut command = Command::new(program);
    command.args(["agent", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-log-level", "err"]);
    for (flag, port) in ["http", "dns", "server", "serf-lan"].iter().zip(ports) {
        command.arg(format!("-{flag}-port={port}"));
    }
    command.args(["-grpc-port=-1", "-serf-wan-port=-1"]);
    match memory {
        Memory::Forgets => command.arg("-dev"),
        Memory::Keeps => {
            let data = dir.path().join("data");
            command.args(["-server", "-bootstrap-expect=1", "-node=solo"]);
            // The stock timing takes up to ten seconds to elect the only candidate.
            command.args(["-hcl", "performance { raft_multiplier = 1 }"]);
            command.arg("-data-dir").arg(data)
        }
    };
    let more = dir.path().join("more.hcl");
    if more.exists() {
        command.arg("-config-file").arg(more);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}
