use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::guard::rate::gcra::Quota;

/// Takes one; whether there was room, and where the number stands.
fn take(cells: &Cells, key: u64, now: u64, quota: Quota) -> (bool, Spot) {
    let mut taken = false;
    let spot = cells.change(key, now, |due, now| {
        let (take, next) = quota.take(due, now);
        taken = take.wait.is_zero();
        taken.then_some(next)
    });
    (taken, spot)
}

fn number(cells: &Cells, key: u64) -> Option<u64> {
    let mut number = None;
    cells.amend(key, Spot::Own, |due| {
        number = Some(due);
        None
    });
    number
}

/// Well mixed, as hashes are.
fn key(index: u64) -> u64 {
    let mixed = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ mixed >> 32).max(1)
}

proptest! {
    /// Whatever is asked in whatever order, the table says what a map without bounds says.
    #[test]
    fn says_what_a_simple_map_says(
        steps in proptest::collection::vec((0..40_u64, 0..50_u64, proptest::bool::ANY), 1..400)
    ) {
        let quota = Quota { interval: 20, burst: 3 };
        let (cells, mut model) = (Cells::default(), HashMap::<u64, u64>::new());
        let mut now = 1_000;
        for (index, later, gives_back) in steps {
            now += later;
            // All in one set of the lowest level, so that keys must make room for others.
            let key = index << 20 | 5;
            let due = model.entry(key).or_default();
            let (expected, next) = quota.take(*due, now);
            prop_assert_eq!(take(&cells, key, now, quota), (expected.wait.is_zero(), Spot::Own));
            *due = next;
            if gives_back && expected.wait.is_zero() {
                cells.amend(key, Spot::Own, |due| quota.without(due, next));
                *due = quota.without(*due, next).unwrap();
            }
        }
    }
}

#[test]
fn a_cell_whose_time_has_come_makes_room() {
    let cells = Cells::default();
    let quota = Quota { interval: 10, burst: 1 };
    for index in 0..100_000 {
        // Each is full again when the next but seven comes.
        let now = 1_000 + index * 2;
        assert_eq!(take(&cells, key(index), now, quota), (true, Spot::Own));
        assert!(!take(&cells, key(index), now, quota).0);
    }
    assert!(cells.held() <= CHUNK as u64, "{} cells", cells.held());
    assert!(cells.bytes() <= 8 * 1024 + 16, "{} bytes", cells.bytes());
}

#[test]
fn a_key_that_made_room_is_not_let_in_again_by_who_looked_at_an_older_time() {
    let cells = Cells::default();
    let quota = Quota { interval: 100, burst: 2 };
    let of_one_set = |index: u64| index << 20 | 5;
    for index in 0..8 {
        take(&cells, of_one_set(index), 1_000, quota);
    }
    // At 1100 all eight are full again, so this one takes a cell.
    take(&cells, of_one_set(8), 1_100, quota);
    let gone = (0..8).map(of_one_set).find(|key| number(&cells, *key).is_none()).unwrap();
    assert!(take(&cells, gone, 1_050, quota).0, "the first of a key is never too early");
    assert_eq!(number(&cells, gone), Some(1_200));
}

#[test]
fn keys_that_fall_into_one_set_find_room_in_the_next_level() {
    let cells = Cells::default();
    let quota = Quota { interval: 1_000_000, burst: 2 };
    let of_one_set = (0..).map(key).filter(|key| place(*key, 0) == (0, 0));
    for key in of_one_set.take(200) {
        assert_eq!(take(&cells, key, 5, quota), (true, Spot::Own));
    }
    assert_eq!((cells.held(), cells.spilled()), (200, 0));
}

/// What two workers do that bring in the same key at once, step by step.
#[test]
fn of_two_claims_of_a_key_one_stands() {
    const KEY: u64 = 5;
    let quota = Quota { interval: 100, burst: 1 };
    let mut change = |due, now| Some(quota.take(due, now).1);
    for next_level in [false, true] {
        for turns in [[0, 1], [1, 0]] {
            let cells = Cells::default();
            let low = cells.make(KEY, 0);
            let set = cells.sets(KEY).last().and_then(|(_, set)| set).unwrap();
            assert!(std::ptr::eq(low, &set[0]));
            let slots = if next_level { [cells.make(KEY, 1), low] } else { [low, &set[3]] };
            let claims = slots.map(|slot| cells.claim(KEY, slot, 0).unwrap());
            assert_eq!(cells.held(), 2);
            let settled = turns.map(|turn| {
                let (slot, claim) = claims[turn];
                cells.settle(slot, claim, 1_000, &mut change).then_some(turn)
            });
            // The first, whoever is quicker: otherwise two might clear each other for ever.
            assert_eq!(settled.into_iter().flatten().collect::<Vec<_>>(), [0]);
            assert_eq!(slots.map(|slot| slot.load(SeqCst)), [packed(KEY, 1_100), 0]);
            assert_eq!(cells.held(), 1);
        }
    }
}

#[test]
fn a_claim_of_one_who_was_held_up_is_settled_by_who_comes() {
    const KEY: u64 = 5;
    let quota = Quota { interval: 100, burst: 2 };
    let cells = Cells::default();
    let (slot, claim) = cells.claim(KEY, cells.make(KEY, 0), 0).unwrap();
    assert_eq!(take(&cells, KEY, 1_000, quota), (true, Spot::Own));
    let mut change = |due, now| Some(quota.take(due, now).1);
    assert!(!cells.settle(slot, claim, 1_000, &mut change), "it must look again");
    assert_eq!((number(&cells, KEY), cells.held()), (Some(1_100), 1));
}

