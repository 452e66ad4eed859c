//! Waiting for a connection while an instance has as many as it may.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Lease, NoConnection, Slot, Wanted};
use crate::config::model::ROUTE_TIMEOUT;
use crate::forward::attempt::Waited;
use crate::forward::instance::Instance;
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
    /// Waits for a connection to be given back here, or for the right to make one (none).
    async fn wait(&self, wanted: Wanted) -> Result<Option<Box<Link>>, NoConnection> {
        let instance = &*self.instance;
        // Who takes the place of a connection that another worker keeps, and lets go, does not wait for an exchange.
        let most = || self.service.config.pool.pending.saturating_add(instance.idle());
        instance
            .waiting
            .fetch_update(SeqCst, SeqCst, |waiting| (waiting < most()).then_some(waiting + 1))
            .map_err(|_| NoConnection::Full)?;
        let _waiting = Waiting(instance);
        let (give, given) = oneshot::channel();
        let mut given = Given { link: given, slot: self };
        self.waiters.borrow_mut().push_back(give);
        let due = wanted.due.unwrap_or_else(|| Instant::now() + ROUTE_TIMEOUT);
        self.service.keepers.ask(instance);
        let mut late = std::pin::pin!(tokio::time::sleep_until(due.into()));
        loop {
            // Asked before the look, so that a connection freed between the two is not missed.
            let freed = instance.freed.notified();
            if self.reserve() {
                return Ok(given.link.try_recv().ok().inspect(|_| self.closed()));
            }
            if instance.waiting.load(SeqCst) > most() {
                return Err(NoConnection::Full);
            }
            tokio::select! {
                link = &mut given.link => return link.map(Some).map_err(|_| NoConnection::Late),
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

/// Where a connection may be handed to an exchange that waits, and may no longer want it.
struct Given<'a> {
    link: oneshot::Receiver<Box<Link>>,
    slot: &'a Slot,
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        self.link.close();
        if let Ok(link) = self.link.try_recv() {
            self.slot.keep(link);
        }
        // Nobody may ever bring a connection back that would find this place empty.
        self.slot.waiters.borrow_mut().retain(|waiter| !waiter.is_closed());
    }
}

/// An exchange that waits.
struct Waiting<'a>(&'a Instance);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}
