//! Whether somebody still listens where an instance was: a TCP connect, nothing said.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::config::model::HostPort;

/// Bound on one connect.
const WITHIN: Duration = Duration::from_secs(1);
/// Connects of a registry's guard that are under way at once.
pub(super) const AT_ONCE: usize = 64;

/// The address, and whether it took a connection.
pub(super) async fn connect(address: HostPort, turns: Arc<Semaphore>) -> (HostPort, bool) {
    // Cannot fail: the semaphore is never closed.
    let _turn = turns.acquire().await;
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let answers = matches!(tokio::time::timeout(WITHIN, connecting).await, Ok(Ok(_)));
    (address, answers)
}
