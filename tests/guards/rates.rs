//! How often.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::{Answering, OK};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, SOON};

/// Limit and remaining, and the seconds until all is there again.
#[track_caller]
fn left(answer: &Message) -> (u64, u64, u64) {
    let number = |name: &str| {
        let value = answer.head.value(name);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {answer:?}"))
    };
    (number("ratelimit-limit"), number("ratelimit-remaining"), number("ratelimit-reset"))
}

/// So many seconds, less what the test has taken so far.
#[track_caller]
fn assert_about(seconds: u64, expected: u64) {
    assert!((expected - SOON.as_secs()..=expected).contains(&seconds), "{seconds} of {expected}");
}

async fn ask(gateway: &Gateway, headers: &str) -> Message {
    let ask = format!("GET / HTTP/1.1\r\nhost: h\r\n{headers}connection: close\r\n\r\n");
    gateway.ask(ask).await.answer().await
}

async fn status(gateway: &Gateway, headers: &str) -> u16 {
    ask(gateway, headers).await.status()
}

#[tokio::test]
async fn a_burst_comes_in_and_one_more_is_told_when_to_come_again() {
    let backend = Answering::with(
        "HTTP/1.1 200 OK\r\nratelimit-limit: 77\r\nRateLimit-Remaining: 76\r\nRateLimit-Reset: 1\r\n\
         content-length: 2\r\n\r\nok",
    );
    let backend = backend.await;
    let setup = Setup::to(&[backend.address]).top("workers = 2");
    let gateway = setup.route("rate_limit = [{ rate = \"1/h\", burst = 3 }]").start().await;
    for (remaining, reset) in [(2, 3600), (1, 7200), (0, 10_800)] {
        let answer = gateway.fetch("/").await;
        assert_eq!(answer.status(), 200);
        let (limit, left, seconds) = left(&answer);
        assert_eq!((limit, left), (3, remaining));
        assert_about(seconds, reset);
        assert_eq!(answer.head.value("retry-after"), None);
    }
    for _ in 0..3 {
        let answer = gateway.fetch("/").await;
        assert_eq!((answer.status(), answer.code()), (429, "rate_limited"));
        let (limit, left, seconds) = left(&answer);
        assert_eq!((limit, left), (3, 0));
        assert_about(seconds, 10_800);
        assert_about(answer.head.value("retry-after").unwrap().parse().unwrap(), 3600);
    }
    assert_eq!(backend.count(), 3);
    gateway.metric_is("frontgate_rate_limit_keys", &["route=\"all\""], 1.0).await;
    assert_eq!(gateway.metric("frontgate_rate_limit_overflow_total", &[]).await, 0.0);
    let said = gateway.said();
    assert!(said.iter().any(|line| line.contains("1/h by route")), "{said:#?}");
}

#[tokio::test]
async fn refusals_of_later_stages_say_what_is_left_too() {
    let closed = crate::support::ports::nobody();
    let setup = Setup::to(&[closed]).route("rate_limit = { rate = \"1/h\", burst = 2 }");
    let gateway = setup.start().await;
    let answer = gateway.fetch("/").await;
    assert_eq!((answer.status(), answer.code()), (502, "upstream_error"));
    assert_eq!(left(&answer).1, 1);
}

#[tokio::test]
async fn an_untrusted_peer_is_who_it_is_whatever_it_says() {
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[backend.address])
        .route("rate_limit = [{ rate = \"1/h\", burst = 1, key = \"client_ip\" }]");
    let gateway = setup.start().await;
    assert_eq!(status(&gateway, "x-forwarded-for: 192.0.2.1\r\n").await, 200);
    for name in
        ["x-forwarded-for: ", "x-real-ip: ", "forwarded: for=", "X-Forwarded-For: 9.9.9.9, "]
    {
        assert_eq!(status(&gateway, &format!("{name}192.0.2.2\r\n")).await, 429, "{name}");
    }
    gateway.metric_is("frontgate_rate_limit_keys", &[], 1.0).await;
}

#[tokio::test]
async fn a_trusted_peer_says_who_the_client_is_and_a_site_is_one_client() {
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[backend.address])
        .top("workers = 2\ntrusted_proxies = [\"127.0.0.1\"]")
        .route("rate_limit = [{ rate = \"1/h\", burst = 1, key = \"client_ip\" }]");
    let gateway = setup.start().await;
    for (address, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("::ffff:192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("192.0.2.77, 192.0.2.2", 429),
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", 429),
        ("2001:db8:0:2::1", 200),
    ] {
        let asked = status(&gateway, &format!("x-forwarded-for: {address}\r\n")).await;
        assert_eq!(asked, expected, "{address}");
    }
    gateway.metric_is("frontgate_rate_limit_keys", &[], 4.0).await;
}

#[tokio::test]
async fn what_one_limit_refuses_costs_nothing_of_the_others() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address])
        .route(
            "rate_limit = [{ rate = \"1/h\", burst = 5 },\n\
             { rate = \"1/h\", burst = 2, key = [\"header:x-user\", \"host\"] }]",
        )
        .start()
        .await;
    let left_for = async |user| left(&ask(&gateway, &format!("x-user: {user}\r\n")).await);
    // The tighter one is spoken of, and the one that refuses.
    let (limit, remaining, _) = left_for("a").await;
    assert_eq!((limit, remaining), (2, 1));
    let (limit, remaining, _) = left_for("a").await;
    assert_eq!((limit, remaining), (2, 0));
    for _ in 0..10 {
        let refused = ask(&gateway, "x-user: a\r\n").await;
        assert_eq!((refused.status(), left(&refused).0), (429, 2));
    }
    for user in ["b", "c", "d"] {
        assert_eq!(status(&gateway, &format!("x-user: {user}\r\n")).await, 200, "{user}");
    }
    let refused = ask(&gateway, "x-user: e\r\n").await;
    assert_eq!((refused.status(), left(&refused).0), (429, 5));
    assert_eq!(backend.count(), 5);
}

