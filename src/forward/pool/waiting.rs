//! Waiting for a connection while an instance has as many as it may.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Lease, NoConnection, Slot, Wanted};
use crate::config::model::ROUTE_TIMEOUT;
use crate::forward::attempt::Waited;
use crate::wire::h1::Link;

impl Lease {
    /// Waits for a kept connection, or for the right to make one, and says how.
    pub(super) async fn wait(self, wanted: Wanted) -> Result<(Self, Waited), NoConnection> {
        let began = Instant::now();
        let turn = self.slot.wait(wanted).await;
        let waited = || Waited { until: Instant::now(), lasted: began.elapsed() };
        match turn {
            Ok(Some(link)) if !wanted.fresh => Ok((self.with(link), waited())),
            // A new one takes the place of the kept one that is not wanted.
            Ok(_) => Ok((self, waited())),
            Err(NoConnection::Full) => {
                self.never_was();
                Err(NoConnection::Full)
            }
            Err(none) => Err(none),
        }
    }

    /// No attempt has begun after all.
    fn never_was(mut self) {
        self.over = true;
        self.slot.instance.counters(self.slot.worker).begun.fetch_sub(1, Relaxed);
        self.slot.load.end();
    }
}

impl Slot {
    /// Whether a connection can be had or waited for, for all one can tell.
    pub(in crate::forward) fn has_room(&self) -> bool {
        let instance = &*self.instance;
        let idle = !self.idle.borrow().is_empty();
        let made = instance.open.load(SeqCst) < self.service.config.pool.connections;
        idle || made || instance.waiting.load(SeqCst) < self.most_waiting()
    }

    /// Who takes the place of a connection that another worker keeps, and lets go, does not wait for an exchange.
    fn most_waiting(&self) -> usize {
        self.service.config.pool.pending.saturating_add(self.instance.idle())
    }

    /// Waits for a connection to be given back here, or for the right to make one (none).
    async fn wait(&self, wanted: Wanted) -> Result<Option<Box<Link>>, NoConnection> {
        let instance = &*self.instance;
        let (give, link) = oneshot::channel();
        let mut given = match Given::wait(self, link) {
            // It was made just now, by one that kept another.
            Err(NoConnection::Full) if self.reserve() => return Ok(None),
            given => given?,
        };
        self.waiters.borrow_mut().push_back(give);
        let due = wanted.due.unwrap_or_else(|| Instant::now() + ROUTE_TIMEOUT);
        let mut late = std::pin::pin!(tokio::time::sleep_until(due.into()));
        loop {
            // Asked before the look, so that a connection freed between the two is not missed.
            let freed = instance.freed.notified();
            // Before the look for room, as who lets go makes room before it no longer keeps.
            let most = self.most_waiting();
            if self.reserve() {
                let link = given.take().inspect(|_| self.closed());
                drop(given);
                // Two wakes may have become one.
                if instance.waiting.load(SeqCst) > 0 {
                    instance.freed.notify_one();
                }
                return Ok(link);
            }
            if instance.waiting.load(SeqCst) > most {
                return Err(NoConnection::Full);
            }
            // Each time: the room that was made may have gone to another.
            self.service.keepers.ask(instance);
            tokio::select! {
                link = &mut given.link => return link.map(|link| {
                    given.over = true;
                    Some(link)
                }).map_err(|_| NoConnection::Late),
                () = freed => {}
                () = &mut late => return Err(match wanted.due {
                    Some(_) => NoConnection::Late,
                    // An exchange may take as long as it likes, but not wait for ever for its turn.
                    None => NoConnection::Crowded,
                }),
            }
        }
    }
}

/// An exchange that waits. A connection may be handed to it, and it may no longer want it; who hands it one takes it off
/// the count of those that wait.
struct Given<'a> {
    link: oneshot::Receiver<Box<Link>>,
    slot: &'a Slot,
    over: bool,
}

impl<'a> Given<'a> {
    /// One more, unless as many wait as may.
    fn wait(slot: &'a Slot, link: oneshot::Receiver<Box<Link>>) -> Result<Self, NoConnection> {
        let room = |waiting| (waiting < slot.most_waiting()).then_some(waiting + 1);
        let counted = slot.instance.waiting.fetch_update(SeqCst, SeqCst, room);
        counted.map_err(|_| NoConnection::Full)?;
        Ok(Self { link, slot, over: false })
    }

    /// What was handed to it.
    fn take(&mut self) -> Option<Box<Link>> {
        let link = self.link.try_recv().ok();
        self.over |= link.is_some();
        link
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        self.link.close();
        if let Some(link) = self.take() {
            self.slot.keep(link);
        }
        if !self.over {
            self.slot.instance.waiting.fetch_sub(1, SeqCst);
        }
        // Nobody may ever bring a connection back that would find this place empty.
        self.slot.waiters.borrow_mut().retain(|waiter| !waiter.is_closed());
    }
}
