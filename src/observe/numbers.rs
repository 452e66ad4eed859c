//! Counters of the request path: per-worker relaxed atomics, found by route, summed when read.

use http::Method;

use crate::exchange::{Ending, Exchange};
use crate::refusal::Refusal;

/// One route's numbers, over all workers. Kept by name when the table changes.
#[derive(Debug)]
pub struct RouteNumbers {}

impl RouteNumbers {
    /// All zero, for this many workers.
    pub fn new(_workers: usize) -> Self {
        Self {}
    }

    /// An exchange began on this route.
    pub fn began(&self, _worker: usize) {}

    /// It ended.
    pub fn ended(&self, _worker: usize, _exchange: &Exchange, _ending: Ending) {}

    /// Refusals by code are counted by `ended`; this is their sum for one code.
    pub fn refused(&self, _refusal: Refusal) -> u64 {
        0
    }

    /// Exchanges now.
    pub fn in_flight(&self) -> u64 {
        0
    }

    /// The label a method is counted under; unknown ones are `other`.
    pub fn method_label(_method: &Method) -> &'static str {
        "other"
    }
}
