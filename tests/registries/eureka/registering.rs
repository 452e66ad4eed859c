//! Registering under a lease.

use std::time::{Duration, Instant};

use frontgate::config::model::HostPort;
use frontgate::registry::{Health, Liveness, Registration, Registry as _};
use serde_json::{Value, json};

use super::super::support::real::Real as _;
use super::super::support::wait;
use super::super::{SOON, live, or_skip, query};
use super::{Eureka, SEEN, registry, without_server};

/// Bound on a server that forgot being told again: a heartbeat every 10 s, and the pauses after failures.
const AGAIN: Duration = Duration::from_secs(25);

fn registration(port: u16) -> Registration {
    Registration {
        id: format!("edge-127.0.0.1-{port}"),
        name: "Edge".into(),
        address: HostPort { host: "127.0.0.1".into(), port },
        tags: vec!["frontgate".into(), "b".into()],
        check: Liveness::Http(format!("http://127.0.0.1:{port}/readyz")),
    }
}

/// What the server knows of it; none when it knows nothing.
async fn known(server: &Eureka, port: u16) -> Option<Value> {
    let path = format!("/apps/EDGE/edge-127.0.0.1-{port}");
    let (status, found) = server.call("GET", &path, "").await.expect("the server answers");
    (status == 200).then(|| found["instance"].clone())
}

async fn registered(server: &Eureka, port: u16, within: Duration) -> Value {
    wait::until("it is registered", within, async || known(server, port).await).await
}

#[tokio::test]
async fn a_registration_is_up_at_once_is_renewed_is_made_again_and_is_taken_back() {
    let mut server = or_skip!(Eureka::start().await);
    let registry = registry(&server);
    let mut found = registry.watch(query("edge"));
    live(&mut found, &[], SEEN).await;
    let kept = registry.register(registration(8080)).expect("taken");
    let instance = registered(&server, 8080, SOON).await;
    for (key, expected) in [
        ("status", json!("UP")),
        ("app", json!("EDGE")),
        ("vipAddress", json!("edge")),
        ("ipAddr", json!("127.0.0.1")),
        ("port", json!({ "$": 8080, "@enabled": "true" })),
        ("healthCheckUrl", json!("http://127.0.0.1:8080/readyz")),
        ("metadata", json!({ "frontgate": "true", "b": "true" })),
    ] {
        assert_eq!(instance[key], expected, "{key}");
    }
    let lease = &instance["leaseInfo"];
    assert_eq!(
        (&lease["renewalIntervalInSecs"], &lease["durationInSecs"]),
        (&json!(10), &json!(30))
    );
    live(&mut found, &["127.0.0.1:8080"], SEEN).await;

    let since = lease["registrationTimestamp"].clone();
    wait::until("it is renewed", AGAIN, async || {
        let instance = known(&server, 8080).await?;
        let lease = &instance["leaseInfo"];
        assert_eq!(lease["registrationTimestamp"], since, "not by making it again");
        (lease["lastRenewalTimestamp"].as_u64()? > since.as_u64()?).then_some(())
    })
    .await;
    server.restart_empty().await;
    registered(&server, 8080, AGAIN).await;
    live(&mut found, &["127.0.0.1:8080"], SEEN).await;
    assert_eq!(registry.status().health, Health::Ok);

    kept.deregister().await;
    assert_eq!(known(&server, 8080).await, None);
    live(&mut found, &[], SEEN).await;
}

#[tokio::test]
async fn a_server_that_comes_later_is_told_and_one_that_is_gone_or_hangs_does_not_hold_up_the_end()
{
    let (registry, port) = without_server();
    let (one, two) = (registry.register(registration(1)), registry.register(registration(2)));
    wait::until("the first failure", SOON, async || registry.status().last_error).await;
    let mut server = or_skip!(Eureka::start_on(port, &[]).await);
    registered(&server, 1, AGAIN).await;
    registered(&server, 2, AGAIN).await;
    server.freeze();
    ends_soon(one).await;
    server.thaw();
    server.kill();
    ends_soon(two).await;
}

async fn ends_soon(registered: Option<frontgate::registry::Registered>) {
    let start = Instant::now();
    registered.expect("taken").deregister().await;
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "the end took {spent:?}");
}
