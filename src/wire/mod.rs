//! HTTP on a socket. Knows nothing of routes or services.

pub mod body;
pub mod clock;
pub mod h1;
pub mod list;
pub mod name;
pub mod spare;
pub mod timer;

pub use body::{Body, BodyError};
pub use timer::{Timer, after};
