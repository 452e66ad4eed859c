//! Which instance takes the next exchange.
//!
//! To add a balancer: write its file, add its line to `KINDS`.

mod consistent_hash;
mod draw;
mod least_request;
mod peak_ewma;
mod random;
mod round_robin;

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::pool::Slot;
use crate::config::kind::{Kind, KindInfo};

/// Chooses among instances, by their index. One per worker and service, made anew when the instances that take turns
/// change.
pub trait Balancer: std::fmt::Debug {
    /// The next one that is usable; none when there is none.
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize>;

    /// Another one, for an exchange that has had its turn and was let down. Nobody loses a turn by it: if it did, two
    /// instances of which one is dead would show every exchange the dead one first.
    fn other(&mut self, turn: &Turn<'_>) -> Option<usize>;
}

/// What one choice goes by.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// What the balancer was built over.
    pub among: &'a [Rc<Slot>],
    /// Whether this exchange may have it: not tried before, not cut off.
    pub usable: &'a dyn Fn(usize) -> bool,
    /// Of the request's key, where the service has one.
    pub hash: Option<u64>,
    /// Now.
    pub now: Instant,
}

/// Builds a balancer over instances. `start` differs between workers and grows with every pick, so that a change of the
/// set does not begin at the same instance everywhere.
pub type Build = fn(among: &[Rc<Slot>], start: usize) -> Box<dyn Balancer>;

/// Every balancer there is; the first is the default.
pub const KINDS: &[Kind<Build>] = &[
    Kind {
        name: "round_robin",
        about: "each in its turn, weighted and smooth",
        keys: &[],
        build: round_robin::build,
    },
    Kind { name: "random", about: "by chance, weighted", keys: &[], build: random::build },
    Kind {
        name: "least_request",
        about: "the less busy of two drawn by weight",
        keys: &[],
        build: least_request::build,
    },
    Kind {
        name: peak_ewma::NAME,
        about: "the one of two drawn by weight that will have answered sooner",
        keys: &[],
        build: peak_ewma::build,
    },
    Kind {
        name: consistent_hash::NAME,
        about: "the same for the same `hash_key`, as long as it has room",
        keys: &[],
        build: consistent_hash::build,
    },
];

/// What a configuration must know of them.
pub const INFOS: &[KindInfo] =
    &[KINDS[0].info(), KINDS[1].info(), KINDS[2].info(), KINDS[3].info(), KINDS[4].info()];

/// The build function of a balancer that the config named.
pub fn named(name: &str) -> Build {
    let found = KINDS.iter().find(|kind| kind.name == name);
    // The config was checked against the same table.
    found.map_or(KINDS[0].build, |kind| kind.build)
}

/// Whether a balancer must be told what to hash.
pub fn goes_by_key(name: &str) -> bool {
    name == consistent_hash::NAME
}

/// Whether a balancer must be told how long answers take.
pub fn goes_by_latency(name: &str) -> bool {
    name == peak_ewma::NAME
}

/// In the order of the instances.
fn weights(among: &[Rc<Slot>]) -> Vec<u32> {
    among.iter().map(|slot| slot.instance.weight.load(Relaxed)).collect()
}

#[cfg(test)]
mod tests;
