//! Listening sockets: one per listener and worker, sharing a port among themselves and with nobody else.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::Listener;
use crate::config::model::ListenerConfig;

/// Connections the kernel keeps before they are accepted; it cuts this to its own limit.
pub(super) const BACKLOG: i32 = 4096;

/// A listener with a socket for every worker.
#[derive(Debug)]
pub struct Bound {
    /// What it is.
    pub listener: Listener,
    sockets: Vec<TcpListener>,
}

impl Bound {
    /// One worker's socket.
    pub fn take(&mut self) -> Option<(Listener, TcpListener)> {
        self.sockets.pop().map(|socket| (self.listener.clone(), socket))
    }
}

/// Binds a listener for so many workers.
///
/// The kernel spreads connections over sockets that share a port. Left to itself it would also share it with another
/// process of the same user, and half of the connections would go to a forgotten one: unless that is asked for, the
/// first socket is bound without sharing, and made to share only when it is ours.
pub fn bind(index: usize, config: &ListenerConfig, workers: usize) -> io::Result<Bound> {
    let first = socket(config.address)?;
    if config.reuse_port {
        first.set_reuse_port(true)?;
    }
    first.bind(&config.address.into())?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().unwrap_or(config.address);
    let mut sockets = vec![first];
    for _ in 1..workers {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into())?;
        sockets.push(next);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    let sockets = sockets.into_iter().map(TcpListener::from).collect();
    Ok(Bound { listener: Listener { config: config.clone(), index, address }, sockets })
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's closed connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // An answer is one write; waiting to join it with another would only delay it. Accepted sockets inherit this.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Limits;

    fn config(address: SocketAddr, reuse_port: bool) -> ListenerConfig {
        ListenerConfig { name: "web".into(), address, reuse_port, limits: Limits::default() }
    }

    #[test]
    fn a_taken_port_is_an_error_even_when_its_owner_shares_it() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let owner = bind(0, &config(any, true), 2).unwrap();
        let taken = owner.listener.address;
        assert_ne!(taken.port(), 0);
        let error = bind(0, &config(taken, false), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(bind(0, &config(taken, true), 2).is_ok(), "sharing is what was asked for");
    }

    #[test]
    fn every_worker_gets_a_socket_of_the_same_port() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut bound = bind(0, &config(any, false), 3).unwrap();
        let address = bound.listener.address;
        for _ in 0..3 {
            assert_eq!(bound.take().unwrap().1.local_addr().unwrap(), address);
        }
        assert!(bound.take().is_none());
    }
}
