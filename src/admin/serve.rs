//! Connections of the admin server: few, short, and bounded in everything.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::Refused;
use super::gate::Peer;
use crate::assemble::World;
use crate::config::Secret;

/// Open connections; more wait in the listener's queue.
const CONNECTIONS: usize = 256;
/// For a complete head, and for an idle connection to say something.
const HEAD: Duration = Duration::from_secs(30);
/// For an answer to be made.
const ANSWER: Duration = Duration::from_secs(10);
/// For a peer to take what it was sent.
const UNREAD: Duration = Duration::from_secs(30);
/// For open connections to end once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);
/// A request's head; also how much is buffered of its body.
const HEAD_BYTES: usize = 64 << 10;

/// Serves the admin addresses until `shutdown`, then lets open requests finish for 2 s.
///
/// Without a token only loopback may ask; with one, it is needed for every write and from elsewhere than loopback.
pub async fn serve(
    listener: TcpListener,
    world: Arc<World>,
    token: Option<Secret>,
    shutdown: impl Future<Output = ()>,
) {
    let router = super::router(world, token);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let router = router.clone().layer(Extension(Peer(peer)));
                let stopped = stopped.clone();
                connections.spawn(async move {
                    connection(stream, router, stopped).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin: accepting a connection");
                tokio::select! {
                    () = &mut shutdown => break,
                    () = sleep(Duration::from_millis(100)) => {}
                }
            }
        }
    }
    drop(listener);
    drop(stop);
    let all = async { while connections.join_next().await.is_some() {} };
    timeout(GRACE, all).await.ok();
}

type Permit = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, Permit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<()>) {
    let socket = SockRef::from(&stream);
    // Failing, these cost latency or patience, not the answer.
    socket.set_tcp_nodelay(true).ok();
    socket.set_tcp_user_timeout(Some(UNREAD)).ok();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin: a connection broke");
    }
}

/// Ends a request whose answer is not made in time.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    match timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused::Slow.into_response(),
    }
}
