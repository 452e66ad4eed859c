//! A relay before a server, which counts what it is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes both ways until dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    asked: Arc<AtomicUsize>,
    passing: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Before this port of loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        let passing = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, Arc::clone(&counter)));
            }
        });
        Self { port: own, asked, passing }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Requests of HTTP so far; of another protocol, connections.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn pass(client: TcpStream, port: u16, asked: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else {
        asked.fetch_add(1, SeqCst);
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut bytes = vec![0; 64 << 10];
        let mut any = false;
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            // A client writes a head at once: none is split between two readings.
            let heads = bytes[..count].windows(11).filter(|w| w == b" HTTP/1.1\r\n").count();
            asked.fetch_add(if any { heads } else { heads.max(1) }, SeqCst);
            any = true;
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
        to_server.shutdown().await.ok();
    };
    let answering = async {
        tokio::io::copy(&mut from_server, &mut to_client).await.ok();
        to_client.shutdown().await.ok();
    };
    tokio::join!(asking, answering);
}
