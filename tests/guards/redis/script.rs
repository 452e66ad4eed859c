//! The script that the gateway gives a Redis server, run by one at times of the test's own, beside the same in Rust.

use std::time::{Duration, Instant};

use frontgate::guard::rate::gcra::{Quota, Wish};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;

use super::{backend, gateway, or_skip};
use crate::support::redis::Redis;

/// The script as the gateway sends it: the second word of its first request.
async fn sent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let store = format!("url = \"redis://{}\"", listener.local_addr().expect("an address"));
    let backend = backend().await;
    let gateway = gateway(&backend, "rate = \"1/s\"", &store, 1).await;
    let (_answer, connection) = tokio::join!(gateway.fetch("/"), listener.accept());
    let mut stream = BufReader::new(connection.expect("a connection").0);
    let mut line = String::new();
    for _ in 0..4 {
        line.clear();
        stream.read_line(&mut line).await.expect("a line");
    }
    let length = line.trim().trim_start_matches('$').parse().expect("a length");
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.expect("the script");
    String::from_utf8(text).expect("text")
}

/// The same, at a time that the test gives, with keys that outlive the test: their end comes by the server's own clock.
fn at_given_times(script: &str) -> String {
    let mut script = script.to_owned();
    for (own, given) in
        [("redis.call('TIME')", "{ARGV[5], ARGV[6]}"), ("math.ceil(next / 1000000) + 1", "600000")]
    {
        assert_eq!(script.matches(own).count(), 1, "{script}");
        script = script.replace(own, given);
    }
    script
}

struct Clock {
    redis: ::redis::aio::MultiplexedConnection,
    script: String,
}

impl Clock {
    async fn take(&mut self, key: &str, (interval, depth): (u64, u64), us: u64) -> [u64; 3] {
        self.run(key, &[&interval.to_string(), &depth.to_string(), "0", "0"], us).await
    }

    async fn wish(&mut self, key: &str, wish: Wish, us: u64) -> [u64; 3] {
        let Wish { quota, patience, longest } = wish;
        let numbers = [quota.interval, quota.depth(), patience, longest].map(|n| n.to_string());
        self.run(key, &numbers.each_ref().map(String::as_str), us).await
    }

    async fn run(&mut self, key: &str, numbers: &[&str], us: u64) -> [u64; 3] {
        let mut command = ::redis::cmd("EVAL");
        command.arg(&self.script).arg(1).arg(key).arg(numbers);
        command.arg(us / 1_000_000).arg(us % 1_000_000);
        let reply: (u64, u64, u64) = command.query_async(&mut self.redis).await.expect("a reply");
        reply.into()
    }
}

async fn clock(redis: &Redis) -> Clock {
    let script = at_given_times(&sent().await);
    let client = ::redis::Client::open(redis.url()).expect("an address");
    let redis = client.get_multiplexed_async_connection().await.expect("a connection");
    Clock { redis, script }
}

/// Some time in this century, in microseconds.
const NOW: u64 = 1_800_000_000_123_456;

#[tokio::test]
async fn it_counts_as_the_gateway_itself_does() {
    let redis = or_skip!(Redis::start().await);
    let mut clock = clock(&redis).await;
    let mut random = fastrand::Rng::with_seed(7);
    for sequence in 0..150 {
        // From three billion a second to one a day, bursts from one to many.
        let interval = match random.u8(..4) {
            0 => random.u64(1..1_000),
            1 => random.u64(1_000..1_000_000),
            2 => random.u64(1_000_000..1_000_000_000),
            _ => random.u64(1_000_000_000..86_400_000_000_000),
        };
        let exact = (1 << 52) / interval;
        let burst =
            [1, random.u64(1..5), random.u64(1..2_000)][random.usize(..3)].min(exact).max(1);
        let quota = Quota { interval, burst };
        let longest = [0, random.u64(..=quota.depth())][random.usize(..2)];
        let ready = Wish::new(quota, Duration::from_nanos(longest));
        let (key, mut due, mut us) = (format!("s{sequence}"), 0, NOW + random.u64(..1_000_000));
        for step in 0..40 {
            // Often at the same instant, sometimes after all has room again.
            us += match random.u8(..5) {
                0 | 1 => 0,
                2 => random.u64(..=interval / 1_000 + 1),
                3 => random.u64(..=quota.depth() / 1_000 + 1),
                _ => random.u64(..=2 * quota.depth() / 1_000 + 10),
            };
            let wish = if random.bool() { ready } else { ready.patient() };
            let (take, next) = quota.reserve(due, us * 1_000, wish.patience);
            assert_eq!(wish.granted(take), next.is_some());
            due = next.unwrap_or(due);
            let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("in range");
            let expected = [nanos(take.wait), take.remaining, nanos(take.reset)];
            let reply = clock.wish(&key, wish, us).await;
            assert_eq!(reply, expected, "{wish:?}, step {step} of {sequence}");
        }
    }
}

