//! An agent that comes back does not know everything at once: one that forgot is told again by those who registered,
//! one that remembers calls what it checks critical until it has asked. What it does not name yet is kept for a moment.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::{Duration, Instant};

use crate::config::model::Endpoint;
use crate::registry::{Found, State};

/// How long after its first answer. Who keeps a registration alive looks every few seconds, a check every second or so.
const SETTLE: Duration = Duration::from_millis(2500);
const REASON: &str = "the agent has come back; what it does not name yet is kept for a moment";

/// How far what one question asks for has settled since the agent came back.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// The agent's life that the last answer is of.
    life: u64,
    until: Option<Instant>,
    keeps: bool,
}

impl Settling {
    /// There was no answer: the next one begins anew.
    pub(super) fn interrupted(&mut self) {
        (self.until, self.keeps) = (None, false);
    }

    /// Ends when the agent must be asked again because something is kept that it does not name.
    pub(super) fn over(&self) -> impl Future<Output = ()> + use<> {
        let until = self.until.filter(|_| self.keeps);
        async move {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The agent is asked again.
    pub(super) fn asks_again(&mut self) {
        self.keeps = false;
    }

    /// The set to publish after an answer of this life, which names these.
    pub(super) fn set(&mut self, before: &Found, named: Vec<Endpoint>, life: u64) -> Found {
        self.answered(&before.state, life);
        let is_named = |known: &&Endpoint| named.iter().any(|one| one.address == known.address);
        let lost = before.endpoints.iter().filter(|e| !is_named(e)).cloned();
        let Some((kept, state)) = self.keep(lost.collect(), &before.state) else {
            return Found::live(named);
        };
        let mut endpoints = [named, kept].concat();
        endpoints.sort_by(|a, b| a.address.cmp(&b.address));
        Found { endpoints: endpoints.into(), held: Arc::default(), state }
    }

    /// Takes note of an answer of this life, after which state.
    pub(super) fn answered(&mut self, before: &State, life: u64) {
        let was_away = matches!(before, State::Stale { .. });
        let came_back = was_away || life != self.life;
        self.life = life;
        match self.until {
            // A new life that is noticed only now: the time runs since its first answer.
            Some(until) if Instant::now() < until => {}
            Some(_) => self.until = None,
            None if came_back => self.until = Some(Instant::now() + SETTLE),
            None => {}
        }
    }

    /// What of the things that the answer does not name is kept, and the state it is in; none when nothing is.
    pub(super) fn keep<T>(&mut self, lost: Vec<T>, before: &State) -> Option<(Vec<T>, State)> {
        self.keeps = self.until.is_some() && !lost.is_empty();
        let since = match before {
            State::Stale { since, .. } => *since,
            State::Live | State::Pending | State::Unheard { .. } | State::Snapshot { .. } => {
                SystemTime::now()
            }
        };
        self.keeps.then(|| (lost, State::Stale { since, reason: REASON.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{HostPort, Scheme};

    fn endpoint(port: u16) -> Endpoint {
        let address = HostPort { host: "10.0.0.1".into(), port };
        Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
    }

    fn ports(found: &Found) -> Vec<u16> {
        found.endpoints.iter().map(|endpoint| endpoint.address.port).collect()
    }

    fn stale(ports: &[u16]) -> Found {
        let live = Found::live(ports.iter().map(|port| endpoint(*port)).collect());
        live.staled("gone").expect("it was live")
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_returned_agent_does_not_name_is_kept_until_it_has_settled() {
        let mut settling = Settling::default();
        let before = stale(&[1, 2]);
        let back = settling.set(&before, vec![endpoint(3)], 0);
        assert_eq!(ports(&back), [1, 2, 3]);
        let (State::Stale { since, .. }, State::Stale { since: then, .. }) =
            (&back.state, &before.state)
        else {
            panic!("{back:?}")
        };
        assert_eq!(since, then, "stale since the agent went, not since it came");
        let more = settling.set(&back, vec![endpoint(2), endpoint(3)], 0);
        assert_eq!(ports(&more), [1, 2, 3]);
        settling.over().await;
        let settled = settling.set(&more, vec![endpoint(2), endpoint(3)], 0);
        assert_eq!((ports(&settled), settled.state), (vec![2, 3], State::Live));
        assert!(!settling.keeps);
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_that_is_whole_is_live_at_once_but_not_yet_believed_to_shrink() {
        let mut settling = Settling::default();
        let back = settling.set(&stale(&[1]), vec![endpoint(1)], 0);
        assert_eq!((back.state.clone(), settling.keeps), (State::Live, false));
        let shrunk = settling.set(&back, Vec::new(), 0);
        assert_eq!(ports(&shrunk), [1], "checked again, and critical until then");
        assert!(settling.keeps);
        let whole = settling.set(&shrunk, vec![endpoint(1)], 0);
        assert_eq!((whole.state, settling.keeps), (State::Live, false));
    }

    #[tokio::test(start_paused = true)]
    async fn another_life_without_an_outage_settles_too_and_the_first_set_never() {
        let mut settling = Settling::default();
        let first = settling.set(&Found::pending(), vec![endpoint(1)], 0);
        assert_eq!(ports(&settling.set(&first, Vec::new(), 0)), [0u16; 0], "an ordinary removal");
        assert_eq!(ports(&settling.set(&first, Vec::new(), 1)), [1]);
        settling.interrupted();
        assert_eq!(ports(&settling.set(&stale(&[1]), Vec::new(), 1)), [1], "away once more");
    }
}
