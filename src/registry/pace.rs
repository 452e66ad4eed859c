//! How fast a registry may be asked: a bucket for answers, a jittered backoff for failures.

use std::time::Duration;

use tokio::time::Instant;

/// Answers that may follow one another at once.
const BURST: f64 = 5.0;
/// Answers a second after that.
const RATE: f64 = 10.0;
/// The first pause after a failure.
const FIRST: Duration = Duration::from_millis(100);
/// The longest one while the registry is away: a returned one must be noticed soon.
pub(super) const AWAY: Duration = Duration::from_secs(3);
/// The longest one while it says no: somebody must act first.
pub(super) const REFUSED: Duration = Duration::from_secs(10);

/// The pace of one query.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    tokens: f64,
    filled: Instant,
    failures: u32,
    not_before: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self { tokens: BURST, filled: now, failures: 0, not_before: now }
    }
}

impl Pace {
    /// Waits until the next question may be asked.
    pub(super) async fn ready(&self) {
        tokio::time::sleep_until(self.not_before).await;
    }

    /// An answer came: takes a token, and puts the next question off when there is none left. However fast a server
    /// answers, it is asked no faster than the bucket fills.
    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        let filled = (now - self.filled).as_secs_f64() * RATE;
        self.tokens = (self.tokens + filled).min(BURST) - 1.0;
        self.filled = now;
        self.not_before = now + Duration::from_secs_f64((-self.tokens / RATE).max(0.0));
    }

    /// The answer was good: the next failure is a first one.
    pub(super) fn recovered(&mut self) {
        self.failures = 0;
    }

    /// It failed: the next question waits twice as long as the last time, up to `longest`, less up to half of it, so
    /// that many queries do not come back at the same moment.
    pub(super) fn failed(&mut self, longest: Duration) {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        self.not_before = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
    }

    /// Something says that asking again is worth it now.
    pub(super) fn hurry(&mut self) {
        self.not_before = self.not_before.min(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_answers_pass_at_once_and_then_ten_a_second() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for _ in 0..25 {
            pace.ready().await;
            pace.answered();
        }
        pace.ready().await;
        let spent = start.elapsed().as_secs_f64();
        assert!(
            (1.9..2.2).contains(&spent),
            "25 answers took {spent} s, not the 2 s of 20 refills"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_up_to_the_longest() {
        let mut pace = Pace::default();
        let mut last = Duration::ZERO;
        for failure in 0..12 {
            let start = Instant::now();
            pace.failed(AWAY);
            pace.ready().await;
            last = start.elapsed();
            let full = FIRST.saturating_mul(1 << failure).min(AWAY);
            assert!(last >= full / 2 && last <= full + Duration::from_millis(2), "{last:?}");
        }
        assert!(last >= AWAY / 2, "the last pause is {last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_answer_forgets_the_failures_and_a_bad_one_does_not() {
        let mut pace = Pace::default();
        for _ in 0..8 {
            pace.failed(AWAY);
        }
        pace.answered();
        pace.failed(AWAY);
        let start = Instant::now();
        pace.ready().await;
        assert!(start.elapsed() >= AWAY / 2);
        pace.recovered();
        pace.failed(AWAY);
        let start = Instant::now();
        pace.ready().await;
        assert!(start.elapsed() <= FIRST + Duration::from_millis(2));
    }
}
