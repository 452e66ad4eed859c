//! What is found while the servers are well.

use std::time::{Duration, Instant};

use frontgate::registry::{CatalogQuery, Health, Registry, State};

use super::super::support::consul::Consul;
use super::super::support::wait;
use super::super::{SOON, Watching, addresses, live, or_skip, service};
use super::{Named, asking, host, registry, settings, srv};

/// A record's time and a second, and what a busy machine adds.
const SEEN: Duration = Duration::from_secs(6);

fn weights(found: &Watching) -> Vec<(String, u32)> {
    let found = found.borrow();
    found.endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect()
}

#[tokio::test]
async fn instances_are_found_change_and_go() {
    let named = or_skip!(Named::start().await);
    let registry = registry(&named);
    let mut found = registry.watch(srv("_http._tcp.orders.test"));
    assert_eq!(found.borrow().state, State::Pending);
    live(&mut found, &[], SOON).await;

    named.change("add a.test 1 A 127.0.0.1");
    named.change("add _http._tcp.orders.test 1 SRV 10 60 9001 a.test.");
    live(&mut found, &["127.0.0.1:9001"], SEEN).await;
    named.change("add _http._tcp.orders.test 1 SRV 10 40 9002 a.test.");
    live(&mut found, &["127.0.0.1:9001", "127.0.0.1:9002"], SEEN).await;
    assert_eq!(weights(&found), [("127.0.0.1:9001".into(), 60), ("127.0.0.1:9002".into(), 40)]);
    named.change("delete _http._tcp.orders.test SRV 10 60 9001 a.test.");
    live(&mut found, &["127.0.0.1:9002"], SEEN).await;
    named.change("delete a.test A 127.0.0.1");
    named.change("add a.test 1 A 127.0.0.2");
    live(&mut found, &["127.0.0.2:9002"], SEEN).await;
    named.change("delete _http._tcp.orders.test");
    live(&mut found, &[], SEEN).await;

    let status = registry.status();
    assert_eq!((status.health, status.services, status.instances), (Health::Ok, 1, 0));
    assert!(status.last_success.is_some() && status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn a_change_is_seen_within_its_time_and_a_second() {
    let named = or_skip!(Named::start().await);
    let registry = registry(&named);
    named.change("add a.test 1 A 127.0.0.1");
    let mut found = registry.watch(srv("s.test"));
    live(&mut found, &[], SOON).await;
    let mut delays = Vec::new();
    for port in 1..=7_usize {
        let start = Instant::now();
        named.change(&format!("add s.test 1 SRV 10 10 {port} a.test."));
        wait::seen(&mut found, "one more", SEEN, |found| found.endpoints.len() == port).await;
        delays.push(start.elapsed());
    }
    delays.sort();
    eprintln!("registered → published: {delays:?}");
    assert!(delays[delays.len() / 2] <= Duration::from_secs(2), "{delays:?}");
}

#[tokio::test]
async fn addresses_of_a_host_are_found_with_one_port() {
    let named = or_skip!(Named::start().await);
    let registry = registry(&named);
    named.change("add h.test 1 A 127.0.0.2");
    named.change("add h.test 1 A 127.0.0.1");
    named.change("add six.test 1 AAAA ::1");
    named.change("add alias.test 1 CNAME h.test.");
    let mut found = registry.watch(host("h.test", 8080));
    live(&mut found, &["127.0.0.1:8080", "127.0.0.2:8080"], SOON).await;
    live(&mut registry.watch(host("six.test", 8080)), &["[::1]:8080"], SOON).await;
    let both = &["127.0.0.1:81", "127.0.0.2:81"];
    live(&mut registry.watch(host("alias.test.", 81)), both, SOON).await;
    live(&mut registry.watch(host("localhost", 1)), &["127.0.0.1:1"], SOON).await;
    live(&mut registry.watch(host("10.0.0.7", 1)), &["10.0.0.7:1"], SOON).await;
    live(&mut registry.watch(host("nowhere.test", 1)), &[], SOON).await;
    named.change("add h.test 1 AAAA ::1");
    live(&mut found, &["127.0.0.1:8080", "127.0.0.2:8080", "[::1]:8080"], SEEN).await;
    named.change("delete h.test A 127.0.0.1");
    live(&mut found, &["127.0.0.2:8080", "[::1]:8080"], SEEN).await;
}

#[tokio::test]
async fn the_lowest_priority_with_a_usable_target_serves() {
    let named = or_skip!(Named::start().await);
    named.change("add a.test 1 A 127.0.0.1");
    named.change("add s.test 1 SRV 20 5 2 a.test.");
    named.change("add s.test 1 SRV 30 5 3 a.test.");
    let mut found = registry(&named).watch(srv("s.test"));
    live(&mut found, &["127.0.0.1:2"], SOON).await;
    // A group without a usable target is passed over.
    named.change("add s.test 1 SRV 10 5 1 missing.test.");
    named.change("add s.test 1 SRV 10 5 0 a.test.");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    live(&mut found, &["127.0.0.1:2"], SEEN).await;
    named.change("add missing.test 1 A 127.0.0.9");
    live(&mut found, &["127.0.0.9:1"], SEEN).await;
}

#[tokio::test]
async fn a_bad_record_is_left_out_and_a_target_of_a_dot_is_none_at_all() {
    let named = or_skip!(Named::with_options("minimal-responses yes;").await);
    let registry = registry(&named);
    for line in [
        "add a.test 1 A 127.0.0.1",
        "add c.test 1 CNAME a.test.",
        "add s.test 1 SRV 10 0 1 a.test.",
        "add s.test 1 SRV 10 3 2 a.test.",
        "add s.test 1 SRV 10 3 0 a.test.",
        "add s.test 1 SRV 10 3 3 nowhere.test.",
        "add s.test 1 SRV 10 3 4 c.test.",
        "add s.test 1 TXT ignored",
        "add none.test 1 SRV 0 0 0 .",
    ] {
        named.change(line);
    }
    // Without additional records: each target is looked up.
    let mut found = registry.watch(srv("s.test"));
    live(&mut found, &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:4"], SOON).await;
    let expected =
        [("127.0.0.1:1".into(), 1), ("127.0.0.1:2".into(), 30), ("127.0.0.1:4".into(), 30)];
    assert_eq!(weights(&found), expected, "the weight 0 is small beside the others");
    live(&mut registry.watch(srv("none.test")), &[], SOON).await;
    assert_eq!(registry.status().health, Health::Ok);
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_udp_comes_over_tcp() {
    let named = or_skip!(Named::start().await);
    let many = 300;
    let mut lines = vec!["update add a.test 1 A 127.0.0.1".to_owned()];
    lines.extend((1..=many).map(|port| format!("update add s.test 1 SRV 10 10 {port} a.test.")));
    named.update(&lines);
    let mut found = registry(&named).watch(srv("s.test"));
    let all = |found: &std::sync::Arc<frontgate::registry::Found>| found.endpoints.len() == many;
    wait::seen(&mut found, "all of them", SOON, all).await;
}

#[tokio::test]
async fn a_short_name_is_completed() {
    let named = or_skip!(Named::start().await);
    named.change("add a.test 1 A 127.0.0.1");
    named.change("add s.prod.test 1 SRV 10 10 1 a.test.");
    let mut settings = settings(&[&named.address().to_string()]);
    settings.search = Some(vec!["stage.test".into(), "prod.test".into()]);
    let registry = frontgate::registry::dns::Dns::new(&settings).expect("good settings");
    live(&mut registry.watch(srv("s")), &["127.0.0.1:1"], SOON).await;
    // What stands in another zone is refused there, so it is not known that there is none.
    let refused = registry.watch(srv("s.elsewhere."));
    wait::until("refused", SOON, async || {
        matches!(&refused.borrow().state, State::Unheard { reason, .. } if reason.contains("REFUSED"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_system_is_asked_by_default_and_asked_again_whom_to_ask() {
    let (one, two) = (or_skip!(Named::start().await), or_skip!(Named::start().await));
    for (named, ip) in [(&one, "127.0.0.1"), (&two, "127.0.0.2")] {
        named.change(&format!("add h.prod.test 1 A {ip}"));
        named.change("add h.stage.test 1 A 127.0.0.9");
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("resolv.conf");
    let text = "search prod.test\nnameserver 127.0.0.1\n";
    std::fs::write(&file, text).expect("a writable directory");
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "10.0.0.1 written\n").expect("a writable directory");
    // Both servers cannot have the usual port: it stands for which of them is asked.
    let settings = |port: u16| frontgate::registry::dns::Settings {
        resolv_conf: file.clone(),
        hosts: hosts.clone(),
        port,
        ..frontgate::registry::dns::Settings::new("test")
    };
    for (named, expected) in [(&one, "127.0.0.1:80"), (&two, "127.0.0.2:80")] {
        let registry = frontgate::registry::dns::Dns::new(&settings(named.address().port()));
        let registry = registry.expect("good settings");
        let mut found = registry.watch(host("h", 80));
        live(&mut found, &[expected], SOON).await;
        live(&mut registry.watch(host("written", 1)), &["10.0.0.1:1"], SOON).await;
        std::fs::write(&file, "search stage.test\nnameserver 127.0.0.1\n").expect("writable");
        live(&mut found, &["127.0.0.9:80"], SEEN).await;
        std::fs::write(&file, text).expect("writable");
        live(&mut found, &[expected], Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn consuls_own_dns_is_read_as_well() {
    let agent = or_skip!(Consul::dev().await);
    for (id, ip, port) in [("a", "10.0.0.1", 80), ("b", "10.0.0.2", 81)] {
        let mut one = service("orders", id, port);
        one["Address"] = ip.into();
        agent.register(&one).await;
    }
    let registry = asking(&[&agent.dns().to_string()]);
    let mut found = registry.watch(srv("orders.service.consul"));
    live(&mut found, &["10.0.0.1:80", "10.0.0.2:81"], SOON).await;
    live(
        &mut registry.watch(host("orders.service.consul", 9)),
        &["10.0.0.1:9", "10.0.0.2:9"],
        SOON,
    )
    .await;
    agent.set_check("a-alive", "critical").await;
    live(&mut found, &["10.0.0.2:81"], SEEN).await;
    agent.deregister("b").await;
    live(&mut found, &[], SEEN).await;
}

#[tokio::test]
async fn a_watch_ends_with_its_last_receiver_and_there_is_no_catalog() {
    let named = or_skip!(Named::start().await);
    named.change("add h.test 1 A 127.0.0.1");
    let registry = registry(&named);
    let mut first = registry.watch(host("h.test", 1));
    let second = registry.watch(host("h.test", 1));
    live(&mut first, &["127.0.0.1:1"], SOON).await;
    assert_eq!(addresses(&second.borrow()), ["127.0.0.1:1"], "the same query shares one watch");
    assert_eq!(registry.status().services, 1);
    drop((first, second));
    wait::until("nothing is watched", SOON, async || {
        (registry.status().services == 0).then_some(())
    })
    .await;
    assert!(registry.catalog(CatalogQuery { tag: None }).is_none());
}

#[tokio::test]
async fn a_registry_that_nothing_uses_knows_whether_anybody_answers() {
    let mut named = or_skip!(Named::start().await);
    let registry = registry(&named);
    assert_eq!(registry.status().health, Health::Connecting);
    let ok = async || (registry.status().health == Health::Ok).then_some(());
    wait::until("somebody answers", SOON, ok).await;
    named.kill();
    let deaf = asking(&[&named.address().to_string()]);
    let error = wait::until("an error", SOON, async || deaf.status().last_error).await;
    assert!(error.1.contains("cannot be reached: Connection refused"), "{error:?}");
    assert_eq!(deaf.status().health, Health::Connecting);
}
