//! One of several by chance, in proportion to their weights.

use smallvec::SmallVec;

/// Lots for instances, by index: drawing takes the logarithm of their number, also while a few may not be had.
#[derive(Debug)]
pub(super) struct Draw {
    /// For each where its share of the numbers from 0 ends.
    ends: Box<[u64]>,
}

/// As many may be put aside in one draw: those an exchange has tried, those a breaker keeps it from, and one.
const ASIDE: usize = 20;

impl Draw {
    /// By these weights.
    pub(super) fn of(weights: &[u32]) -> Self {
        let ends = weights.iter().scan(0_u64, |end, weight| {
            *end += u64::from(*weight);
            Some(*end)
        });
        Self { ends: ends.collect() }
    }

    /// What all weigh together.
    pub(super) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// What one weighs.
    pub(super) fn weight(&self, at: usize) -> u64 {
        self.ends[at] - self.begin(at)
    }

    fn begin(&self, at: usize) -> u64 {
        at.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// One that is usable and not `but`; none when there is none.
    pub(super) fn one(&self, usable: &dyn Fn(usize) -> bool, but: Option<usize>) -> Option<usize> {
        // In their order. Whoever is drawn and may not be had is put there, and the next lot is drawn among the others:
        // the proportions of those that remain hold, and nobody is drawn twice.
        let mut aside: SmallVec<[usize; ASIDE]> = but.into_iter().collect();
        let mut total = self.total() - but.map_or(0, |at| self.weight(at));
        while total > 0 {
            let at = self.at(fastrand::u64(..total), &aside);
            if usable(at) {
                return Some(at);
            }
            if aside.len() == ASIDE {
                return self.any(|at| Some(at) != but && usable(at));
            }
            total -= self.weight(at);
            let place = aside.partition_point(|other| *other < at);
            aside.insert(place, at);
        }
        None
    }

    /// Who has this lot when those put aside have none.
    fn at(&self, mut lot: u64, aside: &[usize]) -> usize {
        for at in aside {
            if lot >= self.begin(*at) {
                lot += self.weight(*at);
            }
        }
        self.ends.partition_point(|end| *end <= lot)
    }

    /// The same by asking about each of them.
    fn any(&self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let all = || (0..self.ends.len()).filter(|at| usable(*at));
        let total: u64 = all().map(|at| self.weight(at)).sum();
        let mut lot = if total == 0 { return None } else { fastrand::u64(..total) };
        all().find(|at| {
            let weight = self.weight(*at);
            let here = lot < weight;
            lot = lot.saturating_sub(weight);
            here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_shares;
    use super::*;

    #[test]
    fn keeps_the_proportions_also_among_the_usable() {
        let draw = Draw::of(&[1, 2, 1, 6]);
        for (but, unusable, expected) in [
            (None, [false; 4], [0.1, 0.2, 0.1, 0.6]),
            (None, [false, false, false, true], [0.25, 0.5, 0.25, 0.0]),
            (Some(3), [true, false, false, false], [0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]),
            (Some(0), [false, true, true, false], [0.0, 0.0, 0.0, 1.0]),
        ] {
            let usable = |at: usize| !unusable[at];
            assert_shares(&expected, || draw.one(&usable, but).unwrap());
        }
        assert_eq!(draw.one(&|_| false, None), None);
        assert_eq!(draw.one(&|at| at == 1, Some(1)), None);
        assert_eq!(Draw::of(&[]).one(&|_| true, None), None);
    }

    #[test]
    fn finds_the_only_usable_one_however_little_it_weighs() {
        let mut weights = vec![65_535; 1000];
        weights[500] = 1;
        let draw = Draw::of(&weights);
        let asked = std::cell::Cell::new(0);
        let few = |at: usize| {
            asked.set(asked.get() + 1);
            at >= 10
        };
        for _ in 0..1000 {
            assert!(draw.one(&few, Some(999)).unwrap() >= 10);
        }
        assert!(asked.get() < 2000, "{} questions", asked.get());
        assert_eq!(draw.one(&|at| at == 500, None), Some(500));
        let two = Draw::of(&[65_535, 1]);
        assert_eq!(two.one(&|at| at == 1, None), Some(1));
    }
}
