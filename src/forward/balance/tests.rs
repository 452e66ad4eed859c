use super::{Balancer, Turn};

/// A pick, or another one after it, that goes by nothing but what is usable.
pub(super) fn take(
    balancer: &mut dyn Balancer,
    again: bool,
    usable: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let turn = Turn { among: &[], usable, hash: None };
    if again { balancer.other(&turn) } else { balancer.pick(&turn) }
}

/// Takes many and compares how often each came with its share: Pearson's test. By chance the bound is passed less than
/// once in a hundred thousand runs; a share that is wrong by a few hundredths passes it by far.
pub(super) fn assert_shares(shares: &[f64], mut take: impl FnMut() -> usize) {
    const DRAWS: u32 = 20_000;
    let mut counts = vec![0.0; shares.len()];
    (0..DRAWS).for_each(|_| counts[take()] += 1.0);
    let mut chi_square = 0.0;
    for (share, count) in shares.iter().zip(&counts) {
        let expected = share * f64::from(DRAWS);
        if expected == 0.0 {
            assert_eq!(*count, 0.0, "{counts:?}");
        } else {
            chi_square += (count - expected) * (count - expected) / expected;
        }
    }
    let freedom = shares.iter().filter(|share| **share > 0.0).count() as f64 - 1.0;
    let bound = freedom + 8.0 * (2.0 * freedom).sqrt() + 8.0;
    assert!(chi_square <= bound, "chi-square {chi_square} of {freedom}: {counts:?} for {shares:?}");
}
