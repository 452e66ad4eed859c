use super::super::tests::{assert_shares, take};
use super::over;

fn picks(weights: &[u32], start: usize, count: usize) -> Vec<usize> {
    let mut balancer = over(weights, start);
    (0..count).map(|_| take(&mut *balancer, false, &|_| true).unwrap()).collect()
}

fn counts(weights: &[u32], picks: &[usize]) -> Vec<usize> {
    picks.iter().fold(vec![0; weights.len()], |mut counts, at| {
        counts[*at] += 1;
        counts
    })
}

#[test]
fn takes_equal_ones_in_turn_from_its_start() {
    assert_eq!(picks(&[1, 1, 1], 0, 7), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(picks(&[3, 3], 1, 3), [1, 0, 1]);
    assert_eq!(picks(&[1, 1, 1], usize::MAX, 2).len(), 2);
    assert_eq!(picks(&[7], 3, 2), [0, 0]);
}

#[test]
fn spreads_weights_smoothly() {
    assert_eq!(picks(&[5, 1, 1], 0, 14), [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(picks(&[10, 2, 2], 0, 7), [0, 0, 1, 0, 2, 0, 0], "only the proportions count");
    assert_eq!(picks(&[5, 1, 1], 2, 7), [1, 0, 2, 0, 0, 0, 0]);
    assert_eq!(counts(&[1, 2, 7], &picks(&[1, 2, 7], 3, 1000)), [100, 200, 700]);
}

#[test]
fn keeps_the_proportions_when_there_are_too_many_for_a_plan() {
    // Of each round of one everybody has had its turns, give or take one.
    let weights: Vec<u32> = (0..1000).map(|at| 1 + at % 7).collect();
    let round: u32 = weights.iter().sum();
    for start in [0, 1, 99] {
        let counts = counts(&weights, &picks(&weights, start, 3 * round as usize));
        for (count, weight) in counts.iter().zip(&weights) {
            assert!(count.abs_diff(3 * *weight as usize) <= 1, "{count} turns for {weight}");
        }
    }
    // However far apart: 65,535 and 1 and 2 of 65,538.
    let weights = [65_535, 1, 2];
    let counts = counts(&weights, &picks(&weights, 5, 65_538));
    assert!(counts[1].abs_diff(1) <= 1 && counts[2].abs_diff(2) <= 1, "{counts:?}");
}

#[test]
fn leaves_nobody_out_when_it_is_made_anew_again_and_again() {
    for weights in [&[1, 1, 1][..], &[1, 2, 3], &[60_000, 59_999, 1]] {
        let mut all = Vec::new();
        for start in 0..600 {
            all.extend(picks(weights, start, 1));
        }
        let counts = counts(weights, &all);
        assert!(counts[0] > 50 && counts[1] > 50, "{weights:?}: {counts:?}");
    }
}

#[test]
fn another_attempt_takes_nobodys_turn() {
    for weights in [&[1, 1][..], &[2, 1], &[60_000, 59_999]] {
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
fn what_a_dead_one_cannot_take_is_shared_by_all_others() {
    for (weights, expected) in [
        (&[1, 1, 1, 1][..], &[0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0][..]),
        (&[4, 2, 1, 1], &[0.0, 0.5, 0.25, 0.25]),
        (&[60_000, 20_000, 20_000, 19_999], &[0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]),
    ] {
        let mut balancer = over(weights, 0);
        assert_shares(expected, || {
            loop {
                if take(&mut *balancer, false, &|_| true) == Some(0) {
                    return take(&mut *balancer, true, &|at| at != 0).unwrap();
                }
            }
        });
    }
}

#[test]
fn passes_over_what_is_not_usable() {
    for weights in [&[1, 1, 1][..], &[1, 2, 3], &[60_000, 1, 59_999]] {
        let mut balancer = over(weights, 0);
        assert!((0..20).all(|_| take(&mut *balancer, false, &|at| at == 1) == Some(1)));
        assert_eq!(take(&mut *balancer, false, &|_| false), None);
    }
    assert_eq!(take(&mut *over(&[], 0), false, &|_| true), None);
    assert_eq!(take(&mut *over(&[], 0), true, &|_| true), None);
}
