//! The server's side of a connection: heads and bodies from a client, answers to it.

use std::cell::{Ref, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::response::Parts;
use tokio::time::Sleep;

use super::encode::{self, Ending, Persistence};
use super::framing::Taken;
use super::quiet::BUSY;
use super::receiving::RequestBody;
use super::request::{self, Bounds, Head};
use super::sending::Sending;
use super::splice::Pipe;
use super::{Decoder, Framing, Link, Malformed};
use crate::wire::{Body, BodyError, after, clock, spare};

/// What a client may send ahead while it is answered.
pub const AHEAD: usize = 64 << 10;

/// A client's connection; the connection's loop and the body of the request it answers share it.
#[derive(Clone, Debug)]
pub struct Inbound(pub(super) Rc<RefCell<State>>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) link: Link,
    pub(super) decoder: Decoder,
    pub(super) patience: Patience,
    /// The client waits for 100 before it sends its body.
    pub(super) expecting: bool,
    /// A body wait has begun and its deadline is set.
    pub(super) waiting: bool,
    /// Since when nothing has come.
    pub(super) quiet: Option<Instant>,
    /// To end as soon as nothing is going on.
    pub(super) closing: bool,
    pub(super) idler: Option<Waker>,
    /// When the kernel is asked next whether a client of which nothing may be read is still there.
    pub(super) asking: Option<Pin<Box<Sleep>>>,
}

/// How long a client is waited for; zero is for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between exchanges, and while it takes nothing of an answer.
    pub idle: Duration,
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// Silence within a body.
    pub body: Duration,
}

/// Why there is no next head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHead {
    /// The client left, or was idle for too long, or the gateway ends.
    Over,
    /// Nothing has come for a while: [`Inbound::arrival`] tells when something does.
    Idle,
    /// A head was begun and not finished in time.
    Slow,
    /// It breaks a rule.
    Malformed(Malformed),
}

/// Why an answer did not reach the client in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client left or takes nothing more.
    Client,
    /// What was to be sent broke, before any of it was written.
    Unsent(BodyError),
    /// What was to be sent broke.
    Body(BodyError),
}

impl Inbound {
    /// Takes a connection that was just accepted.
    pub fn new(link: Link, patience: Patience) -> Self {
        Self(Rc::new(RefCell::new(State {
            link,
            decoder: Decoder::Done,
            patience,
            expecting: false,
            waiting: false,
            quiet: None,
            closing: false,
            idler: None,
            asking: None,
        })))
    }

