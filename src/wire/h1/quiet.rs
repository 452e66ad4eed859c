//! A connection on which nothing comes: what it may hold meanwhile, and for how long.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::inbound::{Inbound, NoHead, State};
use crate::wire::{after, clock};

/// A connection that nothing came on for this long lies idle, and gives back what only a busy one needs.
pub(super) const BUSY: Duration = Duration::from_secs(3);

impl Inbound {
    /// Waits, for as long as the client may be idle, until something comes; whether it did. Holds next to nothing.
    pub async fn arrival(&self) -> bool {
        poll_fn(|cx| {
            let state = &mut *self.0.borrow_mut();
            if !state.link.read.is_empty() || state.link.poll_arrival(cx).is_ready() {
                return Poll::Ready(true);
            }
            state.link.shed();
            state.asking = None;
            state.poll_quiet(None, cx).map(|_| false)
        })
        .await
    }
}

impl State {
    /// Nothing has come: ready when that has lasted for `brief`, or too long, or when the gateway ends.
    pub(super) fn poll_quiet(
        &mut self,
        brief: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<NoHead> {
        // A request that has just arrived is served: the event loop may not know of it yet.
        if self.closing && !self.link.is_touched_now() {
            return Poll::Ready(NoHead::Over);
        }
        let since = *self.quiet.get_or_insert_with(clock::now);
        let over = after(since, self.patience.idle);
        let idle = brief.and_then(|brief| after(since, brief));
        let first = idle.filter(|idle| over.is_none_or(|over| *idle < over));
        self.link.timer.set(first.or(over));
        if self.link.timer.poll(cx).is_ready() {
            return Poll::Ready(if first.is_some() { NoHead::Idle } else { NoHead::Over });
        }
        self.idle(cx);
        Poll::Pending
    }

    /// Nothing is going on: hold as little as can be, and be found when the gateway ends.
    pub(super) fn idle(&mut self, cx: &Context<'_>) {
        self.link.rest();
        match &mut self.idler {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}
