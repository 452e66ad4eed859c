//! Breakers against time, against a simple model, and on many threads at once.

use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::*;
use crate::config::model::{BreakerScope, Share, Window as Bounds};
use crate::wire::clock;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

/// A time that the clock's numbers know.
fn start() -> Instant {
    clock::nanos(Instant::now());
    Instant::now()
}

fn with(trip: Trip, open: u32, probes: u32) -> BreakerConfig {
    let scope = BreakerScope::Instance;
    BreakerConfig { trip, open: open * SECOND, probes, ramp: Duration::ZERO, scope }
}

fn consecutive(failures: u32, probes: u32) -> Breaker {
    Breaker::new(with(Trip::Consecutive { failures }, 60, probes), 2)
}

fn ratio() -> Breaker {
    Breaker::new(with(Trip::Ratio(Bounds::default()), 10, 1), 2)
}

fn hystrix() -> Breaker {
    let trip = Trip::Hystrix { window: Bounds::default(), max_concurrent: 10, timeout: SECOND };
    Breaker::new(with(trip, 5, 1), 2)
}

/// One attempt from its begin to its end.
fn attempt(breaker: &Breaker, verdict: Verdict, now: Instant) -> Result<Option<Moved>, Shut> {
    breaker.admit(now).map(|pass| breaker.told(0, pass, verdict, now))
}

fn good(breaker: &Breaker, now: Instant) {
    assert_eq!(attempt(breaker, Verdict::Good, now), Ok(None));
}

fn fail(breaker: &Breaker, now: Instant) {
    assert_eq!(attempt(breaker, Verdict::Failed, now), Ok(None));
}

fn opens(breaker: &Breaker, now: Instant) -> Why {
    let moved = attempt(breaker, Verdict::Failed, now).unwrap().unwrap();
    assert_eq!(moved.to, State::Open);
    moved.why
}

/// Until when it is open; to a millisecond.
fn assert_open_until(breaker: &Breaker, until: Instant) {
    let Err(Shut::Open { until: told }) = breaker.admit(until - 2 * TICK) else {
        panic!("it is open")
    };
    assert!(told <= until && told + TICK > until, "{:?}", until.duration_since(told));
}

#[test]
fn gobreaker_opens_with_the_sixth_failure_in_a_row_and_lets_one_probe_through() {
    let (breaker, now) = (consecutive(6, 1), start());
    (0..100).for_each(|_| good(&breaker, now));
    (0..5).for_each(|_| fail(&breaker, now));
    assert_eq!(opens(&breaker, now), Why::InARow(6));
    assert_open_until(&breaker, now + 60 * SECOND);
    let later = now + 60 * SECOND + TICK;
    let probe = breaker.admit(later).unwrap();
    assert_eq!(
        probe.moved().map(|moved| (moved.from, moved.to)),
        Some((State::Open, State::HalfOpen))
    );
    assert_eq!(breaker.admit(later).unwrap_err(), Shut::Open { until: later }, "one at a time");
    let moved = breaker.told(0, probe, Verdict::Good, later).unwrap();
    assert_eq!((moved.to, moved.why), (State::Closed, Why::Proved(1)));
    (0..5).for_each(|_| fail(&breaker, later));
    assert_eq!(opens(&breaker, later), Why::InARow(6), "it counts anew");
}

#[test]
fn any_success_begins_the_row_again() {
    let (breaker, now) = (consecutive(3, 1), start());
    for _ in 0..50 {
        fail(&breaker, now);
        fail(&breaker, now);
        assert_eq!(attempt(&breaker, Verdict::Neutral, now), Ok(None), "says nothing");
        good(&breaker, now);
    }
    fail(&breaker, now);
    fail(&breaker, now);
    assert_eq!(attempt(&breaker, Verdict::Neutral, now), Ok(None), "nor ends the row");
    assert_eq!(opens(&breaker, now), Why::InARow(3));
}

#[test]
fn a_failed_probe_opens_it_for_as_long_again() {
    let (breaker, mut now) = (consecutive(1, 3), start());
    opens(&breaker, now);
    for _ in 0..3 {
        now += 60 * SECOND + TICK;
        good(&breaker, now);
        good(&breaker, now);
        assert_eq!(opens(&breaker, now), Why::Probe);
        assert_open_until(&breaker, now + 60 * SECOND);
    }
}

