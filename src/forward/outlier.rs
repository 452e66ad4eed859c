//! Leaves out, for a while, an instance that fails while others do not.

use std::time::Instant;

use super::instance::Instance;
use super::service::Service;
use super::verdict::Verdict;

/// One instance's record.
#[derive(Debug, Default)]
pub struct Record {}

/// An attempt at an instance ended, or its answer's body broke.
pub fn told(_service: &Service, _instance: &Instance, _verdict: Verdict, _now: Instant) {}
