//! A blocking query, asked again and again: index rules, pace, and the agent's pulse.
//!
//! Source of the rules: Consul's documentation, "Blocking Queries".

use bytes::Bytes;
use http::StatusCode;

use super::agent::{Agent, HELD, PROMPT, WAIT};
use super::pulse::Pulse;
use crate::registry::pace::Pace;
use crate::registry::trouble::{Trouble, success};

const INDEX: &str = "x-consul-index";

/// One question and where its answers stand.
pub(super) struct Poll {
    path: String,
    index: u64,
    /// The agent's life that the index is of.
    life: u64,
    pace: Pace,
}

/// A complete answer.
pub(super) struct Answer {
    /// JSON, or nothing for what the agent does not know.
    pub(super) body: Option<Bytes>,
    /// Whether anything may differ from the answer before.
    pub(super) changed: bool,
}

impl Poll {
    /// `path` ends in its own options (`/v1/catalog/services?`).
    pub(super) fn new(path: String) -> Self {
        Self { path, index: 0, life: 0, pace: Pace::default() }
    }

    /// The agent's life that the last answer is of.
    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// The next question is answered at once instead of on a change.
    pub(super) fn forget(&mut self) {
        self.index = 0;
    }

    /// Waits until a question may be asked: while the agent is away or refuses, and after failures and fast answers.
    pub(super) async fn ready(&mut self, pulse: &Pulse) {
        if pulse.is_lost() {
            pulse.back().await;
            self.pace.hurry();
        }
        self.pace.ready().await;
        pulse.gate.turn().await;
    }

    /// Asks once. The first question, and the first after a failure, is answered at once; others when something
    /// changed, or after [`WAIT`].
    pub(super) async fn ask(&mut self, agent: &Agent, pulse: &Pulse) -> Result<Answer, Trouble> {
        let result = loop {
            tokio::select! {
                biased;
                life = pulse.reborn(self.life) => (self.life, self.index) = (life, 0),
                // An agent that hangs keeps its connections: without this they would be believed for a minute.
                trouble = pulse.lost() => break Err(trouble),
                result = self.attempt(agent) => break result,
            }
        };
        match result {
            Ok(answer) => {
                pulse.gate.open();
                Ok(self.took(answer))
            }
            Err(trouble) => {
                if !matches!(trouble, Trouble::Away(_)) {
                    pulse.gate.close();
                }
                Err(self.failed(trouble, pulse))
            }
        }
    }

    /// The answer was good.
    pub(super) fn used(&mut self) {
        self.pace.recovered();
    }

    /// The answer could not be used after all.
    pub(super) fn failed(&mut self, trouble: Trouble, pulse: &Pulse) -> Trouble {
        // An agent that comes back may have lost its state, and its index with it: asked with the old one it would
        // stay silent.
        self.index = 0;
        if matches!(trouble, Trouble::Away(_)) {
            pulse.doubt();
        }
        self.pace.failed(trouble.longest_pause());
        trouble
    }

    async fn attempt(&self, agent: &Agent) -> Result<(Option<Bytes>, u64), Trouble> {
        let (path, within) = match self.index {
            0 => (self.path.clone(), PROMPT),
            index => (format!("{}&index={index}&wait={}s", self.path, WAIT.as_secs()), HELD),
        };
        let answer = agent.read(&path, within).await?;
        let index = answer.headers().get(INDEX);
        // 404 without an index is not Consul speaking, and must not empty a set.
        let missing = answer.status() == StatusCode::NOT_FOUND && index.is_some();
        if !missing {
            success("the agent", &answer)?;
        }
        let index = index.and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
        Ok(((!missing).then(|| answer.into_body()), index))
    }

    fn took(&mut self, (body, index): (Option<Bytes>, u64)) -> Answer {
        self.pace.answered();
        let changed = self.index == 0 || index != self.index;
        self.index = next(self.index, index);
        Answer { body, changed }
    }
}

/// The index to ask with after an answer with this one. An absent or zero one counts as 1: with 0 the agent would answer at
/// once, for ever. One that goes backwards means that the state was replaced: start again.
fn next(before: u64, answered: u64) -> u64 {
    let answered = answered.max(1);
    if answered < before { 0 } else { answered }
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn an_index_follows_the_rules_of_blocking_queries() {
        assert_eq!(next(0, 7), 7);
        assert_eq!(next(7, 9), 9);
        assert_eq!(next(7, 7), 7, "an unchanged one is asked again");
        assert_eq!(next(7, 3), 0, "backwards starts again");
        assert_eq!(next(0, 0), 1, "zero, absent or unreadable counts as one");
        assert_eq!(next(7, 0), 0);
    }
}
