//! HTTP/1.1, both roles: one strict reader for heads, one writer that decides framing itself.

pub mod chunked;
pub mod early;
pub mod encode;
pub mod fields;
pub mod framing;
pub mod inbound;
mod leaving;
pub mod link;
pub mod malformed;
pub mod outbound;
mod quiet;
pub mod receiving;
pub mod request;
pub mod response;
pub mod scan;
mod sending;
mod splice;
pub mod target;
pub mod tunnel;
mod upload;

pub use early::Early;
pub use framing::{Decoder, Framing};
pub use link::Link;
pub use malformed::{Fault, Malformed};
