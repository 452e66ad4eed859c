//! What is believed while the server is away, hangs, forgets, or a session ends.

use std::time::{Duration, Instant};

use frontgate::registry::zookeeper::{Settings, Zookeeper as Registered};
use frontgate::registry::{Health, Registry, State};
use zookeeper_client::CreateMode;

use super::super::support::real::Real;
use super::super::support::wait;
use super::super::support::zookeeper::{Server, Zookeeper};
use super::super::{SOON, addresses, live, or_skip, query, stale};
use super::registry;

/// A returned server must be noticed within this time; the rest is its start.
const RETURNED: Duration = Duration::from_secs(5);
/// A server that hangs must be noticed within this time.
const HUNG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_server_that_is_gone_leaves_the_last_set_and_its_return_is_noticed() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;

    zoo.kill();
    let set = stale(&mut found, SOON).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    let State::Stale { since, .. } = set.state.clone() else { panic!("{set:?}") };
    // Away for longer than the session, so that it is a new one that comes back.
    let address = zoo.server.address();
    let listener = tokio::net::TcpListener::bind(&address).await.expect("its port is free");
    let connections = connections_within(Duration::from_secs(20), &listener).await;
    eprintln!("{connections} connections in 20 s while a session was lost");
    assert!(connections <= 20, "{connections} connections in 20 s");
    drop(listener);
    let set = found.borrow().clone();
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    let still = matches!(&set.state, State::Stale { since: then, reason } if *then == since && !reason.is_empty());
    assert!(still, "stale since the first failure, with the newest reason: {set:?}");
    let status = registry.status();
    assert_eq!(status.health, Health::Stale);
    let error = status.last_error.expect("an error").1;
    assert_eq!(error, format!("no ZooKeeper answers at {}", zoo.server.address()));

    zoo.restart().await;
    live(&mut found, &["10.0.0.1:1"], RETURNED).await;
    wait::until("all is well", SOON, async || {
        (registry.status().health == Health::Ok).then_some(())
    })
    .await;
    zoo.put("s", ([10, 0, 0, 1], 2).into()).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn a_connection_that_is_lost_for_a_moment_makes_stale_and_nothing_is_missed_meanwhile() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    zoo.put_all(&[
        ("s".into(), ([10, 0, 0, 1], 1).into()),
        ("t".into(), ([10, 0, 0, 1], 1).into()),
    ])
    .await;
    let registry = registry(&zoo.server);
    let (mut one, mut two) = (registry.watch(query("s")), registry.watch(query("t")));
    live(&mut one, &["10.0.0.1:1"], SOON).await;
    live(&mut two, &["10.0.0.1:1"], SOON).await;
    for port in 2..5 {
        // Seen before the server is back: the library may be back before a test is.
        zoo.kill();
        stale(&mut one, SOON).await;
        zoo.restart().await;
        // Before it is noticed that the server is back, or after: either way it is seen.
        zoo.put("s", ([10, 0, 0, 1], port).into()).await;
        zoo.take("s", ([10, 0, 0, 1], port - 1).into()).await;
        live(&mut one, &[&format!("10.0.0.1:{port}")], RETURNED).await;
        live(&mut two, &["10.0.0.1:1"], SOON).await;
        // What comes after the return is told too.
        zoo.put("t", ([10, 0, 0, 1], port).into()).await;
        live(&mut two, &["10.0.0.1:1", &format!("10.0.0.1:{port}")], SOON).await;
        zoo.take("t", ([10, 0, 0, 1], port).into()).await;
        live(&mut two, &["10.0.0.1:1"], SOON).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_so_is_its_waking() {
    let zoo = or_skip!(Zookeeper::start().await);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    // Shorter and longer than the session lasts.
    for asleep in [1, 14] {
        zoo.freeze();
        let start = Instant::now();
        let set = stale(&mut found, HUNG).await;
        eprintln!("the hang was noticed after {:?}", start.elapsed());
        assert_eq!(addresses(&set), ["10.0.0.1:1"]);
        tokio::time::sleep(Duration::from_secs(asleep)).await;
        zoo.thaw();
        let start = Instant::now();
        live(&mut found, &["10.0.0.1:1"], RETURNED).await;
        eprintln!("its waking was noticed after {:?}", start.elapsed());
    }
    zoo.put("s", ([10, 0, 0, 1], 2).into()).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn a_server_that_forgot_everything_is_believed() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    for port in 1..20 {
        zoo.put("s", ([10, 0, 0, 1], port).into()).await;
    }
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("s"));
    wait::seen(&mut found, "all", SOON, |f| f.endpoints.len() == 19).await;
    zoo.restart_empty().await;
    live(&mut found, &[], RETURNED).await;
    zoo.put("s", ([10, 0, 0, 1], 99).into()).await;
    live(&mut found, &["10.0.0.1:99"], SOON).await;
}

/// Accepts, says nothing and closes; how often.
async fn connections_within(time: Duration, listener: &tokio::net::TcpListener) -> usize {
    let end = tokio::time::Instant::now() + time;
    let mut connections = 0;
    while let Ok(accepted) = tokio::time::timeout_at(end, listener.accept()).await {
        drop(accepted.expect("a connection"));
        connections += 1;
    }
    connections
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_found_when_it_comes_and_not_asked_too_often() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let registry =
        Registered::new(&Settings::new("test", &address.to_string())).expect("good settings");
    let found: Vec<_> = (0..100).map(|n| registry.watch(query(&format!("s{n}")))).collect();
    let connections = connections_within(Duration::from_secs(15), &listener).await;
    eprintln!("{connections} connections in 15 s");
    assert!(connections <= 15, "{connections} connections in 15 s");
    assert!(matches!(found[99].borrow().state, State::Unheard { .. }), "nothing was heard");
    assert_eq!(registry.status().health, Health::Connecting);
    assert_eq!(registry.status().last_success, None);
}

#[tokio::test]
async fn a_failed_server_is_replaced_by_another_of_its_ensemble() {
    let mut three = or_skip!(Server::three().await);
    let addresses: Vec<String> = three.iter().map(Server::address).collect();
    let registry = Registered::new(&Settings::new("test", &addresses.join(","))).expect("good");
    let mut found = registry.watch(query("s"));
    live(&mut found, &[], Duration::from_secs(20)).await;
    let client = three[0].client(None).await;
    let all = CreateMode::Persistent.with_acls(zookeeper_client::Acls::anyone_all());
    client.mkdir("/services/s", &all).await.expect("made");
    client.create("/services/s/a", b"10.0.0.1:1", &all).await.expect("made");
    drop(client);
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    for killed in 0..3 {
        three[killed].kill();
        // A leader that is gone is followed by an election, in which nobody serves.
        let other = three[(killed + 1) % 3].client(None).await;
        let data = format!("10.0.0.1:{}", killed + 2);
        let set = async || other.set_data("/services/s/a", data.as_bytes(), None).await.ok();
        wait::until("written", Duration::from_secs(20), set).await;
        drop(other);
        live(&mut found, &[&data], Duration::from_secs(15)).await;
        three[killed].restart().await;
    }
}
