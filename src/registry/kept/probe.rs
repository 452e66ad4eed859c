//! Whether somebody still listens where an instance was: a TCP connect, nothing said.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
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
    let turn = turns.acquire_owned().await;
    let reached = tokio::time::timeout(WITHIN, reach(address.clone(), turn));
    let alive = match reached.await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => is_our_own(&error),
        Err(_) => false,
    };
    (address, alive)
}

/// A lookup cannot be stopped: its turn lasts as long as it does, or a resolver that hangs would fill all threads.
async fn reach<T: Send + 'static>(address: HostPort, turn: T) -> io::Result<TcpStream> {
    let HostPort { host, port } = address;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(ip, port)).await;
    }
    let look_up = move || ((host.as_str(), port).to_socket_addrs(), turn);
    let (found, _turn) = tokio::task::spawn_blocking(look_up).await?;
    let found: Vec<_> = found?.collect();
    TcpStream::connect(found.as_slice()).await
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

    #[test]
    fn a_gateway_that_cannot_connect_anywhere_calls_nobody_dead() {
        for ours in [Errno::MFILE, Errno::ADDRNOTAVAIL, Errno::NETUNREACH] {
            assert!(is_our_own(&ours.into()), "{ours}");
        }
        for theirs in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
            assert!(!is_our_own(&theirs.into()), "{theirs}");
        }
    }

    #[tokio::test]
    async fn who_listens_is_alive_by_address_and_by_name() {
        let turns = Arc::new(Semaphore::new(1));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let ask = async |host: &str| {
            connect(HostPort { host: host.into(), port }, Arc::clone(&turns)).await.1
        };
        assert!(ask("127.0.0.1").await && ask("localhost").await);
        drop(socket);
        assert!(!ask("127.0.0.1").await && !ask("localhost").await);
        assert_eq!(turns.available_permits(), 1);
    }
}
