//! Limits that gateways share in a Redis server: the real gateway, the real server.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

mod away;
mod encrypted;
mod hostile;
mod script;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::backend::{Answering, OK};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::redis::Redis;
use crate::support::wait;

/// Bound on what should take a second or two, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(30);

/// Skips a test whose server is missing.
macro_rules! or_skip {
    ($found:expr) => {
        match $found {
            Some(found) => found,
            None => return,
        }
    };
}
pub(super) use or_skip;

/// A gateway whose one route has this limit, kept in a store with these keys.
async fn gateway(backend: &Answering, limit: &str, store: &str, workers: usize) -> Gateway {
    Setup::to(&[backend.address])
        .top(&format!("workers = {workers}"))
        .route(&format!("rate_limit = [{{ {limit}, store = \"shared\" }}]"))
        .tables(&format!("[rate_store.shared]\nkind = \"redis\"\n{store}"))
        .start()
        .await
}

/// A store that waits for its server longer than a busy machine lets one wait, and lets nobody in without it.
fn patient(redis: &Redis) -> String {
    format!("url = \"{}\"\ntimeout = \"5s\"\non_error = \"deny\"", redis.url())
}

async fn backend() -> Answering {
    Answering::with(OK).await
}

/// The statuses of so many requests, one after the other over one connection.
async fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut client = Client::new(gateway.web());
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(client.get("/").await.expect("an answer").status);
    }
    statuses
}

/// Lines of the log that speak of the store.
fn said(gateway: &Gateway) -> Vec<String> {
    let about = |line: &String| line.contains("rate store shared:");
    gateway.said().into_iter().filter(about).collect()
}

/// The same, once there are so many.
async fn told(gateway: &Gateway, lines: usize) -> Vec<String> {
    let enough = async || Some(said(gateway)).filter(|said| said.len() >= lines);
    let said = wait::until("the store's state is told", SOON, enough).await;
    assert_eq!(said.len(), lines, "{said:#?}");
    said
}

/// What came of requests sent in a stream: how many were let in, how many were not, and when each was sent and
/// answered.
#[derive(Debug, Default)]
struct Flood {
    let_in: u64,
    refused: u64,
    times: Vec<(Instant, Instant)>,
    /// When the latest that was refused was sent: there was no room then.
    full: Option<Instant>,
}

