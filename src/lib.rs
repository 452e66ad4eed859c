//! frontgate: an API gateway and reverse proxy. The modules in the order a request meets them.

pub mod admin;
pub mod assemble;
pub mod cli;
pub mod config;
pub mod demo;
pub mod exchange;
pub mod forward;
pub mod gateway;
pub mod listen;
pub mod observe;
pub mod refusal;
pub mod registry;
pub mod rewrite;
pub mod router;
pub mod wire;