#[test]
fn as_many_probes_go_through_as_are_wanted_and_one_that_leaves_gives_its_place_back() {
    let (breaker, now) = (consecutive(1, 3), start());
    opens(&breaker, now);
    let now = now + 60 * SECOND + TICK;
    let mut probes: Vec<_> = (0..3).map(|_| breaker.admit(now).unwrap()).collect();
    assert!(breaker.admit(now).is_err());
    let first = probes.pop().unwrap();
    assert_eq!(breaker.told(0, first, Verdict::Good, now), None);
    assert!(breaker.admit(now).is_err(), "a place is used up, not free again");
    let left = probes.pop().unwrap();
    assert_eq!(breaker.told(0, left, Verdict::Neutral, now), None);
    assert_eq!(breaker.state(), State::HalfOpen);
    probes.push(breaker.admit(now).unwrap());
    assert!(breaker.admit(now).is_err());
    let moves = probes.into_iter().map(|probe| breaker.told(0, probe, Verdict::Good, now));
    assert_eq!(moves.flatten().map(|moved| moved.to).collect::<Vec<_>>(), [State::Closed]);
}

#[test]
fn what_began_before_a_move_says_nothing_after_it() {
    let (breaker, now) = (consecutive(1, 1), start());
    let [late_good, late_failure, later_still] = [(); 3].map(|()| breaker.admit(now).unwrap());
    opens(&breaker, now);
    assert_eq!(breaker.told(0, late_good, Verdict::Good, now), None);
    assert_eq!(breaker.state(), State::Open, "a late success does not close it");
    let now = now + 60 * SECOND + TICK;
    let probe = breaker.admit(now).unwrap();
    assert_eq!(breaker.told(0, late_failure, Verdict::Failed, now), None);
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.told(0, probe, Verdict::Good, now).unwrap();
    assert_eq!(breaker.told(0, later_still, Verdict::Failed, now), None);
    assert_eq!(breaker.state(), State::Closed);
    // Nor does a probe of an earlier half-open stretch.
    let wide = consecutive(1, 2);
    opens(&wide, now);
    let now = now + 60 * SECOND + TICK;
    let [failing, late] = [(); 2].map(|()| wide.admit(now).unwrap());
    assert_eq!(
        wide.told(0, failing, Verdict::Failed, now).map(|moved| moved.to),
        Some(State::Open)
    );
    let now = now + 60 * SECOND + TICK;
    let probes = [(); 2].map(|()| wide.admit(now).unwrap());
    assert_eq!(wide.told(0, late, Verdict::Failed, now), None);
    assert_eq!(wide.state(), State::HalfOpen);
    assert!(wide.admit(now).is_err(), "it gave no place back that was not its own");
    drop(probes);
}

#[test]
fn a_ratio_opens_with_the_twentieth_of_twenty_and_not_with_the_nineteenth() {
    let (breaker, now) = (ratio(), start());
    (0..19).for_each(|_| fail(&breaker, now));
    let why = opens(&breaker, now);
    assert_eq!(why, Why::Share { failed: 20, total: 20, window: 10 * SECOND });
    assert_eq!(why.to_string(), "20 of 20 failed in 10s");
    assert_open_until(&breaker, now + 10 * SECOND);
}

#[test]
fn a_ratio_is_reached_by_as_much_as_is_written() {
    // 5 % of them, as handy's vector, but inclusive: 5 of 100 open.
    let window = Bounds { failures: Share::new(500).unwrap(), ..Bounds::default() };
    let (breaker, now) = (Breaker::new(with(Trip::Ratio(window), 1, 1), 2), start());
    (0..96).for_each(|_| good(&breaker, now));
    (0..5).for_each(|_| fail(&breaker, now));
    assert_eq!(opens(&breaker, now), Why::Share { failed: 6, total: 102, window: 10 * SECOND });
    assert_open_until(&breaker, now + SECOND);
}

#[test]
fn a_success_may_be_the_outcome_that_was_missing() {
    let (breaker, now) = (ratio(), start());
    (0..10).for_each(|_| fail(&breaker, now));
    (0..9).for_each(|_| good(&breaker, now));
    let moved = attempt(&breaker, Verdict::Good, now).unwrap().unwrap();
    assert_eq!(moved.why, Why::Share { failed: 10, total: 20, window: 10 * SECOND });
}

