//! Many services, and how soon a change is known.

use std::time::{Duration, Instant};

use frontgate::config::model::HostPort;
use frontgate::registry::{CatalogQuery, Liveness, Registration, Registry};

use super::registry;
use crate::support::etcd::Etcd;
use crate::support::real::Real;
use crate::support::{ports, wait};
use crate::{SOON, Watching, live, or_skip, query};

const SERVICES: u16 = 1_000;

#[tokio::test]
async fn a_thousand_services_share_one_watch_and_a_change_is_known_in_milliseconds() {
    let member = or_skip!(Etcd::solo().await);
    let name = |number: u16| format!("service-{number:04}");
    let all: Vec<_> =
        (0..SERVICES).map(|number| (name(number), ([10, 0, 0, 1], number + 1).into())).collect();
    member.put_all(&all).await;
    let registry = registry(&member);
    let names = registry.catalog(CatalogQuery { tag: None }).expect("etcd has one");
    let start = Instant::now();
    let mut watched: Vec<Watching> =
        (0..SERVICES).map(|number| registry.watch(query(&name(number)))).collect();
    wait::until("all are found", SOON, async || {
        watched.iter().all(|found| found.borrow().endpoints.len() == 1).then_some(())
    })
    .await;
    eprintln!("{SERVICES} services found in {:?}", start.elapsed());
    assert_eq!(names.borrow().services.len(), usize::from(SERVICES));
    let used = ports::connections_to(std::process::id(), member.port());
    assert!(used <= 3, "{used} connections");

    watched.iter_mut().for_each(|found| found.mark_unchanged());
    let mut delays = Vec::new();
    let mut kept = Vec::new();
    for number in 0..50u16 {
        let start = Instant::now();
        let address = HostPort { host: "10.0.0.2".into(), port: number + 1 };
        kept.extend(registry.register(Registration {
            id: format!("more-{number}"),
            name: name(number),
            address,
            tags: Vec::new(),
            check: Liveness::Heartbeat,
        }));
        let both = [format!("10.0.0.1:{}", number + 1), format!("10.0.0.2:{}", number + 1)];
        let both: Vec<&str> = both.iter().map(String::as_str).collect();
        live(&mut watched[usize::from(number)], &both, SOON).await;
        delays.push(start.elapsed());
    }
    delays.sort_unstable();
    eprintln!("registered and found: median {:?}, at worst {:?}", delays[25], delays[49]);
    // 50 ms is what it takes on a machine that does nothing else.
    assert!(delays[25] < Duration::from_millis(250), "{:?}", delays[25]);
    let others = watched[50..].iter().filter(|found| found.has_changed().expect("it lives"));
    assert_eq!(others.count(), 0, "who is not concerned is not woken");
}
