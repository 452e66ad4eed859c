//! Asks each instance whether it is well, beside the requests. Runs in the control plane.

mod attend;
mod grpc;
mod http;
mod message;
mod record;
mod tcp;
mod threshold;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use self::attend::Attendance;
use self::told::Told;
use super::instance::Instance;
use super::service::Service;
use super::standing::Reason;

pub use self::record::{Checked, Record, Tally};

/// Workers look at every instance anew when one has changed: ten thousand that come up one by one must not make them
/// look ten thousand times. The first change of many is taken over at once.
const APART: Duration = Duration::from_millis(20);
/// So many checks are taken over together; one too many waits.
const TOGETHER: usize = 1024;

/// Checks every instance of the service as long as it is polled; changes what its standing says. Ends at once when the
/// service has no checks.
pub async fn watch(service: Arc<Service>) {
    let Some(config) = service.config.health.clone() else { return };
    let (tell, mut told) = mpsc::channel(TOGETHER);
    let attendance = Arc::new(Attendance::new(config, tell));
    let mut watched = Watched::default();
    watched.renew(&attendance, &service.set().instances);
    let mut news = Vec::new();
    loop {
        tokio::select! {
            () = service.renewed.notified() => {
                watched.renew(&attendance, &service.set().instances);
            }
            _ = told.recv_many(&mut news, TOGETHER) => {
                news.retain(|told: &Told| watched.known.contains_key(&told.instance.id));
                if told::take(&service, &news) {
                    tokio::time::sleep(APART).await;
                }
                news.clear();
            }
        }
    }
}

/// The instances that are checked now, each by a task of its own; the tasks end when this is dropped.
#[derive(Default)]
struct Watched {
    /// By the instance's id.
    known: HashMap<u64, (Arc<Instance>, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Watched {
    /// Begins with those that came, at once; ends with those that left. The others are not disturbed.
    fn renew(&mut self, attendance: &Arc<Attendance>, instances: &[Arc<Instance>]) {
        let mut before = std::mem::take(&mut self.known);
        for instance in instances {
            let known = before.remove(&instance.id).unwrap_or_else(|| {
                let attend = attendance.clone().attend(Arc::clone(instance));
                (Arc::clone(instance), self.tasks.spawn(attend))
            });
            self.known.insert(instance.id, known);
        }
        for (left, task) in before.into_values() {
            task.abort();
            // Should it come back, what it was says nothing of what it is.
            left.standing.set(Reason::Unchecked, true);
        }
        while self.tasks.try_join_next().is_some() {}
    }
}
