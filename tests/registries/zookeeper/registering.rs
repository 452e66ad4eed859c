//! Registering: an ephemeral node that lives as long as the session.

use std::time::{Duration, Instant};

use frontgate::config::model::HostPort;
use frontgate::registry::zookeeper::{Settings, Zookeeper as Registered};
use frontgate::registry::{Liveness, Registration, Registry};
use serde_json::Value;
use zookeeper_client::Client;

use super::super::support::real::Real;
use super::super::support::wait;
use super::super::support::zookeeper::Zookeeper;
use super::super::{SOON, live, or_skip, query};
use super::registry;

/// Bound on a server that comes back being told again.
const AGAIN: Duration = Duration::from_secs(10);

fn registration(port: u16) -> Registration {
    Registration {
        id: format!("edge-127.0.0.1-{port}"),
        name: "edge".into(),
        address: HostPort { host: "127.0.0.1".into(), port },
        tags: vec!["a".into(), "frontgate".into()],
        check: Liveness::Heartbeat,
    }
}

async fn nodes(client: &Client) -> Vec<String> {
    client.list_children("/services/edge").await.unwrap_or_default()
}

/// Waits until there are so many nodes.
async fn count(client: &Client, count: usize, within: Duration) -> Vec<String> {
    wait::until(&format!("{count} nodes"), within, async || {
        Some(nodes(client).await).filter(|nodes| nodes.len() == count)
    })
    .await
}

#[tokio::test]
async fn a_registration_is_found_is_written_as_curator_does_and_goes_at_the_end() {
    let zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("edge"));
    live(&mut found, &[], SOON).await;
    let start = Instant::now();
    let registered = registry.register(registration(80)).expect("one can register");
    live(&mut found, &["127.0.0.1:80"], SOON).await;
    eprintln!("registered and found in {:?}", start.elapsed());

    let client = zoo.server.client(None).await;
    let nodes = count(&client, 1, SOON).await;
    assert_eq!(nodes, ["edge-127.0.0.1-80-0000000000"]);
    let (data, stat) =
        client.get_data(&format!("/services/edge/{}", nodes[0])).await.expect("data");
    assert_ne!(stat.ephemeral_owner, 0);
    let data: Value = serde_json::from_slice(&data).expect("JSON");
    assert_eq!((&data["name"], &data["id"]), (&"edge".into(), &"edge-127.0.0.1-80".into()));
    assert_eq!((&data["address"], &data["port"]), (&"127.0.0.1".into(), &80.into()));
    assert_eq!(data["payload"]["metadata"]["frontgate"], "true");
    assert_eq!(data["serviceType"], "DYNAMIC");
    assert!(data["registrationTimeUTC"].as_u64().is_some_and(|time| time > 1_600_000_000_000));

    registered.deregister().await;
    live(&mut found, &[], SOON).await;
    count(&client, 0, SOON).await;
}

#[tokio::test]
async fn a_registration_that_was_deleted_or_forgotten_is_made_again() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let registered = registry.register(registration(80)).expect("one can register");
    let client = zoo.server.client(None).await;
    for _ in 0..2 {
        let first = count(&client, 1, SOON).await.remove(0);
        client.delete(&format!("/services/edge/{first}"), None).await.expect("deleted");
        wait::until("another node", SOON, async || {
            let nodes = nodes(&client).await;
            (nodes.len() == 1 && nodes[0] != first).then_some(())
        })
        .await;
    }
    drop(client);
    zoo.restart().await;
    let client = zoo.server.client(None).await;
    count(&client, 1, AGAIN).await;
    drop(client);
    zoo.restart_empty().await;
    let client = zoo.server.client(None).await;
    count(&client, 1, AGAIN).await;
    registered.deregister().await;
    count(&client, 0, SOON).await;
}

#[tokio::test]
async fn a_session_that_expired_is_followed_by_another_registration_and_none_stays_double() {
    let zoo = or_skip!(Zookeeper::start().await);
    let mut settings = Settings::new("test", &zoo.server.address());
    settings.session_timeout = Duration::from_secs(2);
    let registry = Registered::new(&settings).expect("good settings");
    let mut found = registry.watch(query("edge"));
    let registered = registry.register(registration(80)).expect("one can register");
    live(&mut found, &["127.0.0.1:80"], SOON).await;
    let client = zoo.server.client(None).await;
    let first = count(&client, 1, SOON).await;
    drop(client);
    zoo.freeze();
    // Longer than the session and what the client adds to it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    zoo.thaw();
    let client = zoo.server.client(None).await;
    wait::until("another node alone", AGAIN, async || {
        let nodes = nodes(&client).await;
        (nodes.len() == 1 && nodes != first).then_some(())
    })
    .await;
    live(&mut found, &["127.0.0.1:80"], SOON).await;
    registered.deregister().await;
    count(&client, 0, SOON).await;
}

#[tokio::test]
async fn what_a_former_process_has_left_is_removed_once_and_others_stay() {
    let zoo = or_skip!(Zookeeper::start().await);
    let left =
        ["edge-127.0.0.1-80-0000000007", "edge-127.0.0.1-8-0000000001", "edge-127.0.0.1-80-x"];
    let left = left.map(|node| (format!("/services/edge/{node}"), "127.0.0.1:80".to_owned()));
    let former = zoo.write(&left, zookeeper_client::CreateMode::Ephemeral).await;
    let registry = registry(&zoo.server);
    let registered = registry.register(registration(80)).expect("one can register");
    let client = zoo.server.client(None).await;
    wait::until("the stale one is gone", SOON, async || {
        let nodes = nodes(&client).await;
        (nodes.len() == 3 && !nodes.contains(&"edge-127.0.0.1-80-0000000007".to_owned()))
            .then_some(())
    })
    .await;
    registered.deregister().await;
    count(&client, 2, SOON).await;
    drop(former);
}

#[tokio::test]
async fn a_server_that_comes_later_is_told_and_one_that_is_gone_does_not_hold_up_the_end() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    zoo.kill();
    let registry = registry(&zoo.server);
    let registered = registry.register(registration(80)).expect("one can register");
    wait::until("the first failure", SOON, async || registry.status().last_error).await;
    zoo.restart().await;
    let client = zoo.server.client(None).await;
    count(&client, 1, AGAIN).await;
    drop(client);
    zoo.kill();
    let start = Instant::now();
    registered.deregister().await;
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "the end took {spent:?}");
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_up_the_end() {
    let zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let registered = registry.register(registration(80)).expect("one can register");
    let client = zoo.server.client(None).await;
    count(&client, 1, SOON).await;
    zoo.freeze();
    let start = Instant::now();
    registered.deregister().await;
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "the end took {spent:?}");
    zoo.thaw();
}

#[tokio::test]
async fn an_instance_that_died_without_deregistering_goes_with_its_session() {
    let zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("s"));
    live(&mut found, &[], SOON).await;
    zoo.put_dying("s", ([10, 0, 0, 1], 1).into()).await;
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    live(&mut found, &[], Zookeeper::GONE.expect("it goes")).await;
    assert_eq!(zoo.listed("s").await, [""; 0]);
}
