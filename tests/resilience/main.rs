//! Failing backends, unharmed clients, from outside: the real gateway between raw clients and raw backends.
#[path = "../support/mod.rs"]
mod support;

mod balancing;
mod breakers;
mod drain;
mod faults;
mod health;
mod outlier;
mod retries;
mod rotation;
