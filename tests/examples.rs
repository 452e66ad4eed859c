//! What stands in `examples/`: every set-up loads, the sample backends register themselves and leave in peace.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::consul::Consul;
use support::etcd::Etcd;
use support::eureka::Eureka;
use support::real::Real;
use support::zookeeper::Zookeeper;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bound on what should take milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(10);

/// Every file in `examples/` that a gateway can be started with.
fn set_ups() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(folder).expect("examples");
    let files = entries.map(|entry| entry.expect("an entry").path().join("frontgate.toml"));
    files.filter(|file| file.exists()).collect()
}

/// Every file in `examples/registries/`: one kind of registry each.
fn registries() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/registries");
    let entries = std::fs::read_dir(folder).expect("examples");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_set_up_of_each_registry_is_found_good_without_a_warning_and_has_a_page() {
    let registries = registries();
    assert_eq!(registries.len(), frontgate::registry::KINDS.len(), "{registries:?}");
    for path in registries {
        let mut check = Command::new(env!("CARGO_BIN_EXE_frontgate"));
        let said = check.arg("check").arg("--config").arg(&path).output().expect("it runs");
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.status.success(), "{}: {text}", path.display());
        assert_eq!(text.lines().count(), 1, "{}: {text}", path.display());
        let page = path.with_extension("md");
        let page = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs/registries")
            .join(page.file_name().expect("a name"));
        assert!(page.exists(), "{} is missing", page.display());
    }
}

