//! What test binaries share: the gateway as a process, raw peers, real servers, free ports, waiting for a condition.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and says why"
)]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod consul;
pub(crate) mod dns;
pub(crate) mod etcd;
pub(crate) mod eureka;
pub(crate) mod gateway;
pub(crate) mod load;
pub(crate) mod peer;
pub(crate) mod ports;
pub(crate) mod real;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod servers;
pub(crate) mod wait;
pub(crate) mod zookeeper;
