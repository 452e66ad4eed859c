//! Instances and the catalog, as etcd tells them.

use std::time::{Duration, Instant};

use frontgate::registry::{CatalogQuery, Health, Query, Registry, State};

use super::registry;
use crate::support::etcd::Etcd;
use crate::support::real::Real;
use crate::support::wait;
use crate::{SOON, live, or_skip, query};

#[tokio::test]
async fn instances_come_and_go_and_one_service_is_not_another() {
    let member = or_skip!(Etcd::solo().await);
    member.write("orders/1", b"10.0.0.1:1", None).await;
    member.write("orders2/1", b"10.0.0.9:9", None).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("orders"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    let start = Instant::now();
    member.write("orders/2", b"http://10.0.0.2:2", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.2:2"], SOON).await;
    eprintln!("written and found in {:?}", start.elapsed());
    member.write("orders/2", b"10.0.0.2:3", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.2:3"], SOON).await;
    member.erase("orders/1").await;
    live(&mut found, &["10.0.0.2:3"], SOON).await;
    member.erase("orders/2").await;
    live(&mut found, &[], SOON).await;
    assert_eq!(registry.status().health, Health::Ok);
}

#[tokio::test]
async fn every_form_of_a_value_is_read_and_garbage_costs_only_itself() {
    let member = or_skip!(Etcd::solo().await);
    member.put_garbage("s").await;
    let values = [
        "10.0.0.1:1",
        "http://10.0.0.1:2",
        r#"{"Op":0,"Addr":"10.0.0.1:3","Metadata":{"weight":3,"zone":"a"}}"#,
        r#"{"address":"10.0.0.1:4","weight":5,"zone":"b","tags":["v2"]}"#,
    ];
    for (number, value) in values.iter().enumerate() {
        member.write(&format!("s/deeper/{number}"), value.as_bytes(), None).await;
    }
    member.write("s", b"10.0.0.1:9", None).await;
    member.write("/s", b"10.0.0.1:9", None).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    let all = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"];
    let set = live(&mut found, &all, SOON).await;
    let weights: Vec<_> = set.endpoints.iter().map(|e| (e.weight, e.zone.as_deref())).collect();
    assert_eq!(weights, [(1, None), (1, None), (3, Some("a")), (5, Some("b"))]);
    let tagged = Query { tags: vec!["v2".into()], ..query("s") };
    live(&mut registry.watch(tagged), &["10.0.0.1:4"], SOON).await;
    // An instance whose key becomes garbage goes, and comes back with what can be read.
    member.write("s/deeper/0", b"nonsense", None).await;
    live(&mut found, &all[1..], SOON).await;
    member.write("s/deeper/0", b"10.0.0.1:1", None).await;
    live(&mut found, &all, SOON).await;
}

#[tokio::test]
async fn several_changes_of_one_transaction_are_one_update() {
    let member = or_skip!(Etcd::solo().await);
    let address = |port: u16| ([10, 0, 0, 1], port).into();
    let ten: Vec<_> = (1..=10).map(|port| ("s".to_owned(), address(port))).collect();
    member.put_all(&ten).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    wait::seen(&mut found, "ten", SOON, |found| found.endpoints.len() == 10).await;
    found.mark_unchanged();
    member.take_all(&ten[..5]).await;
    let changed = tokio::time::timeout(SOON, found.changed()).await;
    changed.expect("in time").expect("it lives");
    assert_eq!(found.borrow().endpoints.len(), 5, "never a part of it");
}

#[tokio::test]
async fn an_instance_that_dies_is_gone_with_its_lease() {
    let member = or_skip!(Etcd::solo().await);
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    live(&mut found, &[], SOON).await;
    member.put_dying("s", ([10, 0, 0, 1], 1).into()).await;
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    live(&mut found, &[], Etcd::GONE.expect("leases end")).await;
}

#[tokio::test]
async fn the_catalog_names_services_with_instances_and_those_with_a_tag() {
    let member = or_skip!(Etcd::solo().await);
    let registry = registry(&member);
    let mut all = registry.catalog(CatalogQuery { tag: None }).expect("etcd has one");
    let tag = Some("frontgate".to_owned());
    let mut tagged = registry.catalog(CatalogQuery { tag }).expect("etcd has one");
    member.put("plain", ([10, 0, 0, 1], 1).into()).await;
    member.put_tagged("open", ([10, 0, 0, 1], 2).into()).await;
    member.put_garbage("broken").await;
    wait::seen(&mut all, "both", SOON, |names| *names.services == ["open", "plain"]).await;
    wait::seen(&mut tagged, "one", SOON, |names| *names.services == ["open"]).await;
    member.take("open", ([10, 0, 0, 1], 2).into()).await;
    wait::seen(&mut tagged, "none", SOON, |names| names.services.is_empty()).await;
    let now = all.borrow().clone();
    assert_eq!((&*now.services, &now.state), (&["plain".to_owned()][..], &State::Live));
}

#[tokio::test]
async fn more_keys_than_a_page_holds_are_found_and_compaction_harms_nothing() {
    let member = or_skip!(Etcd::solo().await);
    let address = |number: u32| {
        let [_, b, c, d] = number.to_be_bytes();
        ([10, b, c, d], 80).into()
    };
    let many: Vec<_> = (0..12_000).map(|number| ("s".to_owned(), address(number))).collect();
    member.put_all(&many).await;
    let registry = registry(&member);
    let start = Instant::now();
    let mut found = registry.watch(query("s"));
    let within = Duration::from_secs(20);
    wait::seen(&mut found, "all", within, |found| found.endpoints.len() == 12_000).await;
    eprintln!("12,000 instances found in {:?}", start.elapsed());
    let revision = member.revision().await;
    member.tell("/v3/kv/compaction", &serde_json::json!({ "revision": revision })).await;
    member.take_all(&many[..6_000]).await;
    wait::seen(&mut found, "half", within, |found| found.endpoints.len() == 6_000).await;
    assert_eq!(found.borrow().state, State::Live);
}

#[tokio::test]
async fn what_nobody_watches_is_not_read_and_a_registry_that_is_dropped_asks_nothing() {
    let member = or_skip!(Etcd::solo().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    let registry = registry(&member);
    wait::until("it answers", SOON, async || {
        (registry.status().health == Health::Ok).then_some(())
    })
    .await;
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    let connections =
        || crate::support::ports::connections_to(std::process::id(), member.address().port());
    assert!(connections() >= 1, "a watch");
    drop(registry);
    member.write("s/1", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:2"], SOON).await;
    drop(found);
    // What lies idle in the client's pool ends with the client.
    wait::until("no connection is left", Duration::from_secs(15), async || {
        (connections() == 0).then_some(())
    })
    .await;
}
