//! A real Eureka server: started on a free loopback port, stopped by process id.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::real::Real;
use super::{ports, servers, wait};

/// Bound on a start: it takes three seconds alone and many times that beside other tests.
const START: Duration = Duration::from_secs(60);
/// Who may ask a guarded server.
pub(crate) const USER: &str = "frontgate";
pub(crate) const PASSWORD: &str = "se@me/1";
/// As long as no test lasts.
const DAY: u64 = 86_400;

/// A running server. It forgets everything when it ends; its clients register again when it is back, and so does what was
/// registered here. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Eureka {
    program: PathBuf,
    child: Child,
    dir: TempDir,
    port: u16,
    flags: Vec<String>,
    guarded: bool,
    /// What is registered, by application and id.
    known: std::sync::Mutex<BTreeMap<(String, String), Value>>,
}

impl Eureka {
    /// `flags` are properties beyond those of `tests/servers/eureka`; none when the server is missing and tests may skip.
    pub(crate) async fn start_with(flags: &[&str]) -> Option<Self> {
        Self::start_on(ports::free(1)[0], flags).await
    }

    /// The same, on a port that the test has tried before.
    pub(crate) async fn start_on(port: u16, flags: &[&str]) -> Option<Self> {
        let program = servers::find("eureka")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let guarded = flags.iter().any(|flag| flag == "--guarded");
        let child = spawn(&program, &dir, port, &flags).expect("eureka starts");
        let known = std::sync::Mutex::default();
        let mut server = Self { program, child, dir, port, flags, guarded, known };
        server.up().await;
        Some(server)
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `http://127.0.0.1:port/eureka`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/eureka", self.address())
    }

    /// Waits until this very process listens and answers.
    async fn up(&mut self) {
        let (pid, port) = (self.child.id(), self.port);
        let (child, dir) = (&mut self.child, &self.dir);
        wait::until("the server owns its port", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                panic!("eureka ended with {status}: {log}");
            }
            ports::owned_by(pid, port).then_some(())
        })
        .await;
        if self.flags.iter().any(|flag| flag.starts_with("--server.ssl.")) {
            // The calls here are plain; it listens when all else is done.
            return;
        }
        wait::until("it answers", START, async || {
            let (status, _) = self.call("GET", "/apps", "").await.ok()?;
            (status == 200).then_some(())
        })
        .await;
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = BufReader::new(TcpStream::connect(self.address()).await?);
        let shown = self.guarded.then(|| STANDARD.encode(format!("{USER}:{PASSWORD}")));
        Ok(Connection { stream, shown })
    }

    /// One call: status and body as JSON (null when there is none).
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, Value)> {
        self.connect().await?.call(method, path, body).await
    }

    /// A call that must succeed.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, value) = self.call(method, path, &text).await.expect("the server answers");
        assert!((200..300).contains(&status), "{method} {path}: {status} {value}");
        value
    }

    /// Registers an instance as it is.
    pub(crate) async fn register(&self, instance: &Value) {
        let app = instance["app"].as_str().expect("an application").to_owned();
        let id = instance["instanceId"].as_str().expect("an id").to_owned();
        self.ask("POST", &format!("/apps/{app}"), &json!({ "instance": instance })).await;
        self.known.lock().expect("no panic").insert((app, id), instance.clone());
    }

    /// Takes an instance back.
    pub(crate) async fn deregister(&self, app: &str, id: &str) {
        self.known.lock().expect("no panic").remove(&(app.to_owned(), id.to_owned()));
        self.ask("DELETE", &format!("/apps/{app}/{id}"), &Value::Null).await;
    }

    /// Overrides an instance's status, until it is `UP` again.
    pub(crate) async fn set_status(&self, app: &str, id: &str, status: &str) {
        let path = format!("/apps/{app}/{id}/status?value={status}");
        let method = if status == "UP" { "DELETE" } else { "PUT" };
        self.ask(method, &path, &Value::Null).await;
    }

    /// Makes many calls over a few connections; every one must end in a status that `good` takes.
    async fn many(&self, calls: Vec<(&'static str, String, String)>) {
        let some = async |first: usize| {
            let mut connection = self.connect().await.expect("it accepts");
            for (method, path, body) in calls.iter().skip(first).step_by(4) {
                let (status, value) = connection.call(method, path, body).await.expect("an answer");
                let good = (200..300).contains(&status) || (*method == "DELETE" && status == 404);
                assert!(good, "{method} {path}: {status} {value}");
            }
        };
        tokio::join!(some(0), some(1), some(2), some(3));
    }

    async fn register_all(&self, instances: impl IntoIterator<Item = Value>) {
        let mut calls = Vec::new();
        for instance in instances {
            let app = instance["app"].as_str().expect("an application").to_owned();
            let id = instance["instanceId"].as_str().expect("an id").to_owned();
            let body = json!({ "instance": instance }).to_string();
            calls.push(("POST", format!("/apps/{app}"), body));
            self.known.lock().expect("no panic").insert((app, id), instance);
        }
        self.many(calls).await;
    }

    fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child");
    }

    async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.dir, self.port, &self.flags).expect("it starts");
        self.up().await;
    }
}