/// Sends requests for so long, each client as often as `pace` says.
async fn flood(web: &[SocketAddr], clients: usize, pace: Duration, long: Duration) -> Flood {
    let end = Instant::now() + long;
    let mut all = JoinSet::new();
    for at in 0..clients {
        let mut client = Client::new(web[at % web.len()]);
        all.spawn(async move {
            let mut seen = Flood::default();
            let mut ticks = tokio::time::interval(pace);
            while Instant::now() < end {
                ticks.tick().await;
                let began = Instant::now();
                match client.get("/").await.expect("an answer").status {
                    200 => seen.let_in += 1,
                    429 => {
                        seen.refused += 1;
                        seen.full = Some(began);
                    }
                    other => panic!("{other}"),
                }
                seen.times.push((began, Instant::now()));
            }
            seen
        });
    }
    let mut sum = Flood::default();
    while let Some(seen) = all.join_next().await {
        let seen = seen.expect("no client panics");
        sum.let_in += seen.let_in;
        sum.refused += seen.refused;
        sum.times.extend(seen.times);
        sum.full = sum.full.max(seen.full);
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_one_limit_exactly() {
    const RATE: u64 = 50;
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let limit = format!("rate = \"{RATE}/s\"");
    let one = gateway(&backend, &limit, &patient(&redis), 2).await;
    let two = gateway(&backend, &limit, &patient(&redis), 2).await;
    let web = [one.web(), two.web()];
    let long = Duration::from_secs(6);
    let seen = flood(&web, 20, Duration::from_millis(40), long).await;
    let sent = || seen.times.iter().map(|(sent, _)| *sent);
    let answered = || seen.times.iter().map(|(_, answered)| *answered);
    // A burst of one second's, then the rate from the first that was counted to the last: that was between being sent
    // and being answered. At the end clients may have been held up and left some room.
    let least = answered().min().zip(seen.full).map(|(from, to)| to - from);
    let most = sent().min().zip(answered().max()).map(|(from, to)| to - from);
    let expected = |time: Option<Duration>| RATE as f64 * (1.0 + time.expect("some").as_secs_f64());
    let (least, most) = (expected(least), expected(most));
    let (let_in, refused) = (seen.let_in as f64, seen.refused);
    assert!(let_in <= most * 1.01 + 1.0 && let_in >= least * 0.99 - 1.0, "{least} {let_in} {most}");
    assert!(least > RATE as f64 * 4.0, "no overload in the end: {least}");
    assert!(refused > seen.let_in, "not much of an overload: {let_in} and {refused}");
    assert_eq!(backend.count() as u64, seen.let_in);
}

#[tokio::test]
async fn what_one_limit_refuses_costs_nothing_of_another_in_the_server() {
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let limits = "rate = \"1/h\", burst = 4, store = \"shared\" }, \
                  { rate = \"1/h\", burst = 2, key = \"header:x-who\"";
    let gateway = gateway(&backend, limits, &patient(&redis), 1).await;
    let mut client = Client::new(gateway.web());
    let mut ask = async |who: &str| {
        let fields = format!("x-who: {who}\r\n");
        client.send("GET /", &fields, "").await.expect("an answer").status
    };
    for expected in [200, 200, 429, 429, 429, 429, 429] {
        assert_eq!(ask("greedy").await, expected);
    }
    for expected in [200, 200, 429] {
        assert_eq!(ask("modest").await, expected);
    }
}

#[tokio::test]
async fn who_waits_for_the_server_has_a_turn_whichever_gateway_it_asked() {
    const TURN: Duration = Duration::from_secs(1);
    const WAIT: u32 = 4;
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let limit = "rate = \"1/s\", burst = 1, mode = \"delay\", max_wait = \"60s\"";
    let one = gateway(&backend, limit, &patient(&redis), 1).await;
    let two = gateway(&backend, limit, &patient(&redis), 1).await;
    assert_eq!(statuses(&one, 1).await, [200]);
    let began = Instant::now();
    let before = redis.calls("evalsha").await;
    let mut waiting = JoinSet::new();
    for at in 0..WAIT {
        let mut client = Client::new([one.web(), two.web()][at as usize % 2]);
        waiting.spawn(async move { client.get("/").await.expect("an answer").status });
    }
    for turn in 1..=WAIT {
        assert_eq!(waiting.join_next().await.expect("one waits").expect("no panic"), 200);
        // The first was counted some time before its answer came.
        assert!(began.elapsed() + TURN >= TURN * turn, "{turn} after {:?}", began.elapsed());
    }
    // One to see that there is no room and one for a turn, and the second gateway's new connection.
    assert!(redis.calls("evalsha").await - before <= u64::from(2 * WAIT) + 1);
}

#[tokio::test]
async fn a_request_is_one_command_and_nothing_is_left_behind() {
    const REQUESTS: u64 = 300;
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let limit = "rate = \"100/s\", burst = 50, key = \"header:x-who\"";
    let gateway = gateway(&backend, limit, &patient(&redis), 1).await;
    assert_eq!(statuses(&gateway, 1).await, [200]);
    let before = (redis.calls("evalsha").await, redis.calls("eval").await);
    let mut client = Client::new(gateway.web());
    for who in 0..REQUESTS {
        let fields = format!("x-who: caller-{}\r\n", who % 150);
        assert_eq!(client.send("GET /", &fields, "").await.expect("an answer").status, 200);
    }
    let after = (redis.calls("evalsha").await, redis.calls("eval").await);
    assert_eq!((after.0 - before.0, after.1 - before.1), (REQUESTS, 0));
    let stats: String = redis.say(&["INFO", "clients"]).await;
    assert!(stats.contains("connected_clients:2"), "one connection and the test's own: {stats}");
    let keys: Vec<String> = redis.say(&["KEYS", "*"]).await;
    assert!(keys.iter().all(|key| key.starts_with("frontgate:{")), "{keys:?}");
    // Each says something for as long as its burst takes to refill: here no longer than 20 ms.
    wait::until("no key is left", SOON, async || {
        (redis.say::<u64>(&["DBSIZE"]).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn keys_stand_where_the_settings_say_and_expire_when_their_burst_has_room_again() {
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let address = redis.address();
    let store = format!(
        "url = \"redis://{address}/3\"\nprefix = \"edge \"\ntimeout = \"5s\"\non_error = \"deny\""
    );
    let gateway = gateway(&backend, "rate = \"1/h\", burst = 2", &store, 1).await;
    assert_eq!(statuses(&gateway, 4).await, [200, 200, 429, 429]);
    let client = ::redis::Client::open(format!("redis://{address}/3")).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let keys: Vec<String> =
        ::redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("an answer");
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    assert!(key.starts_with("edge {") && key.ends_with('}'), "{key}");
    let left: u64 =
        ::redis::cmd("PTTL").arg(key).query_async(&mut connection).await.expect("an answer");
    let hours = 2 * 3_600_000;
    assert!(left <= hours && left > hours - 600_000, "{left}");
    assert_eq!(redis.say::<u64>(&["DBSIZE"]).await, 0, "nothing in another database");
}

#[tokio::test]
async fn a_server_that_forgets_keys_or_scripts_costs_no_request() {
    let redis = or_skip!(Redis::start().await);
    let backend = backend().await;
    let gateway = gateway(&backend, "rate = \"3/h\"", &patient(&redis), 1).await;
    assert_eq!(statuses(&gateway, 4).await, [200, 200, 200, 429]);
    redis.say::<()>(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(statuses(&gateway, 2).await, [429, 429]);
    redis.say::<()>(&["FLUSHALL"]).await;
    assert_eq!(statuses(&gateway, 4).await, [200, 200, 200, 429]);
    redis.say::<()>(&["FLUSHALL"]).await;
    redis.say::<()>(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(statuses(&gateway, 4).await, [200, 200, 200, 429]);
    // A key that somebody else has written over says nothing, and is written anew.
    let keys: Vec<String> = redis.say(&["KEYS", "*"]).await;
    redis.say::<()>(&["SET", &keys[0], "nonsense"]).await;
    assert_eq!(statuses(&gateway, 4).await, [200, 200, 200, 429]);
    let missed = gateway.metric("frontgate_rate_store_errors_total", &[]).await;
    assert_eq!(missed, 0.0);
    assert_eq!(gateway.metric("frontgate_rate_store_up", &["store=\"shared\""]).await, 1.0);
    assert_eq!(said(&gateway), [""; 0]);
}

#[tokio::test]
async fn a_user_who_may_do_no_more_than_is_needed_is_enough() {
    let redis = or_skip!(Redis::start().await);
    let may = ["~frontgate:*", "+eval", "+evalsha", "+get", "+set", "+time"];
    let set = ["ACL", "SETUSER", "gate@way", "on", ">p@ss:w/#?d"];
    redis.say::<()>(&[&set[..], &may].concat()).await;
    let backend = backend().await;
    let store = format!(
        "url = \"redis://gate@way:p@ss:w%2F%23%3Fd@{}\"\ntimeout = \"5s\"\non_error = \"deny\"",
        redis.address()
    );
    let gateway = gateway(&backend, "rate = \"2/h\"", &store, 1).await;
    assert_eq!(statuses(&gateway, 3).await, [200, 200, 429]);
    assert_eq!(said(&gateway), [""; 0]);
}
