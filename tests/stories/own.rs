//! The gateway registers itself, for those in front of it.

use rustix::process::Signal;
use serde_json::Value;

use super::gateway::{Gateway, apigateway};
use super::support::consul::Consul;
use super::support::{ports, wait};
use super::{SOON, or_skip};

/// The gateway's entries in the agent, passing ones only.
async fn passing(agent: &Consul) -> Vec<Value> {
    let path = "/v1/health/service/frontgate?passing=1&tag=edge";
    agent.ask("GET", path, &Value::Null).await.as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn the_gateway_is_found_while_it_is_ready_and_no_longer_before_it_closes() {
    let agent = or_skip!(Consul::dev().await);
    let port = ports::free(1)[0];
    let own = format!(
        "[register.self]\nregistry = \"consul\"\nname = \"frontgate\"\n\
         address = \"127.0.0.1:{port}\"\ntags = [\"edge\"]\ncheck = \"/readyz\"\n"
    );
    let listen = format!("address = \"127.0.0.1:{port}\"");
    let config = apigateway(&agent.url()).replacen("address = \"127.0.0.1:0\"", &listen, 1) + &own;
    let mut gateway = Gateway::start(&config).await;
    assert_eq!(gateway.web.port(), port);
    // What a check said is known to the agent at once, to the catalog minutes later.
    let said = wait::until("the agent has asked", SOON, async || {
        let checks = agent.ask("GET", "/v1/agent/checks", &Value::Null).await;
        let check = checks[format!("service:frontgate-127.0.0.1-{port}")].clone();
        check["Output"].as_str().is_some_and(|said| !said.is_empty()).then_some(check)
    })
    .await;
    assert_eq!(said["Status"], "passing", "{said}");
    assert!(said["Output"].as_str().is_some_and(|said| said.contains("200 OK")), "{said}");
    let entries = passing(&agent).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = &entries[0];
    assert_eq!(entry["Service"]["Port"], port);
    assert_eq!(entry["Service"]["Address"], "127.0.0.1");

    gateway.process.signal(Signal::TERM);
    wait::until("it is taken out", SOON, async || passing(&agent).await.is_empty().then_some(()))
        .await;
    let all = agent.ask("GET", "/v1/catalog/service/frontgate", &Value::Null).await;
    assert_eq!(all, serde_json::json!([]), "deregistered, not only failing");
    // Whoever has not heard of it yet is still served.
    let late = gateway.client().get("/elsewhere").await.expect("it still accepts");
    assert_eq!((late.status, late.header("connection")), (404, "close"));
    assert_eq!(gateway.process.ended(SOON).await.code(), Some(0));
}
