//! A real ZooKeeper: one server or an ensemble, started on free loopback ports, stopped by process id.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::real::Real;
use super::{ports, servers, wait};

/// Bound on a start: it takes a second alone and many beside others.
const START: Duration = Duration::from_secs(60);
/// Bound on the answer to a four-letter word.
const ANSWER: Duration = Duration::from_secs(3);
/// The user of a guarded server.
const AUTH: &str = "test:secret";

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    jar: PathBuf,
    child: Child,
    dir: TempDir,
    port: u16,
}

/// A server as the tests of its registry use it.
#[derive(Debug)]
pub(crate) struct Zookeeper {
    pub(crate) server: Server,
    /// Shown by the test's own sessions; what these make is theirs alone then.
    auth: Option<&'static str>,
}

impl Server {
    /// One that stands alone; none when it is missing and tests may skip.
    pub(crate) async fn alone() -> Option<Self> {
        let jar = servers::find("zookeeper")?;
        let port = ports::free(1)[0];
        let mut server = Self::spawn(&jar, write(port, ""), port);
        server.up().await;
        Some(server)
    }

    /// An ensemble of three.
    pub(crate) async fn three() -> Option<Vec<Self>> {
        let jar = servers::find("zookeeper")?;
        let free = ports::free(9);
        let (peers, clients) = free.split_at(6);
        let all: String = (0..3)
            .map(|n| format!("server.{}=127.0.0.1:{}:{}\n", n + 1, peers[n], peers[n + 3]))
            .collect();
        let mut ensemble: Vec<Self> = Vec::new();
        for (n, port) in clients.iter().enumerate() {
            let dir = write(*port, &all);
            std::fs::write(dir.path().join("d/myid"), (n + 1).to_string()).expect("writable");
            ensemble.push(Self::spawn(&jar, dir, *port));
        }
        for server in &mut ensemble {
            server.up().await;
        }
        Some(ensemble)
    }

