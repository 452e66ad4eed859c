//! What test binaries share: real servers, free ports, waiting for a condition.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and says why"
)]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod consul;
pub(crate) mod ports;
pub(crate) mod servers;
pub(crate) mod wait;
