//! The same instance for the same key, also when others come and go.
//!
//! Multi-probe consistent hashing (Appleton and O'Reilly, "Multi-probe consistent hashing", 2015): an instance stands at a
//! few points of a ring, a key at [`PROBES`], and the instance that stands closest behind any of them has the key. Keys
//! are spread evenly by far fewer points than one probe would need, so that the ring is small and quickly made. Points
//! depend on nothing but their instance, so that each worker and each gateway has the same ring.

use std::rc::Rc;

use super::{Balancer, Turn, weights};
use crate::config::model::CONSISTENT_HASH;
use crate::forward::pool::Slot;

/// Its name, which configurations know too.
pub(super) const NAME: &str = CONSISTENT_HASH;

/// By the instances' addresses and weights.
pub(super) fn build(among: &[Rc<Slot>], _start: usize) -> Box<dyn Balancer> {
    let seeds = among.iter().map(|slot| slot.instance.digest as u64);
    Box::new(Ring::of(seeds, &weights(among)))
}

/// Points of an instance per unit of its weight.
const POINTS: u64 = 6;
/// Points in all. Where weights would come to more, each instance keeps the first half, quarter, … of its own.
const MOST_POINTS: u64 = 1 << 16;
/// Places of a key.
const PROBES: u64 = 21;
/// How much more than its fair share of this worker's exchanges an instance may have before its keys go on to the next:
/// 5 to 4, as `hash-balance-factor 125` of `HAProxy`.
const FACTOR: (u64, u64) = (5, 4);
/// So many are never too many: a page that asks for a few things at once stays with its instance.
const FEW: u64 = 4;
/// Points that a probe looks at for one that may have the key.
const STEPS: usize = 64;

#[derive(Debug)]
struct Ring {
    /// In their order: a place of 40 bits, and in the lower 24 whose it is.
    points: Box<[u64]>,
    /// For each beginning of a place where the points from there on begin.
    begins: Box<[u32]>,
    /// How many bits of a place are no beginning.
    shift: u32,
    weights: Box<[u32]>,
    total: u64,
}

const OWNER_BITS: u32 = 24;
const OWNER: u64 = (1 << OWNER_BITS) - 1;

impl Ring {
    fn of(seeds: impl Iterator<Item = u64>, weights: &[u32]) -> Self {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut halved = 0;
        while (total * POINTS) >> halved > MOST_POINTS {
            halved += 1;
        }
        let mut points = Vec::with_capacity(((total * POINTS) >> halved) as usize + weights.len());
        for (at, (seed, weight)) in (0..=OWNER).zip(seeds.zip(weights)) {
            let count = ((u64::from(*weight) * POINTS) >> halved).max(1);
            points.extend((0..count).map(|point| (scattered(seed, point) & !OWNER) | at));
        }
        points.sort_unstable();
        // One or two points for each beginning.
        let shift = 64 - (points.len() | 1).ilog2();
        let mut begins = vec![0; 1 << (64 - shift)];
        for point in &points {
            if let Some(after) = begins.get_mut((point >> shift) as usize + 1) {
                *after += 1;
            }
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let points = points.into_boxed_slice();
        Self { points, begins: begins.into(), shift, weights: weights.into(), total }
    }

    /// The instance that stands closest behind any place of a key, of those that may have it.
    fn owner(&self, key: u64, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let closest = |probe| self.behind(scattered(key, probe) & !OWNER, may);
        let (_, owner) = (0..PROBES).filter_map(closest).min()?;
        Some(owner)
    }

    /// Whose is the first point from this place on that may have it, and how far it is.
    fn behind(&self, place: u64, may: &dyn Fn(usize) -> bool) -> Option<(u64, usize)> {
        let mut at = self.begins[(place >> self.shift) as usize] as usize;
        while self.points.get(at).is_some_and(|point| *point < place) {
            at += 1;
        }
        let round = self.points[at..].iter().chain(&self.points[..at]).take(STEPS);
        let found = round.map(|point| (point & !OWNER, (point & OWNER) as usize));
        let (point, owner) = { found }.find(|(_, owner)| may(*owner))?;
        Some((point.wrapping_sub(place), owner))
    }

    /// Whether an instance has as many exchanges as it may have, with one more among them all.
    fn is_full(&self, at: usize, slot: &Slot) -> bool {
        let all = u64::from(slot.load.everywhere()) + 1;
        let share = FACTOR.0 * all * u64::from(self.weights[at]);
        let most = share.div_ceil(FACTOR.1 * self.total.max(1)).max(FEW);
        u64::from(slot.load.here()) >= most
    }
}

impl Balancer for Ring {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        if self.points.is_empty() {
            return None;
        }
        let key = turn.hash.unwrap_or_else(|| fastrand::u64(..));
        let has_room = |at: usize| !self.is_full(at, &turn.among[at]);
        let owner = self.owner(key, &|_| true)?;
        if (turn.usable)(owner) && has_room(owner) {
            return Some(owner);
        }
        // As if those that may not have it did not stand there: where it goes when they leave.
        self.owner(key, &|at| (turn.usable)(at) && has_room(at))
            .or_else(|| self.owner(key, turn.usable))
            .or_else(|| self.anybody(key, turn.usable))
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.pick(turn)
    }
}

impl Ring {
    /// For one that outweighs all others so much that no probe came past its points.
    fn anybody(&self, key: u64, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let count = self.weights.len();
        let first = (key % count as u64) as usize;
        (first..count).chain(0..first).find(|at| usable(*at))
    }
}

/// A number for each place of one: the output of `SplitMix64`, whose constants these are.
fn scattered(seed: u64, at: u64) -> u64 {
    let sum = seed.wrapping_add((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let once = (sum ^ (sum >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    twice ^ (twice >> 31)
}

#[cfg(test)]
mod tests;
