//! What the checks said, for who asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::attend::Bad;

/// A longer error is cut: a part of it may be what a peer said.
const ERROR_CHARS: usize = 200;

/// An instance's last check. Not read where requests are served.
#[derive(Debug, Default)]
pub struct Record(Mutex<Option<Checked>>);

/// A check that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// When it was over.
    pub at: SystemTime,
    /// What was wrong, in one line; none when it was good.
    pub error: Option<String>,
}

impl Record {
    pub(super) fn note(&self, bad: Option<&Bad>) {
        let error = bad.map(|bad| bad.to_string().chars().take(ERROR_CHARS).collect());
        let checked = Checked { at: SystemTime::now(), error };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(checked);
    }

    /// The last check, if there was one.
    pub fn last(&self) -> Option<Checked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A service's checks by result.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Self::LABELS.len()]);

impl Tally {
    /// The results as the metric names them.
    pub const LABELS: [&str; 3] = ["ok", "failed", "timeout"];

    pub(super) fn add(&self, checked: &Result<(), Bad>) {
        let at = match checked {
            Ok(()) => 0,
            Err(Bad::Failed(_)) => 1,
            Err(Bad::Late(_)) => 2,
        };
        self.0[at].fetch_add(1, Relaxed);
    }

    /// Each result and how often it came.
    pub fn counts(&self) -> [(&'static str, u64); Self::LABELS.len()] {
        std::array::from_fn(|at| (Self::LABELS[at], self.0[at].load(Relaxed)))
    }
}