/// Clients that never rest. What they get is the burst and the rate, to one in a hundred, however many workers there are.
async fn overload(key: &str) {
    const RATE: f64 = 100.0;
    const BURST: f64 = 100.0;
    let backend = Answering::with(OK).await;
    let limit =
        format!("rate_limit = [{{ rate = \"{RATE}/s\", burst = {BURST}, key = \"{key}\" }}]");
    let gateway = Setup::to(&[backend.address]).top("workers = 2").route(&limit).start().await;
    let over = Arc::<AtomicBool>::default();
    let began = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut client, over) = (Client::new(gateway.web()), Arc::clone(&over));
        clients.spawn(async move {
            let (mut asked, mut let_in) = (0_u64, 0_u64);
            let mut first = None;
            loop {
                let last = Instant::now();
                let answer = client.send("GET /", "x-user: one\r\n", "").await.expect("an answer");
                assert!(matches!(answer.status, 200 | 429), "{answer:?}");
                asked += 1;
                let_in += u64::from(answer.status == 200);
                first.get_or_insert_with(Instant::now);
                // The last thing known is that there was no room at this time.
                if answer.status == 429 && over.load(Relaxed) {
                    return (asked, let_in, first, last);
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    over.store(true, Relaxed);
    let clients = clients.join_all().await;
    let took = began.elapsed().as_secs_f64();
    let asked: u64 = clients.iter().map(|(asked, ..)| asked).sum();
    let let_in = clients.iter().map(|(_, let_in, ..)| *let_in).sum::<u64>() as f64;
    let first = clients.iter().filter_map(|(_, _, first, _)| *first).min().expect("an answer");
    let last = clients.iter().map(|(.., last)| *last).max().expect("a client");
    let (most, least) = (BURST + RATE * took, BURST + RATE * (last - first).as_secs_f64() - 1.0);
    assert!(let_in <= most, "{let_in} of at most {most}");
    assert!(let_in >= least * 0.99, "{let_in} of at least {least}");
    assert!(asked as f64 >= 10.0 * let_in, "{asked} is no overload of {let_in}");
    assert_eq!(backend.count() as f64, let_in);
}

#[tokio::test]
async fn an_overloaded_route_is_let_through_at_its_rate() {
    overload("route").await;
}

#[tokio::test]
async fn an_overloaded_key_is_let_through_at_its_rate() {
    overload("header:x-user").await;
}

#[tokio::test]
async fn who_waits_comes_in_in_order_and_not_before_its_turn() {
    const TURN: Duration = Duration::from_secs(2);
    let backend = Answering::with(OK).await;
    let limit = "rate_limit = { rate = \"30/m\", burst = 1, mode = \"delay\", max_wait = \"20s\", max_queue = 3 }";
    let gateway = Setup::to(&[backend.address]).route(limit).start().await;
    let asks = |target: &str| format!("GET /{target} HTTP/1.1\r\nhost: h\r\n\r\n");
    let began = Instant::now();
    assert_eq!(gateway.fetch("/0").await.status(), 200);
    let mut waiting = Vec::new();
    for turn in 1..=3_u32 {
        waiting.push(gateway.ask(asks(&turn.to_string())).await);
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], f64::from(turn)).await;
        assert!(began.elapsed() < TURN, "this machine is too slow for this test");
    }
    let refused = gateway.fetch("/4").await;
    assert_eq!((refused.status(), refused.code()), (429, "rate_limited"));
    assert_ne!(refused.head.value("retry-after"), Some("0"));
    // The last one leaves: its place is another's.
    drop(waiting.pop());
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 2.0).await;
    waiting.push(gateway.ask(asks("5")).await);
    for (turn, peer) in waiting.iter_mut().enumerate() {
        let answer = peer.answer().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(left(&answer).1, 0);
        let (took, turn) = (began.elapsed(), TURN * (turn as u32 + 1));
        assert!(took >= turn, "{took:?} is before {turn:?}");
    }
    let order: Vec<_> = backend.requests().iter().map(|got| got.head.start.clone()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/5"].map(|target| format!("GET {target} HTTP/1.1")));
}

#[tokio::test]
async fn who_waits_comes_in_although_the_gateway_is_told_to_end() {
    let backend = Answering::with(OK).await;
    let limit = "rate_limit = { rate = \"30/m\", burst = 1, mode = \"delay\", max_wait = \"5s\" }";
    let setup = Setup::to(&[backend.address]).top("drain_delay = \"0s\"").route(limit);
    let mut gateway = setup.start().await;
    assert_eq!(gateway.fetch("/").await.status(), 200);
    let mut waiting = gateway.ask("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 1.0).await;
    gateway.signal(Signal::TERM);
    assert_eq!(waiting.answer().await.status(), 200);
    assert_eq!(gateway.exit(SOON).await, Some(0));
    assert_eq!(backend.count(), 2);
}

#[tokio::test]
async fn nobody_waits_longer_than_it_may() {
    let backend = Answering::with(OK).await;
    let limit = "rate_limit = { rate = \"1/h\", burst = 1, mode = \"delay\", max_wait = \"10m\" }";
    let gateway = Setup::to(&[backend.address]).route(limit).start().await;
    assert_eq!(gateway.fetch("/").await.status(), 200);
    let refused = gateway.fetch("/").await;
    assert_eq!(refused.status(), 429);
    // After that long the rest is a wait that it may.
    assert_about(refused.head.value("retry-after").unwrap().parse().unwrap(), 3000);
}
