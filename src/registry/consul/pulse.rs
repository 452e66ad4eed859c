//! Whether the agent answers at all: one small question every few seconds, so that an agent that hangs is noticed while
//! every other question is being held, one that was replaced is asked anew, and one that is away is asked by one task
//! instead of by all.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::Core;
use crate::fetch::Serial;
use crate::registry::gate::Gate;
use crate::registry::trouble::Trouble;

/// Between two questions while it answers.
const BEAT: Duration = Duration::from_secs(2);
/// Bound on an answer.
const LATE: Duration = Duration::from_secs(3);
/// Between two questions while it does not.
const RETRY: Duration = Duration::from_secs(1);
/// Between two questions, at least, however many queries fail.
const DOUBT: Duration = Duration::from_millis(200);

/// The agent's pulse; alive until the contrary is known.
pub(super) struct Pulse {
    /// Why there is none.
    lost: watch::Sender<Option<Trouble>>,
    /// How often another agent than before may have answered.
    life: watch::Sender<u64>,
    doubt: Notify,
    /// Whether queries may ask all together.
    pub(super) gate: Gate,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            lost: watch::Sender::new(None),
            life: watch::Sender::new(0),
            doubt: Notify::new(),
            gate: Gate::default(),
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// Ends when the agent answers.
    pub(super) async fn back(&self) {
        // Cannot fail: the sender is ours.
        self.lost.subscribe().wait_for(Option::is_none).await.ok();
    }

    /// Ends when the agent does not answer, with the reason.
    pub(super) async fn lost(&self) -> Trouble {
        let mut lost = self.lost.subscribe();
        let why = lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        // Cannot be none: the sender is ours, and the value was just seen.
        why.unwrap_or(Trouble::Away(String::new()))
    }

    /// Ends with the life that the agent is in when that is another one than `known`. An agent that was restarted
    /// between two questions may have lost its state, and would hold a question with an index of its former life.
    pub(super) async fn reborn(&self, known: u64) -> u64 {
        // Cannot fail: the sender is ours.
        self.life.subscribe().wait_for(|life| *life != known).await.map_or(known, |life| *life)
    }

    /// A query failed: look now.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Feels the pulse until nobody needs it any more.
    pub(super) async fn feel(pulse: Arc<Self>, served: Weak<Core>) {
        let mut connection = None;
        loop {
            // Not held across the pause: the pulse must not keep alive what it serves.
            let Some(core) = served.upgrade() else { return };
            let result = core.agent.probe(LATE).await;
            if let Ok(over) = &result
                && connection.replace(*over).is_some_and(|before| before != *over)
            {
                pulse.life.send_modify(|life| *life += 1);
            }
            pulse.note(&core, result);
            drop(core);
            if pulse.is_lost() {
                tokio::time::sleep(RETRY.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            } else {
                tokio::time::sleep(DOUBT).await;
                tokio::time::timeout(BEAT - DOUBT, pulse.doubt.notified()).await.ok();
            }
        }
    }

    fn note(&self, core: &Core, result: Result<Option<Serial>, Trouble>) {
        let why = result.err();
        core.ledger.beat(why.as_ref().map(|trouble| (trouble.to_string(), trouble.blame())));
        let before = self.lost.send_replace(why.clone());
        let (registry, agent) = (core.name.as_str(), core.agent.address());
        match (before, why) {
            (None, Some(error)) => {
                tracing::warn!(registry, agent, %error, "no answer; what is known stays");
            }
            (Some(_), None) => tracing::info!(registry, agent, "answers again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}
