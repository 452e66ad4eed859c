//! How many exchanges a route has at a time, over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// `in_flight` of a route.
#[derive(Debug)]
pub struct InFlight {
    most: Option<usize>,
    /// Also of the tables before and after: an exchange leaves where it came in.
    now: Arc<Count>,
}

/// On a cache line of its own, because all workers write it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

impl InFlight {
    /// No bound without `most`.
    pub fn new(most: Option<usize>, before: Option<&Self>) -> Self {
        Self { most, now: before.map(|before| Arc::clone(&before.now)).unwrap_or_default() }
    }

    /// 503 when there are enough; otherwise one more until [`InFlight::leave`].
    pub fn enter(&self, exchange: &mut Exchange) -> Result<(), Refusal> {
        let Some(most) = self.most else { return Ok(()) };
        // Never above the bound, not even for a moment: that would take a place from somebody who comes in then.
        let one_more = |now| (now < most).then_some(now + 1);
        if self.now.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            exchange.cause = Some(format!("in_flight = {most}"));
            return Err(Refusal::Overloaded);
        }
        exchange.admitted.set(true);
        Ok(())
    }

    /// The exchange is over; said again, it changes nothing.
    pub fn leave(&self, exchange: &Exchange) {
        if exchange.admitted.replace(false) {
            self.now.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
