//! Backends of a test's own: led by hand, or answering every request alike.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::peer::{Message, Peer, SOON};

/// A backend whose connections the test takes and leads one by one.
#[derive(Debug)]
pub(crate) struct Backend {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Backend {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) =
            timeout(SOON, self.listener.accept()).await.expect("in time").expect("one");
        Peer::new(stream)
    }

    /// The next connection, however long it is in coming.
    pub(crate) async fn accept_any(&self) -> Peer {
        Peer::new(self.listener.accept().await.expect("one").0)
    }

    /// The next connection with its first request.
    pub(crate) async fn request(&self) -> (Peer, Message) {
        let mut peer = self.accept().await;
        let request = peer.request().await;
        (peer, request)
    }

    /// Nobody has connected since the last one was taken.
    pub(crate) async fn assert_untouched(&self) {
        let now = timeout(std::time::Duration::from_millis(1), self.listener.accept()).await;
        assert!(now.is_err(), "a connection came");
    }
}

/// A backend that answers every request alike, and remembers what it got.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Message>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

/// A small good answer.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

impl Answering {
    /// Answers with these bytes.
    pub(crate) async fn with(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::by(move |_| answer.clone().into_bytes()).await
    }

    /// Answers with what is made of each request; nothing closes the connection.
    pub(crate) async fn by(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (requests, connections, open) = (Arc::default(), Arc::default(), Arc::default());
        let this = Self { address, requests, connections, open };
        let (that, answer) = (this.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                that.connections.fetch_add(1, SeqCst);
                that.open.fetch_add(1, SeqCst);
                let (that, answer) = (that.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    that.converse(Peer::new(stream), &*answer).await;
                    that.open.fetch_sub(1, SeqCst);
                });
            }
        });
        this
    }

    async fn converse(&self, mut peer: Peer, answer: &(dyn Fn(&Message) -> Vec<u8> + Send + Sync)) {
        loop {
            // A kept connection may lie idle for longer than a test waits for anything.
            if peer.stream.readable().await.is_err() {
                return;
            }
            let Some(request) = peer.try_request().await else { return };
            let bytes = answer(&request);
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            if bytes.is_empty() || peer.try_send(&bytes).await.is_err() {
                return;
            }
        }
    }

    /// What it got so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests it got so far.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }
}
