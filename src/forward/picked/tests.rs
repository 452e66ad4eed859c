//! Breakers of a service's instances, as one worker's picks meet them. Nobody tends the service here.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::model::{
    BreakerConfig, BreakerScope, Endpoint, HostPort, Scheme, ServiceConfig, Trip, Window,
};
use crate::forward::Service;
use crate::forward::local::{Tried, Unpicked, Wish};
use crate::forward::service::Source;
use crate::wire::clock;

const OPEN: Duration = Duration::from_secs(10);

fn endpoints(count: u16) -> Vec<Endpoint> {
    let endpoint = |number| Endpoint {
        scheme: Scheme::Http,
        address: HostPort { host: "127.0.0.1".into(), port: number },
        weight: 1,
        zone: None,
    };
    (1..=count).map(endpoint).collect()
}

fn local(trip: Trip, scope: BreakerScope, instances: u16) -> Local {
    let breaker = BreakerConfig { trip, open: OPEN, probes: 1, ramp: Duration::ZERO, scope };
    let config =
        ServiceConfig { breaker: Some(breaker), outlier: None, ..ServiceConfig::default() };
    let service = Arc::new(Service::new(Arc::new(config), 1));
    service.update(&endpoints(instances), &[], Source::Static);
    Local::new(service, 0, Rc::default())
}

fn once(scope: BreakerScope, instances: u16) -> Local {
    local(Trip::Consecutive { failures: 1 }, scope, instances)
}

fn start() -> Instant {
    clock::nanos(Instant::now());
    Instant::now()
}

fn pick(local: &Local, now: Instant) -> Result<Picked<'_>, Unpicked> {
    local.pick(&Wish { tried: &Tried::default(), hash: None, now })
}

/// The port of the instance that an attempt was made at.
fn attempt(local: &Local, verdict: Verdict, now: Instant) -> Result<u16, Unpicked> {
    pick(local, now).map(|picked| {
        let port = picked.slot.instance.place.port;
        picked.tell(verdict, now);
        port
    })
}

