//! The kept connections of one worker to one instance.

mod kept;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::oneshot;

pub use kept::{Keepers, Kept};

use super::attempt::Waited;
use super::connect::connect;
use super::instance::Instance;
use super::load::Load;
use super::outlier;
use super::service::Service;
use super::verdict::Verdict;
use crate::wire::clock;
use crate::wire::h1::Link;
use crate::wire::h1::outbound::{End, Home};

/// A connection is handed on within its worker so many times while other workers wait; then they have their turn.
const IN_A_ROW: u32 = 8;
/// A request that may not be sent twice trusts a connection that was idle for less than this; an older one is asked.
const TRUSTED: Duration = Duration::from_secs(1);

/// One worker's connections to one instance.
#[derive(Debug)]
pub struct Slot {
    /// What all workers share.
    pub instance: Arc<Instance>,
    /// The service and the instance, for the log.
    pub name: Rc<str>,
    /// What this worker knows of how busy it is.
    pub load: Load,
    /// When it last gave this worker an answer that was not its failure.
    pub answered: Cell<Option<Instant>>,
    service: Arc<Service>,
    worker: usize,
    idle: RefCell<Vec<Idle>>,
    waiters: RefCell<VecDeque<oneshot::Sender<Box<Link>>>>,
    /// Times in a row that a connection was handed on here.
    handed: Cell<u32>,
    kept: Rc<Kept>,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// What an attempt needs of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// It may not be sent twice, so the connection must be alive for all one can tell.
    pub cautious: bool,
    /// A kept connection was tried and was dead.
    pub fresh: bool,
    /// When the exchange is over.
    pub due: Option<Instant>,
}

/// A connection for one attempt.
#[derive(Debug)]
pub struct Leased {
    /// Ends with the attempt.
    pub lease: Lease,
    /// It was a kept one.
    pub reused: bool,
    /// All were taken at first.
    pub waited: Option<Waited>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoConnection {
    /// It could not be made.
    Refused,
    /// As many exchanges wait for one as may: this one has not begun.
    Full,
    /// None became free for as long as any exchange waits.
    Crowded,
    /// None became free in time.
    Late,
    /// None was made in time.
    Unmade,
}

impl Slot {
    /// Without connections. `kept` counts the worker's idle connections.
    pub fn new(
        instance: Arc<Instance>,
        service: Arc<Service>,
        worker: usize,
        kept: Rc<Kept>,
        load: Load,
    ) -> Self {
        let name = format!("{} {}", service.config.name, instance.place);
        Self {
            instance,
            name: name.into(),
            load,
            answered: Cell::new(None),
            service,
            worker,
            idle: RefCell::default(),
            waiters: RefCell::default(),
            handed: Cell::new(0),
            kept,
        }
    }

    /// A connection, kept or made; or why there is none, and how it was waited for. An attempt has begun with it.
    pub async fn connection(
        self: &Rc<Self>,
        wanted: Wanted,
    ) -> Result<Leased, (NoConnection, Option<Waited>)> {
        let mut lease = Lease::new(self);
        let mut waited = None;
        if !wanted.fresh
            && let Some(link) = self.take(wanted.cautious)
        {
            return Ok(Leased { lease: lease.with(link), reused: true, waited });
        }
        if !self.reserve() {
            // Cold: only an instance with all its connections taken makes anyone wait.
            let lasted;
            (lease, lasted) = Box::pin(lease.wait(wanted)).await.map_err(|none| (none, None))?;
            waited = Some(lasted);
            if lease.link.is_some() {
                return Ok(Leased { lease, reused: true, waited });
            }
        }
        let reserved = Reserved(Some(self));
        match connect(&self.instance, self.service.config.connect_timeout, wanted.due).await {
            Ok(link) => {
                reserved.keep();
                Ok(Leased { lease: lease.with(link), reused: false, waited })
            }
            Err(error) => {
                tracing::debug!(service = %self.service.config.name, instance = %self.instance.place, %error, "no connection");
                Err((NoConnection::Refused, waited))
            }
        }
    }

