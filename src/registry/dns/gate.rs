//! How fast questions may be sent: freely while the servers answer, one a second while they do not.
//!
//! The servers are doubted when nothing was heard for a moment, or when several answers in a row were failures. Then every
//! question waits for the next second; those about names that failed before wait apart, so that they do not stand in the way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::registry::ledger::Ledger;
use crate::registry::trouble::Trouble;

/// Questions under way at the same time.
const TURNS: usize = 64;
/// Silence after which the servers are doubted, although most answers come sooner.
const MOMENT: Duration = Duration::from_millis(250);
/// Failures in a row after which they are doubted.
const FAILURES: u32 = 3;
/// Between two questions while they are doubted.
const SPACING: Duration = Duration::from_secs(1);
/// The same between questions about names that were well, as long as there are answers: the others may be what fails.
const QUICK: Duration = Duration::from_millis(100);
/// How long a question about a name that was well may wait before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two times that every failed name is asked again because one of them recovered.
const RELEASE: Duration = Duration::from_secs(10);

/// The gate of one registry.
pub(super) struct Gate {
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    turns: Semaphore,
    usual: Semaphore,
    doubtful: Semaphore,
    view: watch::Sender<View>,
}

/// What those who wait must know.
#[derive(Clone, Debug, Default)]
struct View {
    /// How often the doubts have ended.
    cleared: u64,
    /// How often names that failed may be asked again at once.
    released: u64,
    /// Why no name can be asked.
    away: Option<Trouble>,
}

struct State {
    /// Whether any answer was good.
    heard: bool,
    /// When the first question was sent of those since the last answer.
    unanswered: Option<Instant>,
    /// In a row.
    failures: u32,
    /// A name that was well and got no answer at all, if none came for any since.
    silent: Option<Arc<str>>,
    /// The newest failure.
    last: Option<Trouble>,
    /// When the next question may be sent while the servers are doubted.
    slot: Instant,
    /// The same for a name that was well, while there are answers.
    quick: Instant,
    released: Instant,
}

impl State {
    fn is_free(&self, now: Instant) -> bool {
        self.failures < FAILURES && self.is_answered(now)
    }

    fn is_answered(&self, now: Instant) -> bool {
        let lately = |since| self.heard && now.duration_since(since) < MOMENT;
        self.unanswered.is_none_or(lately)
    }

    /// When the next question may be sent.
    fn next(&self, doubtful: bool, now: Instant) -> Instant {
        let answered = self.heard && self.silent.is_none() && self.is_answered(now);
        if answered && !doubtful { self.quick.min(self.slot) } else { self.slot }
    }

    fn sent(&mut self, now: Instant) {
        self.unanswered.get_or_insert(now);
        self.quick = now + QUICK;
    }
}

