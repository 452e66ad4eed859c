//! How busy one worker finds an instance, and how slow.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::balance;
use super::verdict::Verdict;
use crate::config::model::ServiceConfig;

/// What one worker knows of one instance. Balancers that go by it need no more: connections are spread evenly over the
/// workers, so each sees a fair sample, and reading what others wrote would cost more than it tells.
#[derive(Debug)]
pub struct Load {
    here: Cell<u32>,
    everywhere: Rc<Cell<u32>>,
    latency: Option<Latency>,
    /// What an instance that fails is taken to be at worst: no connection takes longer.
    worst: Duration,
}

impl Load {
    /// None yet. `everywhere` counts this worker's exchanges with all instances of the service.
    pub fn new(service: &ServiceConfig, everywhere: Rc<Cell<u32>>) -> Self {
        let latency = balance::goes_by_latency(&service.balance).then(Latency::default);
        Self { here: Cell::new(0), everywhere, latency, worst: service.connect_timeout }
    }

    /// This worker's exchanges with the instance.
    pub fn here(&self) -> u32 {
        self.here.get()
    }

    /// This worker's exchanges with all instances of the service.
    pub fn everywhere(&self) -> u32 {
        self.everywhere.get()
    }

    /// An exchange begins.
    pub(super) fn begin(&self) {
        self.here.update(|count| count.saturating_add(1));
        self.everywhere.update(|count| count.saturating_add(1));
    }

    /// One that began is over.
    pub(super) fn end(&self) {
        self.here.update(|count| count.saturating_sub(1));
        self.everywhere.update(|count| count.saturating_sub(1));
    }

    /// How an attempt went that took so long until its answer's head. What the client's doing was says nothing.
    pub(super) fn told(&self, verdict: Verdict, took: Duration, now: Instant) {
        let Some(latency) = &self.latency else { return };
        match verdict {
            Verdict::Good => latency.answered(took, now),
            Verdict::Failed => latency.failed(took, self.worst, now),
            Verdict::Neutral => {}
        }
    }

    /// A client left an attempt after so long: an answer takes longer. Were that not counted, an instance that hangs would
    /// look ever better where clients have less patience than the gateway, as nothing else is heard of it.
    pub(super) fn left(&self, took: Duration, now: Instant) {
        if let Some(latency) = &self.latency {
            latency.left(took.min(self.worst), now);
        }
    }

    /// What one more exchange would cost in time: each that is under way costs another answer. One that was never seen
    /// to answer is tried at once, and then taken for a usual one until it has.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let others = f64::from(self.here());
        match self.latency.as_ref().and_then(|latency| latency.estimate(now)) {
            Some(estimate) => estimate * (others + 1.0),
            None if others == 0.0 => 0.0,
            None => USUAL * (others + 1.0),
        }
    }
}

/// How long an answer takes when nobody knows, in seconds: as Linkerd assumes.
const USUAL: f64 = 0.03;
/// In this time what was measured loses two thirds of its weight: as in Finagle and Linkerd.
const DECAY: Duration = Duration::from_secs(10);

/// Finagle's peak EWMA: the time until an answer, weighted by age. A slow answer counts in full at once; only time brings
/// the estimate down again, so that an instance in trouble is left quickly and returned to slowly.
#[derive(Debug, Default)]
struct Latency(Cell<Option<Estimate>>);

#[derive(Clone, Copy, Debug)]
struct Estimate {
    seconds: f64,
    at: Instant,
}

