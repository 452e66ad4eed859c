//! Whether a worker may ask its Redis server, and telling the operator when that changes.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// So many in a row that came to nothing, and nobody asks any more.
const FAILURES: u32 = 3;
/// The first pause before the server is tried again, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// What the workers of a store have in common.
#[derive(Debug)]
pub(super) struct Health {
    store: Arc<str>,
    /// What `on_error` says.
    meanwhile: &'static str,
    /// Workers that do not ask.
    open: AtomicUsize,
}

impl Health {
    pub(super) fn new(store: &str, meanwhile: &'static str) -> Arc<Self> {
        Arc::new(Self { store: store.into(), meanwhile, open: AtomicUsize::new(0) })
    }

    /// The first worker to give up speaks for all: the others will find the same.
    fn lost(&self, why: &str) {
        if self.open.fetch_add(1, Ordering::Relaxed) == 0 {
            let Self { store, meanwhile, .. } = self;
            tracing::warn!(
                "rate store {store}: does not count: {why}; on_error = {meanwhile} until it does"
            );
            self.tell();
        }
    }

    fn found(&self) {
        if self.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("rate store {}: counts again", self.store);
            self.tell();
        }
    }

    fn tell(&self) {
        let gauge = metrics::gauge!("frontgate_rate_store_up", "store" => self.store.to_string());
        let mut told = None;
        // Another worker may have something else to tell meanwhile: the last one to tell tells how it is.
        while told != Some(self.is_up()) {
            told = Some(self.is_up());
            gauge.set(if told == Some(true) { 1.0 } else { 0.0 });
        }
    }

    fn is_up(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }
}

/// One worker's. Closed, one may ask; open, nobody does until the server has shown that it counts.
#[derive(Debug)]
pub(super) struct Breaker {
    health: Arc<Health>,
    open: Cell<bool>,
    /// In a row.
    failures: Cell<u32>,
    missed: OnceCell<metrics::Counter>,
}

impl Breaker {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self { health, open: Cell::new(false), failures: Cell::new(0), missed: OnceCell::new() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// The server counted.
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
    }

    /// A request came to nothing. Whether it was one too many, so that the breaker is open now.
    pub(super) fn failed(&self, why: &str) -> bool {
        self.failures.set(self.failures.get() + 1);
        let trips = self.failures.get() >= FAILURES && !self.is_open();
        if trips {
            self.trip(why);
        }
        trips
    }

    /// Nobody asks any more.
    pub(super) fn trip(&self, why: &str) {
        if !self.open.replace(true) {
            self.health.lost(why);
        }
    }

    /// The server has shown that it counts.
    pub(super) fn close(&self) {
        self.failures.set(0);
        if self.open.replace(false) {
            self.health.found();
        } else {
            self.health.tell();
        }
    }

    /// A request goes uncounted.
    pub(super) fn missed(&self) {
        let store = || self.health.store.to_string();
        let counter = || metrics::counter!("frontgate_rate_store_errors_total", "store" => store());
        self.missed.get_or_init(counter).increment(1);
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if self.is_open() {
            self.health.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How long to wait before the server is tried again: longer each time, and not the same for all workers.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pause {
    /// The next one.
    pub(super) fn next(&mut self) -> Duration {
        let this = self.0;
        self.0 = (this * 2).min(LONGEST);
        this + this.mul_f64(fastrand::f64() / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it_until_it_is_closed() {
        let health = Health::new("a", "allow");
        let breaker = Breaker::new(Arc::clone(&health));
        assert!(!breaker.failed("late") && !breaker.failed("late"));
        breaker.succeeded();
        assert!(!breaker.failed("late") && !breaker.failed("late") && !breaker.is_open());
        assert!(breaker.failed("late") && breaker.is_open());
        assert!(!breaker.failed("late"), "it was open already");
        breaker.close();
        assert!(!breaker.is_open() && !breaker.failed("late"));
        assert_eq!(health.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn workers_that_go_are_not_counted_as_cut_off() {
        let health = Health::new("a", "allow");
        let (one, two) = (Breaker::new(Arc::clone(&health)), Breaker::new(Arc::clone(&health)));
        one.trip("away");
        one.trip("still away");
        two.trip("away");
        assert_eq!(health.open.load(Ordering::Relaxed), 2);
        drop(one);
        assert_eq!(health.open.load(Ordering::Relaxed), 1);
        two.close();
        drop(two);
        assert_eq!(health.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn pauses_grow_from_one_second_to_ten() {
        let mut pause = Pause::default();
        for least in [1, 2, 4, 8, 10, 10, 10] {
            let least = Duration::from_secs(least);
            let this = pause.next();
            assert!(this >= least && this <= least.mul_f64(1.25), "{this:?}");
        }
    }
}
