//! The guards, from outside: the real gateway between raw clients and raw backends.
#[path = "../support/mod.rs"]
mod support;

mod basic;
mod bodies;
mod clients;
mod cors;
mod forward;
mod in_flight;
mod jwks;
mod jwt;
mod keys;
mod passwords;
mod rates;
mod redis;
mod several;
