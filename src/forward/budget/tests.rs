use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::model::{Rate, Share};
use crate::wire::clock;

fn budget(hundredths: u32, floor: u64, workers: usize) -> Budget {
    let floor = Rate { count: floor, per: Duration::from_secs(1) };
    Budget::new(BudgetConfig { share: Share::new(hundredths).unwrap(), floor }, workers)
}

/// As many as there are now.
fn drain(budget: &Budget, now: Instant) -> u64 {
    std::iter::repeat_with(|| budget.take(now)).take_while(|taken| *taken).count() as u64
}

fn start() -> Instant {
    clock::at(clock::nanos(Instant::now()))
}

#[test]
fn a_quiet_service_has_its_floor_each_ten_seconds() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    assert_eq!(drain(&budget, start), 100);
    assert_eq!(drain(&budget, start + Duration::from_millis(9_900)), 0);
    assert_eq!(drain(&budget, start + Duration::from_millis(10_300)), 100);
}

#[test]
fn a_service_that_fails_throughout_gets_its_share_and_the_floor_once() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    let mut retries = 0;
    for number in 0..5_000 {
        let now = start + Duration::from_millis(number);
        budget.began(0, now);
        retries += u64::from(budget.take(now));
    }
    // What the first request paid was paid before anything was owed.
    assert_eq!(retries, 100 + 4_999 / 5);
}

/// As many requests in each of so many seconds from `start` on, evenly.
fn went_well(budget: &Budget, start: Instant, seconds: u64, each: u64) {
    for number in 0..seconds * each {
        budget.began(0, start + Duration::from_secs(1) * number as u32 / each as u32);
    }
}

#[test]
fn those_that_fail_at_once_have_the_share_of_what_began_just_before() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    // The second that has begun counts, and the one before it: from one to two of them.
    went_well(&budget, start, 5, 5_000);
    let now = start + Duration::from_secs(5);
    let surge = drain(&budget, now);
    assert!((100 + 1_000..=100 + 2_000).contains(&surge), "{surge}");
    // It is over: what it has taken too much must be paid, by five requests each.
    for number in 0..(surge - 100) * 5 {
        assert!(!budget.take(now), "{number}");
        budget.began(0, now);
    }
    assert_eq!(drain(&budget, now), 0);
    (0..250).for_each(|_| budget.began(0, now));
    assert_eq!(drain(&budget, now), 50, "and not another surge");
    (0..1_000_000).for_each(|_| budget.began(0, now));
    assert!(drain(&budget, now) <= 100, "nor so soon after it");
    let later = now + Duration::from_secs(11);
    went_well(&budget, later, 1, 5_000);
    assert!(drain(&budget, later + Duration::from_secs(1)) >= 1_000, "all is paid");
}

#[test]
fn what_failed_before_leaves_nothing_for_a_surge() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    // One of five fails, for longer than the budget looks back.
    for number in 0..100_000 {
        let now = start + Duration::from_micros(number * 200);
        budget.began(0, now);
        assert!(number % 5 > 0 || budget.take(now), "{number}");
    }
    // Those of up to a second less than the last ten are counted, and retries of up to a quarter more.
    let left = drain(&budget, start + Duration::from_secs(20));
    assert!(left <= 100, "{left}");
}

#[test]
fn an_outage_after_good_traffic_gets_its_share_and_the_floor_however_it_begins() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    went_well(&budget, start, 10, 1_000);
    let mut retries = 0;
    for number in 0..10_000 {
        let now = start + Duration::from_secs(10) + Duration::from_millis(number);
        budget.began(0, now);
        retries += (0..2).filter(|_| budget.take(now)).count();
    }
    assert!((2_090..=2_100).contains(&retries), "{retries}");
}

#[test]
fn a_low_rate_that_fails_throughout_is_always_sent_again() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    for number in 0..3_000 {
        let now = start + Duration::from_millis(number * 125);
        budget.began(0, now);
        assert!(budget.take(now), "{number}");
    }
}

#[test]
fn without_a_share_there_is_the_floor_and_without_much_floor_the_share() {
    let now = start();
    let none = budget(0, 1, 1);
    (0..1_000).for_each(|_| none.began(0, now));
    assert_eq!(drain(&none, now), 10);
    let floor = Rate { count: 1, per: Duration::from_secs(86_400) };
    let share = Budget::new(BudgetConfig { share: Share::HALF, floor }, 1);
    let retries: u64 = (0..100)
        .map(|_| {
            share.began(0, now);
            u64::from(share.take(now))
        })
        .sum();
    assert_eq!(retries, 100 / 2);
}

