//! What is believed while a real server is away, hangs, or forgets.

use std::time::Duration;

use frontgate::registry::{Health, Registry, State};

use super::super::support::wait;
use super::super::{SOON, addresses, live, or_skip, stale};
use super::{Named, asking, host, registry, srv};

/// A returned server must be noticed within this time.
const RETURNED: Duration = Duration::from_secs(6);
/// A server that hangs must be noticed within this time: two questions, and one over TCP.
const HUNG: Duration = Duration::from_secs(12);

async fn with_one(named: &Named) {
    named.change("add a.test 1 A 127.0.0.1");
    named.change("add s.test 1 SRV 10 10 1 a.test.");
}

#[tokio::test]
async fn a_server_that_is_gone_leaves_the_last_set_and_its_return_is_noticed() {
    let mut named = or_skip!(Named::start().await);
    let registry = registry(&named);
    with_one(&named).await;
    let mut found = registry.watch(srv("s.test"));
    live(&mut found, &["127.0.0.1:1"], SOON).await;

    named.kill();
    let set = stale(&mut found, SOON).await;
    assert_eq!(addresses(&set), ["127.0.0.1:1"]);
    let State::Stale { since, reason } = set.state.clone() else { panic!("{set:?}") };
    assert!(reason.contains("cannot be reached: Connection refused"), "{reason}");
    // Away for a while, so that the pauses between tries have grown as long as they get.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let set = found.borrow().clone();
    assert_eq!(addresses(&set), ["127.0.0.1:1"]);
    assert!(matches!(&set.state, State::Stale { since: then, .. } if *then == since), "{set:?}");
    assert_eq!(registry.status().health, Health::Stale);

    named.restart().await;
    live(&mut found, &["127.0.0.1:1"], RETURNED).await;
    assert_eq!(registry.status().health, Health::Ok);
    // One that forgot everything is believed: what stands above guards against that.
    named.restart_empty().await;
    live(&mut found, &[], RETURNED).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_so_is_its_waking() {
    let named = or_skip!(Named::start().await);
    let registry = registry(&named);
    with_one(&named).await;
    let mut found = registry.watch(srv("s.test"));
    let mut other = registry.watch(host("a.test", 9));
    live(&mut found, &["127.0.0.1:1"], SOON).await;
    live(&mut other, &["127.0.0.1:9"], SOON).await;

    named.freeze();
    let set = stale(&mut found, HUNG).await;
    assert_eq!(addresses(&set), ["127.0.0.1:1"]);
    let State::Stale { reason, .. } = &set.state else { panic!("{set:?}") };
    assert!(reason.contains("does not answer within 2s"), "{reason}");
    stale(&mut other, HUNG).await;
    named.thaw();
    live(&mut found, &["127.0.0.1:1"], RETURNED).await;
    live(&mut other, &["127.0.0.1:9"], RETURNED).await;
    wait::until("all is well", SOON, async || {
        (registry.status().health == Health::Ok).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_found_when_it_comes() {
    let mut named = or_skip!(Named::start().await);
    with_one(&named).await;
    named.kill();
    let registry = registry(&named);
    let mut found = registry.watch(srv("s.test"));
    wait::until("the first failure", SOON, async || registry.status().last_error).await;
    assert!(matches!(found.borrow().state, State::Unheard { .. }), "nothing was heard");
    assert_eq!(registry.status().health, Health::Connecting);
    named.restart().await;
    live(&mut found, &["127.0.0.1:1"], RETURNED).await;
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_gone_or_hangs() {
    let (mut one, two) = (or_skip!(Named::start().await), or_skip!(Named::start().await));
    with_one(&one).await;
    with_one(&two).await;
    let servers = [&one, &two].map(|named| named.address().to_string());
    let registry = asking(&servers.each_ref().map(String::as_str));
    let mut found = registry.watch(srv("s.test"));
    live(&mut found, &["127.0.0.1:1"], SOON).await;
    one.kill();
    two.change("add s.test 1 SRV 10 10 2 a.test.");
    live(&mut found, &["127.0.0.1:1", "127.0.0.1:2"], RETURNED).await;
    one.restart().await;
    two.freeze();
    live(&mut found, &["127.0.0.1:1"], HUNG).await;
    assert_eq!(registry.status().health, Health::Ok);
}
