//! What is found of one service while the agent is well.

use std::time::{Duration, Instant};

use frontgate::registry::{Health, Lookup, Query, Registry, State};
use serde_json::json;

use super::support::consul::Consul;
use super::support::wait;
use super::{SOON, addresses, live, or_skip, query, registry, service};

#[tokio::test]
async fn a_service_is_found_fails_recovers_and_goes() {
    let agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let mut found = registry.watch(query("orders"));
    assert_eq!(found.borrow().state, State::Pending);
    live(&mut found, &[], SOON).await;

    agent.register(&service("orders", "a", 80)).await;
    live(&mut found, &["10.0.0.1:80"], SOON).await;
    agent.register(&service("orders", "b", 81)).await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81"], SOON).await;
    agent.set_check("a-alive", "critical").await;
    live(&mut found, &["10.0.0.1:81"], SOON).await;
    agent.set_check("a-alive", "passing").await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81"], SOON).await;
    agent.deregister("a").await;
    live(&mut found, &["10.0.0.1:81"], SOON).await;
    agent.deregister("b").await;
    live(&mut found, &[], SOON).await;

    let status = registry.status();
    assert_eq!((status.health, status.services, status.instances), (Health::Ok, 1, 0));
    assert!(status.last_success.is_some() && status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn registered_is_published_within_a_tenth_of_a_second_as_a_median() {
    let agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let mut found = registry.watch(query("orders"));
    live(&mut found, &[], SOON).await;
    let mut delays = Vec::new();
    for port in 1..=15 {
        let start = Instant::now();
        agent.register(&service("orders", &format!("o{port}"), port)).await;
        wait::seen(&mut found, "one more", SOON, |f| f.endpoints.len() == usize::from(port)).await;
        delays.push(start.elapsed());
        // So that the bucket, which is for floods, does not decide: one service changes less often.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    delays.sort();
    let median = delays[delays.len() / 2];
    eprintln!("registered → published: median {median:?}, worst {:?}", delays[delays.len() - 1]);
    assert!(median <= Duration::from_millis(100), "{delays:?}");
}

#[tokio::test]
async fn weights_zones_and_addresses_come_from_the_agent() {
    let agent = or_skip!(Consul::dev().await);
    let node = agent.ask("GET", "/v1/agent/self", &json!(null)).await;
    let node = node["Member"]["Addr"].as_str().expect("the agent's address").to_owned();
    for definition in [
        json!({ "ID": "weighted", "Name": "s", "Address": "10.0.0.1", "Port": 1, "Weights": { "Passing": 7, "Warning": 2 } }),
        json!({ "ID": "meta", "Name": "s", "Address": "10.0.0.2", "Port": 2, "Meta": { "weight": "9", "zone": "a", "scheme": "http" } }),
        json!({ "ID": "nodes", "Name": "s", "Port": 3 }),
        json!({ "ID": "six", "Name": "s", "Address": "fd00::1", "Port": 4 }),
        json!({ "ID": "named", "Name": "s", "Address": "backend.internal", "Port": 5 }),
        json!({ "ID": "again", "Name": "s", "Address": "10.0.0.1", "Port": 1 }),
        json!({ "ID": "portless", "Name": "s", "Address": "10.0.0.7" }),
        json!({ "ID": "secure", "Name": "s", "Address": "10.0.0.8", "Port": 8, "Meta": { "scheme": "https" } }),
    ] {
        agent.register(&definition).await;
    }
    let mut found = registry(&agent).watch(query("s"));
    let of_node = format!("{node}:3");
    let mut expected =
        vec!["10.0.0.1:1", "10.0.0.2:2", &of_node, "backend.internal:5", "[fd00::1]:4"];
    expected.sort_by_key(|address| address.trim_start_matches('[').to_owned());
    let set = live(&mut found, &expected, SOON).await;
    let by = |host: &str| {
        let found = set.endpoints.iter().find(|endpoint| endpoint.address.host == host);
        found.map(|endpoint| (endpoint.weight, endpoint.zone.as_deref()))
    };
    assert_eq!(by("10.0.0.1"), Some((7, None)));
    assert_eq!(by("10.0.0.2"), Some((9, Some("a"))));
    assert_eq!(by("fd00::1"), Some((1, None)));
}

#[tokio::test]
async fn every_tag_is_asked_for_and_a_warning_serves_only_without_passing_only() {
    let agent = or_skip!(Consul::dev().await);
    let mut both = service("s", "both", 1);
    both["Tags"] = json!(["v1", "blue", "über/1"]);
    let mut one = service("s", "one", 2);
    one["Tags"] = json!(["v1"]);
    agent.register(&both).await;
    agent.register(&one).await;
    agent.register(&service("s", "none", 3)).await;
    agent.set_check("one-alive", "warning").await;

    let registry = registry(&agent);
    let tagged = |tags: &[&str], passing_only| {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        registry.watch(Query { service: "s".into(), tags, passing_only, lookup: Lookup::Srv })
    };
    live(&mut tagged(&["v1", "blue"], true), &["10.0.0.1:1"], SOON).await;
    live(&mut tagged(&["über/1"], true), &["10.0.0.1:1"], SOON).await;
    live(&mut tagged(&["v1"], true), &["10.0.0.1:1"], SOON).await;
    live(&mut tagged(&["v1"], false), &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
    let mut lenient = tagged(&[], false);
    live(&mut lenient, &["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"], SOON).await;
    agent.set_check("none-alive", "critical").await;
    live(&mut lenient, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn a_watch_ends_with_its_last_receiver_and_may_begin_again() {
    let agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    agent.register(&service("s", "a", 1)).await;
    let mut first = registry.watch(query("s"));
    let second = registry.watch(query("s"));
    live(&mut first, &["10.0.0.1:1"], SOON).await;
    assert_eq!(addresses(&second.borrow()), ["10.0.0.1:1"], "the same query shares one watch");
    assert_eq!(registry.status().services, 1);
    drop((first, second));
    wait::until("nothing is watched", SOON, async || {
        (registry.status().services == 0).then_some(())
    })
    .await;
    live(&mut registry.watch(query("s")), &["10.0.0.1:1"], SOON).await;
}

#[tokio::test]
async fn the_reading_options_reach_the_agent() {
    let agent = or_skip!(Consul::dev().await);
    agent.register(&service("s", "a", 1)).await;
    let mut settings =
        frontgate::registry::consul::Settings::new("test", &agent.address().to_string());
    settings.datacenter = Some("dc1".into());
    settings.stale = true;
    settings.near = Some("_agent".into());
    let good = frontgate::registry::consul::Consul::new(&settings).expect("good settings");
    live(&mut good.watch(query("s")), &["10.0.0.1:1"], SOON).await;

    settings.datacenter = Some("elsewhere".into());
    let lost = frontgate::registry::consul::Consul::new(&settings).expect("good settings");
    let _found = lost.watch(query("s"));
    let error = wait::until("the datacenter is unknown", SOON, async || lost.status().last_error);
    assert!(error.await.1.contains("No path to datacenter"), "{:?}", lost.status());
}
