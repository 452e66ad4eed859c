//! What is found while the server is well.

use std::time::{Duration, Instant};

use frontgate::registry::zookeeper::{Settings, Zookeeper as Registered};
use frontgate::registry::{Health, Query, Registry, State};
use zookeeper_client::{Acls, Client, CreateMode};

use super::super::support::real::Real;
use super::super::support::wait;
use super::super::support::zookeeper::Zookeeper;
use super::super::{SOON, addresses, live, or_skip, query};
use super::registry;

const ALL: zookeeper_client::CreateOptions<'static> =
    CreateMode::Persistent.with_acls(Acls::anyone_all());

async fn create(client: &Client, path: &str, data: &str) {
    client.create(path, data.as_bytes(), &ALL).await.expect("created");
}

#[tokio::test]
async fn a_service_is_found_changes_and_goes_though_even_its_root_comes_later() {
    let zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("orders"));
    assert_eq!(found.borrow().state, State::Pending);
    live(&mut found, &[], SOON).await;

    let client = zoo.server.client(None).await;
    create(&client, "/services", "").await;
    create(&client, "/services/orders", "").await;
    create(&client, "/services/orders/a", "10.0.0.1:80").await;
    live(&mut found, &["10.0.0.1:80"], SOON).await;
    create(&client, "/services/orders/b", "10.0.0.1:81").await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81"], SOON).await;
    client.set_data("/services/orders/a", b"10.0.0.1:82", None).await.expect("set");
    live(&mut found, &["10.0.0.1:81", "10.0.0.1:82"], SOON).await;
    create(&client, "/services/other", "").await;
    create(&client, "/services/other/x", "10.0.0.9:1").await;
    for node in ["orders/a", "orders/b", "orders", "other/x", "other"] {
        client.delete(&format!("/services/{node}"), None).await.expect("deleted");
    }
    client.delete("/services", None).await.expect("deleted");
    live(&mut found, &[], SOON).await;
    create(&client, "/services", "").await;
    create(&client, "/services/orders", "").await;
    create(&client, "/services/orders/again", "10.0.0.1:83").await;
    live(&mut found, &["10.0.0.1:83"], SOON).await;

    let status = registry.status();
    assert_eq!((status.health, status.services, status.instances), (Health::Ok, 1, 1));
    assert!(status.last_success.is_some() && status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn every_form_of_an_instance_is_read_and_garbage_beside_it_is_passed_over() {
    let zoo = or_skip!(Zookeeper::start().await);
    zoo.put_garbage("s").await;
    let written = [
        ("plain", "10.0.0.1:1"),
        ("url", "http://10.0.0.1:2"),
        ("etcd", r#"{"Addr":"10.0.0.1:3","Metadata":{"weight":3,"zone":"a"}}"#),
        ("ours", r#"{"address":"10.0.0.1:4","weight":4,"tags":["v2"]}"#),
        (
            "curator",
            r#"{"name":"s","id":"x","address":"10.0.0.1","port":5,"sslPort":null,"payload":null,"registrationTimeUTC":1,"serviceType":"DYNAMIC","uriSpec":null,"enabled":true}"#,
        ),
        ("off", r#"{"name":"s","id":"y","address":"10.0.0.1","port":6,"enabled":false}"#),
        ("same", "10.0.0.1:1"),
    ];
    let nodes: Vec<_> = written
        .iter()
        .map(|(node, data)| (format!("/services/s/{node}"), (*data).to_owned()))
        .collect();
    let client = zoo.write(&nodes, CreateMode::Persistent).await;
    let long = "x".repeat(100_000);
    create(&client, "/services/s/long", &long).await;
    create(&client, "/services/s/plain/deeper", "10.0.0.1:99").await;

    let registry = registry(&zoo.server);
    let expected = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4", "10.0.0.1:5"];
    let mut found = registry.watch(query("s"));
    let set = live(&mut found, &expected, SOON).await;
    assert_eq!((set.endpoints[2].weight, set.endpoints[2].zone.as_deref()), (3, Some("a")));
    let all = Query { passing_only: false, ..query("s") };
    assert_eq!(
        live(&mut registry.watch(all), &[&expected[..], &["10.0.0.1:6"]].concat(), SOON)
            .await
            .endpoints
            .len(),
        6
    );
    let tagged = Query { tags: vec!["v2".into()], ..query("s") };
    live(&mut registry.watch(tagged), &["10.0.0.1:4"], SOON).await;

    // What could not be used may become so, and the other way round.
    client.set_data("/services/s/garbage-0", b"10.0.0.1:7", None).await.expect("set");
    client.set_data("/services/s/plain", b"{", None).await.expect("set");
    client.delete("/services/s/same", None).await.expect("deleted");
    live(&mut found, &["10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4", "10.0.0.1:5", "10.0.0.1:7"], SOON)
        .await;
}

#[tokio::test]
async fn registered_is_published_within_fifty_milliseconds_as_a_median() {
    let zoo = or_skip!(Zookeeper::start().await);
    let client = zoo
        .write(&[("/services/orders/first".into(), "10.0.0.1:1".into())], CreateMode::Persistent)
        .await;
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("orders"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    let mut delays = Vec::new();
    for port in 2..=51 {
        let start = Instant::now();
        create(&client, &format!("/services/orders/{port}"), &format!("10.0.0.1:{port}")).await;
        wait::seen(&mut found, "one more", SOON, |f| f.endpoints.len() == port).await;
        delays.push(start.elapsed());
    }
    delays.sort();
    let median = delays[delays.len() / 2];
    eprintln!("registered → published: median {median:?}, worst {:?}", delays[delays.len() - 1]);
    assert!(median <= Duration::from_millis(50), "{delays:?}");
}

#[tokio::test]
async fn a_root_and_a_path_behind_the_servers_are_honoured() {
    let zoo = or_skip!(Zookeeper::start().await);
    let nodes = [("/app/here/s/a".to_owned(), "10.0.0.1:1".to_owned())];
    zoo.write(&nodes, CreateMode::Persistent).await;
    let mut settings = Settings::new("test", &format!("{}/app", zoo.server.address()));
    settings.root = "/here/".into();
    let below = Registered::new(&settings).expect("good settings");
    live(&mut below.watch(query("s")), &["10.0.0.1:1"], SOON).await;
    let mut settings = Settings::new("test", &zoo.server.address());
    settings.root = "/".into();
    let top = Registered::new(&settings).expect("good settings");
    let mut found = top.watch(query("t"));
    live(&mut found, &[], SOON).await;
    zoo.write(&[("/t/a".to_owned(), "10.0.0.1:2".to_owned())], CreateMode::Persistent).await;
    live(&mut found, &["10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn a_watch_ends_with_its_last_receiver_and_may_begin_again() {
    let zoo = or_skip!(Zookeeper::start().await);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    let registry = registry(&zoo.server);
    let mut first = registry.watch(query("s"));
    let second = registry.watch(query("s"));
    live(&mut first, &["10.0.0.1:1"], SOON).await;
    assert_eq!(addresses(&second.borrow()), ["10.0.0.1:1"], "the same query shares one watch");
    drop((first, second));
    assert_eq!(registry.status().services, 0);
    zoo.take("s", ([10, 0, 0, 1], 1).into()).await;
    live(&mut registry.watch(query("s")), &[], SOON).await;
}

#[tokio::test]
async fn a_registry_that_is_dropped_goes_on_for_who_watches_and_then_closes_its_session() {
    let zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let mut found = registry.watch(query("s"));
    live(&mut found, &[], SOON).await;
    drop(registry);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    drop(found);
    wait::until("no connection is left", Duration::from_secs(20), async || {
        let clients = zoo.server.four_letters("cons").await.ok()?;
        // The one that asks.
        (clients.lines().filter(|line| line.contains("127.0.0.1")).count() <= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_whose_name_can_be_no_nodes_is_said_so_and_the_others_are_found() {
    let zoo = or_skip!(Zookeeper::start().await);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    let registry = registry(&zoo.server);
    let mut odd = registry.watch(query("a/../s"));
    live(&mut registry.watch(query("s")), &["10.0.0.1:1"], SOON).await;
    let unheard =
        |f: &std::sync::Arc<super::super::Found>| matches!(f.state, State::Unheard { .. });
    wait::seen(&mut odd, "said so", SOON, unheard).await;
}
