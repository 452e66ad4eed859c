//! A deadline that costs nothing to move later, which is how almost every deadline of a connection moves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// When patience that began at `since` ends; zero patience never does, nor does more than a clock can hold.
pub fn after(since: Instant, patience: Duration) -> Option<Instant> {
    if patience.is_zero() { None } else { since.checked_add(patience) }
}

/// A deadline kept over many exchanges. The runtime's timer is armed once and asked again only when it fires or when
/// a deadline comes before the armed one; in between, moving the deadline is a store.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
    due: Option<Instant>,
}

impl Timer {
    /// Moves the deadline; none disarms it.
    pub fn set(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// Ready once the deadline has passed; never without one. Registers the task.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        loop {
            let sleep = self.sleep.get_or_insert_with(|| {
                self.armed = Some(due);
                Box::pin(tokio::time::sleep_until(due.into()))
            });
            if self.armed.is_none_or(|armed| due < armed) {
                sleep.as_mut().reset(due.into());
                self.armed = Some(due);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.armed.is_some_and(|armed| armed >= due) {
                self.armed = None;
                self.due = None;
                return Poll::Ready(());
            }
            // It fired for an earlier deadline: arm it for the one that counts now.
            self.armed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::{Duration, Instant};

    use super::Timer;

    async fn passed(timer: &mut Timer) {
        poll_fn(|cx| timer.poll(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_last_deadline_that_was_set() {
        let began = tokio::time::Instant::now();
        let mut timer = Timer::default();
        for seconds in [5, 9, 3] {
            timer.set(Some(began.into_std() + Duration::from_secs(seconds)));
            assert!(tokio::time::timeout(Duration::ZERO, passed(&mut timer)).await.is_err());
        }
        passed(&mut timer).await;
        assert_eq!(began.elapsed().as_secs(), 3);
        timer.set(Some(began.into_std() + Duration::from_secs(4)));
        assert!(tokio::time::timeout(Duration::ZERO, passed(&mut timer)).await.is_err());
        timer.set(Some(began.into_std() + Duration::from_secs(8)));
        passed(&mut timer).await;
        assert_eq!(began.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn never_fires_without_a_deadline() {
        let mut timer = Timer::default();
        timer.set(Some(Instant::now() + Duration::from_secs(1)));
        assert!(tokio::time::timeout(Duration::ZERO, passed(&mut timer)).await.is_err());
        timer.set(None);
        assert!(tokio::time::timeout(Duration::from_secs(9), passed(&mut timer)).await.is_err());
    }
}