impl Estimate {
    /// How much of it is left by now.
    fn left(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at);
        (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

impl Latency {
    /// In seconds; falls with time, so that one that nobody asks is asked again.
    fn estimate(&self, now: Instant) -> Option<f64> {
        self.0.get().map(|estimate| estimate.seconds * estimate.left(now))
    }

    fn answered(&self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let seconds = match self.0.get() {
            Some(before) if before.seconds > took => {
                let left = before.left(now);
                before.seconds * left + took * (1.0 - left)
            }
            Some(_) | None => took,
        };
        self.0.set(Some(Estimate { seconds, at: now }));
    }

    fn left(&self, took: Duration, now: Instant) {
        let seconds = took.as_secs_f64();
        if seconds > self.estimate(now).unwrap_or(USUAL) {
            self.0.set(Some(Estimate { seconds, at: now }));
        }
    }

    /// A quick failure is no quick answer. One makes an instance half as good as it was, so that a few errors that all
    /// instances have do not drown what their answers say; a row of them makes it as bad as any may be.
    fn failed(&self, took: Duration, worst: Duration, now: Instant) {
        let before = self.estimate(now).unwrap_or(USUAL);
        let twice = (2.0 * before).min(worst.as_secs_f64()).max(before);
        let seconds = twice.max(took.as_secs_f64());
        self.0.set(Some(Estimate { seconds, at: now }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORST: Duration = Duration::from_secs(1);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn assert_near(latency: &Latency, now: Instant, millis: f64) {
        let found = latency.estimate(now).unwrap() * 1000.0;
        assert!((found - millis).abs() < millis / 1000.0, "{found} ms, not {millis}");
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_with_time() {
        let (latency, began) = (Latency::default(), Instant::now());
        assert_eq!(latency.estimate(began), None);
        latency.answered(ms(10), began);
        assert_near(&latency, began, 10.0);
        latency.answered(ms(500), began);
        assert_near(&latency, began, 500.0);
        latency.answered(ms(10), began);
        assert_near(&latency, began, 500.0);
        // After one decay a third of the peak is left, and the rest is what came since.
        let later = began + DECAY;
        assert_near(&latency, later, 500.0 * (-1.0_f64).exp());
        latency.answered(ms(10), later);
        assert_near(&latency, later, 10.0 + 490.0 * (-1.0_f64).exp());
        // One that is never asked looks ever better.
        assert!(latency.estimate(later + 20 * DECAY).unwrap() < 1e-9);
    }

    #[test]
    fn a_quick_failure_makes_an_instance_look_slower() {
        let (latency, now) = (Latency::default(), Instant::now());
        latency.answered(ms(10), now);
        latency.failed(ms(0), WORST, now);
        assert_near(&latency, now, 20.0);
        latency.failed(ms(300), WORST, now);
        assert_near(&latency, now, 300.0);
        (0..20).for_each(|_| latency.failed(ms(0), WORST, now));
        assert_near(&latency, now, 1000.0);
        latency.failed(ms(3000), WORST, now);
        latency.failed(ms(0), WORST, now);
        assert_near(&latency, now, 3000.0);
        let unknown = Latency::default();
        unknown.failed(ms(0), WORST, now);
        assert_near(&unknown, now, 2000.0 * USUAL);
    }

    #[test]
    fn whoever_leaves_has_seen_that_an_answer_takes_longer() {
        let (latency, now) = (Latency::default(), Instant::now());
        latency.left(ms(10), now);
        assert_eq!(latency.estimate(now), None, "nothing is known of a usual one yet");
        latency.answered(ms(10), now);
        latency.left(ms(5), now);
        assert_near(&latency, now, 10.0);
        latency.left(ms(500), now);
        assert_near(&latency, now, 500.0);
        latency.left(ms(500), now + 6 * DECAY);
        assert_near(&latency, now + 6 * DECAY, 500.0);
    }

    #[test]
    fn costs_more_with_each_exchange_and_only_what_answers_is_measured() {
        let config = ServiceConfig { balance: "peak_ewma".to_owned(), ..ServiceConfig::default() };
        let everywhere = Rc::default();
        let (one, other) =
            (Load::new(&config, Rc::clone(&everywhere)), Load::new(&config, everywhere));
        let now = Instant::now();
        one.told(Verdict::Neutral, ms(7000), now);
        assert_eq!(one.cost(now), 0.0, "never measured, it is tried");
        one.begin();
        assert_eq!(one.cost(now), 2.0 * USUAL);
        one.told(Verdict::Good, ms(100), now);
        other.begin();
        one.begin();
        assert_eq!((one.here(), other.here(), one.everywhere()), (2, 1, 3));
        assert!((one.cost(now) - 0.3).abs() < 1e-9);
        one.end();
        one.end();
        assert_eq!((one.here(), other.everywhere()), (0, 1));
        // Others do not pay for what they do not use.
        let plain = Load::new(&ServiceConfig::default(), Rc::default());
        plain.told(Verdict::Good, ms(100), now);
        assert_eq!(plain.cost(now), 0.0);
    }
}