#[test]
fn every_set_up_is_found_good_without_a_warning() {
    let set_ups = set_ups();
    assert!(set_ups.len() >= 2, "{set_ups:?}");
    for path in set_ups {
        let mut check = Command::new(env!("CARGO_BIN_EXE_frontgate"));
        let said = check.arg("check").arg("--config").arg(&path).output().expect("it runs");
        let [out, err] =
            [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let place = path.display();
        assert!(said.status.success(), "{place}: {out}{err}");
        assert_eq!(out.lines().count() + err.lines().count(), 1, "{place}: {out}{err}");
        let readme = std::fs::read_to_string(path.with_file_name("README.md")).expect("a README");
        assert_eq!(readme.lines().count(), 3, "three lines beside {place}");
    }
}

#[test]
fn what_the_page_about_failing_instances_shows_is_found_good() {
    let page = include_str!("../docs/resilience.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).collect();
    assert!(blocks.len() > 5, "{}", blocks.len());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("frontgate.toml");
    for block in blocks {
        let shown = block.split("```").next().expect("its end");
        // What it needs around it: where clients connect, and what its services and routes refer to.
        let mut whole = format!("{shown}\n[registry.consul]\nkind = \"consul\"\n");
        whole += "[listen.web]\naddress = \"127.0.0.1:0\"\n";
        if !shown.contains("[[route]]") {
            whole += "[[route]]\npath = \"/*\"\nservice = \"orders\"\n";
        }
        std::fs::write(&file, &whole).expect("a file");
        let mut check = Command::new(env!("CARGO_BIN_EXE_frontgate"));
        let said = check.arg("check").arg("--config").arg(&file).output().expect("it runs");
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.status.success(), "{whole}{text}");
    }
}

/// A sample backend as its own process. Killed when dropped.
struct Sample {
    child: Child,
    address: String,
}

impl Sample {
    fn start(name: &str, flags: &[&str]) -> Self {
        let tests = std::env::current_exe().expect("this program's path");
        let built = tests.ancestors().nth(2).expect("target/<profile>").join("examples").join(name);
        assert!(built.exists(), "`cargo build --examples` first");
        let mut child =
            Command::new(built).args(flags).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening ").expect("where it listens").to_owned();
        Self { child, address }
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("an id");
        kill_process(pid, Signal::TERM).expect("our own child");
    }

    /// Waits for its end; true when it ended well.
    async fn ends_well(&mut self) -> bool {
        support::wait::until("the backend ends", SOON, async || {
            self.child.try_wait().expect("our own child")
        })
        .await
        .success()
    }

    /// The whole answer to one request on a connection of its own.
    async fn ask(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.expect("it accepts");
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Addresses of the passing instances of a service, as `host:port`.
async fn passing(agent: &Consul, service: &str) -> Vec<String> {
    let path = format!("/v1/health/service/{service}?passing=1");
    let (_, found) = agent.call("GET", &path, "").await.expect("the agent answers");
    let entries = found.as_array().expect("a list").iter().map(|entry| &entry["Service"]);
    entries
        .map(|service| {
            format!("{}:{}", service["Address"].as_str().expect("an address"), service["Port"])
        })
        .collect()
}

#[tokio::test]
async fn a_sample_registers_as_passing_and_goes_on_serving_until_it_is_forgotten() {
    let Some(agent) = Consul::dev().await else { return };
    let register = format!("consul={}", agent.url());
    let flags = ["--register", &register, "--drain", "5m"];
    let mut backend = Sample::start("addsvc", &flags);
    support::wait::until("it is passing", SOON, async || {
        (passing(&agent, "addsvc").await == [backend.address.clone()]).then_some(())
    })
    .await;
    backend.terminate();
    support::wait::until("it has deregistered", SOON, async || {
        passing(&agent, "addsvc").await.is_empty().then_some(())
    })
    .await;
    let answer = backend.ask("/sum", r#"{"a":1,"b":2}"#).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"v":3}"#), "{answer}");
    // The drain would be long: the second signal ends it.
    assert!(backend.child.try_wait().expect("our own child").is_none());
    backend.terminate();
    assert!(backend.ends_well().await);
}

#[tokio::test]
async fn a_sample_registers_in_etcd_and_is_gone_when_it_leaves() {
    let Some(member) = Etcd::solo().await else { return };
    let register = format!("etcd={}", member.url());
    let mut backend = Sample::start("addsvc", &["--register", &register, "--drain", "0s"]);
    support::wait::until("it is registered", SOON, async || {
        (member.listed("addsvc").await == [backend.address.clone()]).then_some(())
    })
    .await;
    backend.terminate();
    assert!(backend.ends_well().await);
    assert!(member.listed("addsvc").await.is_empty());
}

#[tokio::test]
async fn a_sample_registers_in_eureka_and_is_gone_when_it_leaves() {
    let Some(server) = Eureka::start().await else { return };
    let register = format!("eureka={}", server.url());
    let mut backend = Sample::start("addsvc", &["--register", &register, "--drain", "0s"]);
    support::wait::until("it is registered", SOON, async || {
        (server.listed("addsvc").await == [backend.address.clone()]).then_some(())
    })
    .await;
    backend.terminate();
    assert!(backend.ends_well().await);
    assert!(server.listed("addsvc").await.is_empty());
}

#[tokio::test]
async fn a_sample_in_zookeeper_leaves_at_once_when_told_and_with_its_session_when_killed() {
    let Some(zoo) = Zookeeper::start().await else { return };
    let register = format!("zookeeper=127.0.0.1:{}", zoo.port());
    let listed = async |what: &str, within, expected: &[String]| {
        support::wait::until(what, within, async || {
            (zoo.listed("addsvc").await == expected).then_some(())
        })
        .await;
    };
    let mut one = Sample::start("addsvc", &["--register", &register, "--drain", "0s"]);
    listed("it has registered", SOON, std::slice::from_ref(&one.address)).await;
    one.terminate();
    listed("it has deregistered", SOON, &[]).await;
    assert!(one.ends_well().await);
    let mut two = Sample::start("addsvc", &["--register", &register]);
    listed("the other one has registered", SOON, std::slice::from_ref(&two.address)).await;
    two.child.kill().expect("our own child");
    // The session it asked for lasts ten seconds.
    listed("it is gone", 3 * SOON, &[]).await;
}

#[tokio::test]
async fn a_sample_that_is_registered_nowhere_ends_at_the_first_signal() {
    let mut backend = Sample::start("stringsvc", &["--drain", "5m"]);
    let answer = backend.ask("/uppercase", r#"{"s":"hello"}"#).await;
    assert!(answer.ends_with(r#"{"v":"HELLO"}"#), "{answer}");
    backend.terminate();
    assert!(backend.ends_well().await);
}
