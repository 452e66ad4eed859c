//! Instances are asked whether they are well.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

#[path = "health/asked.rs"]
mod asked;
#[path = "health/grpc.rs"]
mod grpc;
#[path = "health/set.rs"]
mod set;

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, SOON};
use crate::support::wait;

const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const CHECKS: &str = "frontgate_health_checks_total";

/// A gateway that asks these instances so. Too few of them are none: what a check says shows in the answers.
async fn asking(instances: &[SocketAddr], health: &str) -> Gateway {
    let health = format!("health = {{ {health} }}\npanic = \"0%\"");
    Setup::to(instances).service(&health).start().await
}

/// What `/services` says of each instance, in the order of their addresses.
async fn shown(gateway: &Gateway) -> Vec<Value> {
    let text = gateway.admin("/services/backend").await.text();
    let service: Value = serde_json::from_str(&text).expect("JSON");
    service["instances"].as_array().expect("a list").clone()
}

async fn health(gateway: &Gateway) -> String {
    shown(gateway).await[0]["health"].as_str().expect("a word").to_owned()
}

/// What it says of the one with this address, once its health is this.
async fn turned(gateway: &Gateway, address: SocketAddr, to: &str) -> Value {
    wait::until(&format!("{address} is {to}"), SOON, async || {
        let address = address.to_string();
        let instances = shown(gateway).await;
        instances.into_iter().find(|one| one["address"] == *address && one["health"] == *to)
    })
    .await
}

/// Waits until as many checks were counted.
async fn counted(gateway: &Gateway, checks: u32) {
    gateway.metric_is(CHECKS, &["service=\"backend\""], f64::from(checks)).await;
}

/// Lines of the log about health.
fn said(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.said().into_iter();
    lines.filter(|line| line.contains("checks=")).collect()
}

fn is_check(request: &Message) -> bool {
    request.head.start == "GET /healthz HTTP/1.1"
}

