//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Waits until `condition` gives something; panics with `what` after `within`.
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(STEP).await;
    }
}

/// Waits until a watched value satisfies `condition`; panics with `what` and the value after `within`.
pub(crate) async fn seen<T: Clone + std::fmt::Debug>(
    receiver: &mut tokio::sync::watch::Receiver<T>,
    what: &str,
    within: Duration,
    condition: impl FnMut(&T) -> bool,
) -> T {
    let found = tokio::time::timeout(within, receiver.wait_for(condition)).await;
    let value = found.map(|value| value.expect("the sender lives").clone());
    value.unwrap_or_else(|_| {
        panic!("not within {within:?}: {what}; it is {:?}", receiver.borrow().clone())
    })
}