    /// The next head, once it is complete. After it the body may be read with [`Inbound::body`].
    pub async fn head(&self, bounds: &Bounds) -> Result<Head, NoHead> {
        // Without room, and taken only when bytes are there: thousands may wait here.
        let mut map = http::HeaderMap::new();
        let mut begun = None;
        let head = poll_fn(|cx| {
            let state = &mut *self.0.borrow_mut();
            loop {
                if !state.link.read.is_empty() {
                    let link = &mut state.link;
                    if map.capacity() == 0 {
                        map = spare::map();
                    }
                    match request::take(&mut link.read, &mut link.scan, bounds, &mut map) {
                        Ok(Some(head)) => return Poll::Ready(Ok(head)),
                        Ok(None) => {}
                        Err(malformed) => return Poll::Ready(Err(NoHead::Malformed(malformed))),
                    }
                }
                match state.link.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::Over)),
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Pending => {}
                }
                if state.link.read.is_empty() {
                    return state.poll_quiet(Some(BUSY), cx).map(Err);
                }
                let since = *begun.get_or_insert_with(clock::now);
                state.link.timer.set(after(since, state.patience.head));
                if state.link.timer.poll(cx).is_ready() {
                    return Poll::Ready(Err(NoHead::Slow));
                }
                state.idle(cx);
                return Poll::Pending;
            }
        })
        .await;
        match head {
            Ok(head) => {
                let state = &mut *self.0.borrow_mut();
                state.decoder = Decoder::new(head.framing, bounds.head);
                state.expecting = head.expects_continue;
                state.waiting = false;
                state.quiet = None;
                Ok(head)
            }
            Err(none) => {
                if map.capacity() > 0 {
                    spare::give_map(map);
                }
                Err(none)
            }
        }
    }

    /// The method of a request whose head could not be read, as far as it came.
    pub fn method(&self) -> Option<http::Method> {
        request::method(&self.0.borrow().link.read)
    }

    /// The body of the request whose head was just read.
    pub fn body(&self, framing: Framing) -> Body {
        match framing {
            Framing::None | Framing::Length(0) => Body::Empty,
            Framing::Length(_) | Framing::Chunked | Framing::Close => {
                Body::Request(RequestBody::new(self.clone()))
            }
        }
    }

    /// Whether the request's body was read to its end, so that another head may follow.
    pub fn is_read(&self) -> bool {
        self.0.borrow().decoder.is_done()
    }

    /// Passes over what is left of the request's body, as far as it has arrived; whether that was all.
    pub fn skip(&self) -> bool {
        let state = &mut *self.0.borrow_mut();
        while !state.decoder.is_done() {
            match state.decoder.take(&mut state.link.read) {
                Ok(Taken::Data(_)) => {}
                Ok(Taken::Trailers(_) | Taken::End) => return true,
                Ok(Taken::More) | Err(_) => return false,
            }
        }
        true
    }

    /// Asks the connection to end once nothing is going on; wakes it if it lies idle.
    pub fn close_when_idle(&self) {
        // A tunnel holds its connection, and is never idle.
        let Ok(mut state) = self.0.try_borrow_mut() else { return };
        state.closing = true;
        let waker = state.idler.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Writes an answer, head and first data in one write where the data is at hand. Sees a client that leaves while
    /// the body is awaited.
    pub async fn answer(
        &self,
        head: &Parts,
        body: &mut Body,
        ending: Ending,
        persistence: Persistence,
    ) -> Result<(), Broken> {
        let before = self.with_link(|link| {
            // Interim answers may still be on their way.
            let before = link.out.len();
            encode::response(&mut link.out, head.status, &head.headers, ending, persistence);
            before
        });
        let mut sending = Sending::new(ending);
        if ending == Ending::None || body.is_ended() {
            sending.end(&mut self.0.borrow_mut().link);
        }
        let mut stalled = None;
        poll_fn(|cx| {
            loop {
                match sending.poll_splice(self, body, (&mut stalled, cx)) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                    Poll::Pending => return Poll::Pending,
                }
                sending.gather(self, body, cx);
                if let Some(error @ BodyError::Malformed(_)) = sending.broken
                    && !sending.begun
                {
                    // Nothing of it has left, so the client can still be told what it was.
                    self.with_link(|link| link.out.truncate(before));
                    return Poll::Ready(Err(Broken::Unsent(error)));
                }
                // A long head, or interim answers before it, may leave before the body is looked at.
                sending.begun = true;
                let last = sending.ended && persistence == Persistence::Close;
                match self.0.borrow_mut().poll_write(last, cx, &mut stalled) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(())) => return Poll::Ready(Err(Broken::Client)),
                    Poll::Pending => return Poll::Pending,
                }
                if let Some(error) = sending.broken {
                    return Poll::Ready(Err(Broken::Body(error)));
                }
                if sending.ended {
                    return Poll::Ready(Ok(()));
                }
                if sending.awaited {
                    return self.poll_left(AHEAD, cx).map(|()| Err(Broken::Client));
                }
            }
        })
        .await
    }

    /// Gives the client what is in a pipe, as long as it takes some of it.
    pub(super) fn poll_drain(
        &self,
        pipe: &mut Pipe,
        stalled: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        let state = &mut *self.0.borrow_mut();
        let drained = pipe.poll_drain(state.link.socket(), cx);
        state.poll_taken(drained, pipe.held(), stalled, cx)
    }

    /// The connection itself, for as long as `act` takes.
    pub(super) fn with_link<R>(&self, act: impl FnOnce(&mut Link) -> R) -> R {
        act(&mut self.0.borrow_mut().link)
    }

    /// How long its client is waited for.
    pub(super) fn patience(&self) -> Patience {
        self.0.borrow().patience
    }

    /// The connection itself, for a tunnel to keep; nothing else may use it from then on but to end it.
    pub(super) fn hold(&self) -> Ref<'_, Link> {
        Ref::map(self.0.borrow(), |state| &state.link)
    }

    /// Whether the client has sent something that nobody has read. One that said it would send no more is believed
    /// unless the event loop knows better: asking the kernel costs a system call for each connection.
    pub fn has_more(&self, promised: bool) -> bool {
        let link = &self.0.borrow().link;
        !link.read.is_empty() || ((!promised || link.is_touched()) && link.has_unread())
    }

    /// The connection's last moments: says that nothing more comes, reads what is still on its way.
    pub async fn linger(&self, bytes: usize, wait: Duration) {
        if poll_fn(|cx| self.0.borrow_mut().link.poll_shutdown(cx)).await.is_err() {
            return;
        }
        self.0.borrow_mut().link.timer.set(after(clock::now(), wait));
        let mut left = bytes;
        poll_fn(|cx| self.0.borrow_mut().link.poll_discard(&mut left, cx)).await;
    }

    /// Its end will be a reset: the client must not take what it got for the whole.
    pub fn reset(&self) {
        self.0.borrow().link.reset();
    }
}

impl State {
    /// Writes what is queued, as long as the client takes some of it.
    fn poll_write(
        &mut self,
        last: bool,
        cx: &mut Context<'_>,
        stalled: &mut Option<usize>,
    ) -> Poll<Result<(), ()>> {
        let written = self.link.poll_write(last, cx);
        let left = self.link.unwritten();
        self.poll_taken(written, left, stalled, cx)
    }

    /// What came of giving the client something; not ready as long as it takes some of what is left.
    fn poll_taken(
        &mut self,
        taken: Poll<std::io::Result<()>>,
        left: usize,
        stalled: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        match taken {
            Poll::Ready(done) => {
                *stalled = None;
                Poll::Ready(done.map_err(|_| ()))
            }
            Poll::Pending => {
                // One that has left takes nothing more, either.
                while self.link.read.len() < AHEAD {
                    match self.link.poll_fill(cx) {
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(())),
                        Poll::Ready(Ok(_)) => {}
                        Poll::Pending => break,
                    }
                }
                if stalled.replace(left) != Some(left) {
                    self.link.timer.set(after(clock::now(), self.patience.idle));
                }
                self.link.timer.poll(cx).map(|()| Err(()))
            }
        }
    }
}