#[test]
fn less_than_a_retry_in_ten_seconds_is_none_and_a_share_is_of_those_ten_seconds() {
    let (now, minute) = (start(), Duration::from_secs(60));
    let budget = |hundredths, count| {
        let floor = Rate { count, per: minute };
        Budget::new(BudgetConfig { share: Share::new(hundredths).unwrap(), floor }, 1)
    };
    let seldom = budget(0, 5);
    assert_eq!(
        (0..300).filter(|second| seldom.take(now + Duration::from_secs(*second))).count(),
        0
    );
    for (hundredths, requests, retries) in
        [(2_000, 4, 0), (2_000, 5, 1), (2_000, 9, 1), (2_000, 25, 5), (100, 50, 0), (10_000, 3, 3)]
    {
        let share = budget(hundredths, 0);
        (0..requests).for_each(|_| share.began(0, now));
        assert_eq!(drain(&share, now), retries, "{hundredths} of {requests}");
        assert_eq!(drain(&share, now + Duration::from_secs(9)), 0);
        assert_eq!(drain(&share, now + Duration::from_secs(11)), 0, "they are over");
    }
    // What the floor gives beside the share counts, though it is no whole retry.
    let both = budget(2_000, 3);
    (0..3).for_each(|_| both.began(0, now));
    assert_eq!(drain(&both, now), 1, "0.5 and 0.6");
}

#[test]
fn the_account_goes_round() {
    let (budget, now) = (budget(10_000, 10, 1), start());
    budget.requests[0].all.store(ACCOUNT / RETRY - 7, Relaxed);
    assert_eq!(drain(&budget, now), 100);
    for _ in 0..50 {
        budget.began(0, now);
        assert!(budget.take(now));
        assert!(!budget.take(now));
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// As many at once.
    Requests(u16),
    /// As many are asked for at once.
    Retries(u16),
    /// So many milliseconds.
    Pass(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..400_u16).prop_map(Event::Requests),
        (0..90_u16).prop_map(Event::Retries),
        (0..4_000_u16).prop_map(Event::Pass),
    ]
}

proptest! {
    /// When each one went out, of the ten seconds that end with it.
    #[test]
    fn in_no_ten_seconds_there_are_more(
        events in proptest::collection::vec(event(), 1..120),
        hundredths in 0..=10_000_u32,
        floor in 1..8_u64,
    ) {
        let budget = budget(hundredths, floor, 1);
        let mut now = start();
        let (mut gone, mut begun) = (Vec::<Instant>::new(), Vec::<Instant>::new());
        let within = |all: &[Instant], by: Instant| {
            all.iter().rev().take_while(|at| **at + WINDOW > by).count() as u64
        };
        for event in events {
            match event {
                Event::Requests(count) => for _ in 0..count {
                    budget.began(0, now);
                    begun.push(now);
                },
                Event::Retries(count) => for _ in 0..count {
                    if budget.take(now) {
                        gone.push(now);
                        let allowed = u64::from(hundredths) * within(&begun, now) + floor * 10 * RETRY;
                        prop_assert!(within(&gone, now) * RETRY <= allowed, "{} retries", gone.len());
                    }
                },
                Event::Pass(millis) => now += Duration::from_millis(u64::from(millis)),
            }
        }
    }

    /// Any that begin with any retry, once the budget has said no in an outage: nothing saved counts then.
    #[test]
    fn in_no_ten_seconds_of_an_outage_there_are_more(
        events in proptest::collection::vec((1..400_u64, 0..4_000_u64), 1..60),
        hundredths in 0..=10_000_u32,
        floor in 1..8_u64,
    ) {
        let budget = budget(hundredths, floor, 1);
        let mut now = start();
        // When it went out, and how many requests had begun before it.
        let mut gone = Vec::<(Instant, u64)>::new();
        let mut requests = 0;
        prop_assert!(drain(&budget, now) == floor * 10);
        for (count, millis) in events {
            for _ in 0..count {
                budget.began(0, now);
                requests += 1;
                while budget.take(now) {
                    gone.push((now, requests));
                }
            }
            now += Duration::from_millis(millis);
        }
        for (first, (from, before)) in gone.iter().enumerate() {
            let within = gone[first..].iter().take_while(|(at, _)| *at < *from + WINDOW);
            for (count, (_, by)) in within.enumerate() {
                let allowed = u64::from(hundredths) * (by - before) + floor * 10 * RETRY;
                prop_assert!((count as u64 + 1) * RETRY <= allowed, "{count} retries, {allowed}");
            }
        }
    }
}

#[test]
fn many_threads_take_as_many_as_one_and_not_one_more() {
    const THREADS: usize = 8;
    const REQUESTS: u64 = 20_000;
    let (budget, now) = (budget(2_000, 10, THREADS), start());
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..THREADS {
            let (budget, taken) = (&budget, &taken);
            scope.spawn(move || {
                for _ in 0..REQUESTS {
                    budget.began(worker, now);
                    let retries = (0..2).filter(|_| budget.take(now)).count();
                    taken.fetch_add(retries, Relaxed);
                }
            });
        }
    });
    let taken = taken.into_inner() as u64 + drain(&budget, now);
    let most = 100 + THREADS as u64 * REQUESTS / 5;
    // What was paid while nothing was owed yet is lost.
    assert!(taken <= most && taken + THREADS as u64 >= most, "{taken} of {most}");
}
