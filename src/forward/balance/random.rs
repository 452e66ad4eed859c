//! By chance, in proportion to the weights.

use std::rc::Rc;

use super::draw::Draw;
use super::{Balancer, Turn, weights};
use crate::forward::pool::Slot;

/// By the instances' weights.
pub(super) fn build(among: &[Rc<Slot>], _start: usize) -> Box<dyn Balancer> {
    Box::new(Random(Draw::of(&weights(among))))
}

#[derive(Debug)]
struct Random(Draw);

impl Balancer for Random {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.0.one(turn.usable, None)
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.pick(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_shares, take};
    use super::*;

    #[test]
    fn goes_by_the_weights_at_first_and_after_a_failure() {
        let mut random = Random(Draw::of(&[1, 2, 5]));
        assert_shares(&[0.125, 0.25, 0.625], || take(&mut random, false, &|_| true).unwrap());
        assert_shares(&[1.0 / 6.0, 0.0, 5.0 / 6.0], || {
            take(&mut random, true, &|at| at != 1).unwrap()
        });
        assert_eq!(take(&mut random, false, &|_| false), None);
    }
}
