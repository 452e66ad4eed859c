//! The less busy of two that are drawn.

use std::rc::Rc;

use super::draw::Draw;
use super::{Balancer, Turn, weights};
use crate::forward::pool::Slot;

/// By the instances' weights and what is under way.
pub(super) fn build(among: &[Rc<Slot>], _start: usize) -> Box<dyn Balancer> {
    Box::new(LeastRequest(Draw::of(&weights(among))))
}

/// The power of two choices (Mitzenmacher): almost as even as asking all of them, at the price of asking two, and nobody
/// runs after the one that looks idle. Counted over all workers: a busy instance is busy whoever made it so.
#[derive(Debug)]
struct LeastRequest(Draw);

impl Balancer for LeastRequest {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let Self(draw) = self;
        let first = draw.one(turn.usable, None)?;
        let Some(second) = draw.one(turn.usable, Some(first)) else { return Some(first) };
        let busy = |at: usize| u128::from(turn.among[at].instance.in_flight());
        let weight = |at: usize| u128::from(draw.weight(at));
        // Of equals the first, which was drawn by weight alone: an idle service is shared by the weights.
        let is_less = busy(second) * weight(first) < busy(first) * weight(second);
        Some(if is_less { second } else { first })
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.pick(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::tests::{Among, assert_shares};
    use super::*;

    #[test]
    fn an_idle_service_is_shared_by_the_weights() {
        let among = Among::of("least_request", &[1, 3, 4]);
        let mut balancer = build(&among.slots, 0);
        assert_shares(&[0.125, 0.375, 0.5], || among.pick(&mut *balancer).unwrap());
    }

    #[test]
    fn never_takes_the_busier_of_two() {
        let among = Among::of("least_request", &[1; 5]);
        let mut balancer = build(&among.slots, 0);
        // In flight: 0 to 4, begun by different workers.
        for (at, slot) in among.slots.iter().enumerate() {
            slot.instance.counters(at % 2).begun.fetch_add(at as u64, Relaxed);
        }
        // Each is drawn first or second of twenty ordered pairs; it wins against those that are busier.
        assert_shares(&[0.4, 0.3, 0.2, 0.1, 0.0], || among.pick(&mut *balancer).unwrap());
        let usable = |at: usize| at >= 3;
        assert!((0..100).all(|_| among.other(&mut *balancer, &usable) == Some(3)));
        assert_eq!(among.other(&mut *balancer, &|at| at == 4), Some(4));
        assert_eq!(among.other(&mut *balancer, &|_| false), None);
    }

    #[test]
    fn twice_the_weight_bears_twice_as_many() {
        let weights = [1, 2, 5];
        let among = Among::of("least_request", &weights);
        let mut balancer = build(&among.slots, 0);
        for _ in 0..80 {
            let at = among.pick(&mut *balancer).unwrap();
            among.slots[at].instance.counters(0).begun.fetch_add(1, Relaxed);
        }
        for (slot, weight) in among.slots.iter().zip(weights) {
            let (found, fair) = (slot.instance.in_flight(), u64::from(weight) * 10);
            assert!(found.abs_diff(fair) <= 2, "{found} of {fair}");
        }
    }
}
