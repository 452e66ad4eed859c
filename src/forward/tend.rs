//! What a service needs beside its requests: what only time changes, and checks. Runs in the control plane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health;
use super::service::Service;

/// Tends the service as long as it is polled.
pub async fn tend(service: Arc<Service>) {
    tokio::join!(health::watch(Arc::clone(&service)), settle(service));
}

/// Between two looks at a service, so that thousands of changes one after the other are not thousands of looks. Of many
/// instances it is so many times as long as the look took.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSES: u32 = 20;

/// Does what is due, and waits for what is due next or for news.
async fn settle(service: Arc<Service>) {
    loop {
        let began = Instant::now();
        let next = service.settle(began);
        let pause = PAUSE.max(PAUSES * began.elapsed());
        let stirred = service.stirred.notified();
        match next {
            Some(next) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => {}
                    () = stirred => {}
                }
            }
            None => stirred.await,
        }
        tokio::time::sleep(pause).await;
    }
}
