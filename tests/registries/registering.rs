//! Registering with the agent.

use std::time::{Duration, Instant};

use frontgate::config::model::HostPort;
use frontgate::registry::{Health, Liveness, Registration, Registry};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::consul::{Consul, Memory};
use super::support::wait;
use super::{SOON, live, or_skip, query, registry};

/// Bound on an agent that forgot being told again: a look every 2 s, and the pauses after failures.
const AGAIN: Duration = Duration::from_secs(10);

fn registration(port: u16, check: Liveness) -> Registration {
    Registration {
        id: format!("edge-127.0.0.1-{port}"),
        name: "edge".into(),
        address: HostPort { host: "127.0.0.1".into(), port },
        tags: vec!["a".into(), "b".into()],
        check,
    }
}

async fn services(agent: &Consul) -> Value {
    agent.ask("GET", "/v1/agent/services", &Value::Null).await
}

/// The status of the registration's check.
async fn check(agent: &Consul, port: u16) -> Value {
    let checks = agent.ask("GET", "/v1/agent/checks", &Value::Null).await;
    checks[format!("service:edge-127.0.0.1-{port}")]["Status"].clone()
}

/// A server that answers every request with 200, until dropped.
async fn healthy() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let _whole = stream.read(&mut head).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.ok();
            });
        }
    });
    (port, serving)
}

#[tokio::test]
async fn an_http_check_passes_at_once_follows_the_server_and_goes_on_deregistering() {
    let agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let mut found = registry.watch(query("edge"));
    live(&mut found, &[], SOON).await;
    let (port, serving) = healthy().await;
    let address = format!("127.0.0.1:{port}");
    let start = Instant::now();
    let wanted = registration(port, Liveness::Http(format!("http://127.0.0.1:{port}/healthz")));
    let registered = registry.register(wanted).expect("consul takes registrations");
    live(&mut found, &[&address], SOON).await;
    eprintln!("registered and found in {:?}", start.elapsed());
    let service = services(&agent).await[format!("edge-{}", address.replace(':', "-"))].clone();
    assert_eq!(service["Tags"], json!(["a", "b"]));
    assert_eq!(service["Port"], json!(port));

    serving.abort();
    live(&mut found, &[], SOON).await;
    assert_eq!(check(&agent, port).await, "critical");
    assert_eq!(registry.status().health, Health::Ok, "the registration itself is fine");

    registered.deregister().await;
    assert_eq!(services(&agent).await, json!({}));
}

#[tokio::test]
async fn a_heartbeat_keeps_the_check_passing() {
    let agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let registered = registry.register(registration(1, Liveness::Heartbeat)).expect("taken");
    wait::until("passing", SOON, async || (check(&agent, 1).await == "passing").then_some(()))
        .await;
    agent.set_check("service:edge-127.0.0.1-1", "critical").await;
    wait::until("passing again with the next beat", SOON, async || {
        (check(&agent, 1).await == "passing").then_some(())
    })
    .await;
    registered.deregister().await;
    assert_eq!(services(&agent).await, json!({}));
}

#[tokio::test]
async fn an_agent_that_lost_the_registration_gets_it_again() {
    let mut agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let (port, _serving) = healthy().await;
    let http = registration(port, Liveness::Http(format!("http://127.0.0.1:{port}/healthz")));
    let http = registry.register(http).expect("taken");
    let beating = registry.register(registration(1, Liveness::Heartbeat)).expect("taken");
    let both = async |agent: &Consul| {
        wait::until("both are registered", AGAIN, async || {
            (services(agent).await.as_object()?.len() == 2).then_some(())
        })
        .await;
    };
    both(&agent).await;
    agent.restart().await;
    both(&agent).await;
    agent.deregister("edge-127.0.0.1-1").await;
    both(&agent).await;
    http.deregister().await;
    beating.deregister().await;
    assert_eq!(services(&agent).await, json!({}));
}

#[tokio::test]
async fn an_agent_that_comes_later_is_told_and_one_that_is_gone_does_not_hold_up_the_end() {
    let mut agent = or_skip!(Consul::start(Memory::Keeps, None).await);
    agent.kill();
    let registry = registry(&agent);
    let registered = registry.register(registration(1, Liveness::Heartbeat)).expect("taken");
    wait::until("the first failure", SOON, async || registry.status().last_error).await;
    agent.restart().await;
    wait::until("registered", AGAIN, async || (check(&agent, 1).await == "passing").then_some(()))
        .await;
    agent.kill();
    let start = Instant::now();
    registered.deregister().await;
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "the end took {spent:?}");
}
