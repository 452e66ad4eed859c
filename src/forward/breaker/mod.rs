//! Cuts off what fails too much, and lets a few through to see whether it still does.

mod bulkhead;
mod circuit;
mod consecutive;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use bulkhead::Hold;

use self::bulkhead::Bulkhead;
use self::circuit::{Circuit, Through};
use self::consecutive::Consecutive;
use self::window::Window;
use super::verdict::Verdict;
use crate::config::model::{BreakerConfig, Trip};

/// The breaker of an instance or of a service, shared by all workers.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    circuit: Circuit,
    rule: Rule,
    bulkhead: Option<Arc<Bulkhead>>,
}

#[derive(Debug)]
enum Rule {
    Consecutive(Consecutive),
    Window(Window),
}

/// The right to one attempt. Its verdict is told with it, also that there is none.
#[derive(Debug)]
#[must_use = "an attempt that never ends holds its place"]
pub struct Pass {
    through: Through,
    hold: Option<Hold>,
}

/// Why nothing goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// It is open, or all that may go through half-open is under way, or the share that may go through is used.
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
    /// What moved it.
    pub why: Why,
}

/// What moved a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many failures without a success between them.
    InARow(u32),
    /// Too large a share of failures.
    Share {
        /// Of the outcomes in the window.
        failed: u64,
        /// Outcomes in the window.
        total: u64,
        /// How long it is.
        window: Duration,
    },
    /// It was open for long enough.
    Rested,
    /// A request that was let through to see failed.
    Probe,
    /// So many requests that were let through to see went well.
    Proved(u32),
}

impl fmt::Display for Why {
    /// For the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(count) => write!(f, "{count} failures in a row"),
            Self::Share { failed, total, window } => {
                write!(f, "{failed} of {total} failed in {window:?}")
            }
            Self::Rested => f.write_str("open for long enough"),
            Self::Probe => f.write_str("a probe failed"),
            Self::Proved(1) => f.write_str("a good probe"),
            Self::Proved(count) => write!(f, "{count} good probes"),
        }
    }
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

    /// As the metric says it.
    pub fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Pass {
    /// Whether it is one of those that a half-open breaker lets through to see.
    pub fn is_probe(&self) -> bool {
        self.through.probe
    }

    /// The move that letting it through was, if it was one.
    pub fn moved(&self) -> Option<Moved> {
        self.through.woke.then_some(Moved::RESTED)
    }

    /// Its place among those under way, for whom it is held longer than until its verdict.
    pub fn take_hold(&mut self) -> Option<Hold> {
        self.hold.take()
    }
}

impl Moved {
    const RESTED: Self = Self { from: State::Open, to: State::HalfOpen, why: Why::Rested };
}

impl Breaker {
    /// Closed, for so many workers.
    pub fn new(config: BreakerConfig, workers: usize) -> Self {
        let (rule, most) = match config.trip {
            Trip::Consecutive { failures } => (Rule::Consecutive(Consecutive::new(failures)), None),
            Trip::Ratio(window) => (Rule::Window(Window::new(window, workers)), None),
            Trip::Hystrix { window, max_concurrent, .. } => {
                (Rule::Window(Window::new(window, workers)), Some(max_concurrent))
            }
        };
        let bulkhead = most.map(|most| Arc::new(Bulkhead::new(most)));
        Self { circuit: Circuit::new(&config), config, rule, bulkhead }
    }

    /// Whether one more may go through now. One that is open and was so for long enough lets the first through, also
    /// when nobody has settled it yet.
    pub fn admit(&self, now: Instant) -> Result<Pass, Shut> {
        self.admit_by(now, || fastrand::u32(..))
    }

    fn admit_by(&self, now: Instant, draw: impl Fn() -> u32) -> Result<Pass, Shut> {
        let hold = match &self.bulkhead {
            None => None,
            Some(bulkhead) => match self.circuit.shut(now) {
                Some(shut) => return Err(shut),
                None => Some(bulkhead.enter().ok_or(Shut::Full)?),
            },
        };
        Ok(Pass { through: self.circuit.admit(now, draw)?, hold })
    }

    /// Why nothing would go through now; takes no place.
    pub fn shut(&self, now: Instant) -> Option<Shut> {
        let full = || self.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.is_full());
        self.circuit.shut(now).or_else(|| full().then_some(Shut::Full))
    }

    /// How an attempt ended. Once per pass, and always by the thread of this worker.
    pub fn told(&self, worker: usize, pass: Pass, verdict: Verdict, now: Instant) -> Option<Moved> {
        let Pass { through: Through { generation, probe, .. }, hold } = pass;
        // Free before anyone looks at what this attempt changes.
        drop(hold);
        let good = match verdict {
            Verdict::Good => Some(true),
            Verdict::Failed => Some(false),
            Verdict::Neutral => None,
        };
        if probe {
            let to = self.circuit.probed(generation, good, now)?;
            let why = if to == State::Open { Why::Probe } else { Why::Proved(self.config.probes) };
            return Some(Moved { from: State::HalfOpen, to, why });
        }
        let good = good?;
        // What began before the last move says nothing of now.
        if self.circuit.generation() != generation {
            return None;
        }
        let why = match &self.rule {
            Rule::Consecutive(rule) if good => {
                rule.good(generation);
                None
            }
            Rule::Consecutive(rule) => rule.failed(generation),
            Rule::Window(rule) => rule.told(worker, generation, good, now),
        }?;
        let moved = Moved { from: State::Closed, to: State::Open, why };
        self.circuit.trip(generation, now).then_some(moved)
    }

    /// What time alone changes: the change that is due, and when to look again.
    pub fn settle(&self, now: Instant) -> (Option<Moved>, Option<Instant>) {
        let (moved, next) = self.circuit.settle(now);
        (moved.then_some(Moved::RESTED), next)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.circuit.state()
    }

    /// How long it stays open.
    pub fn open(&self) -> Duration {
        self.config.open
    }

    /// Bound on an attempt until the response's head.
    pub fn timeout(&self) -> Option<Duration> {
        match self.config.trip {
            Trip::Hystrix { timeout, .. } => Some(timeout),
            Trip::Consecutive { .. } | Trip::Ratio(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