#[test]
fn outcomes_leave_the_window_within_a_tenth_of_it() {
    for (after, counts) in [(8, true), (10, false), (11, false), (1000, false)] {
        let (breaker, now) = (ratio(), start());
        (0..19).for_each(|_| fail(&breaker, now));
        let later = now + after * SECOND;
        let moved = attempt(&breaker, Verdict::Failed, later).unwrap();
        assert_eq!(moved.is_some(), counts, "after {after} s");
    }
    // It rolls: what is old leaves bit by bit.
    let (breaker, now) = (ratio(), start());
    for second in 0..100 {
        let now = now + second * SECOND;
        fail(&breaker, now);
        if second % 2 == 0 {
            fail(&breaker, now);
        }
    }
    let later = now + 100 * SECOND;
    (0..6).for_each(|_| assert!(breaker.admit(later).is_ok()));
    (0..6).for_each(|_| fail(&breaker, later));
    let why = opens(&breaker, later);
    assert!(matches!(why, Why::Share { failed: 20, total: 20, .. }), "{why:?}");
}

#[test]
fn a_window_begins_empty_after_closing() {
    let window = Bounds { min_requests: 4, ..Bounds::default() };
    let config = BreakerConfig { open: TICK, ..with(Trip::Ratio(window), 0, 1) };
    let (breaker, now) = (Breaker::new(config, 2), start());
    (0..3).for_each(|_| fail(&breaker, now));
    opens(&breaker, now);
    // In the same tenth of the window.
    let later = now + 3 * TICK;
    assert_eq!(attempt(&breaker, Verdict::Good, later).unwrap().unwrap().to, State::Closed);
    (0..3).for_each(|_| fail(&breaker, later));
    assert_eq!(opens(&breaker, later), Why::Share { failed: 4, total: 4, window: 10 * SECOND });
}

#[test]
fn workers_count_together() {
    let (breaker, now) = (ratio(), start());
    let told = |worker, verdict| {
        let pass = breaker.admit(now).unwrap();
        breaker.told(worker, pass, verdict, now)
    };
    for _ in 0..5 {
        assert_eq!(told(0, Verdict::Good), None);
        assert_eq!(told(1, Verdict::Good), None);
    }
    for _ in 0..9 {
        assert_eq!(told(0, Verdict::Failed), None);
    }
    let moved = told(1, Verdict::Failed).unwrap();
    assert_eq!(moved.why, Why::Share { failed: 10, total: 20, window: 10 * SECOND });
}

#[test]
fn hystrix_refuses_the_eleventh_at_a_time_which_is_no_failure() {
    let (breaker, now) = (hystrix(), start());
    assert_eq!(breaker.timeout(), Some(SECOND));
    let mut passes: Vec<_> = (0..10).map(|_| breaker.admit(now).unwrap()).collect();
    for _ in 0..100 {
        assert_eq!(breaker.admit(now).unwrap_err(), Shut::Full);
        assert_eq!(breaker.shut(now), Some(Shut::Full));
    }
    // Its place is held longer than until its verdict by who takes it over.
    let mut first = passes.pop().unwrap();
    let hold = first.take_hold();
    assert_eq!(breaker.told(0, first, Verdict::Good, now), None);
    assert_eq!(breaker.admit(now).unwrap_err(), Shut::Full);
    drop(hold);
    passes.push(breaker.admit(now).unwrap());
    assert_eq!(breaker.admit(now).unwrap_err(), Shut::Full);
    for pass in passes {
        assert_eq!(breaker.told(0, pass, Verdict::Failed, now), None);
    }
    (0..8).for_each(|_| fail(&breaker, now));
    let why = opens(&breaker, now);
    assert_eq!(why, Why::Share { failed: 19, total: 20, window: 10 * SECOND });
    assert_open_until(&breaker, now + 5 * SECOND);
    let later = now + 5 * SECOND + TICK;
    let probe = breaker.admit(later).unwrap();
    assert_ne!(breaker.admit(later).unwrap_err(), Shut::Full, "it is the probe that is missing");
    assert!(breaker.told(0, probe, Verdict::Good, later).is_some());
    assert_eq!(breaker.state(), State::Closed);
    let all: Vec<_> = (0..10).map(|_| breaker.admit(later).unwrap()).collect();
    assert_eq!(breaker.admit(later).unwrap_err(), Shut::Full, "every place came back");
    drop(all);
}

