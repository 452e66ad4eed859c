//! The only part that talks to upstreams.

pub mod balance;
pub mod connect;
pub mod instance;
pub mod local;
pub mod pool;
pub mod retry;
pub mod send;
pub mod service;

pub use local::Local;
pub use send::{Call, send};
pub use service::Service;
