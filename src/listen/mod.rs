//! Sockets become requests: binding, one thread per worker, one loop per connection, draining.

mod accept;
mod bind;
mod connection;
mod switch;
mod traffic;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

pub use bind::{Bound, bind};
pub use traffic::Traffic;

use crate::assemble::Phase;
use crate::config::model::ListenerConfig;
use crate::gateway::Table;

/// What every worker is given.
#[derive(Clone)]
pub struct Share {
    /// What is served; marked changed when a set of instances has changed.
    pub table: watch::Receiver<Arc<Table>>,
    /// Where the process stands.
    pub phase: watch::Receiver<Phase>,
    /// Open connections, by listener, worker and client.
    pub traffic: Arc<Traffic>,
    /// How long exchanges may go on once the process closes.
    pub grace: std::time::Duration,
}

/// The running workers.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

/// Starts a thread for each worker. Each gets one socket of every listener.
pub fn start(mut bound: Vec<Bound>, share: &Share) -> io::Result<Workers> {
    let workers = share.traffic.workers();
    let (inboxes, mail): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| tokio::sync::mpsc::unbounded_channel()).unzip();
    let mut threads = Vec::new();
    for (worker, mail) in mail.into_iter().enumerate() {
        let sockets: Vec<_> = bound.iter_mut().filter_map(Bound::take).collect();
        let (share, inboxes) = (share.clone(), inboxes.clone());
        let thread = std::thread::Builder::new().name(format!("worker-{worker}"));
        threads.push(thread.spawn(move || {
            let setting = worker::Setting { worker, sockets, share, inboxes, mail };
            if let Err(error) = worker::run(setting) {
                tracing::error!(worker, %error, "a worker could not start");
            }
        })?);
    }
    Ok(Workers { threads })
}

impl Workers {
    /// Whether some worker has ended: while serving, none may.
    pub fn is_any_over(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether every worker has ended.
    pub fn are_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

/// A listener as the workers know it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// As checked.
    pub config: ListenerConfig,
    /// Its index on the request path.
    pub index: usize,
    /// The address it got.
    pub address: SocketAddr,
}
