//! The names of all services.

use frontgate::registry::{CatalogQuery, Names, Registry, State};
use serde_json::json;

use super::support::consul::Consul;
use super::support::wait;
use super::{SOON, or_skip, registry, service};

fn names(names: &Names) -> Vec<&str> {
    names.services.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn services_appear_in_the_catalog_with_their_tag_and_go() {
    let mut agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let mut all = registry.catalog(CatalogQuery { tag: None }).expect("consul has a catalog");
    let tag = Some("frontgate".to_owned());
    let mut tagged = registry.catalog(CatalogQuery { tag }).expect("consul has a catalog");
    let live = |expected: &'static [&'static str]| {
        move |found: &std::sync::Arc<Names>| found.state == State::Live && names(found) == expected
    };
    wait::seen(&mut all, "consul alone", SOON, live(&["consul"])).await;
    wait::seen(&mut tagged, "none", SOON, live(&[])).await;

    let mut opted = service("orders", "o", 1);
    opted["Tags"] = json!(["frontgate"]);
    agent.register(&opted).await;
    agent.register(&service("billing", "b", 1)).await;
    wait::seen(&mut all, "all three", SOON, live(&["billing", "consul", "orders"])).await;
    wait::seen(&mut tagged, "the one that opted in", SOON, live(&["orders"])).await;

    agent.deregister("o").await;
    wait::seen(&mut tagged, "none", SOON, live(&[])).await;

    agent.kill();
    let stale = |found: &std::sync::Arc<Names>| matches!(found.state, State::Stale { .. });
    let last = wait::seen(&mut all, "stale", SOON, stale).await;
    assert_eq!(names(&last), ["billing", "consul"]);
    agent.restart().await;
    wait::seen(&mut all, "live again", SOON, live(&["consul"])).await;
}
