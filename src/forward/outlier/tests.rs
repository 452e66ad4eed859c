//! Who goes, when, for how long, and how many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::*;
use crate::config::model::{Endpoint, HostPort, Scheme, ServiceConfig, Share};
use crate::forward::service::Source;
use crate::tests::said;

const SECOND: Duration = Duration::from_secs(1);
const NOBODY: &[usize] = &[];

fn endpoint(at: usize) -> Endpoint {
    let address = HostPort { host: "127.0.0.1".into(), port: u16::try_from(at).unwrap() + 1 };
    Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
}

fn set(service: &Service, instances: impl IntoIterator<Item = usize>) {
    let endpoints: Vec<_> = instances.into_iter().map(endpoint).collect();
    service.update(&endpoints, &[], Source::Static);
}

fn service(outlier: OutlierConfig, instances: usize) -> Service {
    let config = ServiceConfig { outlier: Some(outlier), ..ServiceConfig::default() };
    let service = Service::new(Arc::new(config), 2);
    set(&service, 0..instances);
    service
}

/// So many failures of one instance, seen by both workers.
fn fail(service: &Service, at: usize, times: usize, now: Instant) {
    let instance = &service.set().instances[at];
    (0..times).for_each(|time| told(service, instance, time % 2, (Verdict::Failed, now)));
}

fn good(service: &Service, at: usize, times: usize, now: Instant) {
    let instance = &service.set().instances[at];
    (0..times).for_each(|time| told(service, instance, time % 2, (Verdict::Good, now)));
}

fn out(service: &Service) -> Vec<usize> {
    let set = service.set();
    let ejected = |at: &usize| set.instances[*at].standing.has(Reason::Ejected);
    (0..set.instances.len()).filter(ejected).collect()
}

#[test]
fn the_fifth_failure_in_a_row_ejects_and_a_success_between_them_does_not() {
    let (service, now) = (service(OutlierConfig::default(), 3), Instant::now());
    let version = service.version();
    fail(&service, 1, 4, now);
    good(&service, 1, 1, now);
    fail(&service, 1, 4, now);
    let instance = Arc::clone(&service.set().instances[1]);
    told(&service, &instance, 0, (Verdict::Neutral, now));
    assert_eq!((out(&service), service.version()), (vec![], version));
    fail(&service, 1, 1, now);
    assert_eq!((out(&service), service.ejections.counts()), (vec![1], [1, 0]));
    assert!(service.version() > version, "the workers are told");
    assert!(instance.record.until().is_some());
    let one = self::service(OutlierConfig::default(), 1);
    fail(&one, 0, 50, now);
    assert_eq!(out(&one), NOBODY, "a single one stays");
}

#[test]
fn a_broken_body_fails_although_its_head_was_good_and_a_bad_status_counts_once() {
    let service = service(OutlierConfig::default(), 3);
    let instance = Arc::clone(&service.set().instances[0]);
    let failures = || instance.record.failures.load(SeqCst);
    for said in [(Verdict::Good, End::Broken), (Verdict::Failed, End::Broken)] {
        ended(&service, &instance, 0, said);
    }
    // Its head told this one already; and whether a client stays says nothing.
    ended(&service, &instance, 0, (Verdict::Failed, End::Complete));
    ended(&service, &instance, 0, (Verdict::Good, End::Abandoned));
    assert_eq!(failures(), 1);
    ended(&service, &instance, 0, (Verdict::Good, End::Complete));
    assert_eq!(failures(), 0);
    (0..5).for_each(|_| ended(&service, &instance, 1, (Verdict::Good, End::Broken)));
    assert_eq!(out(&service), [0]);
}

#[test]
fn an_ejection_lasts_longer_each_time_and_shorter_again_after_quiet_intervals() {
    let config = OutlierConfig::default();
    let (service, mut now) = (service(config, 2), Instant::now());
    let about = |lasted: Duration, seconds: u64| {
        let whole = Duration::from_secs(seconds);
        assert!(lasted >= whole.mul_f64(0.9) && lasted <= whole.mul_f64(1.1), "{lasted:?}");
    };
    let eject = |now: Instant| {
        fail(&service, 0, 5, now);
        let (changed, due) = settle(&service, &service.set().instances, now);
        assert_eq!((changed, out(&service)), (false, vec![0]));
        due.unwrap()
    };
    for seconds in [30, 60, 90] {
        let due = eject(now);
        about(due - now, seconds);
        let just_before = due - Duration::from_millis(1);
        assert!(!settle(&service, &service.set().instances, just_before).0);
        assert_eq!(settle(&service, &service.set().instances, due), (true, None));
        assert_eq!(out(&service), NOBODY);
        fail(&service, 0, 4, due);
        assert_eq!(out(&service), NOBODY, "its record is fresh");
        good(&service, 0, 1, due);
        now = due;
    }
    // Two quiet intervals take two off three; one is added.
    let later = now + Duration::from_secs(29);
    about(eject(later) - later, 60);
}

#[test]
fn no_ejection_is_longer_than_the_longest() {
    let config = OutlierConfig::default();
    assert_eq!(lasting(&config, 1, 0.5), Duration::from_secs(30));
    assert_eq!(lasting(&config, 1, 0.0), Duration::from_secs(27));
    assert_eq!(lasting(&config, 1, 1.0), Duration::from_secs(33));
    assert_eq!(lasting(&config, u32::MAX, 1.0), config.max_eject);
}

