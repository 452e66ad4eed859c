//! What the fuzz targets share: one shape for what a reader makes of bytes, and the readers that must agree.

pub mod message;
pub mod ours;
pub mod pieces;
pub mod sockets;
pub mod theirs;

pub use message::{Fields, Message, Start};
