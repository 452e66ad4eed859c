//! One entry of `rate_limit`: the numbers of its keys, and what one request has taken of it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::request::Parts;

use super::cells::{Cells, Line, Spot};
use super::gcra::{Quota, Take, Wish};
use super::keys::Keys;
use crate::config::model::{RateConfig, RateMode};
use crate::config::units::show_rate;
use crate::exchange::Exchange;
use crate::wire::clock;

/// Seconds for which it is not said again that there are more keys than cells.
const SILENCE: u64 = 60;

/// One entry of a route's `rate_limit`, shared by all workers, and kept while the entry is the same.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) config: RateConfig,
    pub(super) quota: Quota,
    pub(super) keys: Keys,
    /// For the operator: `10/s by client_ip`.
    pub(super) text: String,
    route: Box<str>,
    numbers: Numbers,
    waiting: Line,
    began: Instant,
    /// The second in which it was last said that there are more keys than cells, counted from 1; 0 for never.
    said: AtomicU64,
}

#[derive(Debug)]
enum Numbers {
    One(Box<Line>),
    Many(Box<Cells>),
}

/// One that a request has taken. It is given back when it is dropped before it was [`Held::kept`].
#[derive(Debug)]
#[must_use]
pub(super) struct Held<'a> {
    limit: &'a Limit,
    key: u64,
    spot: Spot,
    next: u64,
    waits: bool,
    kept: bool,
}

impl Limit {
    pub(super) fn new(config: &RateConfig, route: &str) -> Self {
        let keys = Keys::new(&config.keys);
        let names: Vec<_> = config.keys.iter().map(ToString::to_string).collect();
        Self {
            config: config.clone(),
            quota: Quota::of(config),
            numbers: match keys.is_one() {
                true => Numbers::One(Box::default()),
                false => Numbers::Many(Box::default()),
            },
            keys,
            text: format!("{} by {}", show_rate(config.rate), names.join(" and ")),
            route: route.into(),
            waiting: Line::default(),
            began: clock::now(),
            said: AtomicU64::new(0),
        }
    }

    /// Takes one of what a request's key may have: what it holds and what that came to, or what it would have come to,
    /// and then [`Take::wait`] says when to come again.
    pub(super) fn take(
        &self,
        asked: &Parts,
        exchange: &Exchange,
        now: Instant,
    ) -> Result<(Held<'_>, Take), Take> {
        let key = match &self.numbers {
            Numbers::One(_) => 0,
            Numbers::Many(_) => self.keys.hash(asked, exchange),
        };
        let now = nanos(now.saturating_duration_since(self.began));
        let refused = match self.attempt(key, now, 0) {
            Ok(taken) => return Ok(taken),
            Err(refused) => refused,
        };
        let RateMode::Delay { max_wait, max_queue } = self.config.mode else {
            return Err(refused);
        };
        if !self.queue(max_queue) {
            return Err(refused);
        }
        let taken = self.attempt(key, now, nanos(max_wait));
        if taken.as_ref().map_or(true, |(held, _)| !held.waits) {
            self.leave();
        }
        // Who comes again when the wait is as long as it may be finds a place.
        taken.map_err(|take| Take { wait: take.wait.saturating_sub(max_wait), ..take })
    }

    fn attempt(&self, key: u64, now: u64, patience: u64) -> Result<(Held<'_>, Take), Take> {
        let mut last = None;
        let change = |due, now| {
            let (take, next) = self.quota.reserve(due, now, patience);
            last = Some((take, next));
            next
        };
        let spot = match &self.numbers {
            Numbers::One(line) => {
                line.update(now, change);
                Spot::Own
            }
            Numbers::Many(cells) => cells.change(key, now, change),
        };
        if spot == Spot::Spill {
            self.complain(now);
        }
        let (take, next) = last.unwrap_or_else(|| self.quota.reserve(0, now, patience));
        let Some(next) = next else { return Err(take) };
        let waits = !take.wait.is_zero();
        Ok((Held { limit: self, key, spot, next, waits, kept: false }, take))
    }

    /// What a store is asked by one who does not wait.
    pub(super) fn wish(&self) -> Wish {
        let longest = match self.config.mode {
            RateMode::Reject => Duration::ZERO,
            RateMode::Delay { max_wait, .. } => max_wait,
        };
        Wish::new(self.quota, longest)
    }

    /// One more waits; false when there are enough.
    pub(super) fn queue(&self, most: usize) -> bool {
        let enough = self.waiting.0.fetch_add(1, Relaxed) >= most as u64;
        if enough {
            self.leave();
        }
        !enough
    }

    /// One waits no more.
    pub(super) fn leave(&self) {
        self.waiting.0.fetch_sub(1, Relaxed);
    }

    fn complain(&self, now: u64) {
        // One more, because 0 is never.
        let second = now / 1_000_000_000 + 1;
        let said = self.said.load(Relaxed);
        if said > 0 && second < said + SILENCE {
            return;
        }
        if self.said.compare_exchange(said, second, Relaxed, Relaxed).is_ok() {
            let (route, limit, requests) = (&self.route, &self.text, self.spilled());
            tracing::warn!(
                %route, limit, requests,
                "a rate limit has more keys than cells: requests of further keys share one"
            );
        }
    }

    /// Keys that have a number.
    pub(super) fn held(&self) -> u64 {
        match &self.numbers {
            Numbers::One(line) => u64::from(line.0.load(Relaxed) > 0),
            Numbers::Many(cells) => cells.held(),
        }
    }

    /// Requests whose key found no room, so that they shared one number.
    pub(super) fn spilled(&self) -> u64 {
        match &self.numbers {
            Numbers::One(_) => 0,
            Numbers::Many(cells) => cells.spilled(),
        }
    }
}

impl Held<'_> {
    /// The request goes on: nothing is given back.
    pub(super) fn kept(mut self) {
        self.kept = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Self { limit, key, spot, next, waits, kept } = *self;
        if waits {
            limit.leave();
        }
        if kept {
            return;
        }
        let quota = limit.quota;
        // A turn to come is given back only by the last in the queue: those behind it have theirs already.
        let change = |due| quota.without(due, next).filter(|_| !waits || due == next);
        match &limit.numbers {
            Numbers::One(line) => line.update(0, |due, _| change(due)),
            Numbers::Many(cells) => cells.amend(key, spot, change),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Rate, RateKey};
    use crate::tests::said;

    #[test]
    fn more_keys_than_cells_are_a_line_a_minute() {
        let config = RateConfig {
            rate: Rate { count: 5, per: Duration::from_secs(60) },
            burst: 5,
            keys: vec![RateKey::ClientIp, RateKey::Host],
            mode: RateMode::Reject,
            store: None,
        };
        let limit = Limit::new(&config, "orders");
        let lines = said(|| {
            for second in 0..180 {
                limit.complain(second * 1_000_000_000);
            }
        });
        assert_eq!(lines.len(), 3, "{lines:#?}");
        let place = "route=orders limit=\"5/m by client_ip and host\"";
        assert!(lines[0].contains(place), "{lines:#?}");
    }
}
