//! What is believed while the agent is away, hangs, forgets, or says no.

use std::time::Duration;

use frontgate::registry::{Health, Registry, State};
use serde_json::json;

use super::support::consul::{Consul, Memory};
use super::support::wait;
use super::{SOON, addresses, live, or_skip, query, registry, service, stale};

/// A returned agent must be noticed within this time.
const RETURNED: Duration = Duration::from_secs(5);
/// An agent that hangs must be noticed within this time.
const HUNG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_agent_that_is_gone_leaves_the_last_set_and_its_return_is_noticed() {
    let mut agent = or_skip!(Consul::start(Memory::Keeps, None).await);
    let registry = registry(&agent);
    // Without a check: a restarted agent calls one critical until it was heard again.
    agent.register(&json!({ "ID": "a", "Name": "s", "Address": "10.0.0.1", "Port": 1 })).await;
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;

    agent.kill();
    let set = stale(&mut found, SOON).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    let State::Stale { since, .. } = set.state.clone() else { panic!("{set:?}") };
    // Away for a while, so that the pauses between tries have grown as long as they get.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let set = found.borrow().clone();
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    let still = matches!(&set.state, State::Stale { since: then, reason } if *then == since && !reason.is_empty());
    assert!(still, "stale since the first failure, with the newest reason: {set:?}");
    assert_eq!(registry.status().health, Health::Stale);

    agent.restart().await;
    live(&mut found, &["10.0.0.1:1"], RETURNED).await;
    wait::until("all is well", SOON, async || {
        (registry.status().health == Health::Ok).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_hangs_is_noticed_and_so_is_its_waking() {
    let agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    agent.register(&service("s", "a", 1)).await;
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;

    agent.freeze();
    let set = stale(&mut found, HUNG).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    agent.thaw();
    live(&mut found, &["10.0.0.1:1"], RETURNED).await;
    agent.register(&service("s", "b", 2)).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn an_agent_that_forgot_everything_is_believed_though_its_index_went_back() {
    let mut agent = or_skip!(Consul::dev().await);
    let registry = registry(&agent);
    let mut found = registry.watch(query("s"));
    for port in 1..=30 {
        agent.register(&service("s", "a", port)).await;
    }
    live(&mut found, &["10.0.0.1:30"], SOON).await;
    agent.restart().await;
    live(&mut found, &[], RETURNED).await;
    agent.register(&service("s", "a", 99)).await;
    live(&mut found, &["10.0.0.1:99"], SOON).await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_yet_is_found_when_it_comes() {
    let mut agent = or_skip!(Consul::dev().await);
    agent.kill();
    let registry = registry(&agent);
    let mut found = registry.watch(query("s"));
    wait::until("the first failure", SOON, async || registry.status().last_error).await;
    assert!(matches!(found.borrow().state, State::Unheard { .. }), "nothing was heard");
    assert_eq!(registry.status().health, Health::Connecting);
    assert_eq!(registry.status().last_success, None);
    agent.restart().await;
    live(&mut found, &[], RETURNED).await;
}

#[tokio::test]
async fn a_wrong_token_is_said_so() {
    let agent = or_skip!(Consul::with_access_control().await);
    agent.register(&service("s", "a", 1)).await;
    live(&mut registry(&agent).watch(query("s")), &["10.0.0.1:1"], SOON).await;

    let mut settings = frontgate::registry::consul::Settings::new("test", &agent.url());
    settings.token = Some(frontgate::config::Secret::new("wrong".into()));
    let refused = frontgate::registry::consul::Consul::new(&settings).expect("good settings");
    let found = refused.watch(query("s"));
    let (_, error) = wait::until("a refusal", SOON, async || {
        refused.status().last_error.filter(|(_, error)| error.contains("403"))
    })
    .await;
    assert_eq!(error, "the agent answers 403: ACL not found");
    assert_eq!(refused.status().health, Health::Failed);
    assert!(matches!(found.borrow().state, State::Unheard { .. }));
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_again_when_the_old_one_is_refused() {
    let agent = or_skip!(Consul::with_access_control().await);
    agent.register(&service("s", "a", 1)).await;
    let mut settings = frontgate::registry::consul::Settings::new("test", &agent.url());
    settings.token = Some(frontgate::config::Secret::new("old".into()));
    settings.reread =
        Some(std::sync::Arc::new(|| Some(frontgate::config::Secret::new("root\n".into()))));
    let registry = frontgate::registry::consul::Consul::new(&settings).expect("good settings");
    live(&mut registry.watch(query("s")), &["10.0.0.1:1"], SOON).await;
}