impl Gate {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        let now = Instant::now();
        let state = State {
            heard: false,
            unanswered: None,
            failures: 0,
            silent: None,
            last: None,
            slot: now,
            quick: now,
            released: now,
        };
        Self {
            ledger,
            state: Mutex::new(state),
            turns: Semaphore::new(TURNS),
            usual: Semaphore::new(1),
            doubtful: Semaphore::new(1),
            view: watch::Sender::new(View::default()),
        }
    }

    /// Waits until a question may be sent, about a name that failed (`doubtful`) or not. The error is why asking is in vain.
    pub(super) async fn pass(&self, mut doubtful: bool) -> Result<SemaphorePermit<'_>, Trouble> {
        let since = Instant::now();
        loop {
            let mut news = self.view.subscribe();
            let before = news.borrow_and_update().clone();
            if let Some(trouble) = before.away.filter(|_| !doubtful) {
                // Those that failed before find out when it passes.
                return Err(trouble);
            }
            if !doubtful && self.state().is_free(Instant::now()) {
                let turn = self.turn().await?;
                let now = Instant::now();
                let mut state = self.state();
                // It may have become doubtful while this waited for its turn.
                if state.is_free(now) {
                    state.sent(now);
                    return Ok(turn);
                }
                continue;
            }
            let told = async {
                let freed = |view: &View| {
                    let news = view.cleared != before.cleared || view.away.is_some();
                    (news && !doubtful) || view.released != before.released
                };
                // Cannot fail: the sender is ours.
                news.wait_for(freed).await.ok();
            };
            let lane = if doubtful { &self.doubtful } else { &self.usual };
            let may_send = tokio::select! {
                () = self.slot(lane, doubtful) => true,
                () = told => false,
                () = tokio::time::sleep_until(since + PATIENCE), if !doubtful => {
                    let last = self.state().last.clone();
                    return Err(last.unwrap_or_else(|| Trouble::Away("no answer yet".to_owned())));
                }
            };
            if may_send {
                return self.turn().await;
            }
            doubtful = false;
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Trouble> {
        // Cannot fail: the semaphore is never closed.
        self.turns.acquire().await.map_err(|closed| Trouble::Away(closed.to_string()))
    }

    /// Waits for the next moment to send, in the order of those who came to this lane.
    async fn slot(&self, lane: &Semaphore, doubtful: bool) {
        // Cannot fail: the semaphores are never closed.
        let _first = lane.acquire().await;
        loop {
            let next = {
                let mut state = self.state();
                let now = Instant::now();
                let next = state.next(doubtful, now);
                if now >= next {
                    // What is sent freely does not put off those that wait here.
                    if now >= state.slot {
                        // At most a quarter more, so that several gateways do not ask at the same moment.
                        state.slot = now + SPACING.mul_f64(1.0 + fastrand::f64() / 4.0);
                    }
                    return state.sent(now);
                }
                next
            };
            tokio::time::sleep_until(next).await;
        }
    }

    /// A server said what there is, or that there is nothing.
    pub(super) fn good(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let was_free = state.is_free(now);
        state.heard = true;
        state.unanswered = None;
        state.failures = 0;
        state.silent = None;
        drop(state);
        let was_away = self.view.borrow().away.is_some();
        self.ledger.beat(None);
        if was_away {
            let registry = self.ledger.registry();
            tracing::info!(registry, "answers again");
        }
        if was_away || !was_free {
            self.view.send_modify(|view| {
                view.cleared += 1;
                view.released += u64::from(view.away.take().is_some());
            });
        }
    }

    /// A server said something that leads on to another question.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.unanswered = None;
        state.silent = None;
    }

    /// A question about this name failed, which the last look at it had found (`was_well`) or not.
    pub(super) fn failed(&self, name: &Arc<str>, was_well: bool, trouble: &Trouble) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        state.last = Some(trouble.clone());
        if !matches!(trouble, Trouble::Away(_)) {
            state.unanswered = None;
            state.silent = None;
            return;
        }
        // One name alone may be what a server has trouble with, and so may be those that it never finds.
        if state.heard && !was_well {
            return;
        }
        let other = state.silent.get_or_insert_with(|| Arc::clone(name)) != name;
        drop(state);
        if !other {
            return;
        }
        self.ledger.beat(Some((trouble.to_string(), trouble.blame())));
        let known = self.view.borrow().away.is_some();
        if !known {
            let registry = self.ledger.registry();
            tracing::warn!(registry, error = %trouble, "no answer; what is known stays");
            self.view.send_modify(|view| view.away = Some(trouble.clone()));
        }
    }

    /// A name that had failed was found: the others may be, too.
    pub(super) fn recovered(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if now.duration_since(state.released) < RELEASE {
            return;
        }
        state.released = now;
        drop(state);
        self.view.send_modify(|view| view.released += 1);
    }

    /// Ends when no server answers, with the reason.
    pub(super) async fn lost(&self) -> Trouble {
        let mut view = self.view.subscribe();
        let seen = view.wait_for(|view| view.away.is_some()).await;
        let why = seen.ok().and_then(|view| view.away.clone());
        // Cannot be none: the sender is ours, and the value was just seen.
        why.unwrap_or(Trouble::Away(String::new()))
    }

    /// How often names that failed could be asked again at once.
    pub(super) fn releases(&self) -> u64 {
        self.view.borrow().released
    }

    /// Ends when names that failed may be asked again at once, or could since that count.
    pub(super) async fn released(&self, since: u64) {
        // Cannot fail: the sender is ours.
        self.view.subscribe().wait_for(|view| view.released != since).await.ok();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
