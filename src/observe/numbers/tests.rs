use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::*;

fn exchange(method: Method) -> Exchange {
    Exchange {
        id: HeaderValue::from_static("0123"),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        route: Some(0),
        method,
        trusted: false,
        tls: false,
        may_switch: false,
        preflight: None,
        began: Instant::now(),
        refusal: None,
        caller: None,
        marks: Vec::new(),
        hints: Vec::new(),
        admitted: std::cell::Cell::new(false),
        cause: None,
        answerer: None,
        json: false,
        stopped: false,
        attempts: 1,
        retries: [0; RetryReason::ALL.len()],
        suppressed: None,
        counted: std::cell::Cell::new(true),
    }
}

fn ending(status: u16, fate: Fate) -> Ending {
    Ending { status, fate, took: Duration::from_millis(3) }
}

#[test]
fn every_key_comes_back_as_what_it_was_made_of() {
    let numbers = RouteNumbers::new(1);
    let methods: Vec<Method> =
        METHODS.iter().map(|name| Method::from_bytes(name.as_bytes()).unwrap()).collect();
    for method in &methods {
        for status in [0, 100, 200, 599, 999] {
            for fate in Fate::ALL {
                numbers.began(0);
                numbers.ended(0, &exchange(method.clone()), ending(status, fate));
            }
        }
    }
    let totals = Totals::of(&numbers);
    let ended: Vec<_> = totals.ended().collect();
    assert_eq!(ended.len(), methods.len() * 5 * Fate::ALL.len());
    for method in METHODS {
        for status in [0, 100, 200, 599, 999] {
            for fate in Fate::ALL {
                assert!(ended.contains(&Ended { method, status, fate, count: 1 }));
            }
        }
    }
    assert_eq!(totals.requests(), ended.len() as u64);
    assert_eq!(totals.durations.count(), ended.len() as u64);
}

#[test]
fn a_method_a_client_makes_up_is_other() {
    assert_eq!(RouteNumbers::method_label(&Method::from_bytes(b"PURGE").unwrap()), "other");
    assert_eq!(RouteNumbers::method_label(&Method::from_bytes(b"get").unwrap()), "other");
    assert_eq!(RouteNumbers::method_label(&Method::PATCH), "PATCH");
}

#[test]
fn refusals_retries_and_errors_are_counted_with_the_exchange_that_had_them() {
    let numbers = RouteNumbers::new(2);
    let mut refused = exchange(Method::GET);
    refused.refusal = Some(Refusal::NoInstance);
    refused.retries = [2, 0, 1, 0, 0, 3];
    refused.suppressed = Some(Suppressed::Budget);
    numbers.began(1);
    numbers.began(0);
    numbers.ended(1, &refused, ending(503, Fate::Refused));
    assert_eq!(numbers.in_flight(), 1);
    numbers.ended(0, &exchange(Method::GET), ending(200, Fate::UpstreamFailed));
    assert_eq!(numbers.in_flight(), 0);
    numbers.ended(0, &exchange(Method::GET), ending(200, Fate::Answered));
    let totals = Totals::of(&numbers);
    assert_eq!(numbers.refused(Refusal::NoInstance), 1);
    assert_eq!(numbers.refused(Refusal::NoRoute), 0);
    assert_eq!(totals.retries, [2, 0, 1, 0, 0, 3]);
    assert_eq!(totals.suppressed, [0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(totals.errors(), 2);
    assert_eq!(totals.requests(), 3);
}

#[test]
fn a_worker_that_never_counted_costs_a_pointer_and_a_flag() {
    let numbers = RouteNumbers::new(16);
    numbers.began(3);
    assert_eq!(size_of_val(&*numbers.workers), 16 * 16);
    assert_eq!(numbers.parts().count(), 1);
}

#[test]
fn a_reader_beside_many_writers_sees_sums_that_only_grow_and_end_right() {
    const WORKERS: usize = 4;
    const EACH: u64 = 20_000;
    let numbers = RouteNumbers::new(WORKERS);
    std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for worker in 0..WORKERS {
            let numbers = &numbers;
            writers.push(scope.spawn(move || {
                let exchange = exchange(Method::GET);
                for i in 0..EACH {
                    numbers.began(worker);
                    let status = 200 + u16::try_from(i % 20).unwrap();
                    numbers.ended(worker, &exchange, ending(status, Fate::Answered));
                }
            }));
        }
        let mut before = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            let totals = Totals::of(&numbers);
            assert!(totals.requests() >= before);
            assert!(totals.in_flight <= WORKERS as u64 * EACH);
            before = totals.requests();
        }
    });
    let totals = Totals::of(&numbers);
    assert_eq!(totals.requests(), WORKERS as u64 * EACH);
    assert_eq!(totals.durations.count(), WORKERS as u64 * EACH);
    assert_eq!(totals.durations.sum(), Duration::from_millis(3) * (WORKERS as u32 * EACH as u32));
    assert_eq!(totals.ended().count(), 20);
    assert_eq!(totals.in_flight, 0);
}
