//! The agent is away: gone, hanging, not there yet, or says no.

use std::time::{Duration, Instant};

use super::gateway::{Gateway, apigateway};
use super::support::consul::{Consul, Memory};
use super::support::load::{HEALTH, Load, UPPERCASE};
use super::support::wait;
use super::{Backend, SOON, Scene, addresses, or_skip};

const AWAY: Duration = Duration::from_secs(20);
/// Once the agent is back, everything is live within this time.
const RETURNED: Duration = Duration::from_secs(5);
const CLIENTS: usize = 3;

/// The gateway says everywhere that its knowledge is old, since when and why, and stays ready.
async fn shown_as_stale(gateway: &Gateway) {
    for service in ["addsvc", "stringsvc"] {
        let shown = wait::until("the service is stale", SOON, async || {
            let shown = gateway.service(service).await;
            (shown["source"] == "stale").then_some(shown)
        })
        .await;
        assert_eq!(shown["state"], "degraded", "{shown}");
        assert!(shown["stale_since"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");
        assert!(shown["last_error"].as_str().is_some_and(|why| !why.is_empty()), "{shown}");
        assert_eq!(shown["instances"].as_array().map(Vec::len), Some(2), "{shown}");
    }
    let registry = gateway.registry().await;
    assert_eq!(registry["state"], "stale", "{registry}");
    assert!(registry["last_error"]["message"].is_string(), "{registry}");
    assert!(registry["last_success"].is_string(), "{registry}");
    assert_eq!(gateway.metric(r#"frontgate_registry_up{registry="consul"}"#).await, Some(0.0));
    assert_eq!(gateway.see("/readyz").await.status, 200);
}

/// Everything is live again.
async fn shown_as_live(gateway: &Gateway, within: Duration) {
    wait::until("all is live", within, async || {
        let services = gateway.see("/services").await.json();
        let live = services["services"].as_array()?.iter().all(|s| s["source"] == "live");
        (live && gateway.registry().await["state"] == "ok").then_some(())
    })
    .await;
    assert_eq!(gateway.metric(r#"frontgate_registry_up{registry="consul"}"#).await, Some(1.0));
}

#[tokio::test]
async fn an_agent_that_is_killed_for_20_s_costs_no_request_and_what_changed_is_taken_over() {
    let mut agent = or_skip!(Consul::start(Memory::Keeps, None).await);
    let mut scene = Scene::set(&agent).await;
    let gets = Load::start(scene.gateway.web, CLIENTS, HEALTH);
    let posts = Load::start(scene.gateway.web, CLIENTS, UPPERCASE);
    posts.goes_on(50).await;
    agent.kill();
    let gone = Instant::now();
    shown_as_stale(&scene.gateway).await;
    // The registration waits for the agent.
    scene.stringsvc.push(Backend::start("stringsvc", Some(&agent.url())).await);
    tokio::time::sleep_until((gone + AWAY).into()).await;
    agent.restart().await;
    shown_as_live(&scene.gateway, RETURNED).await;
    scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
    posts.goes_on(50).await;
    let (gets, posts) = (gets.end().await, posts.end().await);
    assert!(gets.faultless() > 1000 && posts.faultless() > 1000, "{gets:?} {posts:?}");
    assert_eq!(posts.right.len(), 3, "the one that came while the agent was away works");
}

#[tokio::test]
async fn an_agent_that_hangs_for_20_s_costs_no_request_and_what_changed_is_taken_over() {
    let agent = or_skip!(Consul::dev().await);
    let mut scene = Scene::set(&agent).await;
    let gets = Load::start(scene.gateway.web, CLIENTS, HEALTH);
    let posts = Load::start(scene.gateway.web, CLIENTS, UPPERCASE);
    posts.goes_on(50).await;
    agent.freeze();
    let gone = Instant::now();
    shown_as_stale(&scene.gateway).await;
    // It cannot say that it leaves: what it still gets goes to the other.
    assert_eq!(scene.stringsvc.remove(0).leave().await.code(), Some(0));
    tokio::time::sleep_until((gone + AWAY).into()).await;
    agent.thaw();
    shown_as_live(&scene.gateway, RETURNED).await;
    scene.stringsvc.push(Backend::start("stringsvc", Some(&agent.url())).await);
    scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
    posts.goes_on(50).await;
    let (gets, posts) = (gets.end().await, posts.end().await);
    assert!(gets.faultless() > 1000 && posts.faultless() > 1000, "{gets:?} {posts:?}");
}

#[tokio::test]
async fn an_agent_that_was_restarted_and_forgot_everything_costs_no_request() {
    let mut agent = or_skip!(Consul::dev().await);
    let scene = Scene::set(&agent).await;
    let gets = Load::start(scene.gateway.web, CLIENTS, HEALTH);
    let posts = Load::start(scene.gateway.web, CLIENTS, UPPERCASE);
    posts.goes_on(50).await;
    agent.restart().await;
    for backend in &scene.stringsvc {
        super::rotation::passing(&agent, "stringsvc", &backend.address).await;
    }
    scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
    posts.goes_on(50).await;
    gets.end().await.faultless();
    posts.end().await.faultless();
}

#[tokio::test]
async fn a_gateway_that_starts_before_its_agent_says_so_and_serves_once_it_comes() {
    let mut agent = or_skip!(Consul::dev().await);
    agent.kill();
    let url = agent.url();
    let backend = Backend::start("stringsvc", Some(&url)).await;
    let gateway = Gateway::start(&apigateway(&url)).await;
    let refused = gateway.client().get("/stringsvc/healthz").await.expect("an answer");
    assert_eq!((refused.status, refused.header("x-frontgate-code")), (503, "no_instance"));
    let part = wait::until("the reason is known", SOON, async || {
        let unready = gateway.see("/readyz").await;
        assert_eq!(unready.status, 503, "{unready:?}");
        let part = unready.json()["parts"][0].clone();
        part["reason"].as_str().is_some_and(|why| why.contains("onnect")).then_some(part)
    })
    .await;
    assert_eq!((&part["name"], &part["ready"]), (&"registry.consul".into(), &false.into()));

    agent.restart().await;
    let back = Instant::now();
    gateway.is_ready(RETURNED).await;
    let left = RETURNED.saturating_sub(back.elapsed());
    wait::until("it routes", left, async || {
        let answer = gateway.client().get("/stringsvc/healthz").await.expect("an answer");
        (answer.instance() == backend.address).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token_is_said_once_and_asked_again_seldom() {
    let agent = or_skip!(Consul::with_access_control().await);
    let right = format!("address = \"{}\"", agent.url());
    let config = apigateway(&agent.url()).replace(&right, &format!("{right}\ntoken = \"wrong\""));
    assert!(config.contains("wrong"));
    let gateway = Gateway::start(&config).await;
    let events = r#"frontgate_registry_events_total{registry="consul",kind="error"}"#;
    wait::until("the registry has failed", SOON, async || {
        (gateway.registry().await["state"] == "failed").then_some(())
    })
    .await;
    let unready = gateway.see("/readyz").await;
    assert_eq!(unready.status, 503);
    assert!(unready.body.contains("ACL not found"), "{unready:?}");
    let before = gateway.metric(events).await.expect("errors are counted");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = gateway.metric(events).await.expect("errors are counted") - before;
    assert!(asked <= 12.0, "two services, asked {asked} times in 5 s");
    let mut said = gateway.process.said();
    said.retain(|line| line.contains("ACL not found"));
    assert!((1..=2).contains(&said.len()), "once for each service at most: {said:#?}");
    assert!(!gateway.process.said().iter().any(|line| line.contains("wrong")), "no secret");
}