    /// The newest kept connection that still lives and may be used again. The sweep comes only each second.
    fn take(&self, cautious: bool) -> Option<Box<Link>> {
        loop {
            let Idle { link, since } = self.idle.borrow_mut().pop()?;
            self.count_idle(-1);
            // It may wait for the place of this one.
            if self.instance.waiting.load(SeqCst) > 0 {
                self.instance.freed.notify_one();
            }
            let now = clock::now();
            let rested = now.saturating_duration_since(since);
            let over = self.is_rested(rested) || self.is_aged(&link, now);
            let dead = over
                || link.is_touched()
                || (cautious && rested >= TRUSTED && link.is_touched_now());
            if !dead {
                return Some(link);
            }
            self.closed();
        }
    }

    /// Claims one of the instance's connections.
    fn reserve(&self) -> bool {
        let most = self.service.config.pool.connections;
        self.instance
            .open
            .fetch_update(SeqCst, SeqCst, |open| (open < most).then_some(open + 1))
            .is_ok()
    }

    /// A connection ended, or was claimed and not made. Ordered against [`Slot::wait`], which says that it waits before
    /// it looks for room: one of the two sees the other.
    fn closed(&self) {
        self.instance.open.fetch_sub(1, SeqCst);
        if self.instance.waiting.load(SeqCst) > 0 {
            self.instance.freed.notify_one();
        }
    }

    fn count_idle(&self, change: i64) {
        let idle = &self.instance.counters(self.worker).idle;
        idle.fetch_add(change.cast_unsigned(), SeqCst);
        self.kept.add(change as isize);
    }

    /// Keeps a connection for its next exchange, or hands it to one that waits.
    fn keep(&self, mut link: Box<Link>) {
        let now = clock::now();
        let pool = &self.service.config.pool;
        if self.is_aged(&link, now) {
            return self.closed();
        }
        // Whoever waits uses it without another look, and would take for its answer what was sent unasked.
        if !self.waiters.borrow().is_empty() && link.is_touched_now() {
            return self.closed();
        }
        let others = self.instance.waiting.load(SeqCst) > self.waiters.borrow().len();
        if others && self.handed.get() >= IN_A_ROW {
            self.handed.set(0);
            return self.closed();
        }
        while let Some(waiter) = self.waiters.borrow_mut().pop_front() {
            match waiter.send(link) {
                Ok(()) => {
                    self.instance.waiting.fetch_sub(1, SeqCst);
                    self.handed.set(self.handed.get() + 1);
                    return;
                }
                Err(back) => link = back,
            }
        }
        self.handed.set(0);
        let room = self.idle.borrow().len() < pool.idle && self.kept.has_room();
        if !room || self.instance.gone.load(Relaxed) {
            return self.closed();
        }
        link.rest();
        self.idle.borrow_mut().push(Idle { link, since: now });
        self.count_idle(1);
        // Another worker waits for the instance, who can only be served by a new connection of its own: it asks for room
        // after it has said that it waits, and looks for who keeps some. One of the two sees the other.
        if self.instance.waiting.load(SeqCst) > 0 {
            self.make_room();
        }
    }

    fn is_rested(&self, rested: Duration) -> bool {
        let most = self.service.config.pool.idle_timeout;
        !most.is_zero() && rested >= most
    }

    fn is_aged(&self, link: &Link, now: Instant) -> bool {
        let most = self.service.config.pool.max_age;
        !most.is_zero() && now.saturating_duration_since(link.made) >= most
    }

    /// Lets go of kept connections that are dead or too old; of all when the instance is gone.
    pub fn sweep(&self, now: Instant) {
        let gone = self.instance.gone.load(Relaxed);
        self.keep_only(|idle| {
            !gone
                && !self.is_aged(&idle.link, now)
                && !self.is_rested(now.saturating_duration_since(idle.since))
                && !idle.link.is_touched()
        });
    }

