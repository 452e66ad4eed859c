//! Ports: free ones, and whose they are.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// `count` ports that are free, and that stay so until a server which takes its time binds them:
/// below those the kernel gives to whoever asks for any port or connects, and none given twice.
/// (A server on the JVM binds ten seconds after it was told its port.)
pub(crate) fn free(count: usize) -> Vec<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // From another place in every process: two of them may look for ports at the same time.
    let start =
        FIRST + u16::try_from(std::process::id() % u32::from(LAST - FIRST)).expect("a port");
    let free: Vec<u16> = (start..LAST)
        .chain(FIRST..start)
        .filter(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(count)
        .collect();
    assert_eq!(free.len(), count, "no free ports between {FIRST} and {LAST} on loopback");
    given.extend(&free);
    free
}

/// An address nobody listens at, and nobody will.
pub(crate) fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free(1)[0]))
}

/// Linux gives ports of 32768 and above to those who ask for none in particular.
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

/// Whether this process listens on this port: a stale server answers as well as the right one.
pub(crate) fn owned_by(pid: u32, port: u16) -> bool {
    let mut listening = HashSet::new();
    for table in ["tcp", "tcp6"] {
        let lines = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        listening.extend(lines.lines().filter_map(|line| listener_on(line, port)));
    }
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| listening.iter().any(|inode| target.to_str() == Some(inode.as_str())))
}

/// `socket:[inode]` of a line of `/proc/net/tcp` that is a listener (state 0A) on this port.
fn listener_on(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let listens = *state == "0A" && local.ends_with(&format!(":{port:04X}"));
    listens.then(|| format!("socket:[{inode}]"))
}

/// Connections of this process to this port on loopback that are established.
pub(crate) fn connections_to(pid: u32, port: u16) -> usize {
    let suffix = format!(":{port:04X}");
    let mine: HashSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_owned()))
        .collect();
    fs::read_to_string(format!("/proc/{pid}/net/tcp"))
        .unwrap_or_default()
        .lines()
        .filter(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(2).is_some_and(|remote| remote.ends_with(&suffix))
                && fields.get(3) == Some(&"01")
                && fields.get(9).is_some_and(|inode| mine.contains(&format!("socket:[{inode}]")))
        })
        .count()
}