#[test]
fn a_cell_that_has_become_anothers_is_left_alone() {
    let quota = Quota { interval: 100, burst: 2 };
    let cells = Cells::default();
    let (one, other) = (5, 6);
    take(&cells, one, 1_000, quota);
    let Found::Cell(slot, seen) = cells.find(one, 1_000) else { panic!("it is there") };
    let mut change = |due, now| Some(quota.take(due, now).1);
    // Between looking and changing, another key takes the cell, which is full again.
    let (_, claim) = cells.claim(other, slot, seen).unwrap();
    assert!(!exchange(slot, seen, 2_000, &mut change));
    assert!(cells.settle(slot, claim, 2_000, &mut change));
    assert!(!exchange(slot, seen, 2_000, &mut change));
    assert_eq!((number(&cells, one), number(&cells, other)), (None, Some(2_100)));
}

/// A million keys, none of which is full again: what they cost, and how many found no room.
#[test]
fn a_million_keys_stay_within_the_bound() {
    const KEYS: u64 = 1_000_000;
    let cells = Cells::default();
    let quota = Quota { interval: 1 << 40, burst: 2 };
    let began = Instant::now();
    (0..KEYS).for_each(|index| {
        take(&cells, key(index), 5, quota);
    });
    let new = began.elapsed().as_nanos() as u64 / KEYS;
    let (held, spilled, bytes) = (cells.held(), cells.spilled(), cells.bytes());
    let began = Instant::now();
    let own = (0..KEYS).filter(|index| take(&cells, key(*index), 5, quota).1 == Spot::Own).count();
    let known = began.elapsed().as_nanos() as u64 / KEYS;
    println!(
        "{held} of {KEYS} keys in {bytes} bytes, {spilled} shared; {new} ns a new one, {known} ns a known one"
    );
    assert_eq!(held + spilled, KEYS);
    assert_eq!(own as u64, held, "each was found again, and nothing was lost on the way");
    assert!(spilled <= KEYS / 1000, "{spilled} found no room");
    // And with half as many again the bound holds, and the rest share one number, of which 2 are let in.
    let more = (KEYS..KEYS * 3 / 2).map(|index| take(&cells, key(index), 5, quota));
    let shared = more.filter(|(taken, spot)| *taken && *spot == Spot::Spill).count();
    assert!(shared <= 2, "{shared}");
    assert!(cells.bytes() <= 21_600_000 + 64 * 1024, "{} bytes", cells.bytes());
    assert!(cells.held() <= 1_348_096);
}

/// Threads that all begin with the same keys at once, while other keys come and go: each key is let through as often as
/// its limit says, and stands in one cell.
#[test]
fn threads_together_let_through_what_one_would() {
    const THREADS: u64 = 4;
    const KEYS: u64 = 300;
    let quota = Quota { interval: 1 << 50, burst: 7 };
    let passing = Quota { interval: 1, burst: 1 };
    for round in 0..20 {
        let cells = Cells::default();
        let start = std::sync::Barrier::new(THREADS as usize);
        let work = |thread: u64| {
            start.wait();
            let mut taken = vec![0; KEYS as usize];
            for turn in 0..10 {
                for index in 0..KEYS {
                    let now = 1_000 + turn * 10;
                    taken[index as usize] += u64::from(take(&cells, key(index), now, quota).0);
                    take(&cells, key(1_000_000 * (thread + 1) + turn * KEYS + index), now, passing);
                }
            }
            taken
        };
        let (work, cells) = (&work, &cells);
        let taken: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for index in 0..KEYS as usize {
            let sum: u64 = taken.iter().map(|taken| taken[index]).sum();
            assert_eq!(sum, 7, "key {index} in round {round}");
        }
        assert_eq!(cells.spilled(), 0);
        let mut seen = std::collections::HashSet::new();
        let mut used = 0;
        for chunks in cells.levels.iter().filter_map(OnceBox::get) {
            for chunk in chunks.iter().filter_map(OnceBox::get) {
                for (whose, due) in chunk.0.iter().map(|cell| parts(cell.load(SeqCst))) {
                    used += u64::from(whose != 0);
                    assert_eq!(due & CLAIM, 0, "nobody claims any more");
                    assert!(whose == 0 || seen.insert(whose), "{whose} stands twice");
                }
            }
        }
        assert_eq!(used, cells.held());
    }
}

/// Against the clock: what threads let through of one key in real time, each with its own view of the time, is exactly
/// within the burst and the rate.
#[test]
fn threads_in_real_time_let_through_no_more_than_burst_and_rate() {
    let quota = Quota { interval: 20_000, burst: 50 };
    let cells = Cells::default();
    let over = AtomicBool::new(false);
    let epoch = Instant::now();
    let now = || epoch.elapsed().as_nanos() as u64;
    let first = now();
    let flood = || {
        let mut taken = 0;
        let mut other = fastrand::u64(..);
        while !over.load(Relaxed) {
            let late = now();
            // Others come and go, so that the key's cell is at stake whenever it is full again.
            for _ in 0..16 {
                other = other.wrapping_add(0x9e37_79b9_7f4a_7c15);
                take(&cells, (other >> 6 | 1 << 57).max(1), late, Quota { interval: 1, burst: 1 });
            }
            taken += u64::from(take(&cells, 1 << 57, late, quota).0);
        }
        taken
    };
    let taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
        while now() < 500_000_000 {
            std::thread::yield_now();
        }
        over.store(true, Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let most = quota.burst + (now() - first) / quota.interval;
    assert!(taken <= most, "{taken} of at most {most}");
    assert!(taken >= quota.burst, "{taken}");
}
