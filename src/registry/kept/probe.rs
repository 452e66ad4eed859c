//! Whether somebody still listens where an instance was: a TCP connect, nothing said.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::config::model::HostPort;

/// Bound on one connect.
const WITHIN: Duration = Duration::from_secs(1);
/// Connects of a registry's guard that are under way at once: most of ten thousand that are silent are found out
/// within the usual hold.
pub(super) const AT_ONCE: usize = 256;

/// The address, and whether it may be alive.
pub(super) async fn connect(address: HostPort, turns: Arc<Semaphore>) -> (HostPort, bool) {
    // Cannot fail: the semaphore is never closed.
    let _turn = turns.acquire().await;
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let alive = match tokio::time::timeout(WITHIN, connecting).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => is_our_own(&error),
        Err(_) => false,
    };
    (address, alive)
}

/// Whether nothing was even tried: out of descriptors, ports or memory, or without a network. Says nothing of an
/// instance.
fn is_our_own(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::ADDRNOTAVAIL
                | Errno::NETDOWN
                | Errno::NETUNREACH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_cannot_connect_anywhere_calls_nobody_dead() {
        for ours in [Errno::MFILE, Errno::ADDRNOTAVAIL, Errno::NETUNREACH] {
            assert!(is_our_own(&ours.into()), "{ours}");
        }
        for theirs in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
            assert!(!is_our_own(&theirs.into()), "{theirs}");
        }
        let turns = Arc::new(Semaphore::new(1));
        let closed = {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            socket.local_addr().unwrap().port()
        };
        let address = HostPort { host: "127.0.0.1".into(), port: closed };
        assert!(!connect(address, turns).await.1);
    }
}
