//! Many services, and many instances of one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use frontgate::registry::{CatalogQuery, Registry, State};

use super::super::support::real::Real;
use super::super::support::wait;
use super::super::support::zookeeper::Zookeeper;
use super::super::{SOON, Watching, or_skip, query};
use super::registry;

const LONG: Duration = Duration::from_secs(60);

fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 80).into()
}

async fn number(found: &mut Watching, number: usize, within: Duration) -> Duration {
    let start = Instant::now();
    let what = format!("{number} instances");
    wait::seen(found, &what, within, |f| f.state == State::Live && f.endpoints.len() == number)
        .await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_instances_of_one_service_are_found_and_one_more_too() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    let all: Vec<_> = (0..10_000).map(|n| ("s".to_owned(), address(n))).collect();
    zoo.put_all(&all).await;
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("s"));
    eprintln!("10,000 instances found in {:?}", number(&mut found, 10_000, LONG).await);
    zoo.put("s", address(10_000)).await;
    eprintln!("one more in {:?}", number(&mut found, 10_001, SOON).await);
    let watches = zoo.server.four_letters("wchs").await.expect("an answer");
    assert!(watches.contains("Total watches:1"), "{watches}");

    zoo.restart().await;
    eprintln!("live after a restart in {:?}", number(&mut found, 10_001, LONG).await);
    // A flood: while it lasts the sets grow, and nothing of it is missing at its end.
    let more: Vec<_> = (10_001..12_000).map(|n| ("s".to_owned(), address(n))).collect();
    let start = Instant::now();
    zoo.put_all(&more).await;
    let written = start.elapsed();
    number(&mut found, 12_000, LONG).await;
    eprintln!("2,000 more written in {written:?}, found in {:?}", start.elapsed());
    zoo.take_all(&more).await;
    eprintln!("gone again in {:?}", number(&mut found, 10_001, LONG).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_services_are_watched_with_one_watch_and_survive_a_restart() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    let all: Vec<_> = (0..1_000).map(|n| (format!("s{n:03}"), address(n))).collect();
    zoo.put_all(&all).await;
    let registry = registry(&zoo.server);
    let mut names = registry.catalog(CatalogQuery { tag: None }).expect("a catalog");
    let start = Instant::now();
    let mut watched: Vec<_> = all.iter().map(|(name, _)| registry.watch(query(name))).collect();
    for found in &mut watched {
        number(found, 1, LONG).await;
    }
    eprintln!("1,000 services found in {:?}", start.elapsed());
    // The sets are shown a moment before the names.
    wait::seen(&mut names, "all names", SOON, |names| names.services.len() == 1_000).await;
    let watches = zoo.server.four_letters("wchs").await.expect("an answer");
    assert!(watches.contains("Total watches:1"), "{watches}");

    for some in [0, 500, 999] {
        zoo.put(&all[some].0, address(5_000)).await;
        let spent = number(&mut watched[some], 2, SOON).await;
        assert!(spent < Duration::from_millis(500), "{spent:?}");
    }
    zoo.restart().await;
    let start = Instant::now();
    for (n, found) in watched.iter_mut().enumerate() {
        number(found, if [0, 500, 999].contains(&n) { 2 } else { 1 }, LONG).await;
    }
    eprintln!("1,000 services live {:?} after the server's return", start.elapsed());
}
