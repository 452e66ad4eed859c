use super::super::tests::Among;
use super::*;

/// An instance of a number, wherever it stands in its set.
fn seed(number: usize) -> u64 {
    scattered(7, number as u64)
}

fn ring(numbers: &[usize]) -> Ring {
    Ring::of(numbers.iter().map(|number| seed(*number)), &vec![1; numbers.len()])
}

fn key(number: u64) -> u64 {
    scattered(99, number)
}

/// The numbers of the instances that have the keys.
fn owners(numbers: &[usize], keys: u64) -> Vec<usize> {
    let ring = ring(numbers);
    (0..keys).map(|number| numbers[ring.owner(key(number), &|_| true).unwrap()]).collect()
}

#[test]
fn only_the_keys_of_the_one_that_leaves_or_comes_move() {
    for count in (3..=20).chain([50, 100]) {
        let all: Vec<usize> = (0..count).collect();
        let with = owners(&all, 500);
        let gone = count / 2;
        let others: Vec<usize> = all.into_iter().filter(|number| *number != gone).collect();
        let without = owners(&others, 500);
        // One that leaves, and read from its end one that comes.
        let mut moved = with.iter().zip(&without).filter(|(before, after)| before != after);
        assert!(moved.all(|(before, _)| *before == gone), "of {count}");
        assert!(without.iter().all(|after| *after != gone));
    }
}

/// What one has is what moves when it leaves: never more than 1.2 times its fair share.
#[test]
fn shares_are_even() {
    for (count, keys, bound) in
        [(3, 9_000, 1.2), (4, 9_000, 1.2), (10, 20_000, 1.2), (100, 60_000, 1.2)]
    {
        let numbers: Vec<usize> = (0..count).collect();
        let mut counts = vec![0_u32; count];
        owners(&numbers, keys).into_iter().for_each(|owner| counts[owner] += 1);
        let mean = keys as f64 / count as f64;
        let most = f64::from(*counts.iter().max().unwrap()) / mean;
        let least = f64::from(*counts.iter().min().unwrap()) / mean;
        assert!(most <= bound && least >= 0.5, "{count}: {least} to {most}");
    }
}

#[test]
fn weights_are_kept_also_very_different_and_very_large_ones() {
    for weights in [&[1, 2, 5][..], &[100, 200, 500], &[65_535, 65_535, 1]] {
        let ring = Ring::of((0..3).map(seed), weights);
        assert!(ring.points.len() as u64 <= MOST_POINTS + 3);
        let total: u32 = weights.iter().sum();
        let mut counts = [0_u32; 3];
        (0..10_000).for_each(|at| counts[ring.owner(key(at), &|_| true).unwrap()] += 1);
        for (count, weight) in counts.iter().zip(weights) {
            let (found, fair) =
                (f64::from(*count) / 10_000.0, f64::from(*weight) / f64::from(total));
            assert!((found - fair).abs() < 0.04, "{counts:?} for {weights:?}");
        }
    }
}

#[test]
fn one_that_may_not_be_had_is_passed_over_as_if_it_were_gone() {
    let numbers: Vec<usize> = (0..20).collect();
    let among = Among::of(NAME, &[1; 20]);
    let mut whole = ring(&numbers);
    let rest: Vec<usize> = numbers.iter().copied().filter(|number| *number != 7).collect();
    for (at, after) in owners(&rest, 2000).into_iter().enumerate() {
        let hash = Some(key(at as u64));
        let first = whole.pick(&among.turn(&|_| true, hash)).unwrap();
        let other = whole.other(&among.turn(&|at| at != 7, hash)).unwrap();
        assert_eq!(other, after);
        assert_eq!(first, if first == 7 { 7 } else { other });
    }
    assert_eq!(whole.pick(&among.turn(&|_| false, Some(1))), None);
    assert_eq!(Ring::of([].into_iter(), &[]).pick(&among.turn(&|_| true, Some(1))), None);
    // Also when it has almost all of the ring.
    let among = Among::of(NAME, &[65_535, 1]);
    let mut ring = build(&among.slots, 0);
    assert!((0..50).all(|at| ring.other(&among.turn(&|at| at == 1, Some(key(at)))) == Some(1)));
}

#[test]
fn nobody_has_much_more_than_its_fair_share_under_way() {
    let among = Among::of(NAME, &[1, 1, 1, 1, 4]);
    let mut ring = build(&among.slots, 0);
    let mut of_one_key = || {
        let at = ring.pick(&among.turn(&|_| true, Some(key(3)))).unwrap();
        among.slots[at].load.begin();
        at
    };
    let first = of_one_key();
    assert!((1..FEW).all(|_| of_one_key() == first), "a few stay together");
    for _ in FEW..160 {
        of_one_key();
    }
    for (at, slot) in among.slots.iter().enumerate() {
        let (here, weight) = (slot.load.here(), if at == 4 { 4 } else { 1 });
        assert!(here <= 25 * weight, "{here} of 160 at the weight {weight} of 8");
    }
    // Back to where it belongs as soon as there is room.
    (0..10).for_each(|_| among.slots[first].load.end());
    assert_eq!(of_one_key(), first);
}

#[test]
fn every_process_has_the_same_ring() {
    let among = Among::of(NAME, &[1; 5]);
    let mut ring = build(&among.slots, 0);
    let owners: Vec<_> =
        (0..12).filter_map(|at| ring.pick(&among.turn(&|_| true, Some(key(at))))).collect();
    // Another version that says otherwise moves every cache's keys.
    assert_eq!(owners, [1, 2, 4, 2, 0, 2, 2, 2, 3, 3, 4, 0]);
    assert!(among.pick(&mut *ring).is_some(), "without a key anywhere");
}
