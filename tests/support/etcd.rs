//! Real etcd members: started on free loopback ports, stopped by process id.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::real::Real;
use super::{ports, servers, wait};

/// Bound on a start: it takes 0.2 s alone, an election more, and some seconds beside others.
const START: Duration = Duration::from_secs(30);
/// What instances stand under.
const PREFIX: &str = "/services/";
/// The password of `root` where one must say who asks.
const PASSWORD: &str = "sesame";
/// Changes in one transaction; the members are started so that they take that many.
const AT_ONCE: usize = 5_000;

/// A running member. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Etcd {
    program: PathBuf,
    child: Child,
    dir: TempDir,
    /// For clients and for other members.
    ports: [u16; 2],
    /// Further flags.
    flags: Vec<String>,
    /// Whether one must say who asks.
    pub(crate) guarded: bool,
}

impl Etcd {
    /// A cluster of one; none when etcd is missing and tests may skip.
    pub(crate) async fn solo() -> Option<Self> {
        Self::with(&[]).await
    }

    /// A cluster of one with further flags. Those of another scheme are `--listen-client-urls=https://127.0.0.1:{port}`.
    pub(crate) async fn with(flags: &[&str]) -> Option<Self> {
        let program = servers::find("etcd")?;
        let ports = two();
        let cluster = format!("--initial-cluster=m{0}=http://127.0.0.1:{0}", ports[1]);
        let more = flags.iter().map(|flag| flag.replace("{port}", &ports[0].to_string()));
        let mut member = Self::spawn(&program, ports, std::iter::once(cluster).chain(more));
        member.up().await;
        Some(member)
    }

    /// Three members of one cluster.
    pub(crate) async fn three() -> Option<Vec<Self>> {
        let program = servers::find("etcd")?;
        let ports = ports::free(6);
        let pairs: Vec<[u16; 2]> = ports.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
        let named = pairs.iter().map(|[_, peer]| format!("m{peer}=http://127.0.0.1:{peer}"));
        let cluster = format!("--initial-cluster={}", named.collect::<Vec<_>>().join(","));
        let begin = |pair: &[u16; 2]| Self::spawn(&program, *pair, [cluster.clone()].into_iter());
        let mut members: Vec<Self> = pairs.iter().map(begin).collect();
        for member in &mut members {
            member.up().await;
        }
        Some(members)
    }

    fn spawn(program: &Path, ports: [u16; 2], flags: impl Iterator<Item = String>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let flags: Vec<String> = flags.collect();
        let child = spawn(program, &dir, ports, &flags).expect("etcd starts");
        Self { program: program.to_owned(), child, dir, ports, flags, guarded: false }
    }