#[test]
fn time_alone_makes_it_half_open_once() {
    let (breaker, now) = (consecutive(1, 1), start());
    assert_eq!(breaker.settle(now), (None, None));
    opens(&breaker, now);
    let (moved, next) = breaker.settle(now);
    let next = next.unwrap();
    assert!(moved.is_none() && next <= now + 60 * SECOND && next > now + 60 * SECOND - TICK);
    assert!(breaker.shut(now).is_some() && breaker.shut(next).is_none());
    let moved = breaker.settle(next).0.unwrap();
    assert_eq!((moved.from, moved.to, moved.why), (State::Open, State::HalfOpen, Why::Rested));
    assert_eq!(breaker.settle(next), (None, None));
    let probe = breaker.admit(next).unwrap();
    assert_eq!(probe.moved(), None, "it was moved already");
    assert_eq!(breaker.shut(next), Some(Shut::Open { until: next }));
    assert!(breaker.told(0, probe, Verdict::Good, next).is_some());
}

#[test]
fn the_share_let_through_rises_evenly_after_closing() {
    let config =
        BreakerConfig { ramp: 10 * SECOND, ..with(Trip::Consecutive { failures: 2 }, 60, 1) };
    let (breaker, now) = (Breaker::new(config, 1), start());
    fail(&breaker, now);
    opens(&breaker, now);
    let now = now + 60 * SECOND + TICK;
    assert!(attempt(&breaker, Verdict::Good, now).unwrap().is_some());
    // A hundred draws, evenly spread.
    let admitted = |at: Instant| {
        let draws = (0..100).map(|draw| (draw << 32) / 100);
        let asked = draws
            .filter(|draw: &u64| breaker.admit_by(at, || u32::try_from(*draw).unwrap()).is_ok());
        asked.count()
    };
    for (after, share) in [(0, 0), (1, 10), (25, 250), (50, 500), (99, 990)] {
        let found = admitted(now + after * SECOND / 10) * 10;
        assert!(found.abs_diff(share) <= 10, "after {after} tenths {found} of 1000");
    }
    let later = now + 5 * SECOND;
    assert_eq!(breaker.admit_by(later, || u32::MAX).unwrap_err(), Shut::Open { until: later });
    // It opens by its usual rule, and its row is that of the time since it closed.
    let first = breaker.admit_by(later, || 0).unwrap();
    assert_eq!(breaker.told(0, first, Verdict::Failed, later), None);
    let second = breaker.admit_by(later, || 0).unwrap();
    assert_eq!(breaker.told(0, second, Verdict::Failed, later).unwrap().to, State::Open);
}

#[test]
fn a_ramp_that_is_over_costs_no_draw() {
    let config = BreakerConfig { ramp: SECOND, ..with(Trip::Consecutive { failures: 1 }, 60, 1) };
    let (breaker, now) = (Breaker::new(config, 1), start());
    let undrawn = || -> u32 { panic!("all go through") };
    assert!(breaker.admit_by(now, undrawn).is_ok(), "new, not closed again");
    opens(&breaker, now);
    let now = now + 60 * SECOND + TICK;
    assert!(attempt(&breaker, Verdict::Good, now).unwrap().is_some());
    let pass = breaker.admit_by(now + SECOND, undrawn).unwrap();
    assert!(breaker.admit_by(now, undrawn).is_ok(), "also for a worker whose clock is behind");
    assert!(breaker.told(0, pass, Verdict::Failed, now + SECOND).is_some());
}

/// The rules in the plainest form there is: one thread, a list of outcomes.
struct Model {
    config: BreakerConfig,
    state: State,
    generation: u32,
    until: Instant,
    row: u32,
    few: bool,
    outcomes: VecDeque<(u64, bool)>,
    under_way: u32,
    good: u32,
}

