//! The only part that talks to upstreams.

pub mod attempt;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod connect;
mod course;
mod drain;
pub mod health;
pub mod instance;
mod key;
pub mod load;
pub mod local;
pub mod outlier;
pub mod picked;
pub mod pool;
pub mod retry;
mod rotation;
pub mod send;
pub mod service;
pub mod slow_start;
pub mod standing;
mod sticky;
pub mod tend;
pub mod verdict;
pub mod view;
mod zone;

pub use local::Local;
pub use send::{Call, may_be_sent, send};
pub use service::Service;
pub use tend::tend;
