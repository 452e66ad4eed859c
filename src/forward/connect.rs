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
    let end = Instant::now() + patience;
    let end = due.map_or(end, |due| end.min(due));
    let io = match tokio::time::timeout_at(end.into(), dial(instance)).await {
        Ok(dialled) => dialled?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    // A request is one write; waiting to join it with another would only delay it.
    io.set_nodelay(true)?;
    Ok(Box::new(Link::new(io)))
}

async fn dial(instance: &Instance) -> io::Result<TcpStream> {
    match instance.address {
        Some(address) => TcpStream::connect(address).await,
        None => {
            let address = &instance.endpoint.address;
            TcpStream::connect((address.host.as_str(), address.port)).await
        }
    }
}
