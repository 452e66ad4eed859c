//! Into rotation and out of it, as the agent's checks say.

use serde_json::{Value, json};

use super::gateway::{Gateway, apigateway};
use super::support::consul::Consul;
use super::support::wait;
use super::{Backend, SOON, or_skip};

/// A backend as the agent is told of it, with a check `<id>-alive` that the story drives; it begins as passing.
pub(crate) fn in_agent(name: &str, id: &str, backend: &Backend) -> Value {
    let check = json!({ "CheckID": format!("{id}-alive"), "TTL": "1h", "Status": "passing" });
    json!({ "ID": id, "Name": name, "Address": "127.0.0.1", "Port": backend.port(), "Check": check })
}

/// Waits until the agent itself calls this instance passing.
pub(crate) async fn passing(agent: &Consul, name: &str, address: &str) {
    let path = format!("/v1/health/service/{name}?passing=1");
    wait::until(&format!("the agent calls {address} passing"), SOON, async || {
        let entries = agent.ask("GET", &path, &Value::Null).await;
        let is_it = |entry: &Value| {
            let service = &entry["Service"];
            format!("{}:{}", service["Address"].as_str().unwrap_or_default(), service["Port"])
                == address
        };
        entries.as_array()?.iter().any(is_it).then_some(())
    })
    .await;
}

/// Who answers twelve requests over one connection.
async fn answering(gateway: &Gateway) -> Vec<String> {
    let mut client = gateway.client();
    let mut instances = Vec::new();
    for _ in 0..12 {
        let answer = client.get("/stringsvc/healthz").await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        instances.push(answer.instance());
    }
    instances.sort();
    instances.dedup();
    instances
}

#[tokio::test]
async fn checks_take_an_instance_out_of_rotation_and_back() {
    let agent = or_skip!(Consul::dev().await);
    let (a, b) = (Backend::start("stringsvc", None).await, Backend::start("stringsvc", None).await);
    agent.register(&in_agent("stringsvc", "a", &a)).await;
    agent.register(&in_agent("stringsvc", "b", &b)).await;
    let gateway = Gateway::start(&apigateway(&agent.url())).await;
    let mut both = vec![a.address.clone(), b.address.clone()];
    both.sort();
    gateway.has("stringsvc", &[&a.address, &b.address]).await;
    assert_eq!(answering(&gateway).await, both);

    agent.set_check("a-alive", "critical").await;
    gateway.has("stringsvc", &[&b.address]).await;
    assert_eq!(answering(&gateway).await, std::slice::from_ref(&b.address));
    agent.set_check("a-alive", "passing").await;
    gateway.has("stringsvc", &[&a.address, &b.address]).await;
    assert_eq!(answering(&gateway).await, both);

    agent.set_check("a-alive", "critical").await;
    agent.set_check("b-alive", "critical").await;
    gateway.has("stringsvc", &[]).await;
    let mut client = gateway.client();
    let refused = client.get("/stringsvc/healthz").await.expect("an answer");
    assert_eq!((refused.status, refused.header("x-frontgate-code")), (503, "no_instance"));
    assert_eq!(gateway.service("stringsvc").await["state"], "empty");
    assert_eq!(gateway.see("/routes/stringsvc").await.status, 200, "the route stays");
    agent.set_check("b-alive", "passing").await;
    gateway.has("stringsvc", &[&b.address]).await;
    assert_eq!(answering(&gateway).await, std::slice::from_ref(&b.address));

    agent.deregister("a").await;
    agent.set_check("b-alive", "passing").await;
    gateway.has("stringsvc", &[&b.address]).await;
    agent.deregister("b").await;
    gateway.has("stringsvc", &[]).await;
    let gone = client.get("/stringsvc/healthz").await.expect("an answer");
    assert_eq!((gone.status, gone.header("x-frontgate-code")), (503, "no_instance"));
    let shown = gateway.service("stringsvc").await;
    assert_eq!(shown["instances"], json!([]), "{shown}");
}
