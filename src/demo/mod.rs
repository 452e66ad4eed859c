//! Sample backends: something to put behind the gateway.

pub mod addsvc;
pub mod backend;
pub mod standalone;
pub mod stringsvc;

pub use backend::{Backend, Sample};
