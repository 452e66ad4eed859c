//! A real name server (named) of the zone `test`: started on a free loopback port, changed with nsupdate, stopped by
//! process id.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::real::Real;
use super::{ports, servers, wait};

/// Bound on a start: it takes 0.3 s alone and some seconds beside others.
const START: Duration = Duration::from_secs(30);
/// Changes in one update message, which may be as long as a message over TCP.
const BATCH: usize = 300;

/// How the zone begins; every record in it holds a second.
const ZONE: &str =
    "$TTL 1\n@ SOA ns.test. root.test. 1 3600 600 86400 1\n@ NS ns.test.\nns A 127.0.0.1\n";

/// A running name server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Dns {
    program: PathBuf,
    nsupdate: PathBuf,
    dig: PathBuf,
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Dns {
    /// One with an empty zone; none when it is missing and tests may skip.
    pub(crate) async fn start() -> Option<Self> {
        Self::with_options("").await
    }

    /// `options` are further ones of named, such as `minimal-responses yes;`.
    pub(crate) async fn with_options(options: &str) -> Option<Self> {
        let program = servers::find("named")?;
        let (nsupdate, dig) = (servers::find("nsupdate")?, servers::find("dig")?);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = ports::free(1)[0];
        let here = dir.path().display();
        // Newer ones take no more than a hundred records of a name.
        let defaults = Command::new(&program).arg("-C").output().expect("named runs").stdout;
        let limited = String::from_utf8_lossy(&defaults).contains("max-records-per-type");
        let unlimited = if limited { "max-records-per-type 0;" } else { "" };
        let text = format!(
            "options {{ directory \"{here}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             recursion no; pid-file \"{here}/pid\"; session-keyfile \"{here}/session.key\"; dnssec-validation no; {unlimited} {options} }};\n\
             controls {{ }};\n\
             zone \"test\" {{ type primary; file \"test.zone\"; allow-update {{ 127.0.0.1; }}; }};\n"
        );
        std::fs::write(dir.path().join("named.conf"), text).expect("a writable directory");
        std::fs::write(dir.path().join("test.zone"), ZONE).expect("a writable directory");
        let child = spawn(&program, &dir);
        let mut server = Self { program, nsupdate, dig, child, dir, port };
        server.up().await;
        Some(server)
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Lines of nsupdate, such as `update add a.test 1 A 127.0.0.1`, each answered before the next begins.
    pub(crate) fn update(&self, lines: &[String]) {
        for batch in lines.chunks(BATCH) {
            let script =
                format!("server 127.0.0.1 {}\nzone test\n{}\nsend\n", self.port, batch.join("\n"));
            let mut child = Command::new(&self.nsupdate)
                .arg("-v")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("nsupdate starts");
            let mut input = child.stdin.take().expect("a pipe");
            input.write_all(script.as_bytes()).expect("it reads");
            drop(input);
            let done = child.wait_with_output().expect("our own child");
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "nsupdate: {said}\n{script}");
        }
    }

    /// One change: `add a.test 1 A 127.0.0.1`, `delete a.test`.
    pub(crate) fn change(&self, line: &str) {
        self.update(&[format!("update {line}")]);
    }

    /// What the server says, as `dig +short` shows it: one line each, sorted.
    pub(crate) fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        let port = self.port.to_string();
        let said = Command::new(&self.dig)
            .args(["+short", "+norecurse", "+tries=1", "@127.0.0.1", "-p", &port, name, kind])
            .output()
            .expect("dig runs");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it again on the same port, with its zone as it was.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.dir);
        self.up().await;
    }

    /// Starts it again on the same port with an empty zone.
    pub(crate) async fn restart_empty(&mut self) {
        self.kill();
        std::fs::remove_file(self.dir.path().join("test.zone.jnl")).ok();
        std::fs::write(self.dir.path().join("test.zone"), ZONE).expect("a writable directory");
        self.restart().await;
    }

    /// Stops it in its tracks: nothing is answered.
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

    /// Waits until this very process listens and serves its zone.
    async fn up(&mut self) {
        let (pid, port) = (self.child.id(), self.port);
        let (child, dir) = (&mut self.child, &self.dir);
        wait::until("named owns its port", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                panic!("named ended with {status}: {log}");
            }
            ports::owned_by(pid, port).then_some(())
        })
        .await;
        wait::until("named serves its zone", START, async || {
            (self.dig("ns.test", "A") == ["127.0.0.1"]).then_some(())
        })
        .await;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &PathBuf, dir: &TempDir) -> Child {
    let log = dir.path().join("log");
    let log = File::options().create(true).append(true).open(log).expect("a log");
    let mut command = Command::new(program);
    command.args(["-g", "-n", "1", "-c"]).arg(dir.path().join("named.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("named starts")
}

/// The SRV record of an instance without its owner, and the target's own record.
fn records(address: SocketAddr) -> (String, String) {
    let mut target = String::from("at");
    for byte in address.ip().to_string().split(['.', ':']) {
        write!(target, "-{byte}").expect("text takes everything");
    }
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    let host = format!("{target}.test 1 {kind} {}", address.ip());
    (format!("SRV 10 10 {} {target}.test.", address.port()), host)
}

impl Real for Dns {
    const KIND: &'static str = "dns";
    /// The records hold a second.
    const SEEN: Duration = Duration::from_secs(5);
    /// A record stays until somebody takes it out.
    const GONE: Option<Duration> = None;
    const CATALOG: bool = false;
    // An answer of 64 KiB holds some 1,600, and the addresses of 1,024 at most are looked up.
    const MOST_INSTANCES: usize = 1000;
    const REGISTERS: bool = false;

    async fn start() -> Option<Self> {
        Self::start().await
    }

    async fn guarded() -> Option<Self> {
        None
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn keys(&self, port: u16) -> String {
        format!("kind = \"dns\"\nservers = [\"127.0.0.1:{port}\"]\n")
    }

    fn wrong_keys(&self, port: u16) -> String {
        self.keys(port)
    }

    fn service_keys(&self, service: &str) -> String {
        format!("name = \"{service}.test\"")
    }

    async fn put_all(&self, instances: &[(String, SocketAddr)]) {
        let mut lines = Vec::new();
        for (service, address) in instances {
            let (record, host) = records(*address);
            lines.push(format!("update add {host}"));
            lines.push(format!("update add {service}.test 1 {record}"));
        }
        self.update(&lines);
    }

    async fn put_tagged(&self, service: &str, address: SocketAddr) {
        self.put(service, address).await;
    }

    async fn put_dying(&self, service: &str, address: SocketAddr) {
        self.put(service, address).await;
    }

    async fn put_garbage(&self, service: &str) {
        self.change(&format!("add {service}.test 1 SRV 10 10 0 ns.test."));
        self.change(&format!("add {service}.test 1 SRV 10 10 80 nowhere.test."));
    }

    async fn take_all(&self, instances: &[(String, SocketAddr)]) {
        let line = |(service, address): &(String, SocketAddr)| {
            format!("update delete {service}.test {}", records(*address).0)
        };
        self.update(&instances.iter().map(line).collect::<Vec<_>>());
    }

    async fn listed(&self, service: &str) -> Vec<String> {
        let mut found = Vec::new();
        for line in self.dig(&format!("{service}.test"), "SRV") {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, _, port, target] = words[..] else { panic!("{line}") };
            let hosts = [self.dig(target, "A"), self.dig(target, "AAAA")].concat();
            found.extend(hosts.into_iter().filter_map(|ip| {
                Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?).to_string())
            }));
        }
        found.sort();
        found
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    async fn restart(&mut self) {
        Self::restart(self).await;
    }

    async fn restart_empty(&mut self) {
        Self::restart_empty(self).await;
    }

    fn freeze(&self) {
        Self::freeze(self);
    }

    fn thaw(&self) {
        Self::thaw(self);
    }
}
