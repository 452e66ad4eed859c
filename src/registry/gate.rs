//! Many queries of one registry: while it refuses or fails, they take turns instead of asking all together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Between two questions while the last answer was none. With a probe every two seconds beside it that is less than
/// one question a second.
const TURN: Duration = Duration::from_secs(3);

/// Open once a question was answered well; closed at first, so that a wrong token is noticed by one query.
#[derive(Debug)]
pub(super) struct Gate {
    /// When the next turn is; none while it is open.
    next: Mutex<Option<Instant>>,
    opened: Notify,
}

impl Default for Gate {
    fn default() -> Self {
        Self { next: Mutex::new(Some(Instant::now())), opened: Notify::new() }
    }
}

impl Gate {
    /// Ends when one may ask: at once while it is open. Whether it was.
    pub(super) async fn turn(&self) -> bool {
        let opened = self.opened.notified();
        tokio::pin!(opened);
        // Before the look, so that an opening in between is not missed.
        opened.as_mut().enable();
        let turn = {
            let mut next = self.next();
            let Some(soonest) = *next else { return true };
            let turn = soonest.max(Instant::now());
            *next = Some(turn + TURN);
            turn
        };
        tokio::select! {
            () = tokio::time::sleep_until(turn) => {}
            () = opened => {}
        }
        false
    }

    /// A question was answered well.
    pub(super) fn open(&self) {
        if self.next().take().is_some() {
            self.opened.notify_waiters();
        }
    }

    /// A question was refused, or failed.
    pub(super) fn close(&self) {
        self.next().get_or_insert_with(|| Instant::now() + TURN);
    }

    fn next(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_asks_at_first_then_one_each_turn_and_all_once_it_is_open() {
        let gate = Arc::new(Gate::default());
        let asked = Arc::<AtomicUsize>::default();
        for _ in 0..100 {
            let (gate, asked) = (Arc::clone(&gate), Arc::clone(&asked));
            tokio::spawn(async move {
                gate.turn().await;
                asked.fetch_add(1, SeqCst);
            });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.load(SeqCst), 1);
        gate.close();
        tokio::time::sleep(TURN * 4).await;
        assert_eq!(asked.load(SeqCst), 5);
        gate.open();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.load(SeqCst), 100);
        gate.turn().await;
        gate.close();
        let start = Instant::now();
        gate.turn().await;
        assert!(start.elapsed() >= TURN, "closed again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_waited_for_is_not_saved_up() {
        let gate = Gate::default();
        tokio::time::sleep(TURN * 10).await;
        let start = Instant::now();
        gate.turn().await;
        gate.turn().await;
        assert!(start.elapsed() >= TURN);
    }
}
