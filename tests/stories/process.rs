//! Processes that a story runs: what they say, how they end. None outlives its story.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::SOON;
use super::support::wait;

/// What would lead a process away from its story.
const MISLEADING: [&str; 4] =
    ["CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "FRONTGATE_ADMIN_TOKEN", "RUST_LOG"];

/// A running process. Killed when dropped, also by a panic, which then shows what it said.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        for name in MISLEADING {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let said = Arc::default();
        listen(child.stdout.take().expect("piped"), &said);
        listen(child.stderr.take().expect("piped"), &said);
        Self { child, said }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far, on both channels.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rest of its first line that begins so.
    pub(crate) async fn says(&mut self, beginning: &str) -> String {
        wait::until(&format!("it says {beginning:?}"), SOON, async || {
            let said = self.said();
            let found = said.iter().find_map(|line| line.strip_prefix(beginning));
            if found.is_none()
                && let Ok(Some(status)) = self.child.try_wait()
            {
                panic!("it ended with {status}: {said:#?}");
            }
            found.map(str::to_owned)
        })
        .await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child");
    }

    /// As `kill -9`: over, its sockets closed by the kernel, when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        wait::until("it ends", within, async || child.try_wait().ok().flatten()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("process {} said:\n{}", self.id(), self.said().join("\n"));
        }
    }
}

/// Collects the lines of a pipe until it closes.
fn listen(pipe: impl Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}
