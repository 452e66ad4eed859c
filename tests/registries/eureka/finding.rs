//! What is found while the server is well.

use frontgate::registry::{CatalogQuery, Health, Names, Query, Registry as _, State};

use super::super::support::real::Real as _;
use super::super::support::wait;
use super::super::{live, or_skip, query};
use super::{Eureka, SEEN, at, eureka, registry};

fn named<'a>(expected: &'a [&str]) -> impl FnMut(&std::sync::Arc<Names>) -> bool + 'a {
    move |names| names.state == State::Live && *names.services == *expected
}

#[tokio::test]
async fn services_are_found_change_and_go_and_so_do_their_names() {
    let server = or_skip!(Eureka::start().await);
    let registry = registry(&server);
    let mut found = registry.watch(query("orders"));
    let mut names = registry.catalog(CatalogQuery { tag: None }).expect("a catalog");
    let tag = Some("frontgate".to_owned());
    let mut opted = registry.catalog(CatalogQuery { tag }).expect("a catalog");
    assert_eq!(found.borrow().state, State::Pending);
    live(&mut found, &[], SEEN).await;

    server.put("orders", at(80)).await;
    live(&mut found, &["10.0.0.1:80"], SEEN).await;
    server.put_tagged("Billing", at(1)).await;
    server.put("orders", at(81)).await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81"], SEEN).await;
    wait::seen(&mut names, "both", SEEN, named(&["billing", "orders"])).await;
    wait::seen(&mut opted, "the one that opted in", SEEN, named(&["billing"])).await;
    live(&mut registry.watch(query("BILLING")), &["10.0.0.1:1"], SEEN).await;

    let id = "orders-10.0.0.1-80";
    server.set_status("ORDERS", id, "OUT_OF_SERVICE").await;
    live(&mut found, &["10.0.0.1:81"], SEEN).await;
    server.set_status("ORDERS", id, "UP").await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81"], SEEN).await;
    server.put_garbage("orders").await;
    server.put_dying("orders", at(82)).await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81", "10.0.0.1:82"], SEEN).await;
    live(&mut found, &["10.0.0.1:80", "10.0.0.1:81"], Eureka::GONE.expect("leases end")).await;
    server
        .ask("PUT", &format!("/apps/ORDERS/{id}/metadata?weight=7"), &serde_json::Value::Null)
        .await;
    wait::seen(&mut found, "heavier", SEEN, |found| found.endpoints[0].weight == 7).await;

    server.take("orders", at(80)).await;
    server.take("orders", at(81)).await;
    live(&mut found, &[], SEEN).await;
    server.deregister("ORDERS", "garbage").await;
    server.take("Billing", at(1)).await;
    wait::seen(&mut names, "none", SEEN, named(&[])).await;
    let status = registry.status();
    assert_eq!((status.health, status.services, status.instances), (Health::Ok, 1, 0));
    assert!(status.last_success.is_some() && status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn the_values_of_an_instance_are_read_as_the_server_writes_them() {
    let server = or_skip!(Eureka::start().await);
    let mut full = eureka::instance("s", at(1));
    full["metadata"] = serde_json::json!({ "weight": "3", "zone": "a", "v2": "true" });
    server.register(&full).await;
    let mut named = eureka::instance("s", at(2));
    named["ipAddr"] = "backend.internal".into();
    named["dataCenterInfo"] = "where".into();
    // The server wants the class before the name before the metadata.
    let amazon = r#"{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"availability-zone":"us-1a","instance-id":"i-7"}}"#;
    let named = serde_json::json!({ "instance": named }).to_string().replace("\"where\"", amazon);
    let (status, said) = server.call("POST", "/apps/S", &named).await.expect("an answer");
    assert_eq!(status, 204, "{said}");
    let mut secure = eureka::instance("s", at(3));
    secure["port"]["@enabled"] = "false".into();
    secure["securePort"]["@enabled"] = "true".into();
    server.register(&secure).await;
    for (port, status) in [(4, "STARTING"), (5, "DOWN"), (6, "UNKNOWN")] {
        let mut other = eureka::instance("s", at(port));
        other["status"] = status.into();
        server.register(&other).await;
    }
    let registry = registry(&server);
    let set =
        live(&mut registry.watch(query("s")), &["10.0.0.1:1", "backend.internal:2"], SEEN).await;
    let endpoints: Vec<_> = set.endpoints.iter().map(|e| (e.weight, e.zone.as_deref())).collect();
    assert_eq!(endpoints, [(3, Some("a")), (1, Some("us-1a"))]);
    let tagged = Query { tags: vec!["V2".into()], ..query("s") };
    live(&mut registry.watch(tagged), &["10.0.0.1:1"], SEEN).await;
    let lenient = Query { passing_only: false, ..query("s") };
    let expected = ["10.0.0.1:1", "10.0.0.1:4", "10.0.0.1:6", "backend.internal:2"];
    live(&mut registry.watch(lenient), &expected, SEEN).await;
    assert_eq!(registry.status().health, Health::Ok);
}
