//! Ports: free ones, and whose they are.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;

/// `count` ports that were free a moment ago. Taken together, so that they differ.
pub(crate) fn free(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port on loopback"))
        .collect();
    held.iter().map(|socket| socket.local_addr().expect("a bound socket").port()).collect()
}

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
