//! Accepting connections, and refusing those that are too many.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::bind::BACKLOG;
use super::traffic::{Full, Open};
use super::worker::{Posted, Worker};
use super::{Listener, connection};
use crate::assemble::Phase;

/// Time to wait when descriptors or memory ran out: the connection stays in the kernel's queue meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// Nobody new for this long, and a closing listener may close: closing one with connections in its queue would reset
/// them.
const QUIET: Duration = Duration::from_secs(1);

/// Accepts on one socket until the process closes.
pub(super) async fn run(worker: Rc<Worker>, listener: Rc<Listener>, socket: std::net::TcpListener) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            return tracing::error!(listener = %listener.config.name, %error, "not listening");
        }
    };
    let mut phase = worker.share.phase.clone();
    let mut short = false;
    let (mut last, mut end) = (Instant::now(), None);
    loop {
        let closing = *phase.borrow_and_update() >= Phase::Closing;
        let until = closing.then(|| {
            // A client that never stops coming must not keep the listener open for ever.
            let end = *end.get_or_insert_with(|| Instant::now() + worker.patience / 2);
            (last.max(end - worker.patience / 2) + QUIET).min(end)
        });
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            changed = phase.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = wait(until) => break,
        };
        last = Instant::now();
        match accepted {
            Ok((io, peer)) => {
                short = false;
                take(&worker, &listener, io, peer);
            }
            Err(error) if is_shortage(&error) => {
                if !std::mem::replace(&mut short, true) {
                    tracing::error!(listener = %listener.config.name, %error, "cannot accept, waiting for descriptors or memory");
                }
                tokio::time::sleep(PAUSE).await;
            }
            // The client was gone before it was accepted.
            Err(_) => {}
        }
    }
    last_look(&worker, &listener, socket);
}

/// Serves what came in the last moment: closing a listener resets what waits in its queue, so the kernel is asked
/// right before it, and not for ever.
fn last_look(worker: &Rc<Worker>, listener: &Rc<Listener>, socket: TcpListener) {
    let Ok(socket) = socket.into_std() else { return };
    // From here the kernel queues hardly anyone: who comes now tries again in a moment, and is then told that nobody
    // listens, before it has sent anything. If it cannot be told, the window is wider by microseconds.
    socket2::SockRef::from(&socket).listen(0).ok();
    for _ in 0..BACKLOG {
        let Ok((io, peer)) = socket.accept() else { break };
        if io.set_nonblocking(true).is_ok()
            && let Ok(io) = TcpStream::from_std(io)
        {
            take(worker, listener, io, peer);
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| shortages.iter().any(|errno| errno.raw_os_error() == code))
}

/// Serves a connection, or hands it to a worker that has clearly less to do.
fn take(worker: &Rc<Worker>, listener: &Rc<Listener>, io: TcpStream, peer: SocketAddr) {
    let traffic = &worker.share.traffic;
    // While the process ends, workers end one after the other: nobody may be handed anything.
    let better = if worker.is_draining() { None } else { traffic.better(worker.number) };
    let client = peer.ip().to_canonical();
    let open = match traffic.admit(listener, better.unwrap_or(worker.number), client) {
        Ok(open) => open,
        Err(full) => return refuse(worker, listener, io, (peer, full)),
    };
    match better {
        None => serve(worker, listener, io, (peer, open)),
        Some(better) => {
            hand_on(worker, listener, Posted::new(io, peer, (listener.index, open)), better)
        }
    }
}

/// Hands a connection to another worker; serves it here if that one is no more.
fn hand_on(worker: &Rc<Worker>, listener: &Rc<Listener>, posted: Option<Posted>, to: usize) {
    if let Some(Posted { io, peer, open, .. }) = posted.and_then(|posted| worker.post(to, posted))
        && let Ok(io) = TcpStream::from_std(io)
    {
        serve(worker, listener, io, (peer, open));
    }
}

/// Serves a connection on this worker.
pub(super) fn serve(
    worker: &Rc<Worker>,
    listener: &Rc<Listener>,
    io: TcpStream,
    (peer, open): (SocketAddr, Open),
) {
    let seat = connection::Seat { worker: Rc::clone(worker), listener: Rc::clone(listener), peer };
    drop(tokio::task::spawn_local(connection::serve(seat, io, open)));
}

fn refuse(
    worker: &Rc<Worker>,
    listener: &Rc<Listener>,
    io: TcpStream,
    (peer, full): (SocketAddr, Full),
) {
    if let Some(refusing) = worker.refuse() {
        let seat =
            connection::Seat { worker: Rc::clone(worker), listener: Rc::clone(listener), peer };
        drop(tokio::task::spawn_local(connection::refuse(seat, io, (refusing, full))));
    }
}
