//! By chance, in proportion to the weights.

use std::rc::Rc;

use super::{Balancer, Turn, weights};
use crate::forward::pool::Slot;

/// By the instances' weights.
pub(super) fn build(among: &[Rc<Slot>], _start: usize) -> Box<dyn Balancer> {
    Box::new(over(&weights(among)))
}

fn over(weights: &[u32]) -> Random {
    let ends = weights.iter().scan(0_u64, |end, weight| {
        *end += u64::from(*weight);
        Some(*end)
    });
    Random { ends: ends.collect() }
}

/// For each instance where its share of the numbers from 0 ends.
#[derive(Debug)]
struct Random {
    ends: Vec<u64>,
}

impl Random {
    fn weight(&self, at: usize) -> u64 {
        self.ends[at] - at.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

impl Balancer for Random {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let total = *self.ends.last()?;
        let ticket = fastrand::u64(..total);
        let at = self.ends.partition_point(|end| *end <= ticket);
        if (turn.usable)(at) {
            return Some(at);
        }
        // Rare: draw again among the usable only, so that their proportions hold.
        let total: u64 =
            (0..self.ends.len()).filter(|at| (turn.usable)(*at)).map(|at| self.weight(at)).sum();
        let mut ticket = if total == 0 { return None } else { fastrand::u64(..total) };
        (0..self.ends.len()).filter(|at| (turn.usable)(*at)).find(|at| {
            let weight = self.weight(*at);
            let here = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            here
        })
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.pick(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::take;
    use super::over;

    #[test]
    fn keeps_the_proportions_also_among_the_usable() {
        let mut balancer = over(&[1, 2, 1]);
        for (usable, expected) in
            [([true; 3], [0.25, 0.5, 0.25]), ([true, false, true], [0.5, 0.0, 0.5])]
        {
            let mut counts = [0.0_f64; 3];
            for _ in 0..20_000 {
                counts[take(&mut balancer, false, &|at| usable[at]).unwrap()] += 1.0 / 20_000.0;
            }
            for (count, expected) in counts.iter().zip(expected) {
                // Six standard deviations of 20,000 draws.
                assert!((count - expected).abs() < 0.022, "{counts:?}");
            }
        }
        assert_eq!(take(&mut balancer, false, &|_| false), None);
        assert_eq!(take(&mut over(&[]), false, &|_| true), None);
    }
}
