//! A worker's one connection to a Redis server: what is asked over it, by whom, and what keeps it up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::gcra::{Take, Wish};
use super::redis::Redis;
use super::redis_breaker::{Breaker, Pause};
use super::redis_reply::Reply;
use super::redis_script::{self, Script};
use super::redis_wire::{self, End, Stream, Wire};

/// More than so many do not wait for a reply at a time, those included that nobody waits for any more.
const MOST: usize = 4096;
/// A larger buffer was an exception and is not kept.
const KEPT: usize = 64 << 10;
/// One that was up for so long and is lost is tried again at once: the server restarted, or had it closed as idle.
const LASTED: Duration = Duration::from_secs(1);
/// One that was up for so long has left behind what went before.
const SETTLED: Duration = Duration::from_secs(10);

/// Shared by who asks and by the task that keeps it up; all in one thread.
#[derive(Debug)]
pub(super) struct Link {
    store: Arc<Redis>,
    pub(super) breaker: Breaker,
    out: RefCell<BytesMut>,
    /// In the order in which they asked.
    waiting: RefCell<VecDeque<oneshot::Sender<Reply>>>,
    /// Of the task that keeps it up.
    waker: RefCell<Option<Waker>>,
    /// Connections before this one: what failed over one says nothing of the next.
    lost: Cell<u64>,
}

impl Link {
    pub(super) fn new(store: Arc<Redis>) -> Self {
        Self {
            breaker: Breaker::new(Arc::clone(&store.health)),
            store,
            out: RefCell::default(),
            waiting: RefCell::default(),
            waker: RefCell::default(),
            lost: Cell::new(0),
        }
    }

    /// Takes one; none when the server did not count it.
    pub(super) async fn take(&self, key: &str, wish: Wish) -> Option<Take> {
        let within = self.store.settings.timeout;
        let before = self.lost.get();
        let counted = timeout(within, self.count(key, wish)).await;
        let why = match counted {
            Ok(Ok(take)) => {
                self.breaker.succeeded();
                return Some(take);
            }
            Ok(Err(why)) => why,
            Err(_) => format!("does not answer within {within:?}"),
        };
        // Who keeps the connection up has told why it was lost.
        if before == self.lost.get() && self.breaker.failed(&why) {
            self.wake();
        }
        None
    }

    /// Gives one back; nobody waits for the reply.
    pub(super) fn give_back(&self, key: &str, wish: Wish) {
        drop(self.ask(|out| redis_script::give_back(out, key, wish)));
    }

    async fn count(&self, key: &str, wish: Wish) -> Result<Take, String> {
        let mut script = Script::Known;
        loop {
            let reply = self.ask(|out| redis_script::take(out, script, key, wish))?;
            match reply.await {
                Ok(Reply::Numbers([wait, remaining, reset])) => {
                    let (wait, reset) = (Duration::from_nanos(wait), Duration::from_nanos(reset));
                    return Ok(Take { wait, remaining, reset });
                }
                // The server has restarted behind what keeps connections, or was told to forget.
                Ok(Reply::Error(said))
                    if said.starts_with("NOSCRIPT") && script == Script::Known =>
                {
                    script = Script::Told;
                }
                Ok(Reply::Error(said)) => return Err(format!("answers {said:?}")),
                Ok(Reply::Done) => return Err("answers OK where it should count".to_owned()),
                Err(_) => return Err("the connection was lost".to_owned()),
            }
        }
    }

    fn ask(&self, write: impl FnOnce(&mut BytesMut)) -> Result<oneshot::Receiver<Reply>, String> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MOST {
            return Err(format!("owes {MOST} replies"));
        }
        let (sender, receiver) = oneshot::channel();
        waiting.push_back(sender);
        write(&mut self.out.borrow_mut());
        self.wake();
        Ok(receiver)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// What was asked over a connection that is lost is never answered.
    fn forget(&self) {
        self.lost.set(self.lost.get() + 1);
        self.out.take();
        // Who waits is woken, not run, so that nobody asks meanwhile.
        self.waiting.take();
    }

    fn poll<S: Stream>(&self, cx: &mut Context<'_>, wire: &mut Wire<S>) -> Poll<Option<End>> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        if self.breaker.is_open() {
            return Poll::Ready(None);
        }
        let mut out = self.out.borrow_mut();
        if let Poll::Ready(end) = wire.poll_send(cx, &mut out) {
            return Poll::Ready(Some(end));
        }
        if out.is_empty() && out.capacity() > KEPT {
            *out = BytesMut::new();
        }
        drop(out);
        wire.poll_replies(cx, |reply| {
            let first = self.waiting.borrow_mut().pop_front();
            // One that waits no more has told why.
            first.map(|waits| drop(waits.send(reply))).is_some()
        })
        .map(Some)
    }
}

/// Keeps the connection up, beside requests, until it is aborted.
pub(super) async fn keep(link: Rc<Link>) {
    let mut pause = Pause::default();
    loop {
        match redis_wire::connect(&link.store.connector, &link.store.settings).await {
            Ok(mut wire) => {
                if link.breaker.is_open() {
                    // Who asked while the connection was made has given up.
                    link.forget();
                }
                link.breaker.close();
                let since = Instant::now();
                let end = poll_fn(|cx| link.poll(cx, &mut wire)).await;
                drop(wire);
                link.forget();
                if since.elapsed() >= SETTLED {
                    pause = Pause::default();
                }
                match end {
                    Some(End::Lost(_)) if since.elapsed() >= LASTED && !link.breaker.is_open() => {
                        continue;
                    }
                    Some(end) => link.breaker.trip(end.why()),
                    // Somebody who asked has told why.
                    None => {}
                }
            }
            Err(why) => {
                link.breaker.trip(&why);
                link.forget();
            }
        }
        sleep(pause.next()).await;
    }
}
