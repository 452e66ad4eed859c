//! Each in its turn: exact per worker, weighted as smoothly as nginx does.

use std::rc::Rc;

use super::draw::Draw;
use super::{Balancer, Turn, weights};
use crate::forward::pool::Slot;

/// By the instances' weights.
pub(super) fn build(among: &[Rc<Slot>], start: usize) -> Box<dyn Balancer> {
    over(&weights(among), start)
}

fn over(weights: &[u32], start: usize) -> Box<dyn Balancer> {
    if weights.windows(2).all(|pair| pair[0] == pair[1]) {
        return Box::new(Equal { count: weights.len(), next: start, spare: start });
    }
    let draw = Draw::of(weights);
    let part = weights.iter().copied().fold(0, greatest_common);
    let steps = usize::try_from(draw.total() / u64::from(part)).unwrap_or(usize::MAX);
    if steps.saturating_mul(weights.len()) <= MOST_STEPS {
        let turns = smooth(weights, steps);
        return Box::new(Planned { next: start % turns.len(), turns, draw });
    }
    Box::new(Queued { queue: Queue::of(weights, start), draw })
}

/// A plan that takes more comparisons to make is not made.
const MOST_STEPS: usize = 1 << 15;

fn greatest_common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common(b, a % b) }
}

/// All of the same weight.
#[derive(Debug)]
struct Equal {
    count: usize,
    next: usize,
    /// Where those that were let down go on: whose turn it is would have to do it all for a neighbour that fails.
    spare: usize,
}

impl Equal {
    fn from(&self, start: usize, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let start = start.checked_rem(self.count)?;
        (start..self.count).chain(0..start).find(|at| usable(*at))
    }
}

impl Balancer for Equal {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let at = self.from(self.next, turn.usable)?;
        self.next = at + 1;
        Some(at)
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let at = self.from(self.spare, turn.usable)?;
        self.spare = at + 1;
        Some(at)
    }
}

/// Few enough that the turns of a whole round stand written.
#[derive(Debug)]
struct Planned {
    turns: Box<[u32]>,
    next: usize,
    draw: Draw,
}

/// One round. In each step each gains its weight, the largest is taken and loses the sum: 5, 1, 1 gives a a b a c a a.
fn smooth(weights: &[u32], steps: usize) -> Box<[u32]> {
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut current = vec![0; weights.len()];
    let step = |_| {
        let mut best = 0;
        for (at, weight) in weights.iter().enumerate() {
            current[at] += i64::from(*weight);
            if current[at] > current[best] {
                best = at;
            }
        }
        current[best] -= total;
        u32::try_from(best).unwrap_or(0)
    };
    (0..steps).map(step).collect()
}

impl Balancer for Planned {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let at = self.turns[self.next] as usize;
        self.next = (self.next + 1) % self.turns.len();
        if (turn.usable)(at) { Some(at) } else { self.other(turn) }
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.draw.one(turn.usable, None)
    }
}

/// Many: who is due first has the next turn, and is due again the later the less it weighs.
#[derive(Debug)]
struct Queued {
    queue: Queue,
    draw: Draw,
}

impl Balancer for Queued {
    fn pick(&mut self, turn: &Turn<'_>) -> Option<usize> {
        let at = self.queue.next();
        if (turn.usable)(at) { Some(at) } else { self.other(turn) }
    }

    fn other(&mut self, turn: &Turn<'_>) -> Option<usize> {
        self.draw.one(turn.usable, None)
    }
}

/// A heap, never empty: nobody is due before the one at half its place.
#[derive(Debug)]
struct Queue(Box<[Due]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    /// Wide enough for ever.
    at: u128,
    instance: u32,
    weight: u32,
}

/// How far one of the weight 1 is put off by a turn.
const ROUND: u64 = 1 << 40;

impl Queue {
    /// Each somewhere within its first round, so that a set that often changes leaves nobody out.
    fn of(weights: &[u32], start: usize) -> Self {
        let mut chance = fastrand::Rng::with_seed(start as u64);
        let due = |(at, weight): (usize, &u32)| Due {
            at: u128::from(chance.u64(..ROUND) / u64::from(*weight).max(1)),
            instance: u32::try_from(at).unwrap_or(u32::MAX),
            weight: *weight,
        };
        let mut queue = Self(weights.iter().enumerate().map(due).collect());
        (0..queue.0.len() / 2).rev().for_each(|at| queue.sink(at));
        queue
    }

    fn next(&mut self) -> usize {
        let first = &mut self.0[0];
        let instance = first.instance as usize;
        first.at += u128::from(ROUND / u64::from(first.weight).max(1));
        self.sink(0);
        instance
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let below = [2 * at + 1, 2 * at + 2].into_iter().filter(|below| *below < self.0.len());
            let Some(sooner) = below.min_by_key(|below| self.0[*below]) else { return };
            if self.0[at] <= self.0[sooner] {
                return;
            }
            self.0.swap(at, sooner);
            at = sooner;
        }
    }
}

#[cfg(test)]
mod tests;
