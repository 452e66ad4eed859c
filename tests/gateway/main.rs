//! The real gateway between raw clients and raw backends: bytes in, bytes out.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod cases;
mod failing;
mod interims;
mod leaving;
mod life;
mod limits;
mod long;
mod proxying;
mod refusals;
mod reuse;
mod routing;
mod tunnels;
mod writing;
