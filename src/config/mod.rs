//! What the operator wrote, read and checked. Imports nothing else of ours.

pub mod kind;
pub mod model;
pub mod pattern;
pub mod secret;

pub use kind::{Key, Kind, Section};
pub use model::Config;
pub use secret::Secret;