#[test]
fn no_more_than_the_share_is_out_but_one_of_two_may_always_go() {
    for (instances, share, most) in
        [(1, 10_000, 0), (2, 0, 1), (2, 5_000, 1), (3, 5_000, 1), (5, 5_000, 2), (4, 10_000, 4)]
    {
        let max_share = Share::new(share).unwrap();
        let service = service(OutlierConfig { max_share, ..OutlierConfig::default() }, instances);
        for at in 0..instances {
            fail(&service, at, 20, Instant::now());
        }
        assert_eq!(out(&service).len(), most, "{instances} of which {share}");
    }
}

#[test]
fn what_the_share_holds_back_is_counted_and_said_once_in_an_interval() {
    let (service, now) = (service(OutlierConfig::default(), 3), Instant::now());
    fail(&service, 0, 5, now);
    assert_eq!(service.ejections.overflow(), 0);
    let lines = said(|| {
        fail(&service, 1, 6, now);
        fail(&service, 2, 5, now + 9 * SECOND);
    });
    assert_eq!(service.ejections.overflow(), 3);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in ["not ejected", "instance=127.0.0.1:2", "max_share=50%", "out=1"] {
        assert!(lines[0].contains(part), "{lines:#?}");
    }
    assert_eq!(said(|| fail(&service, 2, 1, now + 10 * SECOND)).len(), 1);
    let alone = self::service(OutlierConfig::default(), 1);
    assert!(said(|| fail(&alone, 0, 9, now)).is_empty(), "the only one never goes");
}

#[test]
fn an_instance_that_leaves_makes_room_and_a_smaller_set_takes_the_oldest_back() {
    let (service, now) = (service(OutlierConfig::default(), 4), Instant::now());
    fail(&service, 0, 5, now);
    fail(&service, 1, 5, now + SECOND);
    fail(&service, 2, 9, now + SECOND);
    assert_eq!(out(&service), [0, 1]);
    set(&service, 1..5);
    assert_eq!(out(&service), [0], "which is what 1 was before, and still is");
    fail(&service, 1, 1, now + 2 * SECOND);
    assert_eq!(out(&service), [0, 1], "one more failure of what had failed enough");
    set(&service, 1..4);
    assert!(settle(&service, &service.set().instances, now + 2 * SECOND).0);
    assert_eq!(out(&service), [1], "only one of three may be out, and 0 was out for longer");
    set(&service, 2..4);
    set(&service, 1..4);
    fail(&service, 0, 5, now + 2 * SECOND);
    assert_eq!(out(&service), [1]);
}

#[test]
fn whoever_fails_far_more_often_than_the_others_is_ejected_at_the_end_of_an_interval() {
    let config =
        OutlierConfig { success_rate: true, consecutive: 1_000, ..OutlierConfig::default() };
    let (service, mut now) = (service(config, 6), Instant::now());
    let settle = |now| settle(&service, &service.set().instances, now);
    assert_eq!(settle(now), (false, Some(now + config.interval)));
    let interval = |bad: usize, attempts: usize, now: Instant| {
        for at in 0..6 {
            let failed = if at == 2 { bad } else { 0 };
            fail(&service, at, failed, now);
            good(&service, at, attempts - failed, now);
        }
    };
    // Too few of each, then one that fails half of the time.
    for (attempts, ejected) in [(99, vec![]), (100, vec![2])] {
        interval(50, attempts, now);
        assert_eq!(settle(now + config.interval - SECOND), (false, Some(now + config.interval)));
        assert_eq!(out(&service), NOBODY);
        now += config.interval;
        settle(now);
        assert_eq!(out(&service), ejected);
    }
    assert_eq!(service.ejections.counts(), [0, 1]);
    let few = self::service(config, 4);
    assert_eq!(super::settle(&few, &few.set().instances, now), (false, None), "nothing is due");
}

#[test]
fn with_nothing_ejected_nothing_is_due() {
    let (service, now) = (service(OutlierConfig::default(), 3), Instant::now());
    assert_eq!(settle(&service, &service.set().instances, now), (false, None));
    fail(&service, 0, 4, now);
    assert_eq!(settle(&service, &service.set().instances, now), (false, None));
}

/// Eight workers fail and mend everything while time runs and the set changes: the share is never exceeded, and in the
/// end nothing is lost of it.
#[test]
fn the_share_holds_whoever_ejects_returns_and_leaves_at_the_same_time() {
    let config = OutlierConfig { consecutive: 1, ..OutlierConfig::default() };
    let service = service(config, 16);
    let (over, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (service, over, most) = (&service, &over, &most);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(worker);
                while !over.load(SeqCst) {
                    let set = service.set();
                    let instance = &set.instances[random.usize(..set.instances.len())];
                    told(service, instance, worker as usize % 2, (Verdict::Failed, start));
                    most.fetch_max(service.ejections.out.load(SeqCst), SeqCst);
                }
            });
        }
        for round in 0..400_u32 {
            set(&service, (0..16).map(|at| at + if round % 2 == 0 { 0 } else { 8 }));
            settle(&service, &service.set().instances, start + round * config.max_eject);
            std::thread::yield_now();
        }
        over.store(true, SeqCst);
    });
    assert!((1..=8).contains(&most.load(SeqCst)), "{} at a time", most.load(SeqCst));
    let out = out(&service).len();
    assert_eq!(out, service.ejections.out.load(SeqCst), "what is reserved is out");
    settle(&service, &service.set().instances, start + 1_000 * config.max_eject);
    assert_eq!((self::out(&service).len(), service.ejections.out.load(SeqCst)), (0, 0));
}
