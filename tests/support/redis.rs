//! A real Redis server: started on a free loopback port, stopped by process id.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Cmd, FromRedisValue};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{ports, servers, wait};

/// Bound on a server's start: it takes 0.1 s alone.
const START: Duration = Duration::from_secs(30);

/// A running server that keeps nothing over a restart. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    program: PathBuf,
    options: Vec<String>,
    child: Child,
    dir: TempDir,
    port: u16,
    password: Option<String>,
}

impl Redis {
    /// One that asks nobody who they are; none when it is missing and tests may skip.
    pub(crate) async fn start() -> Option<Self> {
        Self::with(&[]).await
    }

    /// One that asks for a password.
    pub(crate) async fn with_password(password: &str) -> Option<Self> {
        let mut server = Self::with(&["--requirepass", password]).await?;
        server.password = Some(password.to_owned());
        Some(server)
    }

    /// One with these options beside its own; `{port}` in them is its port.
    pub(crate) async fn with(options: &[&str]) -> Option<Self> {
        let program = servers::find("redis-server")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = ports::free(1)[0];
        let at = port.to_string();
        let options: Vec<_> = options.iter().map(|text| text.replace("{port}", &at)).collect();
        let child = spawn(&program, &options, &dir, port);
        let mut server = Self { program, options, child, dir, port, password: None };
        server.up().await;
        Some(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}", self.address()),
            None => format!("redis://{}", self.address()),
        }
    }

    /// What it answers to a command, over a connection of the test's own.
    pub(crate) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let client = redis::Client::open(self.url()).expect("a good address");
        let mut connection =
            client.get_multiplexed_async_connection().await.expect("it takes connections");
        command.query_async(&mut connection).await.expect("an answer")
    }

    /// What it answers to these words.
    pub(crate) async fn say<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        for word in words {
            command.arg(word);
        }
        self.call(&command).await
    }

    /// How often it was asked for this command, by scripts too.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let info: String = self.say(&["INFO", "commandstats"]).await;
        let line = format!("cmdstat_{command}:calls=");
        let count = info.lines().find_map(|text| text.strip_prefix(&line)?.split(',').next());
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it again on the same port, without anything it knew.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.options, &self.dir, self.port);
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

    /// Waits until this very process listens.
    async fn up(&mut self) {
        let (child, port) = (&mut self.child, self.port);
        wait::until("the server owns its port", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("redis-server ended with {status}");
            }
            ports::owned_by(child.id(), port).then_some(())
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &PathBuf, options: &[String], dir: &TempDir, port: u16) -> Child {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.args(["--port", &port.to_string(), "--dir"]).arg(dir.path()).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server starts")
}