#[tokio::test]
async fn small_intervals_and_large_bursts_are_exact_enough_over_time() {
    let redis = or_skip!(Redis::start().await);
    let mut clock = clock(&redis).await;
    // Asked for each microsecond, let in each one and a half.
    let mut us = NOW;
    let quota = Quota { interval: 1_503, burst: 7 };
    let mut let_in = 0;
    for _ in 0..3_000 {
        us += 1;
        let_in += u64::from(clock.take("fast", (quota.interval, quota.depth()), us).await[0] == 0);
    }
    let expected = 7 + 3_000_000 / 1_503;
    assert!(let_in.abs_diff(expected) <= 1, "{let_in}, not {expected}");

    // Once a day with a burst that takes centuries: beyond what a double holds, and still let in one by one.
    let day = 86_400_000_000_000;
    let depth = 1_u64 << 62;
    let mut last = u64::MAX;
    for _ in 0..100 {
        let [wait, remaining, reset] = clock.take("slow", (day, depth), NOW).await;
        assert_eq!(wait, 0);
        assert!(remaining < last && reset <= depth, "{remaining} {reset}");
        last = remaining;
    }
    let whole = depth / day;
    assert!(whole - last <= 101 && whole - last >= 99, "{last} of {whole}");
}

#[tokio::test]
async fn one_that_is_given_back_is_the_next_ones() {
    let redis = or_skip!(Redis::start().await);
    let mut clock = clock(&redis).await;
    let second = 1_000_000_000;
    let limit = (second, 2 * second);
    let back = [&format!("-{second}"), &(2 * second).to_string(), "0", "0"].map(|n| n.to_owned());
    let back = back.each_ref().map(String::as_str);
    assert_eq!(clock.take("k", limit, NOW).await, [0, 1, second]);
    assert_eq!(clock.take("k", limit, NOW).await, [0, 0, 2 * second]);
    assert_eq!(clock.take("k", limit, NOW).await, [second, 0, 2 * second]);
    assert_eq!(clock.run("k", &back, NOW).await, [0, 1, second]);
    assert_eq!(clock.take("k", limit, NOW).await, [0, 0, 2 * second]);
    assert_eq!(clock.take("k", limit, NOW).await[0], second);
    // More than there is leaves all of it, and no more.
    for _ in 0..5 {
        clock.run("k", &back, NOW + 1_500_000).await;
    }
    assert_eq!(clock.take("k", limit, NOW + 1_500_000).await, [0, 1, second]);
}

#[tokio::test]
async fn no_key_ends_before_its_time() {
    let redis = or_skip!(Redis::start().await);
    let script = sent().await;
    let client = ::redis::Client::open(redis.url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    // One in three milliseconds and none at once: each time the key must live until the next is due.
    let mut command = ::redis::cmd("EVAL");
    command.arg(script).arg(1).arg("k").arg(3_000_000).arg(3_000_000).arg(0).arg(0);
    let (began, mut let_in) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(1) {
        let reply: (u64, u64, u64) = command.query_async(&mut connection).await.expect("a reply");
        let_in += u64::from(reply.0 == 0);
    }
    let most = 1 + began.elapsed().as_millis() as u64 / 3;
    assert!(let_in <= most + 1 && let_in > 1, "{let_in} of {most}");
}

#[tokio::test]
async fn a_clock_set_back_or_a_smaller_limit_shuts_nobody_out_for_longer_than_a_burst() {
    let redis = or_skip!(Redis::start().await);
    let mut clock = clock(&redis).await;
    let second = 1_000_000_000;
    for _ in 0..5 {
        assert_eq!(clock.take("k", (second, 5 * second), NOW).await[0], 0);
    }
    let hour = 3_600_000_000;
    let [wait, ..] = clock.take("k", (second, 5 * second), NOW - hour).await;
    assert_eq!(wait, second);
    let [wait, _, reset] = clock.take("k", (second, 2 * second), NOW).await;
    assert_eq!((wait, reset), (second, 2 * second));
}
