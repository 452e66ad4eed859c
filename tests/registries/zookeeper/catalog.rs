//! The names of all services.

use std::sync::Arc;

use frontgate::registry::{CatalogQuery, Names, Registry, State};

use super::super::support::real::Real;
use super::super::support::wait;
use super::super::support::zookeeper::Zookeeper;
use super::super::{SOON, or_skip, query};
use super::registry;

#[tokio::test]
async fn services_appear_in_the_catalog_with_their_tag_and_go() {
    let mut zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo.server);
    let mut all = registry.catalog(CatalogQuery { tag: None }).expect("a catalog");
    let tag = Some("frontgate".to_owned());
    let mut tagged = registry.catalog(CatalogQuery { tag }).expect("a catalog");
    let live = |expected: &'static [&'static str]| {
        move |found: &Arc<Names>| found.state == State::Live && *found.services == *expected
    };
    wait::seen(&mut all, "none", SOON, live(&[])).await;
    zoo.put_tagged("orders", ([10, 0, 0, 1], 1).into()).await;
    zoo.put("billing", ([10, 0, 0, 1], 2).into()).await;
    wait::seen(&mut all, "both", SOON, live(&["billing", "orders"])).await;
    wait::seen(&mut tagged, "the one that opted in", SOON, live(&["orders"])).await;
    // What the catalog names is known already.
    let found = registry.watch(query("orders"));
    assert_eq!((found.borrow().state.clone(), found.borrow().endpoints.len()), (State::Live, 1));

    zoo.take("orders", ([10, 0, 0, 1], 1).into()).await;
    wait::seen(&mut tagged, "none", SOON, live(&[])).await;
    wait::seen(&mut all, "the other", SOON, live(&["billing"])).await;

    zoo.kill();
    let stale = |found: &Arc<Names>| matches!(found.state, State::Stale { .. });
    let last = wait::seen(&mut all, "stale", SOON, stale).await;
    assert_eq!(*last.services, ["billing"]);
    zoo.restart().await;
    wait::seen(&mut all, "live again", SOON, live(&["billing"])).await;
    zoo.put("orders", ([10, 0, 0, 1], 1).into()).await;
    wait::seen(&mut all, "both again", SOON, live(&["billing", "orders"])).await;

    // Names that nobody asks for are not known later as they were.
    drop((all, tagged, found));
    let mut other = registry.watch(query("other"));
    super::super::live(&mut other, &[], SOON).await;
    zoo.take("billing", ([10, 0, 0, 1], 2).into()).await;
    let mut all = registry.catalog(CatalogQuery { tag: None }).expect("a catalog");
    assert_eq!(all.borrow().state, State::Pending);
    wait::seen(&mut all, "one", SOON, live(&["orders"])).await;
}