/// An instance that is up, under a lease that outlives the test.
pub(crate) fn instance(service: &str, address: SocketAddr) -> Value {
    json!({
        "instanceId": id(service, address),
        "app": service.to_uppercase(),
        "hostName": address.ip().to_string(),
        "ipAddr": address.ip().to_string(),
        "vipAddress": service,
        "status": "UP",
        "port": { "$": address.port(), "@enabled": "true" },
        "securePort": { "$": 443, "@enabled": "false" },
        "dataCenterInfo": { "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn" },
        "leaseInfo": { "renewalIntervalInSecs": 30, "durationInSecs": DAY },
        "metadata": {},
    })
}

fn id(service: &str, address: SocketAddr) -> String {
    format!("{service}-{}-{}", address.ip(), address.port())
}

impl Real for Eureka {
    const KIND: &'static str = "eureka";
    const SEEN: Duration = Duration::from_secs(10);
    const GONE: Option<Duration> = Some(Duration::from_secs(20));
    const CATALOG: bool = true;
    const REGISTERS: bool = true;

    async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    async fn guarded() -> Option<Self> {
        Self::start_with(&["--guarded"]).await
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn keys(&self, port: u16) -> String {
        let user = if self.guarded { "frontgate:se%40me%2f1@" } else { "" };
        format!(
            "kind = \"eureka\"\nurls = [\"http://{user}127.0.0.1:{port}/eureka\"]\npoll = \"1s\"\n"
        )
    }

    fn wrong_keys(&self, port: u16) -> String {
        format!(
            "kind = \"eureka\"\nurls = [\"http://{USER}:wrong@127.0.0.1:{port}/eureka\"]\npoll = \"1s\"\n"
        )
    }

    async fn put_all(&self, instances: &[(String, SocketAddr)]) {
        self.register_all(instances.iter().map(|(service, at)| instance(service, *at))).await;
    }

    async fn put_tagged(&self, service: &str, address: SocketAddr) {
        let mut tagged = instance(service, address);
        tagged["metadata"]["frontgate"] = "true".into();
        self.register(&tagged).await;
    }

    async fn put_dying(&self, service: &str, address: SocketAddr) {
        let mut dying = instance(service, address);
        // Long enough to be seen by a poll of a second.
        dying["leaseInfo"]["durationInSecs"] = 5.into();
        self.ask(
            "POST",
            &format!("/apps/{}", service.to_uppercase()),
            &json!({ "instance": dying }),
        )
        .await;
    }

    async fn put_garbage(&self, service: &str) {
        let mut garbage = instance(service, SocketAddr::from(([127, 0, 0, 1], 1)));
        garbage["instanceId"] = "garbage".into();
        garbage["hostName"] = "no name at all".into();
        garbage["ipAddr"] = "<nor> an address".into();
        self.register(&garbage).await;
    }

    async fn take_all(&self, instances: &[(String, SocketAddr)]) {
        let mut calls = Vec::new();
        for (service, address) in instances {
            let (app, id) = (service.to_uppercase(), id(service, *address));
            calls.push(("DELETE", format!("/apps/{app}/{id}"), String::new()));
            self.known.lock().expect("no panic").remove(&(app, id));
        }
        self.many(calls).await;
    }

    async fn listed(&self, service: &str) -> Vec<String> {
        let path = format!("/apps/{}", service.to_uppercase());
        let (status, found) = self.call("GET", &path, "").await.expect("the server answers");
        if status == 404 {
            return Vec::new();
        }
        let instances = found["application"]["instance"].as_array().expect("instances");
        let address = |one: &Value| {
            format!("{}:{}", one["ipAddr"].as_str().expect("an address"), one["port"]["$"])
        };
        let mut listed: Vec<String> = instances.iter().map(address).collect();
        listed.sort();
        listed
    }

    fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// It comes back empty, and its clients register again as soon as they hear a 404.
    async fn restart(&mut self) {
        self.start_again().await;
        let known: Vec<Value> = self.known.lock().expect("no panic").values().cloned().collect();
        self.register_all(known).await;
    }

    async fn restart_empty(&mut self) {
        self.known.lock().expect("no panic").clear();
        self.start_again().await;
    }

    fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    fn thaw(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Eureka {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A connection that stays open over many calls.
struct Connection {
    stream: BufReader<TcpStream>,
    shown: Option<String>,
}

impl Connection {
    async fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, Value)> {
        let shown = self.shown.as_ref().map(|shown| format!("Authorization: Basic {shown}\r\n"));
        let request = format!(
            "{method} /eureka{path} HTTP/1.1\r\nHost: eureka\r\nAccept: application/json\r\n\
             {}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            shown.unwrap_or_default(),
            body.len(),
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let field = |name: &str| Some(head.split_once(name)?.1.lines().next()?.trim().to_owned());
        let mut body = Vec::new();
        if let Some(length) = field("\r\ncontent-length:").and_then(|length| length.parse().ok()) {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).await?;
        } else if field("\r\ntransfer-encoding:").is_some() {
            self.chunks(&mut body).await?;
        }
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into()));
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, value))
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(self.stream.read_u8().await?);
            }
            let size = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let from = body.len();
            body.resize(from + size, 0);
            self.stream.read_exact(&mut body[from..]).await?;
            self.stream.read_exact(&mut [0; 2]).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

fn spawn(program: &PathBuf, dir: &TempDir, port: u16, flags: &[String]) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.path().join("log"))?;
    let mut command = Command::new(program);
    command.arg(port.to_string()).arg(dir.path()).args(flags).env("EUREKA_PASSWORD", PASSWORD);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}
