//! Each in its turn: exact per worker, weighted as smoothly as nginx does.

use std::rc::Rc;

use super::{Balancer, Turn, weights};
use crate::forward::pool::Slot;

/// By the instances' weights.
pub(super) fn build(among: &[Rc<Slot>], start: usize) -> Box<dyn Balancer> {
    over(&weights(among), start)
}

fn over(weights: &[u32], start: usize) -> Box<dyn Balancer> {
    if weights.windows(2).all(|pair| pair[0] == pair[1]) {
        return Box::new(Equal { count: weights.len(), next: start });
    }
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(*weight)).collect();
    let mut weighted = Weighted { current: vec![0; weights.len()], weights };
    let turn = usize::try_from(weighted.weights.iter().sum::<i64>()).unwrap_or(1).clamp(1, 1024);
    for _ in 0..start % turn {
        weighted.step(&|_| true);
    }
    Box::new(weighted)
}

#[derive(Debug)]
struct Equal {
    count: usize,
    next: usize,
}

impl Balancer for Equal {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        for _ in 0..self.count {
            let at = self.next % self.count;
            self.next = at + 1;
            if (turn.usable)(at) {
                return Some(at);
            }
        }
        None
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let next = self.next;
        let other = self.pick(turn);
        self.next = next;
        other
    }
}

/// Each gains its weight, the largest is taken and loses the sum: 5, 1, 1 gives a a b a c a a.
#[derive(Debug)]
struct Weighted {
    weights: Vec<i64>,
    current: Vec<i64>,
}

impl Weighted {
    fn step(&mut self, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut total = 0;
        for at in (0..self.weights.len()).filter(|at| usable(*at)) {
            self.current[at] += self.weights[at];
            total += self.weights[at];
            if best.is_none_or(|best| self.current[at] > self.current[best]) {
                best = Some(at);
            }
        }
        if let Some(best) = best {
            self.current[best] -= total;
        }
        best
    }
}

impl Balancer for Weighted {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.step(turn.usable)
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let next = |at: &usize| self.current[*at] + self.weights[*at];
        (0..self.weights.len()).rev().filter(|at| (turn.usable)(*at)).max_by_key(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::take;
    use super::over;

    fn picks(weights: &[u32], start: usize, count: usize) -> Vec<usize> {
        let mut balancer = over(weights, start);
        (0..count).map(|_| take(&mut *balancer, false, &|_| true).unwrap()).collect()
    }

    #[test]
    fn takes_equal_ones_in_turn_from_its_start() {
        assert_eq!(picks(&[1, 1, 1], 0, 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(picks(&[3, 3], 1, 3), [1, 0, 1]);
        assert_eq!(picks(&[1, 1, 1], usize::MAX, 2).len(), 2);
    }

    #[test]
    fn spreads_weights_smoothly() {
        assert_eq!(picks(&[5, 1, 1], 0, 7), [0, 0, 1, 0, 2, 0, 0]);
        let counts = picks(&[1, 2, 7], 3, 1000).into_iter().fold([0; 3], |mut counts, at| {
            counts[at] += 1;
            counts
        });
        assert_eq!(counts, [100, 200, 700]);
    }

    #[test]
    fn another_attempt_takes_nobodys_turn() {
        for weights in [&[1, 1][..], &[2, 1]] {
            let mut balancer = over(weights, 0);
            let turns: Vec<_> = (0..6)
                .map(|_| {
                    let first = take(&mut *balancer, false, &|_| true).unwrap();
                    // Instance 0 is dead.
                    if first == 0 {
                        assert_eq!(take(&mut *balancer, true, &|at| at != 0), Some(1));
                    }
                    first
                })
                .collect();
            assert_eq!(turns, picks(weights, 0, 6), "as if none had been dead");
        }
        assert_eq!(take(&mut *over(&[1, 2], 0), true, &|_| false), None);
    }

    #[test]
    fn passes_over_what_is_not_usable() {
        for weights in [&[1, 1, 1][..], &[1, 2, 3]] {
            let mut balancer = over(weights, 0);
            assert!((0..20).all(|_| take(&mut *balancer, false, &|at| at == 1) == Some(1)));
            assert_eq!(take(&mut *balancer, false, &|_| false), None);
        }
        assert_eq!(take(&mut *over(&[], 0), false, &|_| true), None);
    }
}
