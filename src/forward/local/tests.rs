//! Who is picked while instances are taken out, come back and start slowly.

use std::time::Duration;

use super::*;
use crate::config::model::{
    BreakerConfig, BreakerScope, Endpoint, HostPort, Scheme, ServiceConfig, Share, Trip, Window,
};
use crate::forward::outlier;
use crate::forward::service::Source;
use crate::forward::standing::Reason;
use crate::forward::verdict::Verdict;
use crate::forward::view::FEW;

fn endpoint(at: usize) -> Endpoint {
    let address = HostPort { host: "127.0.0.1".into(), port: u16::try_from(at).unwrap() + 1 };
    Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
}

fn local(config: ServiceConfig, instances: usize) -> Local {
    let service = Arc::new(Service::new(Arc::new(config), 1));
    service.update(&(0..instances).map(endpoint).collect::<Vec<_>>(), &[], Source::Static);
    Local::new(service, 0, Rc::default())
}

/// The place of the picked instance in the set.
fn pick(local: &Local, now: Instant) -> Result<usize, Unpicked> {
    let picked = local.pick(&Wish { tried: &Tried::default(), hash: None, now })?;
    Ok(usize::from(picked.slot.instance.place.port) - 1)
}

fn eject(local: &Local, at: usize, now: Instant) {
    let instance = &local.service.set().instances[at];
    (0..5).for_each(|_| outlier::told(&local.service, instance, 0, (Verdict::Failed, now)));
    assert!(instance.standing.has(Reason::Ejected), "{at}");
}

#[test]
fn what_was_taken_out_is_passed_over_before_the_view_is_made_anew() {
    const MANY: usize = FEW + 50;
    let local = local(ServiceConfig::default(), MANY);
    // No time passes, so that the view stays as it is.
    let now = local.view.borrow().rests_until - Duration::from_nanos(1);
    for at in 0..MANY / 2 {
        eject(&local, at, now);
        assert!(pick(&local, now).unwrap() > at, "{at} is out");
    }
    assert_eq!(local.view.borrow().turns.len(), MANY, "it is the first view");
    let rested = local.view.borrow().rests_until;
    pick(&local, rested).unwrap();
    let made_anew = local.view.borrow().turns.len();
    assert_eq!(made_anew, MANY - MANY / 2);
    // The view rests from then on.
    let now = rested;
    for instance in &local.service.set().instances {
        local.service.drain(&instance.place, None, now);
    }
    assert_eq!(pick(&local, now), Err(Unpicked::NoInstance));
    local.service.restore(&local.service.set().instances[7].place);
    local.service.restore(&local.service.set().instances[299].place);
    assert_eq!(pick(&local, now), Ok(299), "back although no time has passed, and 7 is ejected");
}

#[test]
fn what_was_drained_gets_no_probe_before_the_view_is_made_anew() {
    const MANY: usize = FEW + 50;
    let trip = Trip::Consecutive { failures: 1 };
    let (open, ramp) = (Duration::from_secs(10), Duration::ZERO);
    let breaker = BreakerConfig { trip, open, probes: 1, ramp, scope: BreakerScope::Instance };
    let config =
        ServiceConfig { breaker: Some(breaker), outlier: None, ..ServiceConfig::default() };
    let local = local(config, MANY);
    let now = local.view.borrow().rests_until;
    let picked = local.pick(&Wish { tried: &Tried::default(), hash: None, now }).unwrap();
    let bad = picked.slot.instance.place.clone();
    picked.tell(Verdict::Failed, now);
    let now = now + open;
    local.service.settle(now);
    local.look(now);
    assert_eq!(local.view.borrow().probing.len(), 1);
    local.view.borrow_mut().rests_until = now + open;
    local.service.drain(&bad, None, now);
    assert_ne!(pick(&local, now), Ok(usize::from(bad.port) - 1));
    assert_eq!(local.view.borrow().probing.len(), 1, "it is the same view");
    for instance in &local.service.set().instances {
        local.service.drain(&instance.place, None, now);
    }
    assert_eq!(pick(&local, now), Err(Unpicked::NoInstance));
}

#[test]
fn of_other_zones_too_none_is_picked_that_was_drained() {
    const MANY: usize = FEW + 50;
    let config = ServiceConfig { zone: Some("a".into()), ..ServiceConfig::default() };
    let service = Arc::new(Service::new(Arc::new(config), 1));
    let zoned =
        |at| Endpoint { zone: Some(if at == 0 { "a" } else { "b" }.into()), ..endpoint(at) };
    service.update(&(0..MANY).map(zoned).collect::<Vec<_>>(), &[], Source::Static);
    let local = Local::new(service, 0, Rc::default());
    let now = local.view.borrow().rests_until - Duration::from_nanos(1);
    assert_eq!(pick(&local, now), Ok(0));
    for at in 0..MANY - 1 {
        local.service.drain(&endpoint(at).address, None, now);
    }
    assert_eq!(pick(&local, now), Ok(MANY - 1));
}

