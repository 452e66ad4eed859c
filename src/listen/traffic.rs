//! Open connections, counted over all workers: once per connection, never per request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::Listener;

/// Open connections, by listener, worker and client.
#[derive(Debug)]
pub struct Traffic {
    listeners: Arc<[AtomicU64]>,
    workers: Box<[AtomicUsize]>,
    clients: Mutex<HashMap<(usize, IpAddr), usize>>,
}

/// Whose connections are as many as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All clients' together.
    Listener,
    /// One client's.
    Client,
}

impl Full {
    /// What an operator would change.
    pub fn cause(self, listener: &Listener) -> String {
        let (limits, name) = (&listener.config.limits, &listener.config.name);
        let (key, most) = match self {
            Self::Listener => ("connections", limits.connections),
            Self::Client => ("connections_per_client", limits.connections_per_client),
        };
        format!("listen.{name}.limits.{key} = {most}")
    }
}

/// A worker with this many more connections than the mean hands a new one on.
const UNEVEN: usize = 8;

impl Traffic {
    /// Without connections. Each listener's count is shared with those who show it.
    pub fn new(listeners: Arc<[AtomicU64]>, workers: usize) -> Self {
        let workers = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        Self { listeners, workers, clients: Mutex::default() }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Open connections of all listeners.
    pub fn open(&self) -> u64 {
        self.listeners.iter().map(|listener| listener.load(Relaxed)).sum()
    }

    /// The worker that should take a connection this one accepted, when that is another.
    pub fn better(&self, worker: usize) -> Option<usize> {
        if self.workers.len() == 1 {
            return None;
        }
        let count = |worker: &AtomicUsize| worker.load(Relaxed);
        let mean = self.workers.iter().map(count).sum::<usize>() / self.workers.len();
        if count(&self.workers[worker]) <= mean + UNEVEN {
            return None;
        }
        (0..self.workers.len())
            .min_by_key(|at| count(&self.workers[*at]))
            .filter(|least| *least != worker)
    }

    /// Counts a connection in, unless the listener or the client has as many as it may.
    pub fn admit(
        self: &Arc<Self>,
        listener: &Listener,
        worker: usize,
        client: IpAddr,
    ) -> Result<Open, Full> {
        let limits = &listener.config.limits;
        let index = listener.index;
        let most = if limits.connections == 0 { u64::MAX } else { limits.connections as u64 };
        self.listeners[index]
            .fetch_update(Relaxed, Relaxed, |open| (open < most).then_some(open + 1))
            .map_err(|_| Full::Listener)?;
        let mut open =
            Open { traffic: Arc::clone(self), listener: index, worker: None, client: None };
        if limits.connections_per_client > 0 {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let count = clients.entry((index, client)).or_default();
            if *count >= limits.connections_per_client {
                drop(clients);
                return Err(Full::Client);
            }
            *count += 1;
            open.client = Some(client);
        }
        self.workers[worker].fetch_add(1, Relaxed);
        open.worker = Some(worker);
        Ok(open)
    }
}

/// An open connection; counted out when dropped.
#[derive(Debug)]
pub struct Open {
    traffic: Arc<Traffic>,
    listener: usize,
    worker: Option<usize>,
    client: Option<IpAddr>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.traffic.listeners[self.listener].fetch_sub(1, Relaxed);
        if let Some(worker) = self.worker {
            self.traffic.workers[worker].fetch_sub(1, Relaxed);
        }
        if let Some(client) = self.client {
            let key = (self.listener, client);
            let mut clients = self.traffic.clients.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = clients.get_mut(&key) {
                *count -= 1;
                // The map holds as many clients as there are connections, never more.
                if *count == 0 {
                    clients.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::model::{Limits, ListenerConfig};

    fn listener(connections: usize, connections_per_client: usize) -> Listener {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let limits = Limits { connections, connections_per_client, ..Limits::default() };
        let config = ListenerConfig { name: "web".into(), address, reuse_port: false, limits };
        Listener { config, index: 0, address }
    }

    #[test]
    fn holds_the_limits_and_forgets_what_is_closed() {
        let traffic = Arc::new(Traffic::new(Arc::new([AtomicU64::new(0)]), 1));
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let listener = listener(3, 2);
        let admit = |client| traffic.admit(&listener, 0, client);
        let (first, second) = (admit(a), admit(a));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(admit(a).err(), Some(Full::Client), "two of one client");
        let third = admit(b);
        assert!(third.is_ok());
        assert_eq!(admit(b).err(), Some(Full::Listener), "three of the listener");
        drop((first, second, third));
        assert_eq!((traffic.open(), traffic.clients.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn hands_on_only_when_clearly_uneven() {
        let traffic = Arc::new(Traffic::new(Arc::new([AtomicU64::new(0)]), 2));
        let listener = listener(0, 0);
        let client = IpAddr::from([127, 0, 0, 1]);
        let mut open: Vec<_> =
            (0..16).filter_map(|_| traffic.admit(&listener, 0, client).ok()).collect();
        assert_eq!(traffic.better(0), None);
        open.extend((0..2).filter_map(|_| traffic.admit(&listener, 0, client).ok()));
        assert_eq!(traffic.better(0), Some(1));
        assert_eq!(traffic.better(1), None);
    }
}
