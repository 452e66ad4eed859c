//! Limits of a route, all of which must have room.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use smallvec::SmallVec;

use super::gcra::Take;
use super::left::{Left, retry_after};
use super::limit::{Held, Limit};
use super::{Counted, Counter};
use crate::config::model::{RateConfig, RateMode};
use crate::config::units::show_duration;
use crate::exchange::Exchange;
use crate::guard::{Desks, Shared};
use crate::refusal::Refusal;
use crate::wire::clock;

/// Limits of a route, all of which must have room.
#[derive(Debug)]
pub struct Limits {
    all: Box<[Listed]>,
    /// Whether some are counted elsewhere.
    ask: bool,
}

#[derive(Debug)]
struct Listed {
    limit: Arc<Limit>,
    /// Where it is counted: an index into [`Desks::counters`], and what the limit is called there.
    store: Option<(usize, String)>,
}

/// What is still to be done for a request that has found room: to count elsewhere, or to wait.
type Rest<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + 'a>>;

/// What a request has taken so far. Dropped, it gives all of it back.
#[derive(Default)]
struct Passage<'a> {
    held: SmallVec<[Held<'a>; 4]>,
    elsewhere: Vec<Elsewhere<'a>>,
    left: Option<Left>,
    /// The latest of its turns, when one is to come.
    until: Option<Instant>,
}

impl Limits {
    /// Of the route of this name. A limit that is equal `before` goes on where it stands.
    pub fn new(
        configs: &[&RateConfig],
        route: &str,
        shared: &Shared,
        before: Option<&Self>,
    ) -> Self {
        let mut kept: Vec<_> = before.map(|before| before.all.iter().collect()).unwrap_or_default();
        let listed = |(at, config): (usize, &&RateConfig)| {
            let known = kept.iter().position(|listed| listed.limit.config == **config);
            let limit = match known {
                Some(known) => Arc::clone(&kept.swap_remove(known).limit),
                None => Arc::new(Limit::new(config, route)),
            };
            let name = config.store.as_deref();
            let store = shared.stores.iter().position(|(known, _)| Some(&**known) == name);
            let twins = configs[..at].iter().filter(|other| *other == config).count();
            let store = store.map(|store| (store, name_of(&limit, route, twins)));
            Listed { limit, store }
        };
        let mut all: Box<[_]> = configs.iter().enumerate().map(listed).collect();
        // Nobody gets a turn to come in one limit who has no room in another.
        all.sort_by_key(|listed| matches!(listed.limit.config.mode, RateMode::Delay { .. }));
        Self { ask: all.iter().any(|listed| listed.store.is_some()), all }
    }

    /// 429 when one of them has no room; notes how much is left.
    pub async fn admit(
        &self,
        desks: &Desks,
        asked: &Parts,
        exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        if self.all.is_empty() {
            return Ok(());
        }
        match self.begin(desks, asked, exchange)? {
            None => Ok(()),
            Some(rest) => rest.await,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Keys that have a number in this process.
    pub fn keys(&self) -> u64 {
        self.all.iter().map(|listed| listed.limit.held()).sum()
    }

    /// Requests whose key found no room in a limit's table, so that they shared one number.
    pub fn overflowed(&self) -> u64 {
        self.all.iter().map(|listed| listed.limit.spilled()).sum()
    }

    /// Takes what is counted here, at once.
    fn begin<'a>(
        &'a self,
        desks: &'a Desks,
        asked: &'a Parts,
        exchange: &'a mut Exchange,
    ) -> Result<Option<Rest<'a>>, Refusal> {
        let now = clock::now();
        let mut passage = Passage::default();
        for listed in self.all.iter().filter(|listed| listed.store.is_none()) {
            passage.take(&listed.limit, asked, exchange, now)?;
        }
        if passage.until.is_none() && !self.ask {
            passage.end(exchange);
            return Ok(None);
        }
        // It lasts, and most requests have no such rest: their exchange shall not bear its size.
        Ok(Some(Box::pin(self.rest(passage, desks, asked, exchange))))
    }

