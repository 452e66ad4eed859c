//! Making a connection to an instance.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::instance::Instance;
use crate::wire::h1::Link;

/// Connects within `patience` and before `due`. A name is looked up each time, and each of its addresses tried in
/// turn.
pub(super) async fn connect(
    instance: &Instance,
    patience: Duration,
    due: Option<Instant>,
) -> io::Result<Box<Link>> {
    let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
    let patience = until_due.map_or(patience, |left| patience.min(left));
    let io = match tokio::time::timeout(patience, dial(instance)).await {
        Ok(dialled) => dialled?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    // A request is one write; waiting to join it with another would only delay it.
    io.set_nodelay(true)?;
    Ok(Box::new(Link::new(io)))
}

/// A name is looked up, and each of its addresses tried in turn.
pub(super) async fn dial(instance: &Instance) -> io::Result<TcpStream> {
    match instance.address {
        Some(address) => TcpStream::connect(address).await,
        None => {
            let address = &instance.place;
            TcpStream::connect((address.host.as_str(), address.port)).await
        }
    }
}