#[test]
fn a_slot_and_its_connections_stay_when_only_standings_change() {
    let local = local(ServiceConfig::default(), 3);
    let now = Instant::now();
    let before = local.view.borrow().slots.clone();
    eject(&local, 1, now);
    assert!((0..4).all(|_| pick(&local, now).unwrap() != 1));
    local.service.update(&[endpoint(1), endpoint(2)], &[], Source::Static);
    pick(&local, now).unwrap();
    let after = local.view.borrow().slots.clone();
    assert!(Rc::ptr_eq(&before[1], &after[0]) && Rc::ptr_eq(&before[2], &after[1]));
    assert_eq!(after.len(), 2);
}

#[test]
fn in_panic_the_ejected_are_picked_and_the_drained_are_not() {
    let config = ServiceConfig { panic: Share::WHOLE, ..ServiceConfig::default() };
    let (local, now) = (local(config, 4), Instant::now());
    eject(&local, 0, now);
    local.service.drain(&endpoint(1).address, None, now);
    let mut picked: Vec<_> = (0..6).map(|_| pick(&local, now).unwrap()).collect();
    picked.sort_unstable();
    assert_eq!(picked, [0, 0, 2, 2, 3, 3]);
    local.service.drain(&endpoint(2).address, None, now);
    local.service.drain(&endpoint(3).address, None, now);
    assert_eq!(pick(&local, now), Ok(0), "it is all that is left");
}

/// Each with a breaker that opens at the first failure, for a second.
fn local_with_breakers(panic: Share, instances: usize) -> Local {
    let breaker = BreakerConfig {
        trip: Trip::Consecutive { failures: 1 },
        open: Duration::from_secs(1),
        probes: 1,
        ramp: Duration::ZERO,
        scope: BreakerScope::Instance,
    };
    local(ServiceConfig { breaker: Some(breaker), panic, ..ServiceConfig::default() }, instances)
}

/// Fails an attempt at each of them.
fn fail_all(local: &Local, now: Instant) {
    while let Ok(picked) = local.pick(&Wish { tried: &Tried::default(), hash: None, now }) {
        picked.tell(Verdict::Failed, now);
    }
}

#[test]
fn what_is_down_is_not_tried_because_its_breaker_has_rested() {
    for reason in [Reason::Down, Reason::Unchecked, Reason::Ejected] {
        let (local, now) = (local_with_breakers(Share::NONE, 2), Instant::now());
        fail_all(&local, now);
        let instances = &local.service.set().instances;
        instances[0].standing.set(reason, true);
        local.service.stir();
        // Nobody has settled that the time of both is over.
        let rested = now + Duration::from_secs(2);
        let mut tried = Tried::default();
        tried.add(instances[1].id);
        assert!(
            local.pick(&Wish { tried: &tried, hash: None, now: rested }).is_err(),
            "{reason:?}"
        );
        assert_eq!(pick(&local, rested), Ok(1), "{reason:?}");
    }
}

#[test]
fn nobody_is_told_to_wait_for_the_breaker_of_what_is_down() {
    let (local, now) = (local_with_breakers(Share::NONE, 2), Instant::now());
    fail_all(&local, now);
    assert!(matches!(pick(&local, now), Err(Unpicked::Open { .. })));
    for instance in &local.service.set().instances {
        instance.standing.set(Reason::Down, true);
    }
    local.service.stir();
    assert_eq!(pick(&local, now), Err(Unpicked::NoInstance));
}

#[test]
fn of_another_zone_too_what_was_taken_out_is_passed_over_before_the_view_is_made_anew() {
    const MANY: usize = FEW + 50;
    let service = Arc::new(Service::new(
        Arc::new(ServiceConfig { zone: Some("a".to_owned()), ..ServiceConfig::default() }),
        1,
    ));
    let zoned = |at| Endpoint { zone: (at == 0).then(|| "a".to_owned()), ..endpoint(at) };
    service.update(&(0..MANY).map(zoned).collect::<Vec<_>>(), &[], Source::Static);
    let local = Local::new(service, 0, Rc::default());
    let now = local.view.borrow().rests_until - Duration::from_nanos(1);
    assert_eq!(pick(&local, now), Ok(0));
    for at in 1..MANY - 1 {
        local.service.drain(&endpoint(at).address, None, now);
    }
    let mut tried = Tried::default();
    tried.add(local.service.set().instances[0].id);
    let picked = local.pick(&Wish { tried: &tried, hash: None, now });
    assert_eq!(usize::from(picked.unwrap().slot.instance.place.port), MANY);
}