    /// `127.0.0.1:port` of its interface for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child");
    }

    /// Waits until this very process listens, and says that it is well.
    async fn up(&mut self) {
        let (pid, port) = (self.child.id(), self.ports[0]);
        let (child, dir) = (&mut self.child, &self.dir);
        wait::until("the member owns its port", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                panic!("etcd ended with {status}: {log}");
            }
            ports::owned_by(pid, port).then_some(())
        })
        .await;
        if self.flags.iter().any(|flag| flag.contains("https://")) {
            return;
        }
        wait::until("it is well", START, async || {
            let (status, _) = self.send("GET", "/health", "", None).await.ok()?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// Ends it and begins again; `forget` makes it lose everything.
    async fn again(&mut self, forget: bool) {
        self.kill();
        if forget {
            std::fs::remove_dir_all(self.dir.path().join("data")).expect("its data");
        }
        self.child =
            spawn(&self.program, &self.dir, self.ports, &self.flags).expect("etcd starts again");
        self.up().await;
    }

    /// Makes a user `root` who may do everything, and has everybody say who asks.
    pub(crate) async fn guard(&mut self) {
        self.tell("/v3/auth/role/add", &json!({ "name": "root" })).await;
        self.tell("/v3/auth/user/add", &json!({ "name": "root", "password": PASSWORD })).await;
        self.tell("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" })).await;
        self.tell("/v3/auth/enable", &json!({})).await;
        self.guarded = true;
    }

    /// One call that must succeed, as `root` where one must say who asks.
    pub(crate) async fn tell(&self, path: &str, body: &Value) -> Value {
        let mut token = None;
        if self.guarded {
            let root = json!({ "name": "root", "password": PASSWORD }).to_string();
            let (_, said) =
                self.send("POST", "/v3/auth/authenticate", &root, None).await.expect("an answer");
            token = said["token"].as_str().map(str::to_owned);
        }
        let answer = self.send("POST", path, &body.to_string(), token.as_deref()).await;
        let (status, value) = answer.expect("the member answers");
        assert_eq!(status, 200, "{path} {body}: {value}");
        value
    }

    /// Writes a key under the prefix as soon as the cluster has a leader again.
    pub(crate) async fn write_when_led(&self, key: &str, value: &[u8]) {
        let body = json!({ "key": full(key), "value": STANDARD.encode(value) }).to_string();
        wait::until("the others have a leader", START, async || {
            let written = self.send("POST", "/v3/kv/put", &body, None);
            let answer = tokio::time::timeout(Duration::from_secs(3), written).await.ok()?.ok()?;
            (answer.0 == 200).then_some(())
        })
        .await;
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
        token: Option<&str>,
    ) -> io::Result<(u16, Value)> {
        let token = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{token}Content-Length: {}\r\n\r\n{body}",
            self.address(),
            body.len(),
        );
        let mut stream = TcpStream::connect(self.address()).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.into()));
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, value))
    }

    /// Writes a key under the prefix (`orders/1`), with a lease or without.
    pub(crate) async fn write(&self, key: &str, value: &[u8], lease: Option<&str>) {
        let body = json!({ "key": full(key), "value": STANDARD.encode(value), "lease": lease });
        self.tell("/v3/kv/put", &body).await;
    }

    /// Deletes a key under the prefix.
    pub(crate) async fn erase(&self, key: &str) {
        self.tell("/v3/kv/deleterange", &json!({ "key": full(key) })).await;
    }

    /// Keys under the prefix that begin like this, and their values.
    pub(crate) async fn read(&self, begin: &str) -> Vec<(String, String)> {
        let end = format!("{}\u{7f}", full_text(begin));
        let body = json!({ "key": full(begin), "range_end": STANDARD.encode(end) });
        let found = self.tell("/v3/kv/range", &body).await;
        let text = |value: &Value| {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let pairs = found["kvs"].as_array().into_iter().flatten();
        pairs
            .map(|pair| {
                let key = text(&pair["key"]);
                (key.trim_start_matches(PREFIX).to_owned(), text(&pair["value"]))
            })
            .collect()
    }

    /// Makes a lease of so many seconds that nobody keeps alive.
    pub(crate) async fn lease(&self, seconds: u32) -> String {
        let granted = self.tell("/v3/lease/grant", &json!({ "TTL": seconds })).await;
        granted["ID"].as_str().expect("a lease").to_owned()
    }

    /// The newest revision.
    pub(crate) async fn revision(&self) -> u64 {
        let found = self.tell("/v3/kv/range", &json!({ "key": full("") })).await;
        found["header"]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
    }

    /// Runs `changes`, as few transactions as it takes.
    async fn change(&self, changes: Vec<Value>) {
        for some in changes.chunks(AT_ONCE) {
            self.tell("/v3/kv/txn", &json!({ "success": some })).await;
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Real for Etcd {
    const KIND: &'static str = "etcd";
    const SEEN: Duration = Duration::from_secs(2);
    const GONE: Option<Duration> = Some(Duration::from_secs(10));
    const CATALOG: bool = true;
    const REGISTERS: bool = true;

    async fn start() -> Option<Self> {
        Self::solo().await
    }

    async fn guarded() -> Option<Self> {
        let mut member = Self::solo().await?;
        member.guard().await;
        Some(member)
    }

    fn port(&self) -> u16 {
        self.ports[0]
    }

    fn keys(&self, port: u16) -> String {
        keys(port, self.guarded.then_some(PASSWORD))
    }

    fn wrong_keys(&self, port: u16) -> String {
        keys(port, Some("wrong"))
    }

    async fn put_all(&self, instances: &[(String, SocketAddr)]) {
        let put = |(service, address): &(String, SocketAddr)| {
            let value = STANDARD.encode(address.to_string());
            json!({ "request_put": { "key": full(&format!("{service}/{address}")), "value": value } })
        };
        self.change(instances.iter().map(put).collect()).await;
    }

    async fn put_tagged(&self, service: &str, address: SocketAddr) {
        let value =
            json!({ "Op": 0, "Addr": address.to_string(), "Metadata": { "frontgate": "true" } });
        self.write(&format!("{service}/{address}"), value.to_string().as_bytes(), None).await;
    }

    async fn put_dying(&self, service: &str, address: SocketAddr) {
        let lease = self.lease(2).await;
        let key = format!("{service}/{address}");
        self.write(&key, address.to_string().as_bytes(), Some(&lease)).await;
    }

    async fn put_garbage(&self, service: &str) {
        for (number, value) in [&b"\xff\xfe"[..], b"", b"{", b"nonsense"].into_iter().enumerate() {
            self.write(&format!("{service}/garbage-{number}"), value, None).await;
        }
    }

    async fn take_all(&self, instances: &[(String, SocketAddr)]) {
        let delete = |(service, address): &(String, SocketAddr)| json!({ "request_delete_range": { "key": full(&format!("{service}/{address}")) } });
        self.change(instances.iter().map(delete).collect()).await;
        // Others choose other keys.
        let [(service, address)] = instances else { return };
        let of_others = self.read(&format!("{service}/")).await.into_iter();
        let of_others = of_others.filter(|(_, value)| value.contains(&address.to_string()));
        let delete =
            |(key, _): (String, String)| json!({ "request_delete_range": { "key": full(&key) } });
        self.change(of_others.map(delete).collect()).await;
    }

    async fn listed(&self, service: &str) -> Vec<String> {
        let mut addresses: Vec<String> = self
            .read(&format!("{service}/"))
            .await
            .into_iter()
            .filter_map(|(_, value)| match serde_json::from_str::<Value>(&value) {
                Ok(value) => value["Addr"].as_str().map(str::to_owned),
                Err(_) => value.parse::<SocketAddr>().ok().map(|address| address.to_string()),
            })
            .collect();
        addresses.sort_unstable();
        addresses
    }

    fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    async fn restart(&mut self) {
        self.again(false).await;
    }

    async fn restart_empty(&mut self) {
        let guarded = std::mem::take(&mut self.guarded);
        self.again(true).await;
        if guarded {
            self.guard().await;
        }
    }

    fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    fn thaw(&self) {
        self.signal(Signal::CONT);
    }
}

fn two() -> [u16; 2] {
    let ports = ports::free(2);
    [ports[0], ports[1]]
}

fn keys(port: u16, password: Option<&str>) -> String {
    let user = password.map(|password| format!("\nusername = \"root\"\npassword = \"{password}\""));
    let user = user.unwrap_or_default();
    format!("kind = \"etcd\"\nendpoints = [\"http://127.0.0.1:{port}\"]{user}")
}

fn full_text(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// A key under the prefix, as it is written in JSON.
fn full(key: &str) -> String {
    STANDARD.encode(full_text(key))
}

fn spawn(program: &Path, dir: &TempDir, ports: [u16; 2], flags: &[String]) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.path().join("log"))?;
    let [client, peer] = ports;
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(dir.path().join("data"));
    command.args(["--log-level=error", "--max-txn-ops=5000", "--max-request-bytes=33554432"]);
    command.arg(format!("--name=m{peer}"));
    for flag in ["listen-peer-urls", "initial-advertise-peer-urls"] {
        command.arg(format!("--{flag}=http://127.0.0.1:{peer}"));
    }
    for flag in ["listen-client-urls", "advertise-client-urls"] {
        command.arg(format!("--{flag}=http://127.0.0.1:{client}"));
    }
    // The last of two flags of a name counts.
    command.args(flags);
    // Its own variables would speak louder than some flags.
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ETCD"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}
