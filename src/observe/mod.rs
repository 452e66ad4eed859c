//! What happened: looks, never touches.

pub mod numbers;
