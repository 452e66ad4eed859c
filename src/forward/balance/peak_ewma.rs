//! The one of two that are drawn that will have answered sooner.

use std::rc::Rc;

use super::draw::Draw;
use super::{Balancer, Turn, weights};
use crate::forward::pool::Slot;

/// Its name, by which what it needs is measured.
pub(super) const NAME: &str = "peak_ewma";

/// By the instances' weights, what is under way and how long answers took.
pub(super) fn build(among: &[Rc<Slot>], _start: usize) -> Box<dyn Balancer> {
    Box::new(PeakEwma(Draw::of(&weights(among))))
}

/// Finagle's and Linkerd's: the power of two choices by latency times load. Of each worker's own exchanges, as theirs are
/// of each client: latency is measured where it is felt.
#[derive(Debug)]
struct PeakEwma(Draw);

/// With nothing under way at either, times that differ less than this do not count: what is drawn by weight stays.
const ALIKE: f64 = 1.5;

impl Balancer for PeakEwma {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let Self(draw) = self;
        let first = draw.one(turn.usable, None)?;
        let Some(second) = draw.one(turn.usable, Some(first)) else { return Some(first) };
        let load = |at: usize| &turn.among[at].load;
        let (one, other) = (load(first).cost(turn.now), load(second).cost(turn.now));
        let idle = load(first).here() == 0 && load(second).here() == 0;
        let is_less = if idle {
            other * ALIKE < one
        } else {
            let weight = |at: usize| draw.weight(at) as f64;
            other * weight(first) < one * weight(second)
        };
        Some(if is_less { second } else { first })
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.pick(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{Among, assert_shares};
    use super::*;
    use crate::forward::verdict::Verdict;

    fn told(among: &Among, millis: &[u64]) {
        for (slot, millis) in among.slots.iter().zip(millis) {
            slot.load.told(Verdict::Good, Duration::from_millis(*millis), among.now);
        }
    }

    #[test]
    fn takes_the_quicker_of_two_and_equals_by_weight() {
        let among = Among::of(NAME, &[1, 1, 2]);
        let mut balancer = build(&among.slots, 0);
        told(&among, &[10, 12, 13]);
        assert_shares(&[0.25, 0.25, 0.5], || among.pick(&mut *balancer).unwrap());
        told(&among, &[30, 12, 100]);
        for _ in 0..500 {
            assert_ne!(among.pick(&mut *balancer), Some(2), "the slowest of any two");
        }
        assert!((0..100).all(|_| among.other(&mut *balancer, &|at| at != 1) == Some(0)));
    }

    #[test]
    fn a_quick_one_gets_more_until_it_is_as_slow_as_the_others() {
        let among = Among::of(NAME, &[1, 1]);
        let mut balancer = build(&among.slots, 0);
        told(&among, &[10, 100]);
        for _ in 0..9 {
            assert_eq!(among.pick(&mut *balancer), Some(0));
            among.slots[0].load.begin();
        }
        among.slots[0].load.begin();
        assert_eq!(among.pick(&mut *balancer), Some(1));
    }

    #[test]
    fn weights_count_as_strength() {
        let weights = [1, 2, 5];
        let among = Among::of(NAME, &weights);
        let mut balancer = build(&among.slots, 0);
        told(&among, &[10, 10, 10]);
        for _ in 0..80 {
            among.slots[among.pick(&mut *balancer).unwrap()].load.begin();
        }
        for (slot, weight) in among.slots.iter().zip(weights) {
            let found = slot.load.here();
            assert!(found.abs_diff(weight * 10) <= 3, "{found} of {}", weight * 10);
        }
    }

    #[test]
    fn one_that_was_never_measured_is_tried_once_and_one_left_alone_again() {
        let mut among = Among::of(NAME, &[1, 1]);
        let mut balancer = build(&among.slots, 0);
        among.slots[0].load.told(Verdict::Good, Duration::from_millis(5), among.now);
        assert!((0..50).all(|_| among.pick(&mut *balancer) == Some(1)));
        among.slots[1].load.begin();
        assert!((0..50).all(|_| among.pick(&mut *balancer) == Some(0)), "30 ms until it is known");
        among.slots[1].load.end();
        told(&among, &[5, 2000]);
        assert!((0..50).all(|_| among.pick(&mut *balancer) == Some(0)));
        among.now += Duration::from_secs(61);
        among.slots[0].load.told(Verdict::Good, Duration::from_millis(20), among.now);
        assert!((0..50).all(|_| among.pick(&mut *balancer) == Some(1)), "2 s are long ago");
    }
}
