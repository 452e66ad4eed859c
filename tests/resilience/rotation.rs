//! Panic, slow start, zones.

use crate::drain::{drain, restore};
use crate::outlier::{ask, is};
use crate::support::backend::{Answering, OK};
use crate::support::gateway::Setup;
use crate::support::peer::SOON;
use crate::support::wait;

const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 3\r\n\r\nbad";

#[tokio::test]
async fn when_too_few_are_left_all_are_used_and_it_is_said_and_shown() {
    let (one, two) = (Answering::with(BAD).await, Answering::with(BAD).await);
    let (three, good) = (Answering::with(BAD).await, Answering::with(OK).await);
    let backends = [&one, &two, &three, &good].map(|backend| backend.address);
    let setup = Setup::to(&backends).route("retry = { attempts = 1 }");
    let outlier = r#"outlier = { eject = "3s", max_share = "100%" }"#;
    let gateway = setup.service(outlier).start().await;
    assert_eq!(gateway.metric("frontgate_panic", &["service=\"backend\""]).await, 0.0);
    // Three of four go; then one of four is less than half.
    wait::until("three are ejected", SOON, async || {
        ask(&gateway, 4).await;
        let ejections = gateway.metric("frontgate_ejections_total", &["reason=\"consecutive\""]);
        (ejections.await >= 3.0).then_some(())
    })
    .await;
    let service = gateway.admin("/services/backend").await.text();
    if gateway.metric("frontgate_panic", &["service=\"backend\""]).await == 1.0 {
        assert!(service.contains(r#""panic":true"#), "{service}");
        assert!(service.contains(r#""state":"degraded""#), "{service}");
        let before = [&one, &two, &three].map(Answering::count);
        ask(&gateway, 16).await;
        let after = [&one, &two, &three].map(Answering::count);
        assert!((0..3).all(|at| after[at] > before[at]), "all are used: {before:?} {after:?}");
    }
    gateway.metric_is("frontgate_panic", &["service=\"backend\""], 0.0).await;
    wait::until("both changes are in the log", SOON, async || {
        let said = gateway.said().join("\n");
        (said.contains("panic: so few") && said.contains("panic is over")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_comes_back_gets_little_at_first_and_then_its_share() {
    let (a, b) = (Answering::with(OK).await, Answering::with(OK).await);
    let setup = Setup::to(&[a.address, b.address]).service(r#"slow_start = "4s""#);
    let gateway = setup.start().await;
    ask(&gateway, 20).await;
    assert_eq!((a.count(), b.count()), (10, 10), "the first ones have no slow start");
    drain(&gateway, a.address, "").await;
    is(&gateway, &a, "draining").await;
    let (before, begun) = ((a.count(), b.count()), std::time::Instant::now());
    ask(&gateway, 20).await;
    assert_eq!(a.count(), before.0, "drained");
    restore(&gateway, a.address).await;
    is(&gateway, &a, "slow_start").await;
    let restored = a.count();
    ask(&gateway, 100).await;
    let first = a.count() - restored;
    // With a tenth of its share it is five of a hundred. A machine that took a second for them proves nothing.
    if begun.elapsed() < std::time::Duration::from_secs(1) {
        assert!(first < 35, "{first} of 100");
    }
    is(&gateway, &a, "ready").await;
    let ready = a.count();
    ask(&gateway, 100).await;
    assert_eq!(a.count() - ready, 50);
}
