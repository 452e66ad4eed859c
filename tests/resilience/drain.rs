//! Instances taken out by hand.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::outlier::{ask, is, shown};
use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Peer, SOON};
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

async fn change(gateway: &Gateway, address: SocketAddr, what: &str) -> serde_json::Value {
    let target = format!("/services/backend/instances/{address}/{what}");
    let answer = gateway.post(&target).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

/// `query` with its question mark.
pub(crate) async fn drain(
    gateway: &Gateway,
    address: SocketAddr,
    query: &str,
) -> serde_json::Value {
    change(gateway, address, &format!("drain{query}")).await
}

pub(crate) async fn restore(gateway: &Gateway, address: SocketAddr) -> serde_json::Value {
    change(gateway, address, "restore").await
}

#[tokio::test]
async fn a_drained_instance_finishes_what_it_has_and_gets_nothing_new_until_restored() {
    let (led, other) = (Backend::new().await, Answering::with(OK).await);
    let setup = Setup::to(&[led.address, other.address]).top("workers = 2");
    let gateway = setup.start().await;
    let mut clients = [gateway.ask(GET).await, gateway.ask(GET).await];
    let (mut upstream, _) = led.request().await;
    let drained = drain(&gateway, led.address, "").await;
    assert_eq!((&drained["state"], &drained["in_flight"]), (&"draining".into(), &1.into()));
    assert!(drained["drained_until"].is_null(), "{drained}");
    for _ in 0..20 {
        assert_eq!(gateway.fetch("/").await.text(), "ok");
    }
    led.assert_untouched().await;
    upstream.send(OK).await;
    for client in &mut clients {
        let answer = client.try_answer_to("GET").await;
        assert_eq!(answer.map(|answer| answer.status()), Some(200), "nothing is lost");
    }
    assert_eq!(restore(&gateway, led.address).await["state"], "ready");
    let said = gateway.said().join("\n");
    assert!(said.contains("drained") && said.contains("by=127.0.0.1:"), "{said}");
    assert!(said.contains("restored"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_drain_loses_nothing_whoever_balances() {
    for balancer in ["round_robin", "random", "least_request", "peak_ewma", "consistent_hash"] {
        let balance = format!("balance = \"{balancer}\"");
        drained_under_load(&balance, "").await;
    }
    drained_under_load("zone = \"prefer\"", "zone = \"a\"\n").await;
    drained_under_load("sticky = true", "").await;
}

/// Each of three is drained and restored twice while eight clients ask.
async fn drained_under_load(service: &str, top: &str) {
    let backends =
        [Answering::with(OK).await, Answering::with(OK).await, Answering::with(OK).await];
    let addresses = [0, 1, 2].map(|at: usize| backends[at].address);
    let setup = Setup::to(&addresses).top(&format!("{top}workers = 2")).service(service);
    let gateway = Arc::new(setup.start().await);
    let over = Arc::new(AtomicBool::new(false));
    let asking = [(); 8].map(|()| {
        let (gateway, over) = (Arc::clone(&gateway), Arc::clone(&over));
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while !over.load(Relaxed) {
                answers.extend(ask(&gateway, 20).await);
            }
            answers
        })
    });
    for at in [0, 1, 2, 0, 1, 2] {
        drain(&gateway, addresses[at], "").await;
        // What was picked before is on its way; what comes after this goes elsewhere.
        wait::until("it has finished", SOON, async || {
            (shown(&gateway, &backends[at]).await["in_flight"] == 0).then_some(())
        })
        .await;
        // A worker may have picked it just before and be kept from going on; of so many more it would get some.
        wait::until("it gets nothing new", SOON, async || {
            let count = backends[at].count();
            ask(&gateway, 10).await;
            (backends[at].count() == count).then_some(())
        })
        .await;
        restore(&gateway, addresses[at]).await;
    }
    over.store(true, Relaxed);
    for task in asking {
        let answers = task.await.expect("it asks");
        assert!(answers.len() >= 20, "{service}: there was load");
        assert!(answers.iter().all(|answer| answer.text() == "ok"), "{service}");
    }
}

#[tokio::test]
async fn a_drain_with_a_time_ends_by_itself() {
    let (a, b) = (Answering::with(OK).await, Answering::with(OK).await);
    let gateway = Setup::to(&[a.address, b.address]).start().await;
    let drained = drain(&gateway, a.address, "?for=10m").await;
    assert!(drained["drained_until"].as_str().is_some_and(|at| at.ends_with('Z')), "{drained}");
    let before = a.count();
    ask(&gateway, 6).await;
    assert_eq!(a.count(), before);
    // Asked again, the newest word counts.
    drain(&gateway, a.address, "?for=200ms").await;
    is(&gateway, &a, "ready").await;
    ask(&gateway, 6).await;
    assert_eq!(a.count(), before + 3);
}

#[tokio::test]
async fn with_all_drained_there_is_no_instance_and_no_panic() {
    let (a, b) = (Answering::with(OK).await, Answering::with(OK).await);
    let gateway = Setup::to(&[a.address, b.address]).start().await;
    drain(&gateway, a.address, "").await;
    drain(&gateway, b.address, "").await;
    let answer = gateway.fetch("/").await;
    assert_eq!((answer.status(), answer.code()), (503, "no_instance"));
    let why = "cause=\"backend: 2 instances, 2 drained, 0 unhealthy, 0 unchecked, 0 ejected\"";
    wait::until("the log says why", SOON, async || {
        gateway.said().iter().any(|line| line.contains(why)).then_some(())
    })
    .await;
    let service = gateway.admin("/services/backend").await.text();
    assert!(service.contains(r#""state":"empty""#) && service.contains(r#""panic":false"#));
    restore(&gateway, b.address).await;
    assert_eq!(gateway.fetch("/").await.text(), "ok");
    tokio::time::timeout(Duration::from_secs(10), is(&gateway, &a, "draining"))
        .await
        .expect("it stays");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let one = format!("/services/backend/instances/{}", backend.address);
    for (target, status) in [
        (format!("{one}/drain?for=soon"), 400),
        (format!("{one}/drain?for=0s"), 400),
        (format!("{one}/drain?for="), 400),
        (format!("{one}/drain?fro=10m"), 400),
        (format!("{one}/restore?for=10m"), 400),
        (format!("{one}/stop"), 404),
        (one.clone(), 405),
        ("/services/backend/instances/127.0.0.1:1/drain".to_owned(), 404),
        ("/services/backend/instances/[::1]:80/drain".to_owned(), 404),
        (format!("/services/other/instances/{}/drain", backend.address), 404),
        ("/services/backend".to_owned(), 405),
    ] {
        let answer = gateway.post(&target).await;
        assert_eq!(answer.status(), status, "{target}: {}", answer.text());
        assert!(answer.text().contains(r#""error""#), "{target}");
    }
    assert_eq!(gateway.post("/services/backend").await.head.value("allow"), Some("GET,HEAD"));
    for verb in ["drain", "restore"] {
        let got = gateway.admin(&format!("{one}/{verb}")).await;
        assert_eq!((got.status(), got.head.value("allow")), (405, Some("POST")), "GET {verb}");
    }
    assert_eq!(gateway.admin("/services/other/instances/1").await.status(), 404);
    let body = "POST {one}/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 6\r\n\r\nfor=5m";
    let admin = gateway.listener("admin");
    let answer = Peer::asking(admin, body.replace("{one}", &one)).await.answer().await;
    assert_eq!(answer.status(), 400, "{}", answer.text());
    assert_eq!(shown(&gateway, &backend).await["state"], "ready");
}
