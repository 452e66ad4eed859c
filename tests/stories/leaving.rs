//! Backends that leave, die and come under steady load.

use std::time::{Duration, Instant};

use super::rotation::{in_agent, passing};
use super::support::consul::Consul;
use super::support::load::{HEALTH, Load, UPPERCASE};
use super::support::wait;
use super::{Backend, SOON, Scene, addresses, or_skip};

/// Clients of each kind of load.
const CLIENTS: usize = 4;

#[tokio::test]
async fn a_backend_that_is_stopped_costs_no_client_an_error_and_its_successor_is_found() {
    let agent = or_skip!(Consul::dev().await);
    let mut scene = Scene::set(&agent).await;
    let gets = Load::start(scene.gateway.web, CLIENTS, HEALTH);
    let posts = Load::start(scene.gateway.web, CLIENTS, UPPERCASE);
    for _ in 0..2 {
        posts.goes_on(100).await;
        let mut old = scene.stringsvc.remove(0);
        assert_eq!(old.leave().await.code(), Some(0));
        scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
        posts.goes_on(100).await;
        scene.stringsvc.push(Backend::start("stringsvc", Some(&agent.url())).await);
        scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
    }
    posts.goes_on(100).await;
    let (gets, posts) = (gets.end().await, posts.end().await);
    for tally in [&gets, &posts] {
        assert!(tally.faultless() > 500, "{tally:?}");
        assert_eq!(tally.right.len(), 4, "both that left and both that came have worked");
    }
}

#[tokio::test]
async fn a_backend_that_is_killed_costs_at_most_the_posts_it_was_working_on() {
    let agent = or_skip!(Consul::dev().await);
    let mut scene = Scene::set(&agent).await;
    for _ in 0..3 {
        let gets = Load::start(scene.gateway.web, CLIENTS, HEALTH);
        let posts = Load::start(scene.gateway.web, CLIENTS, UPPERCASE);
        posts.goes_on(50).await;
        scene.stringsvc.remove(0).kill();
        let killed = Instant::now();
        // Until the agent has noticed; so long it is in rotation.
        scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
        posts.goes_on(50).await;
        gets.end().await.faultless();
        let posts = posts.end().await;
        assert!(posts.faults.len() <= CLIENTS, "{posts:#?}");
        for fault in &posts.faults {
            assert_eq!(fault.status, Some(502), "{fault:?}");
            assert!(fault.began <= killed, "it was in flight when the backend died: {fault:?}");
        }
        scene.stringsvc.push(Backend::start("stringsvc", Some(&agent.url())).await);
        scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
    }
}

#[tokio::test]
async fn a_passing_backend_is_routed_to_within_a_fifth_of_a_second_as_a_median() {
    let agent = or_skip!(Consul::dev().await);
    let mut scene = Scene::set(&agent).await;
    let newcomer = Backend::start("stringsvc", None).await;
    agent.register(&in_agent("stringsvc", "newcomer", &newcomer)).await;
    let mut client = scene.gateway.client();
    let mut delays = Vec::new();
    for _ in 0..11 {
        agent.set_check("newcomer-alive", "critical").await;
        scene.gateway.has("stringsvc", &addresses(&scene.stringsvc)).await;
        // So that the pace at which an agent may be asked, made for floods, does not decide.
        tokio::time::sleep(Duration::from_millis(150)).await;
        agent.set_check("newcomer-alive", "passing").await;
        let passing = Instant::now();
        wait::until("it is routed to", SOON, async || {
            let answer = client.get("/stringsvc/healthz").await.expect("an answer");
            (answer.instance() == newcomer.address).then_some(())
        })
        .await;
        delays.push(passing.elapsed());
    }
    delays.sort();
    let (median, worst) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    eprintln!("passing → routed to: median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(200), "{delays:?}");

    // The same from its very start: a backend registers itself as passing.
    scene.stringsvc.push(Backend::start("stringsvc", Some(&agent.url())).await);
    let last = scene.stringsvc.last().expect("just pushed");
    passing(&agent, "stringsvc", &last.address).await;
    let seen = Instant::now();
    wait::until("it is routed to", Duration::from_secs(1), async || {
        let answer = client.get("/stringsvc/healthz").await.expect("an answer");
        (answer.instance() == last.address).then_some(())
    })
    .await;
    eprintln!("started, seen passing → routed to: {:?}", seen.elapsed());
}