#[tokio::test]
async fn the_first_check_comes_at_once_and_nothing_is_sent_before_it_was_answered() {
    let backend = Backend::new().await;
    let gateway = asking(&[backend.address], "interval = \"1h\"").await;
    let (mut check, asked) = backend.request().await;
    let expected = [
        "accept: */*".to_owned(),
        "connection: close".to_owned(),
        format!("host: {}", backend.address),
        format!("user-agent: frontgate/{} (health check)", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(
        (asked.head.start.as_str(), asked.head.sorted()),
        ("GET /healthz HTTP/1.1", expected.to_vec())
    );
    let refused = gateway.fetch("/").await;
    assert_eq!((refused.status(), refused.code()), (503, "no_instance"));
    let before = &shown(&gateway).await[0];
    assert_eq!(
        (before["health"].as_str(), before["state"].as_str()),
        (Some("unknown"), Some("unhealthy"))
    );
    assert_eq!((&before["health_error"], &before["health_checked"]), (&Value::Null, &Value::Null));
    check.send(OK).await;
    check.closed().await;
    let after = turned(&gateway, backend.address, "up").await;
    assert_eq!((after["state"].as_str(), &after["health_error"]), (Some("ready"), &Value::Null));
    assert!(after["health_checked"].is_string(), "{after}");
    let mut client = gateway.ask("GET /x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let (mut upstream, request) = backend.request().await;
    assert_eq!(request.head.start, "GET /x HTTP/1.1");
    upstream.send(OK).await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn goes_down_after_so_many_bad_checks_in_a_row_and_comes_back_after_so_many_good_ones() {
    let backend = Backend::new().await;
    let times = "interval = \"10ms\", unhealthy_interval = \"10ms\", timeout = \"1m\"";
    let gateway = asking(&[backend.address], &format!("{times}, healthy = 2, unhealthy = 3")).await;
    let checks = "+--+---+-++";
    let mut believed = String::new();
    for (count, check) in (1..).zip(checks.chars()) {
        let (mut peer, _) = backend.request().await;
        peer.send(if check == '+' { OK } else { BAD }).await;
        counted(&gateway, count).await;
        believed.push(if health(&gateway).await == "up" { 'u' } else { 'd' });
    }
    assert_eq!(believed, "uuuuuuddddu");
    gateway.metric_is(CHECKS, &["result=\"ok\""], 5.0).await;
    gateway.metric_is(CHECKS, &["result=\"failed\""], 6.0).await;
    gateway.metric_is("frontgate_instances", &["state=\"ready\""], 1.0).await;
    let said = wait::until("it is all said", SOON, async || {
        let said = said(&gateway);
        (said.len() >= 3).then_some(said)
    })
    .await;
    assert_eq!(said.len(), 3, "{said:#?}");
    for (line, expected) in said.iter().zip([
        ["INFO", "from=\"unknown\"", "to=\"up\"", "checks=1"],
        ["WARN", "to=\"down\"", "checks=3", "error=status 500"],
        ["INFO", "from=\"down\"", "to=\"up\"", "checks=2"],
    ]) {
        assert!(expected.iter().all(|part| line.contains(part)), "{line}: {expected:?}");
        assert!(
            line.contains(&backend.address.to_string()) && line.contains("\"backend\""),
            "{line}"
        );
    }
}

#[tokio::test]
async fn one_that_is_down_gets_nothing_and_the_others_all() {
    let (well, ill) = (Answering::with(OK).await, Answering::with(BAD).await);
    let gateway =
        asking(&[well.address, ill.address], "interval = \"1h\", unhealthy_interval = \"1h\"")
            .await;
    turned(&gateway, well.address, "up").await;
    let down = turned(&gateway, ill.address, "down").await;
    assert_eq!(
        (down["state"].as_str(), down["health_error"].as_str()),
        (Some("unhealthy"), Some("status 500"))
    );
    gateway.metric_is("frontgate_instances", &["state=\"unhealthy\""], 1.0).await;
    for _ in 0..10 {
        assert_eq!(gateway.fetch("/").await.status(), 200);
    }
    assert!(ill.requests().iter().all(is_check), "{:?}", ill.requests());
    assert_eq!((ill.count(), well.count()), (1, 11));
}

#[tokio::test]
async fn each_interval_is_its_own() {
    let (well, ill) = (Answering::with(OK).await, Answering::with(BAD).await);
    let times = "interval = \"1h\", unhealthy_interval = \"20ms\"";
    let gateway = asking(&[well.address, ill.address], times).await;
    turned(&gateway, well.address, "up").await;
    wait::until("one that is down is asked again", SOON, async || {
        (ill.count() >= 10).then_some(())
    })
    .await;
    assert_eq!(well.count(), 1);
    drop(gateway);
    let (well, ill) = (Answering::with(OK).await, Answering::with(BAD).await);
    let times = "interval = \"20ms\", unhealthy_interval = \"1h\"";
    let gateway = asking(&[well.address, ill.address], times).await;
    turned(&gateway, ill.address, "down").await;
    wait::until("one that is up is asked again", SOON, async || (well.count() >= 10).then_some(()))
        .await;
    assert_eq!(ill.count(), 1);
}

#[tokio::test]
async fn idle_costs_as_many_checks_as_the_interval_says_and_none_without_checks() {
    let (checked, unchecked) = (Answering::with(OK).await, Answering::with(OK).await);
    let off = Setup::to(&[unchecked.address]).service("health = false").start().await;
    let start = Instant::now();
    let _gateway = asking(&[checked.address], "interval = \"200ms\"").await;
    wait::until("several checks", SOON, async || (checked.count() >= 6).then_some(())).await;
    let (count, took) = (checked.count(), start.elapsed());
    // The first, and one for each interval that is at most a tenth shorter.
    let most = 1 + took.as_millis() / 180;
    assert!(count as u128 <= most, "{count} within {took:?}");
    assert_eq!(unchecked.count(), 0);
    assert_eq!(health(&off).await, "off");
    assert!(!off.admin("/metrics").await.text().contains("frontgate_health_checks_total{"));
    assert_eq!(off.fetch("/").await.status(), 200);
}

#[tokio::test]
async fn instances_that_hang_do_not_hold_up_the_checks_of_others() {
    // More than may begin at a time, none of which ends; and the others all along between them.
    let (mut hanging, mut well, mut instances) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        for _ in 0..25 {
            hanging.push(Backend::new().await);
        }
        instances.extend(hanging.iter().rev().take(25).map(|backend| backend.address));
        well.push(Answering::with(OK).await);
        instances.extend(well.last().map(|backend| backend.address));
    }
    let gateway = asking(&instances, "timeout = \"10m\"").await;
    for backend in &well {
        turned(&gateway, backend.address, "up").await;
    }
    let unknown = shown(&gateway).await.iter().filter(|one| one["health"] == "unknown").count();
    assert_eq!(unknown, hanging.len());
    assert_eq!(gateway.fetch("/").await.status(), 200);
}

#[tokio::test]
async fn hung_checks_are_over_after_their_timeout() {
    let backend = Backend::new().await;
    // Long enough that each of them is taken and sent to before it is over, also where the test waits for its turn.
    let times = "timeout = \"500ms\", unhealthy_interval = \"300ms\"";
    let gateway = asking(&[backend.address], times).await;
    let mut held = Vec::new();
    for sent in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"] {
        let (mut peer, _) = backend.request().await;
        peer.send(sent).await;
        held.push(peer);
        // More when the next one was over before anybody looked.
        wait::until("it is over", SOON, async || {
            let late = gateway.metric(CHECKS, &["result=\"timeout\""]).await;
            (late >= held.len() as f64).then_some(())
        })
        .await;
        let down = turned(&gateway, backend.address, "down").await;
        assert_eq!(down["health_error"], "no answer within 500ms");
    }
    for peer in &mut held {
        peer.ended().await;
    }
    gateway.metric_is(CHECKS, &["result=\"failed\""], 0.0).await;
}