    fn spawn(jar: &Path, dir: TempDir, port: u16) -> Self {
        let child = spawn(jar, dir.path()).expect("java starts");
        Self { jar: jar.to_owned(), child, dir, port }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it again on the same port, with what it remembers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.jar, self.dir.path()).expect("java starts");
        self.up().await;
    }

    /// Starts it again on the same port without anything it knew.
    pub(crate) async fn restart_empty(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.dir.path().join("d/version-2")).expect("its data");
        self.restart().await;
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
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("our own child");
    }

    /// A session of the test's own.
    pub(crate) async fn client(&self, auth: Option<&str>) -> Client {
        wait::until("a session", START, async || {
            let mut connector = Client::connector().with_session_timeout(Duration::from_secs(10));
            if let Some(auth) = auth {
                connector = connector.with_auth("digest", auth.as_bytes());
            }
            connector.connect(&self.address()).await.ok()
        })
        .await
    }

    /// Waits until this very process listens and serves.
    async fn up(&mut self) {
        let (pid, port) = (self.child.id(), self.port);
        let (child, dir) = (&mut self.child, &self.dir);
        wait::until("the server owns its port", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                panic!("zookeeper ended with {status}: {log}");
            }
            ports::owned_by(pid, port).then_some(())
        })
        .await;
        wait::until("it serves", START, async || {
            (self.four_letters("srvr").await.ok()?.contains("Mode: ")).then_some(())
        })
        .await;
    }

    /// The answer to one of its four-letter words. A server that begins to serve may take one and never answer it.
    pub(crate) async fn four_letters(&self, word: &str) -> io::Result<String> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(word.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        tokio::time::timeout(ANSWER, asked).await.unwrap_or_else(|late| Err(late.into()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory with a configuration.
fn write(port: u16, more: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("d");
    std::fs::create_dir(&data).expect("a writable directory");
    let config = format!(
        "tickTime=200\ninitLimit=100\nsyncLimit=50\ndataDir={}\nclientPort={port}\n\
         clientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=*\n\
         minSessionTimeout=400\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n{more}",
        data.display()
    );
    std::fs::write(dir.path().join("zoo.cfg"), config).expect("a writable directory");
    dir
}

fn spawn(jar: &Path, dir: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let class_path = format!("/etc/zookeeper/conf:{}", jar.display());
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &class_path]);
    command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(dir.join("zoo.cfg"));
    command.current_dir(dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// An instance's node, after its address.
fn node(service: &str, address: SocketAddr) -> String {
    format!("/services/{service}/{}-{}", address.ip(), address.port())
}

impl Zookeeper {
    fn acls(&self) -> Acls<'static> {
        if self.auth.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
    }

    async fn client(&self) -> Client {
        self.server.client(self.auth).await
    }

    /// The children of a node with what they hold.
    async fn nodes(&self, client: &Client, path: &str) -> Vec<(String, String)> {
        let names = match client.get_children(path).await {
            Ok((names, _)) => names,
            Err(Error::NoNode) => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        let mut nodes = Vec::new();
        for name in names {
            let Ok((data, _)) = client.get_data(&format!("{path}/{name}")).await else { continue };
            nodes.push((name, String::from_utf8_lossy(&data).into_owned()));
        }
        nodes
    }

    /// Writes nodes with what they hold, in one session.
    pub(crate) async fn write(&self, nodes: &[(String, String)], mode: CreateMode) -> Client {
        let client = self.client().await;
        self.write_with(&client, nodes, mode).await;
        client
    }

    async fn write_with(&self, client: &Client, nodes: &[(String, String)], mode: CreateMode) {
        let folders: std::collections::BTreeSet<&str> =
            nodes.iter().filter_map(|(path, _)| Some(path.rsplit_once('/')?.0)).collect();
        let folder = CreateMode::Persistent.with_acls(self.acls());
        for path in folders {
            client.mkdir(path, &folder).await.expect("a folder");
        }
        let options = mode.with_acls(self.acls());
        for some in nodes.chunks(256) {
            let asked: Vec<_> = some
                .iter()
                .map(|(path, data)| client.create(path, data.as_bytes(), &options))
                .collect();
            for answer in asked {
                match answer.await {
                    Ok(_) | Err(Error::NodeExists) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

impl Real for Zookeeper {
    const KIND: &'static str = "zookeeper";
    const SEEN: Duration = Duration::from_secs(2);
    const GONE: Option<Duration> = Some(Duration::from_secs(10));
    const CATALOG: bool = true;
    const REGISTERS: bool = true;

    async fn start() -> Option<Self> {
        Some(Self { server: Server::alone().await?, auth: None })
    }

    async fn guarded() -> Option<Self> {
        Some(Self { server: Server::alone().await?, auth: Some(AUTH) })
    }

    fn port(&self) -> u16 {
        self.server.port
    }

    fn keys(&self, port: u16) -> String {
        let auth = self.auth.map(|auth| format!("auth = \"{auth}\"\n")).unwrap_or_default();
        format!("kind = \"zookeeper\"\nservers = \"127.0.0.1:{port}\"\n{auth}")
    }

    fn wrong_keys(&self, port: u16) -> String {
        format!("kind = \"zookeeper\"\nservers = \"127.0.0.1:{port}\"\nauth = \"test:wrong\"\n")
    }

    async fn put_all(&self, instances: &[(String, SocketAddr)]) {
        let nodes: Vec<_> = instances
            .iter()
            .map(|(service, address)| (node(service, *address), address.to_string()))
            .collect();
        self.write(&nodes, CreateMode::Persistent).await;
    }

    async fn put_tagged(&self, service: &str, address: SocketAddr) {
        let data = format!(r#"{{"address":"{address}","tags":["frontgate"]}}"#);
        self.write(&[(node(service, address), data)], CreateMode::Persistent).await;
    }

    async fn put_dying(&self, service: &str, address: SocketAddr) {
        let client = Client::connector()
            .with_session_timeout(Duration::from_secs(1))
            // Its session is not closed when it is dropped.
            .with_detached();
        let client = match self.auth {
            Some(auth) => client.with_auth("digest", auth.as_bytes()),
            None => client,
        };
        let client = client.connect(&self.server.address()).await.expect("a session");
        let nodes = [(node(service, address), address.to_string())];
        self.write_with(&client, &nodes, CreateMode::Ephemeral).await;
    }

    async fn put_garbage(&self, service: &str) {
        let nodes = ["", "{", "no port", "{\"address\":7}", "\u{0}\u{1}"];
        let nodes = nodes.iter().enumerate();
        let nodes: Vec<_> = nodes
            .map(|(n, data)| (format!("/services/{service}/garbage-{n}"), (*data).to_owned()))
            .collect();
        self.write(&nodes, CreateMode::Persistent).await;
    }

    async fn take_all(&self, instances: &[(String, SocketAddr)]) {
        let client = self.client().await;
        for some in instances.chunks(256) {
            let asked: Vec<_> = some
                .iter()
                .map(|(service, address)| client.delete(&node(service, *address), None))
                .collect();
            for answer in asked {
                match answer.await {
                    Ok(()) | Err(Error::NoNode) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        // Others choose other names.
        let [(service, address)] = instances else { return };
        let path = format!("/services/{service}");
        for (node, data) in self.nodes(&client, &path).await {
            if self::address(&data) == Some(address.to_string()) {
                client.delete(&format!("{path}/{node}"), None).await.ok();
            }
        }
    }

    async fn listed(&self, service: &str) -> Vec<String> {
        let client = self.client().await;
        let nodes = self.nodes(&client, &format!("/services/{service}")).await;
        let mut found: Vec<_> = nodes.iter().filter_map(|(_, data)| address(data)).collect();
        found.sort();
        found
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    async fn restart(&mut self) {
        self.server.restart().await;
    }

    async fn restart_empty(&mut self) {
        self.server.restart_empty().await;
    }

    fn freeze(&self) {
        self.server.freeze();
    }

    fn thaw(&self) {
        self.server.thaw();
    }
}

/// The address that a node's data names, plain or as Curator writes it.
fn address(data: &str) -> Option<String> {
    if data.parse::<SocketAddr>().is_ok() {
        return Some(data.to_owned());
    }
    let written: serde_json::Value = serde_json::from_str(data).ok()?;
    let host = written["address"].as_str()?;
    Some(match written["port"].as_u64() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}
