//! Cuts off what fails too much, and lets a few through to see whether it still does.

use std::time::Instant;

use super::verdict::Verdict;
use crate::config::model::BreakerConfig;

/// The breaker of an instance or of a service, shared by all workers.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
}

/// The right to one attempt. Its verdict is told with it, also that there is none.
#[derive(Debug)]
#[must_use = "an attempt that never ends holds its place"]
pub struct Pass(());

/// Why nothing goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// It is open, or all that may go through half-open is under way.
    Open {
        /// When it may let something through.
        until: Instant,
    },
    /// As many as may be are under way.
    Full,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Everything goes through.
    #[default]
    Closed,
    /// Some go through, to see.
    HalfOpen,
    /// Nothing goes through.
    Open,
}

/// A change of state, for the log and for the instance's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it was.
    pub from: State,
    /// Where it is.
    pub to: State,
}

impl State {
    /// As `/services` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl Breaker {
    /// Closed, for so many workers.
    pub fn new(config: BreakerConfig, _workers: usize) -> Self {
        Self { config }
    }

    /// Whether one more may go through now.
    pub fn admit(&self, _now: Instant) -> Result<Pass, Shut> {
        Ok(Pass(()))
    }

    /// Why nothing would go through now; takes no place.
    pub fn shut(&self, _now: Instant) -> Option<Shut> {
        None
    }

    /// How an attempt ended. Once per pass.
    pub fn told(
        &self,
        _worker: usize,
        pass: Pass,
        _verdict: Verdict,
        _now: Instant,
    ) -> Option<Moved> {
        drop(pass);
        None
    }

    /// What time alone changes: the change that is due, and when to look again.
    pub fn settle(&self, _now: Instant) -> (Option<Moved>, Option<Instant>) {
        (None, None)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        State::Closed
    }

    /// Bound on an attempt until the response's head.
    pub fn timeout(&self) -> Option<std::time::Duration> {
        match self.config.trip {
            crate::config::model::Trip::Hystrix { timeout, .. } => Some(timeout),
            crate::config::model::Trip::Consecutive { .. }
            | crate::config::model::Trip::Ratio(_) => None,
        }
    }
}
