//! Instances that fail while others do not are left out.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

use std::time::Duration;

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer, SOON};
use crate::support::wait;

const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 3\r\n\r\nbad";
const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
/// Ejections as they are by default, in a tenth of a second and without end.
const LONG: &str = r#"outlier = { consecutive = 5, eject = "5m" }"#;

/// What `/services/backend` says of the instance at this place of the set-up.
pub(crate) async fn shown(gateway: &Gateway, backend: &Answering) -> serde_json::Value {
    let services = gateway.admin("/services/backend").await.text();
    let service: serde_json::Value = serde_json::from_str(&services).expect("JSON");
    let address = backend.address.to_string();
    let instances = service["instances"].as_array().expect("a list");
    instances.iter().find(|one| one["address"] == *address).expect("it is there").clone()
}

pub(crate) async fn is(gateway: &Gateway, backend: &Answering, state: &str) {
    wait::until(&format!("{} is {state}", backend.address), SOON, async || {
        (shown(gateway, backend).await["state"] == *state).then_some(())
    })
    .await;
}

/// The answers to so many GETs on one connection.
pub(crate) async fn ask(gateway: &Gateway, times: usize) -> Vec<Message> {
    let mut client = Peer::connect(gateway.web()).await;
    let mut answers = Vec::new();
    for _ in 0..times {
        client.send(GET).await;
        answers.push(client.answer().await);
    }
    answers
}

async fn ejections(gateway: &Gateway) -> f64 {
    gateway.metric("frontgate_ejections_total", &["reason=\"consecutive\""]).await
}

/// Two workers, so that the failures in a row are seen by both.
fn setup(backends: &[&Answering]) -> Setup {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    Setup::to(&addresses).top("workers = 2").route("retry = { attempts = 1 }")
}

#[tokio::test]
async fn five_failures_eject_and_the_others_serve_until_it_is_back() {
    let (bad, a, b) =
        (Answering::with(BAD).await, Answering::with(OK).await, Answering::with(OK).await);
    let outlier = r#"outlier = { eject = "2s" }"#;
    let gateway = setup(&[&bad, &a, &b]).service(outlier).start().await;
    let mut failed = 0;
    while ejections(&gateway).await == 0.0 {
        failed += ask(&gateway, 1).await.iter().filter(|answer| answer.status() == 500).count();
        assert!(failed <= 5, "the fifth ejects");
    }
    assert_eq!((failed, bad.count()), (5, 5));
    let ejected = shown(&gateway, &bad).await;
    assert_eq!(ejected["state"], "ejected");
    assert!(ejected["ejected_until"].is_string(), "{ejected}");
    assert_eq!(gateway.metric("frontgate_instances", &["state=\"ejected\""]).await, 1.0);
    let answers = ask(&gateway, 20).await;
    if bad.count() == 5 {
        assert!(answers.iter().all(|answer| answer.text() == "ok"));
    }
    is(&gateway, &bad, "ready").await;
    assert!(shown(&gateway, &bad).await["ejected_until"].is_null());
    wait::until("it is asked again", SOON, async || {
        ask(&gateway, 1).await;
        (bad.count() > 5).then_some(())
    })
    .await;
    let said = gateway.said().join("\n");
    assert!(said.contains("ejected") && said.contains("back from its ejection"), "{said}");
}

#[tokio::test]
async fn of_two_that_both_fail_only_one_goes_and_a_single_one_stays() {
    let (one, two) = (Answering::with(BAD).await, Answering::with(BAD).await);
    let gateway = setup(&[&one, &two]).service(LONG).start().await;
    let answers = ask(&gateway, 40).await;
    assert!(answers.iter().all(|answer| answer.text() == "bad"));
    assert_eq!(ejections(&gateway).await, 1.0);
    let gateway = setup(&[&one]).service(LONG).start().await;
    assert!(ask(&gateway, 20).await.iter().all(|answer| answer.text() == "bad"));
    assert_eq!(ejections(&gateway).await, 0.0);
}

#[tokio::test]
async fn bodies_that_break_eject_although_every_head_was_good() {
    let broken =
        Answering::by(|_| b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx".into());
    let (broken, good) = (broken.await, Answering::with(OK).await);
    let gateway = setup(&[&broken, &good]).service(LONG).start().await;
    for _ in 0..10 {
        let fetch = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        gateway.ask(fetch).await.ended().await;
    }
    gateway.metric_is("frontgate_ejections_total", &["reason=\"consecutive\""], 1.0).await;
    assert_eq!(shown(&gateway, &broken).await["state"], "ejected");
}

#[tokio::test]
async fn what_is_not_the_instances_fault_ejects_nothing() {
    let unknown = "HTTP/1.1 501 Not Implemented\r\ncontent-length: 2\r\n\r\nno";
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
    for answer in [unknown, missing] {
        let (odd, good) = (Answering::with(answer).await, Answering::with(OK).await);
        let gateway = setup(&[&odd, &good]).service(LONG).start().await;
        let said: Vec<_> = ask(&gateway, 24).await.iter().map(Message::text).collect();
        assert_eq!(said.iter().filter(|text| *text == "no").count(), 12);
        assert_eq!(ejections(&gateway).await, 0.0, "{answer}");
    }
}

#[tokio::test]
async fn clients_that_leave_eject_nothing() {
    let (silent, other) = (Backend::new().await, Backend::new().await);
    let instances = [silent.address, other.address];
    let gateway = Setup::to(&instances).service(LONG).start().await;
    for _ in 0..16 {
        let client = gateway.ask(GET).await;
        let (upstream, _) = tokio::select! {
            taken = silent.request() => taken,
            taken = other.request() => taken,
        };
        drop(client);
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
        drop(upstream);
    }
    assert_eq!(ejections(&gateway).await, 0.0);
}

#[tokio::test]
async fn ejection_can_be_switched_off() {
    let (bad, good) = (Answering::with(BAD).await, Answering::with(OK).await);
    let gateway = setup(&[&bad, &good]).service("outlier = false").start().await;
    let answers = ask(&gateway, 40).await;
    assert_eq!(answers.iter().filter(|answer| answer.text() == "bad").count(), 20);
    assert_eq!(ejections(&gateway).await, 0.0);
}

#[tokio::test]
async fn ejected_while_others_serve_no_request_fails_that_may_be_sent_again() {
    let dead = crate::support::ports::nobody();
    let good = [Answering::with(OK).await, Answering::with(OK).await];
    let instances = [dead, good[0].address, good[1].address];
    let outlier = r#"outlier = { eject = "50ms", max_eject = "100ms" }"#;
    let gateway = Setup::to(&instances).top("workers = 2").service(outlier).start().await;
    wait::until("it was ejected three times", SOON, async || {
        assert!(ask(&gateway, 20).await.iter().all(|answer| answer.text() == "ok"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        (ejections(&gateway).await >= 3.0).then_some(())
    })
    .await;
}
