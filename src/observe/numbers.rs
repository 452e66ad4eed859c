//! Counters of the request path: per-worker relaxed atomics, found by route, summed when read.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use super::histogram::{Buckets, Histogram};
use super::tally::Tally;
use crate::exchange::{Ending, Exchange, Fate, RetryReason, Suppressed};
use crate::refusal::Refusal;

/// One route's numbers, over all workers. Kept by name when the table changes.
///
/// Each worker writes a part of its own, so counting needs neither locked instructions nor another core's cache line;
/// therefore only one thread may count as a given worker. A part exists from its worker's first exchange on: an unused
/// route costs 16 bytes a worker.
#[derive(Debug)]
pub struct RouteNumbers {
    workers: Box<[OnceLock<Box<Worker>>]>,
}

/// One worker's part. Aligned to two cache lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    began: AtomicU64,
    ended: AtomicU64,
    requests: Tally,
    durations: Histogram,
    refusals: [AtomicU64; Refusal::CODES.len()],
    retries: [AtomicU64; RetryReason::ALL.len()],
    suppressed: [AtomicU64; Suppressed::ALL.len()],
}

impl RouteNumbers {
    /// All zero, for this many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// An exchange began on this route; `worker` is below the number of workers.
    pub fn began(&self, worker: usize) {
        add(&self.part(worker).began, 1);
    }

    /// It ended, on the worker it began on.
    pub fn ended(&self, worker: usize, exchange: &Exchange, ending: Ending) {
        let part = self.part(worker);
        part.requests.count(key(&exchange.method, ending.status, ending.fate));
        part.durations.note(ending.took);
        if let Some(refusal) = exchange.refusal {
            add(&part.refusals[refusal.index()], 1);
        }
        for (count, retries) in part.retries.iter().zip(exchange.retries) {
            if retries > 0 {
                add(count, u64::from(retries));
            }
        }
        if let Some(suppressed) = exchange.suppressed {
            add(&part.suppressed[suppressed as usize], 1);
        }
        // Release: whoever sees this end also sees its beginning.
        part.ended.store(part.ended.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// How often an exchange was refused for this; counted by [`RouteNumbers::ended`].
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.parts().map(|part| part.refusals[refusal.index()].load(Ordering::Relaxed)).sum()
    }

    /// Exchanges now.
    pub fn in_flight(&self) -> u64 {
        self.parts().map(Worker::in_flight).sum()
    }

    /// The label a method is counted under; unknown ones are `other`.
    pub fn method_label(method: &Method) -> &'static str {
        METHODS[method_index(method)]
    }

    fn part(&self, worker: usize) -> &Worker {
        self.workers[worker].get_or_init(Box::default)
    }

    fn parts(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter_map(OnceLock::get).map(AsRef::as_ref)
    }
}

impl Worker {
    fn in_flight(&self) -> u64 {
        // The ends first, so that no end is seen without its beginning.
        let ended = self.ended.load(Ordering::Acquire);
        self.began.load(Ordering::Relaxed).saturating_sub(ended)
    }
}

/// Numbers of one or several routes, summed over their workers.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    requests: BTreeMap<u16, u64>,
    /// How long exchanges took.
    pub durations: Buckets,
    /// Refusals in the order of [`Refusal::CODES`].
    pub refusals: [u64; Refusal::CODES.len()],
    /// Attempts beyond the first, in the order of [`RetryReason::ALL`].
    pub retries: [u64; RetryReason::ALL.len()],
    /// Attempts that would have been made and were not, in the order of [`Suppressed::ALL`].
    pub suppressed: [u64; Suppressed::ALL.len()],
    /// Exchanges now.
    pub in_flight: u64,
}

/// Exchanges that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The method's label.
    pub method: &'static str,
    /// The status sent; 0 if none was.
    pub status: u16,
    /// How they ended.
    pub fate: Fate,
    /// How many.
    pub count: u64,
}

impl Totals {
    /// One route's numbers.
    pub fn of(numbers: &RouteNumbers) -> Self {
        let mut totals = Self::default();
        totals.add(numbers);
        totals
    }

    /// Adds one route's numbers.
    pub fn add(&mut self, numbers: &RouteNumbers) {
        for part in numbers.parts() {
            self.in_flight += part.in_flight();
            part.requests.read(|key, count| *self.requests.entry(key).or_default() += count);
            part.durations.read(&mut self.durations);
            sum(&mut self.refusals, &part.refusals);
            sum(&mut self.retries, &part.retries);
            sum(&mut self.suppressed, &part.suppressed);
        }
    }

    /// Exchanges that ended, by how they did.
    pub fn ended(&self) -> impl Iterator<Item = Ended> {
        self.requests.iter().map(|(key, count)| {
            let key = usize::from(*key);
            let (rest, fate) = (key / Fate::ALL.len(), Fate::ALL[key % Fate::ALL.len()]);
            let status = u16::try_from(rest % STATUSES).unwrap_or(u16::MAX);
            Ended { method: METHODS[rest / STATUSES], status, fate, count: *count }
        })
    }

    /// Exchanges that ended.
    pub fn requests(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Those that ended in a status of 500 or more, or with the upstream broken or too slow.
    pub fn errors(&self) -> u64 {
        let broken = |ended: &Ended| {
            ended.status >= 500 || matches!(ended.fate, Fate::UpstreamFailed | Fate::TimedOut)
        };
        self.ended().filter(broken).map(|ended| ended.count).sum()
    }
}

/// Adds to a counter that only this thread writes: a plain load and store.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

fn sum(into: &mut [u64], counters: &[AtomicU64]) {
    for (sum, counter) in into.iter_mut().zip(counters) {
        *sum += counter.load(Ordering::Relaxed);
    }
}

/// Labels of methods; no client can add one.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];
/// Three digits, and 0 for none.
const STATUSES: usize = 1000;
// A tally's key has 16 bits, the last value unused.
const _: () = assert!(METHODS.len() * STATUSES * Fate::ALL.len() < u16::MAX as usize);

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => 9,
    }
}

/// Method, status and fate as one number.
fn key(method: &Method, status: u16, fate: Fate) -> u16 {
    let status = usize::from(status).min(STATUSES - 1);
    let key = (method_index(method) * STATUSES + status) * Fate::ALL.len() + fate as usize;
    u16::try_from(key).unwrap_or(u16::MAX - 1)
}

#[cfg(test)]
mod tests;
