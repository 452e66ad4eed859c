//! `frontgate demo`: a first look, with nothing else on the machine.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SOON;
use super::gateway::Gateway;
use super::support::load::{HEALTH_OF_ADDSVC, Load, SUM};
use super::support::wait;

/// An instance is replaced every 20 s.
const REPLACED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_demo_answers_counts_and_replaces_an_instance_without_losing_a_request() {
    let gateway = Gateway::demo().await;
    gateway.has_ready("stringsvc", 2).await;
    // What the demo says to try is what works.
    let said = wait::until("it says what to try", SOON, async || {
        let said = gateway.process.said().join("\n");
        said.contains("Ctrl-C").then_some(said)
    })
    .await;
    let port = gateway.web.port();
    assert!(said.contains(&format!("curl localhost:{port}/stringsvc/uppercase")), "{said}");
    assert!(said.contains(&format!("localhost:{}/metrics", gateway.admin.port())), "{said}");
    let mut client = gateway.client();
    let mut instances = BTreeSet::new();
    for _ in 0..10 {
        let answer = client.post("/stringsvc/uppercase", r#"{"s":"hello"}"#).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"v":"HELLO"}"#));
        instances.insert(answer.instance());
    }
    assert_eq!(instances.len(), 2, "{instances:?}");
    // The catalog is followed beside the instances, and may come a moment after them.
    let by_name = wait::until("it is routed by its name", SOON, async || {
        let answer = client.post("/by-name/stringsvc/count", r#"{"s":"hello"}"#).await;
        answer.ok().filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(by_name.body, r#"{"v":5}"#);
    let counted = gateway.see("/metrics").await.body;
    let line = |line: &&str| {
        line.starts_with("frontgate_requests_total") && line.contains(r#"route="stringsvc""#)
    };
    let counted: Vec<_> = counted.lines().filter(line).collect();
    assert!(counted.len() == 1 && counted[0].ends_with(" 10"), "{counted:?}");

    let (gets, posts) =
        (Load::start(gateway.web, 2, HEALTH_OF_ADDSVC), Load::start(gateway.web, 2, SUM));
    // One instance of each sample in turn, beginning with addsvc.
    wait::until("an instance of addsvc is replaced", REPLACED + SOON, async || {
        let changes = gateway.process.said();
        changes
            .iter()
            .any(|line| line.contains("replaced") && line.contains("addsvc"))
            .then_some(())
    })
    .await;
    // Longer than the one that leaves goes on serving.
    posts.goes_on(200).await;
    let (gets, posts) = (gets.end().await, posts.end().await);
    gets.faultless();
    posts.faultless();
    assert_eq!(posts.right.len(), 3, "{posts:?}");
    assert_eq!(gateway.end().await.code(), Some(0));
}
