//! Many services: the servers are spared while they fail, and everything comes back with them.

use std::time::{Duration, Instant};

use frontgate::registry::dns::{Dns, Settings};
use frontgate::registry::{Health, Registry, State};
use hickory_resolver::proto::op::ResponseCode;

use super::super::support::wait;
use super::super::{SOON, Watching, addresses, live};
use super::script::{Act, RETURNED, Script, code, found, instance};
use super::srv;

fn watch_all(registry: &Dns, count: usize) -> Vec<Watching> {
    (0..count).map(|at| registry.watch(srv(&format!("s{at}.test")))).collect()
}

async fn all_live(found: &[Watching], expected: &str, within: Duration) {
    wait::until("all are live", within, async || {
        found
            .iter()
            .all(|found| {
                let found = found.borrow();
                found.state == State::Live && addresses(&found) == [expected]
            })
            .then_some(())
    })
    .await;
}

async fn all_stale(found: &[Watching], within: Duration) {
    wait::until("all are stale", within, async || {
        found.iter().all(|found| matches!(found.borrow().state, State::Stale { .. })).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_services_share_one_question_a_second_while_nobody_answers() {
    let script = Script::start(|_, _| Act::Nothing).await;
    let registry = script.registry();
    let start = Instant::now();
    let found = watch_all(&registry, 1000);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let asked = script.count_since(start);
    assert!((2..=14).contains(&asked), "asked {asked} times within 12 s");
    assert!(found.iter().all(|found| matches!(found.borrow().state, State::Unheard { .. })));
    assert_eq!(registry.status().health, Health::Connecting);
    script.now(instance(1, 60));
    all_live(&found, "10.0.0.1:1", RETURNED).await;
    let asked = script.asked().len();
    assert!(asked <= 1100, "each was looked up about once: {asked}");
}

#[tokio::test]
async fn a_server_that_falls_silent_makes_all_stale_and_its_return_makes_all_live() {
    let script = Script::start(instance(1, 2)).await;
    let registry = script.registry();
    let found = watch_all(&registry, 300);
    all_live(&found, "10.0.0.1:1", SOON).await;
    script.now(|_, _| Act::Nothing);
    let start = Instant::now();
    all_stale(&found, Duration::from_secs(12)).await;
    assert_eq!(registry.status().health, Health::Stale);
    tokio::time::sleep(Duration::from_secs(15).saturating_sub(start.elapsed())).await;
    let asked = script.count_since(start);
    // Those that were due in the moment until the silence was noticed, and one a second.
    assert!(asked <= 64 + 16, "asked {asked} times within 15 s");
    let later = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = script.count_since(later);
    assert!((1..=6).contains(&asked), "asked {asked} times within 5 s");
    script.now(instance(2, 60));
    all_live(&found, "10.0.0.1:2", RETURNED).await;
}

#[tokio::test]
async fn when_the_system_says_to_ask_another_server_all_who_wait_for_the_old_one_ask_that() {
    let silent = Script::start(|_, _| Act::Nothing).await;
    let good = silent.beside(instance(1, 60)).await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let resolv_conf = folder.path().join("resolv.conf");
    let says = |server: &Script| {
        let text = format!("nameserver {}\n", server.address.ip());
        std::fs::write(&resolv_conf, text).expect("a writable directory");
    };
    says(&silent);
    let registry = Dns::new(&Settings {
        resolv_conf: resolv_conf.clone(),
        hosts: folder.path().join("hosts"),
        port: silent.address.port(),
        timeout: Duration::from_millis(500),
        ..Settings::new("test")
    })
    .expect("good settings");
    let found = watch_all(&registry, 100);
    // Until all of them have failed and wait for their turn to be asked for again.
    wait::until("all have failed", SOON, async || {
        let failed = |found: &Watching| matches!(found.borrow().state, State::Unheard { .. });
        found.iter().all(failed).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    says(&good);
    all_live(&found, "10.0.0.1:1", RETURNED).await;
}

#[tokio::test]
async fn failures_are_asked_once_a_second_in_all_and_the_first_success_releases_all() {
    let script = Script::start(instance(1, 1)).await;
    let registry = script.registry();
    let found = watch_all(&registry, 100);
    all_live(&found, "10.0.0.1:1", SOON).await;
    script.now(code(ResponseCode::ServFail));
    all_stale(&found, Duration::from_secs(12)).await;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = script.count_since(start);
    assert!((1..=7).contains(&asked), "asked {asked} times within 6 s");
    // As many releases as there may be: one in ten seconds.
    script.now(instance(2, 60));
    all_live(&found, "10.0.0.1:2", Duration::from_secs(14)).await;
}

#[tokio::test]
async fn a_name_that_fails_stands_in_nobodys_way() {
    let script = Script::start(instance(1, 1)).await;
    let registry = script.registry();
    let bad = watch_all(&registry, 40);
    let mut good = registry.watch(srv("good.test"));
    live(&mut good, &["10.0.0.1:1"], SOON).await;
    all_live(&bad, "10.0.0.1:1", SOON).await;
    script.now(|question, _| {
        if question.queries[0].name.to_ascii().starts_with("good") {
            return Act::Answer(found(question, 1, 1));
        }
        code(ResponseCode::ServFail)(question, false)
    });
    let start = Instant::now();
    all_stale(&bad, Duration::from_secs(12)).await;
    tokio::time::sleep(Duration::from_secs(10).saturating_sub(start.elapsed())).await;
    let of_good =
        script.asked().iter().filter(|a| a.at >= start && a.what.starts_with("good")).count();
    assert!(of_good >= 4, "it was looked up {of_good} times within 10 s");
    assert!(!good.has_changed().expect("it lives"), "it never was anything but live");
    let of_others = script.count_since(start) - of_good;
    assert!(of_others <= 40 + 12, "the others were looked up {of_others} times within 10 s");
    assert_eq!(registry.status().health, Health::Stale, "some are in trouble");
}

#[tokio::test]
async fn names_that_never_get_an_answer_do_not_make_the_others_stale() {
    let script = Script::start(|question, _| {
        if question.queries[0].name.to_ascii().starts_with('s') {
            return Act::Answer(found(question, 1, 60));
        }
        Act::Nothing
    })
    .await;
    let timeout = Duration::from_millis(300);
    let settings = Settings { timeout, ..super::settings(&[&script.address.to_string()]) };
    let registry = Dns::new(&settings).expect("good settings");
    let mut good = watch_all(&registry, 3);
    all_live(&good, "10.0.0.1:1", SOON).await;
    good.iter_mut().for_each(Watching::mark_unchanged);
    let dead = ["x.test", "y.test"].map(|name| registry.watch(srv(name)));
    wait::until("they fail again and again", RETURNED, async || {
        let asked = |name: &str| script.asked().iter().filter(|a| a.what.starts_with(name)).count();
        (asked("x.") >= 5 && asked("y.") >= 5).then_some(())
    })
    .await;
    assert!(dead.iter().all(|dead| matches!(dead.borrow().state, State::Unheard { .. })));
    for good in &good {
        assert!(!good.has_changed().expect("it lives"), "{:?}", good.borrow().state);
    }
}

#[tokio::test]
async fn tasks_end_with_the_registry_and_with_who_watches() {
    let script = Script::start(instance(1, 1)).await;
    let registry = script.registry();
    let found = watch_all(&registry, 50);
    all_live(&found, "10.0.0.1:1", SOON).await;
    drop(found);
    wait::until("nothing is watched", SOON, async || {
        (registry.status().services == 0).then_some(())
    })
    .await;
    drop(registry);
    let before = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(script.count_since(before), 0);
}
