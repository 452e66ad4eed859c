//! One worker: a thread with a runtime of its own, its sockets, its connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::traffic::Open;
use super::{Listener, Share, accept};
use crate::assemble::Phase;
use crate::gateway::Gateway;
use crate::wire::clock;
use crate::wire::h1::inbound::Inbound;

/// Between two looks for connections in whose place others wait, which go through all instances.
const ROOM_PAUSE: Duration = Duration::from_millis(1);
/// How often kept connections are looked over.
const SWEEP: Duration = Duration::from_secs(1);
/// Connections over the limit that are told so at a time; more are just closed.
const REFUSING: usize = 64;

/// What a worker starts with.
pub(super) struct Setting {
    /// Its number, from 0.
    pub worker: usize,
    /// Its socket of every listener.
    pub sockets: Vec<(Listener, std::net::TcpListener)>,
    /// What all workers share.
    pub share: Share,
    /// Where connections are handed to other workers.
    pub inboxes: Vec<UnboundedSender<Posted>>,
    /// Where they come from other workers.
    pub mail: UnboundedReceiver<Posted>,
}

/// A connection on its way to another worker, admitted already: there are never more of them than connections.
pub(super) struct Posted {
    pub io: std::net::TcpStream,
    pub peer: SocketAddr,
    pub listener: usize,
    pub open: Open,
}

impl Posted {
    /// Leaves this worker's event loop; none when it cannot.
    pub(super) fn new(
        io: TcpStream,
        peer: SocketAddr,
        (listener, open): (usize, Open),
    ) -> Option<Self> {
        io.into_std().ok().map(|io| Self { io, peer, listener, open })
    }
}

/// One worker's state; never leaves its thread.
pub(super) struct Worker {
    pub number: usize,
    pub share: Share,
    /// How long its exchanges may go on once the process closes.
    pub patience: Duration,
    /// Connections over the limit that are being told so.
    refusing: Cell<usize>,
    gateway: RefCell<Rc<Gateway>>,
    phase: Cell<Phase>,
    connections: RefCell<HashMap<u64, Inbound>>,
    next: Cell<u64>,
    inboxes: Vec<UnboundedSender<Posted>>,
}

/// Runs a worker until the process ends.
pub(super) fn run(setting: Setting) -> io::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .on_thread_unpark(clock::rested)
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(live(setting));
    Ok(())
}

async fn live(setting: Setting) {
    let Setting { worker: number, sockets, mut share, inboxes, mail } = setting;
    let table = Arc::clone(&share.table.borrow_and_update());
    let phase = *share.phase.borrow_and_update();
    let worker = Rc::new(Worker {
        number,
        patience: share.grace,
        refusing: Cell::new(0),
        gateway: RefCell::new(Rc::new(Gateway::new(table, number))),
        phase: Cell::new(phase),
        connections: RefCell::default(),
        next: Cell::new(0),
        inboxes,
        share: share.clone(),
    });
    let listeners: Vec<_> = sockets.iter().map(|(listener, _)| Rc::new(listener.clone())).collect();
    let accepting: Vec<_> = sockets
        .into_iter()
        .zip(&listeners)
        .map(|((_, socket), listener)| {
            tokio::task::spawn_local(accept::run(Rc::clone(&worker), Rc::clone(listener), socket))
        })
        .collect();
    let mail = tokio::task::spawn_local(receive(Rc::clone(&worker), listeners, mail));
    let sweep = tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    let serving = async {
        for accepting in accepting {
            // A task that panicked accepts nothing more; either way it is over.
            accepting.await.ok();
        }
        worker.leave().await;
    };
    // Instances come and go also while the process ends, and requests are still answered.
    tokio::select! {
        () = follow(&worker, &mut share) => {}
        () = serving => {}
    }
    mail.abort();
    sweep.abort();
}

/// Takes over new tables and phases.
async fn follow(worker: &Worker, share: &mut Share) {
    loop {
        tokio::select! {
            Ok(()) = share.table.changed() => worker.renew(&share.table.borrow_and_update()),
            Ok(()) = share.phase.changed() => {
                worker.phase.set(*share.phase.borrow_and_update());
            }
            else => return,
        }
    }
}

async fn receive(
    worker: Rc<Worker>,
    listeners: Vec<Rc<Listener>>,
    mut mail: UnboundedReceiver<Posted>,
) {
    while let Some(Posted { io, peer, listener, open }) = mail.recv().await {
        match TcpStream::from_std(io) {
            Ok(io) => accept::serve(&worker, &listeners[listener], io, (peer, open)),
            Err(error) => tracing::debug!(%error, "a connection could not be taken over"),
        }
    }
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wanted = worker.gateway().room_wanted();
    loop {
        tokio::select! {
            _ = ticks.tick() => worker.gateway().sweep(Instant::now()),
            () = wanted.notified() => {
                worker.gateway().make_room();
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        }
    }
}

impl Worker {
    /// What serves a request that begins now.
    pub(super) fn gateway(&self) -> Rc<Gateway> {
        Rc::clone(&self.gateway.borrow())
    }

    /// Whether answers end their connections.
    pub(super) fn is_draining(&self) -> bool {
        self.phase.get() != Phase::Serving
    }

    /// Hands a connection to another worker; gives it back when that worker has ended.
    pub(super) fn post(&self, to: usize, posted: Posted) -> Option<Posted> {
        self.inboxes[to].send(posted).err().map(|refused| refused.0)
    }

    /// Remembers a connection, to end it with the process; forgets it with what is returned.
    pub(super) fn enter(self: &Rc<Self>, inbound: &Inbound) -> Entered {
        let number = self.next.replace(self.next.get() + 1);
        self.connections.borrow_mut().insert(number, inbound.clone());
        Entered { worker: Rc::clone(self), number }
    }

    /// Room for one more connection to be told that there are too many.
    pub(super) fn refuse(self: &Rc<Self>) -> Option<Refusing> {
        let refusing = self.refusing.get();
        (refusing < REFUSING).then(|| {
            self.refusing.set(refusing + 1);
            Refusing(Rc::clone(self))
        })
    }

    fn renew(&self, table: &Arc<crate::gateway::Table>) {
        let gateway = self.gateway();
        gateway.refresh();
        if !Arc::ptr_eq(&gateway.table, table) {
            let renewed = gateway.renewed(Arc::clone(table));
            *self.gateway.borrow_mut() = Rc::new(renewed);
        }
    }

    /// Ends what lies idle, waits for the rest until the process has no more patience.
    async fn leave(&self) {
        let mut phase = self.share.phase.clone();
        let over = async {
            // The sender goes only with the process.
            phase.wait_for(|phase| *phase == Phase::Over).await.map(|_| ()).ok();
        };
        let mut over = std::pin::pin!(over);
        loop {
            self.connections.borrow().values().for_each(Inbound::close_when_idle);
            if self.connections.borrow().is_empty() && self.refusing.get() == 0 {
                return;
            }
            tokio::select! {
                () = &mut over => {
                    // What goes on is cut off, and must not look like an end.
                    return self.connections.borrow().values().for_each(Inbound::reset);
                }
                // Connections that come to rest end by themselves; this only sees that the last has.
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    }
}

/// A connection the worker remembers.
pub(super) struct Entered {
    worker: Rc<Worker>,
    number: u64,
}

/// A connection over the limit while it is told so.
pub(super) struct Refusing(Rc<Worker>);

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.refusing.set(self.0.refusing.get() - 1);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.number);
    }
}