    /// Lets go of as many kept connections as others wait for, the oldest first.
    pub fn make_room(&self) {
        let mut waiting = self.instance.waiting.load(SeqCst);
        self.keep_only(|_| {
            let stays = waiting == 0;
            waiting = waiting.saturating_sub(1);
            stays
        });
    }

    fn keep_only(&self, stays: impl FnMut(&Idle) -> bool) {
        let before = self.idle.borrow().len();
        self.idle.borrow_mut().retain(stays);
        for _ in self.idle.borrow().len()..before {
            self.let_go();
        }
    }

    /// A kept connection was closed. There is room before it no longer counts as kept: who sees neither goes away.
    fn let_go(&self) {
        self.closed();
        self.count_idle(-1);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        for _ in 0..self.idle.borrow().len() {
            self.let_go();
        }
    }
}

impl Home for Slot {
    fn done(&self, link: Option<Box<Link>>, status: StatusCode, end: End) {
        let counters = self.instance.counters(self.worker);
        counters.over.fetch_add(1, Relaxed);
        self.load.end();
        let said = Verdict::of_status(status);
        // What its head said was counted with that.
        if end == End::Broken && said != Verdict::Failed {
            counters.failed.fetch_add(1, Relaxed);
        }
        outlier::ended(&self.service, &self.instance, self.worker, (said, end));
        match link {
            Some(link) => self.keep(link),
            None => self.closed(),
        }
    }
}

/// A connection in use by one attempt; ends with it unless the answer's body takes it over.
#[derive(Debug)]
pub struct Lease {
    slot: Rc<Slot>,
    link: Option<Box<Link>>,
    over: bool,
}

impl Lease {
    fn new(slot: &Rc<Slot>) -> Self {
        slot.instance.counters(slot.worker).begun.fetch_add(1, Relaxed);
        slot.load.begin();
        Self { slot: Rc::clone(slot), link: None, over: false }
    }

    fn with(mut self, link: Box<Link>) -> Self {
        self.link = Some(link);
        self
    }

    /// The connection, while the attempt goes on.
    pub fn link(&mut self) -> Option<&mut Link> {
        self.link.as_deref_mut()
    }

    /// Gives the connection to the answer's body, which brings it home.
    pub fn hand_over(mut self) -> Option<Box<Link>> {
        self.over = true;
        self.link.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.slot.instance.counters(self.slot.worker).over.fetch_add(1, Relaxed);
        self.slot.load.end();
        if self.link.take().is_some() {
            self.slot.closed();
        }
    }
}

/// One of the instance's connections, claimed and not yet made.
struct Reserved<'a>(Option<&'a Slot>);

impl Reserved<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Endpoint, HostPort, PoolConfig, Scheme, ServiceConfig};

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_for_a_connection() {
        let pool = PoolConfig { connections: 1, ..PoolConfig::default() };
        let config = ServiceConfig { pool, ..ServiceConfig::default() };
        let service = Arc::new(Service::new(Arc::new(config), 1));
        let address = HostPort { host: "127.0.0.1".into(), port: 1 };
        let endpoint = Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None };
        let instance = Arc::new(Instance::new(endpoint, &service.config, 1));
        let load = Load::new(&service.config, Rc::default());
        let slot = Rc::new(Slot::new(instance, service, 0, Rc::default(), load));
        assert!(slot.reserve(), "the one there may be");
        let soon = Instant::now() + Duration::from_secs(1);
        for (due, none) in [(Some(soon), NoConnection::Late), (None, NoConnection::Crowded)] {
            let wanted = Wanted { cautious: false, fresh: false, due };
            assert_eq!(slot.connection(wanted).await.unwrap_err().0, none);
        }
        assert_eq!(slot.instance.waiting.load(Relaxed), 0);
        assert_eq!(slot.instance.in_flight(), 0);
    }
}