    async fn rest<'a>(
        &'a self,
        mut passage: Passage<'a>,
        desks: &'a Desks,
        asked: &Parts,
        exchange: &mut Exchange,
    ) -> Result<(), Refusal> {
        for Listed { limit, store } in &self.all {
            let Some((at, name)) = store else { continue };
            let counter = &*desks.counters[*at];
            let key = name.clone() + &limit.keys.text(asked, exchange);
            match count(limit, counter, &key).await {
                Ok((take, place)) => {
                    passage.note(Left::of(limit.quota, take));
                    if !take.wait.is_zero() {
                        passage.until = passage.until.max(clock::now().checked_add(take.wait));
                    }
                    passage.elsewhere.push(Elsewhere { limit, counter, key, place, kept: false });
                }
                Err(Counted::Taken(take)) => return Err(refuse(limit, take, exchange)),
                Err(Counted::Allow) => {
                    let all = Take {
                        wait: Duration::ZERO,
                        remaining: limit.quota.burst,
                        reset: Duration::ZERO,
                    };
                    passage.note(Left::of(limit.quota, all));
                }
                Err(Counted::Deny) => {
                    let wait = Duration::from_secs(1);
                    let refused = refuse(limit, Take { wait, remaining: 0, reset: wait }, exchange);
                    exchange.cause = Some(format!("{}: its store cannot count", limit.text));
                    return Err(refused);
                }
                Err(Counted::Local) => passage.take(limit, asked, exchange, clock::now())?,
            }
        }
        if let Some(until) = passage.until {
            tokio::time::sleep_until(until.into()).await;
        }
        passage.end(exchange);
        Ok(())
    }
}

impl<'a> Passage<'a> {
    fn take(
        &mut self,
        limit: &'a Limit,
        asked: &Parts,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Result<(), Refusal> {
        match limit.take(asked, exchange, now) {
            Ok((held, take)) => {
                self.held.push(held);
                self.note(Left::of(limit.quota, take));
                if !take.wait.is_zero() {
                    self.until = self.until.max(now.checked_add(take.wait));
                }
                Ok(())
            }
            Err(take) => Err(refuse(limit, take, exchange)),
        }
    }

    fn note(&mut self, left: Left) {
        self.left = Some(left.tighter(self.left));
    }

    fn end(self, exchange: &mut Exchange) {
        if let Some(left) = self.left {
            left.note(exchange);
        }
        self.held.into_iter().for_each(Held::kept);
        self.elsewhere.into_iter().for_each(Elsewhere::kept);
    }
}

/// What a store says: one that was taken there, with a place when its turn is to come; or why there is none. Who finds no
/// room and may wait asks a second time, for the next turn that nobody has: so those who wait come in in the order in
/// which they asked, whichever gateway they asked.
async fn count<'a>(
    limit: &'a Limit,
    counter: &dyn Counter,
    key: &str,
) -> Result<(Take, Option<Place<'a>>), Counted> {
    let wish = limit.wish();
    let first = counter.take(key, wish).await;
    let Counted::Taken(take) = first else { return Err(first) };
    if wish.granted(take) {
        return Ok((take, None));
    }
    let RateMode::Delay { max_wait, max_queue } = limit.config.mode else { return Err(first) };
    let Some(place) = Place::new(limit, max_queue) else { return Err(first) };
    let second = counter.take(key, wish.patient()).await;
    let Counted::Taken(take) = second else { return Err(second) };
    if wish.patient().granted(take) {
        return Ok((take, Some(place).filter(|_| !take.wait.is_zero())));
    }
    // Who comes again when the wait is as long as it may be finds a place.
    Err(Counted::Taken(Take { wait: take.wait.saturating_sub(max_wait), ..take }))
}

/// One that a request has taken in a store. It is given back when it is dropped before it was [`Elsewhere::kept`], unless
/// its turn was to come: those behind it have theirs already.
struct Elsewhere<'a> {
    limit: &'a Limit,
    counter: &'a dyn Counter,
    key: String,
    place: Option<Place<'a>>,
    kept: bool,
}

impl Elsewhere<'_> {
    /// The request goes on: nothing is given back.
    fn kept(mut self) {
        self.kept = true;
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        if !self.kept && self.place.is_none() {
            self.counter.give_back(&self.key, self.limit.wish());
        }
    }
}

/// A place among those who wait, until it is dropped.
struct Place<'a>(&'a Limit);

impl<'a> Place<'a> {
    fn new(limit: &'a Limit, most: usize) -> Option<Self> {
        limit.queue(most).then(|| Self(limit))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn refuse(limit: &Limit, take: Take, exchange: &mut Exchange) -> Refusal {
    Left::of(limit.quota, Take { remaining: 0, ..take }).insist(exchange);
    exchange.hints.push(retry_after(take.wait));
    exchange.cause = Some(limit.text.clone());
    Refusal::RateLimited
}

/// What gateways with the same configuration call the same limit, and a changed one otherwise.
fn name_of(limit: &Limit, route: &str, twins: usize) -> String {
    let RateConfig { burst, mode, .. } = &limit.config;
    let mode = match mode {
        RateMode::Reject => String::new(),
        RateMode::Delay { max_wait, .. } => format!(" delay {}", show_duration(*max_wait)),
    };
    format!("{route}: {} burst {burst}{mode} #{twins}:", limit.text)
}

#[cfg(test)]
mod tests;
