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
        budget.began(0);
        retries += u64::from(budget.take(start + Duration::from_millis(number)));
    }
    // What the first request paid was paid before anything was owed.
    assert_eq!(retries, 100 + 4_999 / 5);
}

#[test]
fn requests_that_went_well_pay_for_no_more_than_the_floor_of_ten_seconds() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    (0..1_000_000).for_each(|_| budget.began(0));
    assert_eq!(drain(&budget, start), 100);
    // But what is owed they pay.
    (0..250).for_each(|_| budget.began(0));
    assert_eq!(drain(&budget, start), 50);
}

#[test]
fn a_low_rate_that_fails_throughout_is_always_sent_again() {
    let (budget, start) = (budget(2_000, 10, 1), start());
    for number in 0..3_000 {
        budget.began(0);
        assert!(budget.take(start + Duration::from_millis(number * 125)), "{number}");
    }
}

#[test]
fn without_a_share_there_is_the_floor_and_without_much_floor_the_share() {
    let now = start();
    let none = budget(0, 1, 1);
    (0..1_000).for_each(|_| none.began(0));
    assert_eq!(drain(&none, now), 10);
    let floor = Rate { count: 1, per: Duration::from_secs(86_400) };
    let share = Budget::new(BudgetConfig { share: Share::HALF, floor }, 1);
    let retries: u64 = (0..100)
        .map(|_| {
            share.began(0);
            u64::from(share.take(now))
        })
        .sum();
    assert_eq!(retries, 1 + 99 / 2);
}

#[test]
fn the_account_goes_round() {
    let (budget, now) = (budget(10_000, 10, 1), start());
    budget.requests[0].0.store(ACCOUNT / RETRY - 7, Relaxed);
    assert_eq!(drain(&budget, now), 100);
    for _ in 0..50 {
        budget.began(0);
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
    /// Any 10 s: those that begin with any retry and end after any other, without a request before or after.
    #[test]
    fn in_no_ten_seconds_there_are_more(
        events in proptest::collection::vec(event(), 1..120),
        hundredths in 0..=10_000_u32,
        floor in 1..8_u64,
    ) {
        let budget = budget(hundredths, floor, 1);
        let mut now = start();
        // When it went out, and how many requests had begun before it.
        let mut gone = Vec::<(Instant, u64)>::new();
        let mut requests = 0;
        for event in events {
            match event {
                Event::Requests(count) => for _ in 0..count {
                    budget.began(0);
                    requests += 1;
                },
                Event::Retries(count) => for _ in 0..count {
                    if budget.take(now) {
                        gone.push((now, requests));
                    }
                },
                Event::Pass(millis) => now += Duration::from_millis(u64::from(millis)),
            }
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
                    budget.began(worker);
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