impl Model {
    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.generation += 1;
        self.until = now + self.config.open;
        (self.row, self.under_way, self.good) = (0, 0, 0);
        self.outcomes.clear();
    }

    fn admit(&mut self, now: Instant) -> Option<u32> {
        if self.state == State::Open && now >= self.until {
            self.enter(State::HalfOpen, now);
        }
        match self.state {
            State::Open => return None,
            State::HalfOpen if self.under_way + self.good >= self.config.probes => return None,
            State::HalfOpen => self.under_way += 1,
            State::Closed => {}
        }
        Some(self.generation)
    }

    fn told(&mut self, of: u32, verdict: Verdict, now: Instant, tenth: u64) {
        if of != self.generation {
            return;
        }
        if self.state == State::HalfOpen {
            self.under_way -= 1;
            match verdict {
                Verdict::Failed => self.enter(State::Open, now),
                Verdict::Good => self.good += 1,
                Verdict::Neutral => {}
            }
            if self.state == State::HalfOpen && self.good == self.config.probes {
                self.enter(State::Closed, now);
            }
            return;
        }
        if verdict == Verdict::Neutral {
            return;
        }
        let failed = verdict == Verdict::Failed;
        self.row = if failed { self.row + 1 } else { 0 };
        self.outcomes.push_back((tenth, failed));
        self.outcomes.retain(|(at, _)| at + 9 >= tenth);
        let trips = match self.config.trip {
            Trip::Consecutive { failures } => self.row >= failures,
            Trip::Ratio(window) | Trip::Hystrix { window, .. } => {
                let failures = self.outcomes.iter().filter(|(_, failed)| *failed).count();
                let total = self.outcomes.len();
                let enough = total >= window.min_requests as usize;
                let reached = failures * 10_000 >= total * window.failures.hundredths() as usize;
                // A success opens it only as the outcome that was missing.
                let looked = failed || self.few;
                self.few = if looked { reached && !enough } else { self.few };
                looked && reached && enough
            }
        };
        if trips {
            self.enter(State::Open, now);
        }
    }
}

#[test]
fn it_does_what_a_list_of_outcomes_would_say() {
    let window = Bounds {
        failures: Share::new(4_000).unwrap(),
        min_requests: 6,
        window: Duration::from_secs(1),
    };
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let trip = match seed % 2 {
            0 => Trip::Consecutive { failures: random.u32(1..5) },
            _ => Trip::Ratio(window),
        };
        let config = BreakerConfig {
            open: Duration::from_millis(random.u64(1..800)),
            ..with(trip, 0, random.u32(1..4))
        };
        let breaker = Breaker::new(config, 3);
        // On whole milliseconds, which both sides know.
        let mut millis = clock::nanos(start()) / 1_000_000;
        let mut now = clock::at(millis * 1_000_000);
        let mut model = Model {
            config,
            state: State::Closed,
            generation: 0,
            until: now,
            row: 0,
            few: false,
            outcomes: VecDeque::new(),
            under_way: 0,
            good: 0,
        };
        let mut under_way = Vec::new();
        for step in 0..2_000 {
            match random.u8(..10) {
                0 => {
                    millis += random.u64(..150);
                    now = clock::at(millis * 1_000_000);
                }
                1..=5 => {
                    let (pass, expected) = (breaker.admit(now), model.admit(now));
                    assert_eq!(pass.is_ok(), expected.is_some(), "seed {seed} step {step}");
                    under_way.extend(pass.ok().zip(expected));
                }
                _ if under_way.is_empty() => {}
                _ => {
                    let (pass, of) = under_way.swap_remove(random.usize(..under_way.len()));
                    let verdict = match random.u8(..10) {
                        0..=4 => Verdict::Good,
                        5..=8 => Verdict::Failed,
                        _ => Verdict::Neutral,
                    };
                    breaker.told(random.usize(..3), pass, verdict, now);
                    // A tenth of the window is 100 ms.
                    model.told(of, verdict, now, clock::nanos(now) / 100_000_000);
                }
            }
            assert_eq!(breaker.state(), model.state, "seed {seed} step {step}");
        }
    }
}