fn assert_open(local: &Local, now: Instant) {
    match attempt(local, Verdict::Good, now) {
        Err(Unpicked::Open { until }) => assert!(until >= now),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_open_instance_is_passed_over_and_all_open_ones_are_no_instance_to_ask() {
    let (local, now) = (once(BreakerScope::Instance, 3), start());
    let mut failed: Vec<_> =
        (0..3).map(|_| attempt(&local, Verdict::Failed, now).unwrap()).collect();
    failed.sort_unstable();
    assert_eq!(failed, [1, 2, 3], "each fails once");
    assert_open(&local, now);
    assert_open(&local, now);
}

#[test]
fn what_was_open_for_long_enough_is_asked_also_when_nobody_tends_the_service() {
    for scope in [BreakerScope::Instance, BreakerScope::Service] {
        let (local, now) = (once(scope, 1), start());
        attempt(&local, Verdict::Failed, now).unwrap();
        assert_open(&local, now);
        let later = now + OPEN;
        let probe = pick(&local, later).unwrap();
        assert_open(&local, later);
        // One that leaves gives its place back.
        drop(probe);
        attempt(&local, Verdict::Failed, later).unwrap();
        assert_open(&local, later);
        let later = later + OPEN;
        attempt(&local, Verdict::Good, later).unwrap();
        for _ in 0..3 {
            attempt(&local, Verdict::Good, later).unwrap();
        }
        let set = local.service.set();
        assert!(set.instances[0].standing.reasons().is_empty());
    }
}

#[test]
fn who_settles_makes_it_half_open_and_the_next_request_is_its_probe() {
    let (local, now) = (once(BreakerScope::Instance, 2), start());
    let bad = attempt(&local, Verdict::Failed, now).unwrap();
    let next = local.service.settle(now).unwrap();
    assert!(next <= now + OPEN && next > now + OPEN - Duration::from_millis(1));
    assert_ne!(attempt(&local, Verdict::Good, next), Ok(bad), "not before that");
    assert_eq!(local.service.settle(next), None);
    let set = local.service.set();
    let instance = set.instances.iter().find(|instance| instance.place.port == bad).unwrap();
    assert!(instance.standing.has(Reason::HalfOpen) && !instance.standing.has(Reason::Open));
    assert_eq!(attempt(&local, Verdict::Good, next), Ok(bad));
    assert!(instance.standing.reasons().is_empty());
}

#[test]
fn what_failed_once_is_no_probe_while_somebody_well_is_left() {
    let (local, now) = (once(BreakerScope::Instance, 4), start());
    let failed: Vec<_> = (0..3).map(|_| attempt(&local, Verdict::Failed, now).unwrap()).collect();
    let later = now + OPEN;
    local.service.settle(later);
    let first = pick(&local, later).unwrap();
    assert!(failed.contains(&first.slot.instance.place.port), "the first try is a probe");
    let mut tried = Tried::default();
    tried.add(first.slot.instance.id);
    first.tell(Verdict::Failed, later);
    let again = local.pick(&Wish { tried: &tried, hash: None, now: later }).unwrap();
    let port = again.slot.instance.place.port;
    assert!(!failed.contains(&port), "{port} of {failed:?}");
    tried.add(again.slot.instance.id);
    again.tell(Verdict::Failed, later);
    let last = local.pick(&Wish { tried: &tried, hash: None, now: later }).unwrap();
    assert!(failed.contains(&last.slot.instance.place.port), "nobody else is left");
}

#[test]
fn what_was_open_for_long_enough_is_not_asked_while_it_is_down() {
    let (local, now) = (once(BreakerScope::Instance, 2), start());
    let down = attempt(&local, Verdict::Failed, now).unwrap();
    let set = local.service.set();
    let instance = set.instances.iter().find(|instance| instance.place.port == down).unwrap();
    instance.standing.set(Reason::Down, true);
    local.service.stir();
    let later = now + OPEN / 2;
    assert_ne!(attempt(&local, Verdict::Failed, later), Ok(down));
    // It may be half-open by now, but is down; the other one is open for another half of the time.
    match attempt(&local, Verdict::Good, now + OPEN) {
        Err(Unpicked::Open { until }) => assert!(until > now + OPEN),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_instance_that_stays_keeps_its_breaker_when_the_set_changes() {
    let (local, now) = (once(BreakerScope::Instance, 1), start());
    attempt(&local, Verdict::Failed, now).unwrap();
    local.service.update(&endpoints(1), &[], Source::Live);
    assert_open(&local, now);
    local.service.update(&endpoints(2), &[], Source::Live);
    for _ in 0..4 {
        assert_eq!(attempt(&local, Verdict::Good, now), Ok(2));
    }
    local.service.update(&endpoints(1), &[], Source::Live);
    assert_open(&local, now);
}

#[test]
fn an_instance_taken_out_by_hand_is_not_waited_for() {
    let (local, now) = (once(BreakerScope::Instance, 1), start());
    attempt(&local, Verdict::Failed, now).unwrap();
    local.service.set().instances[0].standing.set(Reason::Drained, true);
    local.service.stir();
    assert_eq!(attempt(&local, Verdict::Good, now), Err(Unpicked::NoInstance));
    assert_eq!(attempt(&local, Verdict::Good, now + OPEN), Err(Unpicked::NoInstance));
}

#[test]
fn every_place_at_every_instance_is_found_however_many_are_full() {
    const INSTANCES: u16 = 30;
    let (window, timeout) = (Window::default(), OPEN);
    let trip = Trip::Hystrix { window, max_concurrent: 1, timeout };
    for (scope, places) in [(BreakerScope::Instance, INSTANCES), (BreakerScope::Service, 1)] {
        let (local, now) = (local(trip, scope, INSTANCES), start());
        let picked: Vec<_> = (0..places).map(|_| pick(&local, now).unwrap()).collect();
        assert_eq!(pick(&local, now).unwrap_err(), Unpicked::Full);
        assert_eq!(picked[0].breaker().and_then(Breaker::timeout), Some(timeout));
        // Its place is the connection's until the answer is over.
        let home = picked[0].home();
        drop(picked);
        let rest: Vec<_> = (1..places).map(|_| pick(&local, now).unwrap()).collect();
        assert_eq!(pick(&local, now).unwrap_err(), Unpicked::Full);
        home.done(None, StatusCode::OK, End::Complete);
        assert!(pick(&local, now).is_ok());
        drop(rest);
    }
}

#[test]
fn an_instance_whose_clients_leave_looks_slow_to_peak_ewma() {
    let config = ServiceConfig { balance: "peak_ewma".to_owned(), ..ServiceConfig::default() };
    let service = Arc::new(Service::new(Arc::new(config), 1));
    service.update(&endpoints(1), &[], Source::Static);
    let local = Local::new(service, 0, Rc::default());
    let now = Instant::now();
    let long_ago = now.checked_sub(Duration::from_millis(600)).unwrap();
    let picked = pick(&local, now).unwrap();
    let load = Rc::clone(&picked.slot);
    picked.tell(Verdict::Good, now + Duration::from_millis(5));
    let before = load.load.cost(now);
    drop(pick(&local, now).unwrap());
    assert!(load.load.cost(now) <= before, "one that is put back at once says nothing");
    drop(pick(&local, long_ago).unwrap());
    let found = load.load.cost(Instant::now());
    assert!((0.5..=1.0).contains(&found), "{found} s");
}
