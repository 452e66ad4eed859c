//! The only part that talks to upstreams.

pub mod service;

pub use service::Service;
