//! `frontgate hash-password`, whose hashes the gateway takes.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::basic::{ask, says};
use crate::support::backend::{Answering, OK};
use crate::support::gateway::Setup;

fn program(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontgate"));
    command.arg("hash-password").args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn piped(flags: &[&str], input: &[u8]) -> Output {
    let mut child = program(flags).stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input).ok();
    child.wait_with_output().expect("it ends")
}

fn hash(flags: &[&str], input: &[u8]) -> String {
    let output = piped(flags, input);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.strip_suffix('\n').expect("a line").to_owned()
}

#[tokio::test]
async fn what_it_prints_lets_in() {
    let long = "a".repeat(100);
    let hashes = [
        (hash(&[], b"secret\n"), "$2b$12$", "secret"),
        (hash(&["--bcrypt"], "pass:wörd \r\nmore\n".as_bytes()), "$2b$12$", "pass:wörd "),
        (hash(&["--argon2"], b"secret"), "$argon2id$v=19$m=19456,t=2,p=1$", "secret"),
        (hash(&["--argon2"], long.as_bytes()), "$argon2id$", &long),
    ];
    let mut auth = "[auth.staff]\nkind = \"basic\"\n[auth.staff.users]\n".to_owned();
    for (at, (hash, start, _)) in hashes.iter().enumerate() {
        assert!(hash.starts_with(start), "{hash}");
        auth += &format!("user{at} = \"{hash}\"\n");
    }
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[backend.address]).route("auth = [\"staff\"]").tables(&auth);
    let gateway = setup.start().await;
    for (at, (_, _, password)) in hashes.iter().enumerate() {
        let answer = ask(&gateway, &says(&format!("user{at}"), password)).await;
        assert_eq!(answer.status(), 200, "{password}");
    }
}

#[test]
fn what_nobody_could_come_in_with_is_refused() {
    let long = [b'a'; 73];
    let longer = [b'a'; 600];
    for (flags, input, why) in [
        (&[][..], &b""[..], "empty"),
        (&[], b"\n", "empty"),
        (&[], b"a\tb\n", "control signs"),
        (&[], &long, "--argon2"),
        (&["--argon2"], &longer, "512"),
        (&[], b"\xff\n", "UTF-8"),
    ] {
        let output = piped(flags, input);
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{why}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(piped(&["--bcrypt", "--argon2"], b"").status.code(), Some(2));
}

/// A terminal and its two ends.
struct Terminal {
    ours: File,
    theirs: File,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("ours");
        unlockpt(&ours).expect("ours");
        let name = ptsname(&ours, Vec::new()).expect("a name");
        let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().expect("text"));
        Self { ours: File::from(ours), theirs: theirs.expect("there"), shown: String::new() }
    }

    /// Types once this is shown.
    fn answer(&mut self, prompt: &str, typed: &[u8]) {
        self.wait_for(prompt);
        self.ours.write_all(typed).expect("a terminal");
    }

    fn wait_for(&mut self, text: &str) {
        let mut byte = [0];
        while !self.shown.ends_with(text) {
            self.ours.read_exact(&mut byte).expect("a terminal");
            self.shown.push(char::from(byte[0]));
        }
    }

    fn end(&self) -> Stdio {
        Stdio::from(self.theirs.try_clone().expect("a terminal"))
    }
}

/// What is typed to it, the exit code, what it printed, what was shown meanwhile.
fn typing(first: &[u8], second: Option<&[u8]>) -> (Option<i32>, String, String) {
    let mut terminal = Terminal::new();
    let mut command = program(&[]);
    let child = command.stdin(terminal.end()).stderr(terminal.end()).spawn().expect("it starts");
    // Else its end of the terminal stays open.
    drop(command);
    terminal.answer("Password: ", first);
    if let Some(second) = second {
        terminal.answer("Again: ", second);
    }
    let output = child.wait_with_output().expect("it ends");
    // It shows again what is typed.
    terminal.ours.write_all(b"echo\n").expect("a terminal");
    terminal.wait_for("echo\r\n");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), printed, terminal.shown)
}

#[test]
fn a_terminal_asks_twice_and_shows_nothing() {
    let typed = "wrong\u{15}secrét\u{7f}\u{7f}et\r".as_bytes();
    let (code, printed, shown) = typing(typed, Some(b"secret\n"));
    assert_eq!(code, Some(0), "{shown}");
    assert!(printed.starts_with("$2b$12$"), "{printed}");
    assert!(!shown.contains("ecr") && !shown.contains("wrong"), "{shown}");
    let (code, printed, shown) = typing(b"secret\n", Some(b"secrets\n"));
    assert_eq!((code, &*printed), (Some(1), ""));
    assert!(shown.contains("two passwords"), "{shown}");
}

#[test]
fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    let (code, printed, shown) = typing(b"sec\x03", None);
    assert_eq!((code, &*printed), (Some(130), ""), "{shown}");
    let (code, printed, shown) = typing(b"secret\n", Some(b"\x04"));
    assert_eq!((code, &*printed), (Some(1), ""), "{shown}");
}