#[test]
fn never_more_probes_than_wanted_on_many_threads() {
    const PROBES: u32 = 3;
    let (breaker, start) = (consecutive(1, PROBES), start());
    let (most, moves, closed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (breaker, barrier, most, moves, closed) =
                (&breaker, &barrier, &most, &moves, &closed);
            scope.spawn(move || {
                for round in 1..=300_u32 {
                    let now = start + round * 120 * SECOND;
                    if barrier.wait().is_leader() {
                        assert!(
                            breaker
                                .told(0, breaker.admit(now).unwrap(), Verdict::Failed, now)
                                .is_some()
                        );
                        most.store(0, SeqCst);
                    }
                    barrier.wait();
                    // All at once, once it was open for long enough; who is let through first also moves it.
                    let later = now + 61 * SECOND;
                    let passes: Vec<_> = (0..8).filter_map(|_| breaker.admit(later).ok()).collect();
                    most.fetch_add(passes.len(), SeqCst);
                    moves.fetch_add(passes.iter().filter_map(Pass::moved).count() as u64, SeqCst);
                    barrier.wait();
                    assert_eq!(most.load(SeqCst), PROBES as usize, "round {round}");
                    barrier.wait();
                    for pass in passes {
                        let moved = breaker.told(worker, pass, Verdict::Good, later);
                        closed.fetch_add(u64::from(moved.is_some()), SeqCst);
                    }
                    barrier.wait();
                    assert_eq!(breaker.state(), State::Closed);
                    barrier.wait();
                }
            });
        }
    });
    assert_eq!((moves.load(SeqCst), closed.load(SeqCst)), (300, 300), "each move is told once");
}

#[test]
fn of_failures_told_at_once_exactly_the_last_one_opens() {
    let start = start();
    for trip in [
        Trip::Consecutive { failures: 4_000 },
        Trip::Ratio(Bounds { min_requests: 4_000, ..Bounds::default() }),
    ] {
        for _ in 0..20 {
            let breaker = Breaker::new(with(trip, 10, 1), 4);
            let (moves, refused) = (AtomicU64::new(0), AtomicBool::new(false));
            thread::scope(|scope| {
                for worker in 0..4 {
                    let (breaker, moves, refused) = (&breaker, &moves, &refused);
                    scope.spawn(move || {
                        for _ in 0..1_000 {
                            let Ok(pass) = breaker.admit(start) else {
                                refused.store(true, SeqCst);
                                return;
                            };
                            let moved = breaker.told(worker, pass, Verdict::Failed, start);
                            moves.fetch_add(u64::from(moved.is_some()), SeqCst);
                        }
                    });
                }
            });
            assert!(!refused.load(SeqCst), "it opened too early");
            assert_eq!((moves.load(SeqCst), breaker.state()), (1, State::Open));
        }
    }
}

#[test]
fn never_more_than_there_are_places_for_on_many_threads() {
    let (breaker, now) = (hystrix(), start());
    let (held, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let passes: Vec<_> = (0..4).filter_map(|_| breaker.admit(now).ok()).collect();
                    peak.fetch_max(held.fetch_add(passes.len(), SeqCst) + passes.len(), SeqCst);
                    held.fetch_sub(passes.len(), SeqCst);
                }
            });
        }
    });
    assert!(peak.load(SeqCst) <= 10, "{peak:?} at a time");
    let all: Vec<_> = (0..20).filter_map(|_| breaker.admit(now).ok()).collect();
    assert_eq!(all.len(), 10, "none was lost");
}

#[test]
#[ignore = "prints what an attempt costs; run it alone, optimised"]
fn what_a_good_attempt_costs() {
    const ROUNDS: u32 = 5_000_000;
    for (name, breaker) in
        [("consecutive", consecutive(6, 1)), ("ratio", ratio()), ("hystrix", hystrix())]
    {
        let now = Instant::now();
        for _ in 0..ROUNDS {
            let pass = std::hint::black_box(&breaker).admit(now).unwrap();
            std::hint::black_box(breaker.told(0, pass, Verdict::Good, now));
        }
        eprintln!(
            "{name}: {:.1} ns admitted and told",
            now.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
        );
    }
    let (breaker, now) = (consecutive(1, 1), start());
    opens(&breaker, now);
    for _ in 0..ROUNDS {
        std::hint::black_box(std::hint::black_box(&breaker).admit(now).is_err());
    }
    eprintln!("open: {:.1} ns", now.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
}
