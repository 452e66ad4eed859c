//! Registering with a key under a lease.

use std::time::{Duration, Instant};

use frontgate::config::model::HostPort;
use frontgate::registry::{Liveness, Registration, Registry};
use serde_json::{Value, json};

use super::registry;
use crate::support::etcd::Etcd;
use crate::support::real::Real;
use crate::support::wait;
use crate::{SOON, live, or_skip, query};

/// Bound on etcd that forgot being told again: a look every 3.3 s, and the pauses after failures.
const AGAIN: Duration = Duration::from_secs(15);

fn registration(port: u16) -> Registration {
    Registration {
        id: format!("edge-127.0.0.1-{port}"),
        name: "edge".into(),
        address: HostPort { host: "127.0.0.1".into(), port },
        tags: vec!["frontgate".into()],
        check: Liveness::Heartbeat,
    }
}

async fn registered(member: &Etcd, expected: &[&str], within: Duration) {
    wait::until(&format!("registered: {expected:?}"), within, async || {
        (member.listed("edge").await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_registration_is_found_at_once_as_etcds_own_naming_writes_it_and_taken_back() {
    let member = or_skip!(Etcd::solo().await);
    let registry = registry(&member);
    let mut found = registry.watch(query("edge"));
    live(&mut found, &[], SOON).await;
    let start = Instant::now();
    let kept = registry.register(registration(1)).expect("one can register in etcd");
    live(&mut found, &["127.0.0.1:1"], SOON).await;
    eprintln!("registered and found in {:?}", start.elapsed());
    let written = member.read("edge/").await;
    let [(key, value)] = written.as_slice() else { panic!("{written:?}") };
    assert_eq!(key, "edge/edge-127.0.0.1-1");
    let value: Value = serde_json::from_str(value).expect("JSON");
    let metadata = json!({ "frontgate": "true" });
    assert_eq!(value, json!({ "Op": 0, "Addr": "127.0.0.1:1", "Metadata": metadata }));
    kept.deregister().await;
    live(&mut found, &[], SOON).await;
    assert_eq!(member.tell("/v3/lease/leases", &json!({})).await["leases"], Value::Null);
}

#[tokio::test]
async fn it_outlives_its_lease_and_is_made_again_when_key_or_lease_is_gone() {
    let member = or_skip!(Etcd::solo().await);
    let registry = registry(&member);
    let kept = registry.register(registration(1)).expect("taken");
    registered(&member, &["127.0.0.1:1"], SOON).await;
    member.erase("edge/edge-127.0.0.1-1").await;
    registered(&member, &["127.0.0.1:1"], AGAIN).await;
    let leases = member.tell("/v3/lease/leases", &json!({})).await;
    let lease = leases["leases"][0]["ID"].as_str().expect("one lease").to_owned();
    assert_eq!(leases["leases"].as_array().map(Vec::len), Some(1), "{leases}");
    member.tell("/v3/lease/revoke", &json!({ "ID": lease })).await;
    registered(&member, &["127.0.0.1:1"], AGAIN).await;
    // Longer than a lease lasts.
    let mut found = registry.watch(query("edge"));
    live(&mut found, &["127.0.0.1:1"], SOON).await;
    found.mark_unchanged();
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert!(!found.has_changed().expect("it lives"));
    kept.deregister().await;
    registered(&member, &[], SOON).await;
}

#[tokio::test]
async fn a_process_that_dies_is_forgotten() {
    let member = or_skip!(Etcd::solo().await);
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let other = other.expect("a runtime");
    let registry = registry(&member);
    let entered = other.enter();
    let _kept = registry.register(registration(1)).expect("taken");
    drop(entered);
    registered(&member, &["127.0.0.1:1"], SOON).await;
    other.shutdown_background();
    registered(&member, &[], Duration::from_secs(20)).await;
}

#[tokio::test]
async fn etcd_that_forgot_or_hung_too_long_is_told_again() {
    let mut member = or_skip!(Etcd::solo().await);
    let registry = registry(&member);
    let kept = registry.register(registration(1)).expect("taken");
    registered(&member, &["127.0.0.1:1"], SOON).await;
    member.restart_empty().await;
    registered(&member, &["127.0.0.1:1"], AGAIN).await;
    member.freeze();
    tokio::time::sleep(Duration::from_secs(12)).await;
    member.thaw();
    registered(&member, &["127.0.0.1:1"], AGAIN).await;
    kept.deregister().await;
    registered(&member, &[], SOON).await;
}

#[tokio::test]
async fn etcd_that_comes_later_is_told_and_one_that_is_gone_does_not_hold_up_the_end() {
    let mut member = or_skip!(Etcd::solo().await);
    member.kill();
    let registry = registry(&member);
    let kept = registry.register(registration(1)).expect("taken");
    wait::until("the first failure", SOON, async || registry.status().last_error).await;
    member.restart().await;
    registered(&member, &["127.0.0.1:1"], AGAIN).await;
    let second = registry.register(registration(2)).expect("taken");
    registered(&member, &["127.0.0.1:1", "127.0.0.1:2"], SOON).await;
    member.freeze();
    let start = Instant::now();
    kept.deregister().await;
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "the end took {spent:?}");
    member.thaw();
    member.kill();
    let start = Instant::now();
    second.deregister().await;
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "the end took {spent:?}");
}

#[tokio::test]
async fn a_successor_at_the_same_address_is_left_alone() {
    let member = or_skip!(Etcd::solo().await);
    let (old, new) = (registry(&member), registry(&member));
    let first = old.register(registration(1)).expect("taken");
    registered(&member, &["127.0.0.1:1"], SOON).await;
    let before = member.revision().await;
    let second = new.register(registration(1)).expect("taken");
    wait::until("the second has written", SOON, async || {
        (member.revision().await > before).then_some(())
    })
    .await;
    first.deregister().await;
    registered(&member, &["127.0.0.1:1"], SOON).await;
    second.deregister().await;
    registered(&member, &[], SOON).await;
}

#[tokio::test]
async fn a_user_may_register_without_being_allowed_to_read_anything_else() {
    let member = or_skip!(Etcd::guarded().await);
    member.tell("/v3/auth/user/add", &json!({ "name": "u", "password": "p" })).await;
    member.tell("/v3/auth/role/add", &json!({ "name": "edge" })).await;
    use base64::Engine;
    let text = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let perm = json!({
        "permType": "READWRITE", "key": text("/services/edge/"), "range_end": text("/services/edge0"),
    });
    member.tell("/v3/auth/role/grant", &json!({ "name": "edge", "perm": perm })).await;
    member.tell("/v3/auth/user/grant", &json!({ "user": "u", "role": "edge" })).await;
    let mut settings = frontgate::registry::etcd::Settings::new("test", &member.url());
    settings.user = Some(("u".into(), frontgate::config::Secret::new("p".into())));
    let registry = frontgate::registry::etcd::Etcd::new(&settings).expect("good settings");
    let kept = registry.register(registration(1)).expect("taken");
    registered(&member, &["127.0.0.1:1"], SOON).await;
    kept.deregister().await;
    registered(&member, &[], SOON).await;
}
