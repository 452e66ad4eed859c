//! More services than an agent takes connections.

use std::time::{Duration, Instant};

use frontgate::registry::{CatalogQuery, Registry, State};
use serde_json::{Value, json};

use super::support::consul::Consul;
use super::support::{ports, wait};
use super::{SOON, Watching, live, or_skip, query, registry, service};

const SERVICES: u16 = 500;
/// Bound on a change reaching its receiver.
const CHANGE: Duration = Duration::from_millis(500);

fn name(number: u16) -> String {
    format!("service-{number:03}")
}

/// Registers services 0 to `count`, some at a time.
async fn fill(agent: &Consul, count: u16) {
    let some = |first: u16| async move {
        for number in (first..count).step_by(8) {
            agent.register(&service(&name(number), &format!("i{number}"), 1)).await;
        }
    };
    tokio::join!(some(0), some(1), some(2), some(3), some(4), some(5), some(6), some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_services_are_watched_over_few_connections_with_the_agents_stock_limits() {
    let agent = or_skip!(Consul::dev().await);
    Box::pin(fill(&agent, SERVICES)).await;
    let registry = registry(&agent);
    let names = registry.catalog(CatalogQuery { tag: None }).expect("consul has a catalog");
    let start = Instant::now();
    let mut watched: Vec<Watching> =
        (0..SERVICES).map(|number| registry.watch(query(&name(number)))).collect();
    let mut most = 0;
    wait::until("all are found", Duration::from_secs(30), async || {
        most = most.max(ports::connections_to(std::process::id(), agent.address().port()));
        let found = watched.iter().filter(|found| found.borrow().endpoints.len() == 1).count();
        (found == usize::from(SERVICES)).then_some(())
    })
    .await;
    eprintln!("{SERVICES} services found in {:?}, at most {most} connections", start.elapsed());
    assert!(most <= 64, "{most} connections");
    assert_eq!(names.borrow().services.len(), usize::from(SERVICES) + 1);

    let mut worst = Duration::ZERO;
    for number in [0u16, 47, 48, 49, 250, 499] {
        for (status, expected) in [("critical", &[][..]), ("passing", &["10.0.0.1:1"][..])] {
            let start = Instant::now();
            agent.set_check(&format!("i{number}-alive"), status).await;
            live(&mut watched[usize::from(number)], expected, SOON).await;
            worst = worst.max(start.elapsed());
        }
    }
    eprintln!("a change of one of them: at worst {worst:?}");
    assert!(worst < CHANGE, "{worst:?}");
    let most = ports::connections_to(std::process::id(), agent.address().port());
    assert!(most <= 64, "{most} connections");

    // The first hundred end, and with them every query of its own: others take their places while they change.
    let mut others = watched.split_off(100);
    drop(watched);
    moving_to_a_query_of_its_own_loses_nothing(&agent, &mut others[..80]).await;
    what_no_check_tells_is_seen_too(&agent, &mut others[300]).await;
}

async fn moving_to_a_query_of_its_own_loses_nothing(agent: &Consul, watched: &mut [Watching]) {
    for number in 100..180 {
        agent.register(&service(&name(number), &format!("i{number}"), 2)).await;
    }
    for found in watched {
        live(found, &["10.0.0.1:2"], SOON).await;
    }
}

/// Neither a check nor a tag changes: only the addresses do.
async fn what_no_check_tells_is_seen_too(agent: &Consul, found: &mut Watching) {
    let plain = |port: u16| -> Value {
        json!({ "ID": "plain", "Name": name(400), "Address": "10.0.0.2", "Port": port })
    };
    for port in [7, 8] {
        agent.register(&plain(port)).await;
        let expected = ["10.0.0.1:1".to_owned(), format!("10.0.0.2:{port}")];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        live(found, &expected, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_survive_a_restart_of_the_agent() {
    let memory = super::support::consul::Memory::Keeps;
    let mut agent = or_skip!(Consul::start(memory, None).await);
    Box::pin(fill(&agent, 60)).await;
    let registry = registry(&agent);
    let mut watched: Vec<Watching> =
        (0..60).map(|number| registry.watch(query(&name(number)))).collect();
    for found in &mut watched {
        live(found, &["10.0.0.1:1"], SOON).await;
    }
    agent.kill();
    for found in &mut watched {
        let kept = super::stale(found, SOON).await;
        assert_eq!(super::addresses(&kept), ["10.0.0.1:1"]);
    }
    agent.restart().await;
    let back = Instant::now();
    for found in &mut watched {
        let again =
            |f: &std::sync::Arc<_>| matches!(AsRef::<super::Found>::as_ref(f).state, State::Live);
        wait::seen(found, "live again", SOON, again).await;
    }
    eprintln!("60 services live {:?} after the agent's return", back.elapsed());
}
