//! Which instance takes the next exchange.
//!
//! To add a balancer: write its file, add its line to `KINDS`.

mod random;
mod round_robin;

use crate::config::kind::{Kind, KindInfo};

/// Chooses among instances, by their index. One per worker and service, made anew when the set changes.
pub trait Balancer: std::fmt::Debug {
    /// The next one for which `usable` holds; none when there is none.
    fn pick(&mut self, usable: &dyn Fn(usize) -> bool) -> Option<usize>;

    /// Another one, for an exchange that has had its turn and was let down. Nobody loses a turn by it: if it did, two
    /// instances of which one is dead would show every exchange the dead one first.
    fn other(&mut self, usable: &dyn Fn(usize) -> bool) -> Option<usize>;
}

/// Builds a balancer over instances of these weights. `start` differs between workers and grows with every pick, so
/// that a change of the set does not begin at the same instance everywhere.
pub type Build = fn(weights: &[u32], start: usize) -> Box<dyn Balancer>;

/// Every balancer there is; the first is the default.
pub const KINDS: &[Kind<Build>] = &[
    Kind {
        name: "round_robin",
        about: "each in its turn, weighted and smooth",
        keys: &[],
        build: round_robin::build,
    },
    Kind { name: "random", about: "by chance, weighted", keys: &[], build: random::build },
];

/// What a configuration must know of them.
pub const INFOS: &[KindInfo] = &[KINDS[0].info(), KINDS[1].info()];

/// The build function of a balancer that the config named.
pub fn named(name: &str) -> Build {
    let found = KINDS.iter().find(|kind| kind.name == name);
    // The config was checked against the same table.
    found.map_or(KINDS[0].build, |kind| kind.build)
}
