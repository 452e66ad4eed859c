//! A server that is killed, restarted, frozen, or that does not let us in.

use std::time::{Duration, Instant};

use super::{SOON, backend, flood, gateway, or_skip, said, statuses, told};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::load::{Ask, Load};
use crate::support::redis::Redis;
use crate::support::{ports, wait};

const GET: Ask = Ask { line: "GET /", body: "", right: "ok" };

/// A store that waits longer than a busy machine lets one wait.
fn store(redis: &Redis, on_error: &str) -> String {
    format!("url = \"{}\"\ntimeout = \"2s\"\non_error = \"{on_error}\"", redis.url())
}

/// Waits until the store has given up on its server.
async fn down(gateway: &Gateway) {
    gateway.metric_is("frontgate_rate_store_up", &["store=\"shared\""], 0.0).await;
}

/// Waits until all workers reach the server again.
async fn counts_again(gateway: &Gateway) {
    wait::until("the store counts again", SOON, async || {
        said(gateway).last().is_some_and(|line| line.contains("shared: counts again")).then_some(())
    })
    .await;
}

async fn missed(gateway: &Gateway) -> f64 {
    gateway.metric("frontgate_rate_store_errors_total", &["store=\"shared\""]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_fails_no_request_and_counts_again_when_it_is_back() {
    let mut redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let gateway = gateway(&backend, "rate = \"1000000/s\"", &store(&redis, "allow"), 2).await;
    let load = Load::start(gateway.web(), 8, GET);
    load.goes_on(100).await;
    assert_eq!(missed(&gateway).await, 0.0);
    redis.kill();
    down(&gateway).await;
    load.goes_on(200).await;
    redis.restart().await;
    counts_again(&gateway).await;
    // All workers do: what goes uncounted stays as it is.
    wait::until("every request is counted", SOON, async || {
        let before = missed(&gateway).await;
        load.goes_on(50).await;
        (missed(&gateway).await == before).then_some(())
    })
    .await;
    let counted = redis.calls("evalsha").await;
    load.goes_on(50).await;
    assert!(redis.calls("evalsha").await >= counted + 40);
    load.end().await.faultless();
    let log = told(&gateway, 2).await;
    assert!(log[0].contains("does not count: ") && log[0].contains("allow until it does"));
    assert!(log[1].contains("rate store shared: counts again"), "{log:#?}");
}

#[tokio::test]
async fn while_the_server_is_away_a_limit_is_what_on_error_says() {
    for (on_error, expected) in
        [("allow", [200; 5]), ("deny", [429; 5]), ("local", [200, 200, 200, 429, 429])]
    {
        let mut redis = or_skip!(Redis::start().await);
        let backend = backend().await;
        let gateway = gateway(&backend, "rate = \"3/h\"", &store(&redis, on_error), 1).await;
        assert_eq!(statuses(&gateway, 5).await, [200, 200, 200, 429, 429], "{on_error}");
        redis.kill();
        // The first request may meet the connection while it breaks; it is one that goes uncounted as well.
        assert_eq!(statuses(&gateway, 5).await, expected, "{on_error}");
        assert_eq!(missed(&gateway).await, 5.0);
        redis.restart().await;
        counts_again(&gateway).await;
        assert_eq!(statuses(&gateway, 5).await, [200, 200, 200, 429, 429], "{on_error}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_three_requests_and_no_more() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let store = format!("url = \"{}\"\ntimeout = \"1s\"", redis.url());
    let gateway = gateway(&backend, "rate = \"1000000/s\"", &store, 1).await;
    assert_eq!(statuses(&gateway, 2).await, [200, 200]);
    redis.freeze();
    let mut client = Client::new(gateway.web());
    let mut slow = Vec::new();
    // For long enough that the server is tried again some times, which holds up nobody.
    let end = Instant::now() + 5 * TIMEOUT;
    while Instant::now() < end || slow.is_empty() {
        let began = Instant::now();
        assert_eq!(client.get("/").await.expect("an answer").status, 200);
        if began.elapsed() >= TIMEOUT {
            slow.push(began.elapsed());
        }
    }
    assert_eq!(slow.len(), 3, "{slow:?}");
    let log = told(&gateway, 1).await;
    assert!(log[0].contains("does not answer within 1s; on_error = allow"), "{log:#?}");
    redis.thaw();
    counts_again(&gateway).await;
    let before = missed(&gateway).await;
    assert_eq!(statuses(&gateway, 3).await, [200; 3]);
    assert_eq!(missed(&gateway).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_under_load_holds_up_each_client_once() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    const CLIENTS: usize = 20;
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let store = format!("url = \"{}\"\ntimeout = \"1s\"", redis.url());
    let gateway = gateway(&backend, "rate = \"1000000/s\"", &store, 2).await;
    assert_eq!(statuses(&gateway, 2).await, [200, 200]);
    let web = [gateway.web()];
    let load = flood(&web, CLIENTS, Duration::from_millis(20), 6 * TIMEOUT);
    let freeze = async {
        wait::until("requests are counted", SOON, async || {
            (redis.calls("evalsha").await > 100).then_some(())
        })
        .await;
        redis.freeze();
        down(&gateway).await;
    };
    let (seen, ()) = tokio::join!(load, freeze);
    let slow =
        seen.times.iter().filter(|(sent, answered)| *answered - *sent >= TIMEOUT / 2).count();
    assert_eq!(seen.refused, 0);
    assert!(seen.let_in > 1_000, "{}", seen.let_in);
    assert!((1..=CLIENTS).contains(&slow), "{slow} of {}", seen.let_in);
    redis.thaw();
    counts_again(&gateway).await;
}

#[tokio::test]
async fn a_server_that_was_never_there_holds_up_nobody() {
    let port = ports::free(1)[0];
    let backend = backend().await;
    let store = format!("url = \"redis://127.0.0.1:{port}\"\non_error = \"local\"");
    let gateway = gateway(&backend, "rate = \"2/h\"", &store, 2).await;
    assert_eq!(statuses(&gateway, 4).await, [200, 200, 429, 429]);
    down(&gateway).await;
    let log = told(&gateway, 1).await;
    assert!(log[0].contains("cannot connect") && log[0].contains("refused"), "{log:#?}");
}

#[tokio::test]
async fn a_wrong_password_is_one_clear_line_without_it() {
    let redis = or_skip!(Redis::with_password("right").await);
    let backend = backend().await;
    for (url, why) in [
        ("redis://:hunter2@", "refuses user and password (WRONGPASS)"),
        ("redis://nobody:hunter2@", "refuses user and password (WRONGPASS)"),
        ("redis://", "NOAUTH"),
    ] {
        let store = format!("url = \"{url}{}\"", redis.address());
        let gateway = gateway(&backend, "rate = \"1/h\"", &store, 1).await;
        assert_eq!(statuses(&gateway, 3).await, [200; 3]);
        // Tried again and refused again: nothing new.
        tokio::time::sleep(Duration::from_millis(2_600)).await;
        let log = told(&gateway, 1).await;
        assert!(log[0].contains(why), "{log:#?}");
        assert!(!gateway.said().join("\n").contains("hunter2"));
    }
    let gateway = gateway(&backend, "rate = \"1/h\"", &store(&redis, "deny"), 1).await;
    assert_eq!(statuses(&gateway, 2).await, [200, 429]);
}

#[tokio::test]
async fn a_connection_that_the_server_closes_for_being_idle_costs_no_request() {
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let gateway = gateway(&backend, "rate = \"3/h\"", &store(&redis, "deny"), 1).await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(statuses(&gateway, 1).await, [expected]);
        // One that was up for a second: less would be a server that takes nobody.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        redis.say::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    }
    assert_eq!(said(&gateway), [""; 0]);
}
