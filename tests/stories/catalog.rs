//! Routes by service name, without a route each.

use serde_json::{Value, json};

use super::gateway::{Gateway, apigateway};
use super::rotation::in_agent;
use super::support::client::Answer;
use super::support::consul::Consul;
use super::support::wait;
use super::{Backend, SOON, or_skip};

const CATALOG: &str = r#"
[catalog.all]
registry = "consul"
path = "/{service}/*"
tag = "frontgate"
exclude = ["hidden"]
"#;

async fn get(gateway: &Gateway, path: &str) -> Answer {
    gateway.client().get(path).await.expect("an answer")
}

/// Waits until the path answers with this status.
async fn becomes(gateway: &Gateway, path: &str, status: u16) -> Answer {
    wait::until(&format!("{path} is {status}"), SOON, async || {
        Some(get(gateway, path).await).filter(|answer| answer.status == status)
    })
    .await
}

async fn names(gateway: &Gateway) -> Vec<String> {
    let routes = gateway.see("/routes").await.json();
    let routes = routes["routes"].as_array().expect("routes").clone();
    routes.iter().filter_map(|route| Some(route["name"].as_str()?.to_owned())).collect()
}

fn tagged(name: &str, id: &str, backend: &Backend) -> Value {
    let mut service = in_agent(name, id, backend);
    service["Tags"] = json!(["v1", "frontgate"]);
    service
}

#[tokio::test]
async fn a_tagged_service_is_routed_while_the_agent_names_it() {
    let agent = or_skip!(Consul::dev().await);
    let gateway = Gateway::start(&(apigateway(&agent.url()) + CATALOG)).await;
    let orders = Backend::start("stringsvc", None).await;
    gateway.is_ready(SOON).await;
    assert_eq!(get(&gateway, "/orders/healthz").await.header("x-frontgate-code"), "no_route");

    agent.register(&tagged("orders", "o", &orders)).await;
    let answer = becomes(&gateway, "/orders/healthz", 200).await;
    assert_eq!(answer.instance(), orders.address);
    let counted = gateway.client().post("/orders/count", r#"{"s":"abc"}"#).await;
    assert_eq!(counted.expect("an answer").body, r#"{"v":3}"#);
    assert!(names(&gateway).await.contains(&"catalog.all/orders".to_owned()));
    gateway.has("consul/orders", &[&orders.address]).await;
    let page = gateway.see("/metrics").await.body;
    assert!(page.contains(r#"route="catalog.all""#), "one label for the catalog's routes");
    assert!(!page.contains(r#"route="catalog.all/orders""#), "{page}");

    agent.deregister("o").await;
    let lost = becomes(&gateway, "/orders/healthz", 404).await;
    assert_eq!(lost.header("x-frontgate-code"), "no_route");
    agent.register(&tagged("orders", "o", &orders)).await;
    becomes(&gateway, "/orders/healthz", 200).await;
}

#[tokio::test]
async fn written_routes_win_and_what_is_excluded_untagged_or_no_segment_has_none() {
    let agent = or_skip!(Consul::dev().await);
    let backend = Backend::start("stringsvc", None).await;
    for (name, id) in [("hidden", "h"), ("stringsvc", "s"), ("a/b", "ab"), ("seen", "seen")] {
        agent.register(&tagged(name, id, &backend)).await;
    }
    agent.register(&in_agent("untagged", "u", &backend)).await;
    let gateway = Gateway::start(&(apigateway(&agent.url()) + CATALOG)).await;
    becomes(&gateway, "/seen/healthz", 200).await;
    for path in ["/hidden/healthz", "/untagged/healthz", "/a/b/healthz", "/a%2Fb/healthz"] {
        let answer = get(&gateway, path).await;
        assert_eq!((answer.status, answer.header("x-frontgate-code")), (404, "no_route"), "{path}");
    }
    becomes(&gateway, "/stringsvc/healthz", 200).await;
    let mut names = names(&gateway).await;
    names.sort();
    assert_eq!(names, ["addsvc", "catalog.all/seen", "catalog.all/stringsvc", "stringsvc"]);
    let page = gateway.see("/metrics").await.body;
    let requests = |route: &str| {
        let label = format!("route=\"{route}\"");
        let of =
            |line: &&str| line.starts_with("frontgate_requests_total") && line.contains(&label);
        page.lines().filter(of).filter(|line| line.contains("status=\"200\"")).count()
    };
    assert_eq!((requests("stringsvc"), requests("catalog.all")), (1, 1), "{page}");
    let served = gateway.service("consul/stringsvc").await;
    assert_eq!(served["requests"], 0, "the written route wins: {served}");
    let said = gateway.process.said();
    assert_eq!(
        said.iter().filter(|line| line.contains("service=\"a/b\"")).count(),
        1,
        "skipped and said"
    );
}