#[test]
fn another_zone_helps_out_however_many_of_the_own_one_are_full() {
    for own in [3, 8, 12] {
        let window = Window::default();
        let timeout = Duration::from_secs(1);
        let breaker = BreakerConfig {
            trip: Trip::Hystrix { window, max_concurrent: 1, timeout },
            open: timeout,
            probes: 1,
            ramp: Duration::ZERO,
            scope: BreakerScope::Instance,
        };
        let zone = Some("a".to_owned());
        let config = ServiceConfig { breaker: Some(breaker), zone, ..ServiceConfig::default() };
        let service = Arc::new(Service::new(Arc::new(config), 1));
        let zoned = |at| Endpoint { zone: (at < own).then(|| "a".to_owned()), ..endpoint(at) };
        service.update(&(0..=own).map(zoned).collect::<Vec<_>>(), &[], Source::Static);
        let (local, now) = (Local::new(service, 0, Rc::default()), Instant::now());
        let tried = Tried::default();
        let wish = Wish { tried: &tried, hash: None, now };
        let held: Vec<_> = (0..own).map(|_| local.pick(&wish).unwrap()).collect();
        assert!(held.iter().all(|picked| usize::from(picked.slot.instance.place.port) <= own));
        assert_eq!(pick(&local, now), Ok(own), "of {own}");
    }
}

/// The share of one of four instances that starts slowly, by what it gets of 20,000 picks.
#[test]
fn a_slow_start_thins_the_picks_of_every_balancer() {
    let slow_start = Duration::from_secs(10);
    for balance in balance::KINDS.iter().map(|kind| kind.name) {
        // Who goes by a key sends all of these to one instance.
        if balance == "consistent_hash" {
            continue;
        }
        let config =
            ServiceConfig { slow_start, balance: balance.into(), ..ServiceConfig::default() };
        let (local, begin) = (local(config, 3), Instant::now());
        local.service.update(&(0..4).map(endpoint).collect::<Vec<_>>(), &[], Source::Static);
        local.service.settle(begin);
        for (seconds, share) in [(0, 0.1), (5, 0.55), (10, 1.0)] {
            let now = begin + Duration::from_secs(seconds);
            let mut counts = [0.0_f64; 4];
            (0..20_000).for_each(|_| counts[pick(&local, now).unwrap()] += 1.0 / 20_000.0);
            let expected = share / 4.0;
            assert!((counts[3] - expected).abs() < 0.025, "{balance} {seconds}: {counts:?}");
            let others = (1.0 - expected) / 3.0;
            assert!(counts[..3].iter().all(|count| (count - others).abs() < 0.03), "{counts:?}");
        }
        local.service.settle(begin + slow_start);
    }
}

#[test]
fn when_all_start_slowly_their_picks_stand() {
    let slow_start = Duration::from_secs(10);
    let (local, now) =
        (local(ServiceConfig { slow_start, ..ServiceConfig::default() }, 1), Instant::now());
    local.service.update(&[endpoint(1), endpoint(2)], &[], Source::Static);
    local.service.settle(now);
    let picked: Vec<_> = (0..4).map(|_| pick(&local, now).unwrap()).collect();
    assert!(picked == [1, 2, 1, 2] || picked == [2, 1, 2, 1], "{picked:?}");
}

/// `cargo test --lib ejecting_half -- --ignored --nocapture`
#[test]
#[ignore = "prints what it costs"]
fn ejecting_half_of_ten_thousand_one_after_the_other() {
    let local = local(ServiceConfig::default(), 10_000);
    let begin = Instant::now();
    let (mut picking, mut slowest, mut renewed) = (Duration::ZERO, Duration::ZERO, 0);
    for at in 0..5_000 {
        eject(&local, at, Instant::now());
        let (before, view) = (Instant::now(), local.view.borrow().version);
        pick(&local, before).unwrap();
        picking += before.elapsed();
        slowest = slowest.max(before.elapsed());
        renewed += u32::from(local.view.borrow().version != view);
    }
    println!(
        "{:?} in all, {picking:?} in 5,000 picks, the slowest {slowest:?}, {renewed} views",
        begin.elapsed()
    );
}
