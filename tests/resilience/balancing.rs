//! Which instance gets which request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer, SOON};
use crate::support::wait;

/// Backends that say who they are.
async fn named(count: usize) -> Vec<Answering> {
    let mut backends = Vec::new();
    for name in 0..count {
        let answer =
            format!("HTTP/1.1 200 OK\r\nset-cookie: own={name}\r\ncontent-length: 1\r\n\r\n{name}");
        backends.push(Answering::with(answer).await);
    }
    backends
}

fn to(backends: &[Answering]) -> Setup {
    let addresses: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
    Setup::to(&addresses)
}

/// In front of these, with tables for endpoints that say more than an address.
fn of_tables(endpoints: &[String], top: &str, keys: &str) -> Setup {
    let tables = format!(
        "[[route]]\nname = \"other\"\npath = \"/other/*\"\nservice = \"other\"\n\
         [service.other]\nendpoints = [{}]\n{keys}",
        endpoints.join(", ")
    );
    let unused = SocketAddr::from(([127, 0, 0, 1], 9));
    Setup::to(&[unused]).top(top).tables(&tables)
}

async fn ask(gateway: &Gateway, target: &str, header: &str) -> Message {
    let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let ask = format!("GET {target} HTTP/1.1\r\nhost: h\r\n{line}connection: close\r\n\r\n");
    let answer = gateway.ask(ask).await.answer().await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer
}

/// Who answers a GET with this header.
async fn who(gateway: &Gateway, target: &str, header: &str) -> String {
    ask(gateway, target, header).await.text()
}

#[tokio::test]
async fn every_balancer_serves_and_spreads_what_it_may_spread() {
    let backends = named(3).await;
    for balance in ["round_robin", "random", "least_request", "peak_ewma", "consistent_hash"] {
        let keys = format!("balance = \"{balance}\"");
        let mut setup = to(&backends).service(&keys);
        if balance == "consistent_hash" {
            setup = setup.service("hash_key = \"header:x-user\"");
        }
        let gateway = setup.start().await;
        let mut counts = BTreeMap::new();
        for user in 0..90 {
            let name = who(&gateway, "/", &format!("x-user: {user}")).await;
            *counts.entry(name).or_insert(0) += 1;
        }
        if balance == "round_robin" {
            assert!(counts.values().all(|count| *count == 30), "{counts:?}");
        }
        // By latency the quickest may have almost all.
        let at_least = if balance == "peak_ewma" { 1 } else { 3 };
        assert_eq!(counts.values().filter(|count| **count >= at_least).count(), 3, "{counts:?}");
    }
}

#[tokio::test]
async fn a_key_stays_with_its_instance_and_moves_only_when_that_is_gone() {
    let backends = named(4).await;
    let keys = [("header:x-user", "x-user: "), ("cookie:user", "cookie: a=b; user="), ("path", "")];
    for (key, header) in keys {
        let service = format!("balance = \"consistent_hash\"\nhash_key = \"{key}\"");
        let owners = async |backends: &[Answering], workers: usize| {
            let top = format!("workers = {workers}");
            let gateway = to(backends).top(&top).service(&service).start().await;
            let mut owners = Vec::new();
            for user in 0..40 {
                let (target, line) = match header {
                    "" => (format!("/{user}?a"), String::new()),
                    header => ("/".to_owned(), format!("{header}{user}")),
                };
                let name = who(&gateway, &target, &line).await;
                assert_eq!(who(&gateway, &target.replace("?a", "?b"), &line).await, name);
                owners.push(name);
            }
            owners
        };
        let all = owners(&backends, 1).await;
        assert_eq!(owners(&backends, 2).await, all, "every process and worker agrees");
        let fewer = owners(&backends[..3], 1).await;
        assert!(all.iter().any(|name| name == "3"));
        for (before, after) in all.iter().zip(&fewer) {
            assert!(before == after || before == "3", "{key}: {before} became {after}");
        }
    }
}

#[tokio::test]
async fn a_claim_is_a_key_and_without_one_the_address_is() {
    let backends = named(4).await;
    let setup = to(&backends)
        .service("balance = \"consistent_hash\"\nhash_key = \"claim:sub\"")
        .route("auth = [\"keys\"]")
        .tables("[auth.keys]\nkind = \"key\"\nfrom = [\"header:x-key\"]")
        .tables("keys = { a = \"1111111111111111\", b = \"2222222222222222\", c = \"3333333333333333\", d = \"4444444444444444\", e = \"5555555555555555\", f = \"6666666666666666\" }");
    let gateway = setup.start().await;
    let mut names = Vec::new();
    for key in 1..=6 {
        let header = format!("x-key: {}", key.to_string().repeat(16));
        let name = who(&gateway, "/", &header).await;
        assert_eq!(who(&gateway, "/", &header).await, name);
        names.push(name);
    }
    names.dedup();
    assert!(names.len() > 1, "{names:?}");
    let gateway = to(&backends).service("balance = \"consistent_hash\"").start().await;
    let name = who(&gateway, "/", "x-user: 1").await;
    for user in 0..10 {
        assert_eq!(who(&gateway, "/", &format!("x-user: {user}")).await, name, "one address");
    }
}

#[tokio::test]
async fn the_busy_one_is_passed_over_by_least_request_and_by_a_full_hash() {
    for (balance, spared) in [("least_request", 1), ("peak_ewma", 1), ("consistent_hash", 4)] {
        let (slow, quick) = (Backend::new().await, Answering::with(OK).await);
        let service = format!("balance = \"{balance}\"");
        let setup = Setup::to(&[slow.address, quick.address]).service(&service);
        let gateway = setup.route("timeout = \"0s\"").start().await;
        // Requests that the slow one keeps, until it is too busy for any more.
        let mut kept = Vec::new();
        while kept.len() < spared {
            let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
            tokio::select! {
                taken = slow.request() => kept.push((client, taken)),
                answer = client.answer() => {
                    assert_eq!(answer.status(), 200);
                    // This key belongs to the quick one: nothing to see.
                    if balance == "consistent_hash" { break }
                }
            }
        }
        if balance == "peak_ewma" {
            // Not measured it is taken for a usual one, and on a busy machine the quick one may take longer than that.
            tokio::time::sleep(Duration::from_secs(1)).await;
            for (mut client, (mut taken, _)) in kept.drain(..) {
                taken.send(OK).await;
                assert_eq!(client.answer().await.status(), 200);
            }
        }
        let before = quick.count();
        for _ in 0..10 {
            assert_eq!(gateway.fetch("/").await.status(), 200, "{balance}");
        }
        assert_eq!(quick.count() - before, 10, "{balance}");
    }
}

fn cookie(answer: &Message) -> Option<String> {
    let set = answer.head.fields.iter().filter(|(name, _)| name == "set-cookie");
    let ours = set.map(|(_, value)| value).find(|value| value.starts_with("fg_instance="));
    ours.cloned()
}

/// What a browser sends back.
fn back(cookie: &str) -> String {
    format!("cookie: other=1; {}", cookie.split(';').next().unwrap_or_default())
}

#[tokio::test]
async fn a_client_with_a_cookie_stays_and_without_one_gets_one() {
    let backends = named(3).await;
    let setup = to(&backends).service("sticky = { cookie = \"fg_instance\", ttl = \"1h\" }");
    let gateway = setup.start().await;
    let mut cookies = Vec::new();
    for _ in 0..3 {
        let first = ask(&gateway, "/", "").await;
        assert!(first.head.all("set-cookie").contains("own="), "the upstream's own goes on");
        let set = cookie(&first).expect("a cookie");
        let attributes = "; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600";
        assert!(set.ends_with(attributes) && !set.contains("127.0.0.1"), "{set}");
        for _ in 0..5 {
            let again = ask(&gateway, "/", &back(&set)).await;
            assert_eq!((again.text(), cookie(&again)), (first.text(), None));
        }
        cookies.push((set, first.text()));
    }
    // Another process knows them too, and workers among themselves.
    drop(gateway);
    let setup = to(&backends).top("workers = 2").service("sticky = true");
    let gateway = setup.start().await;
    for (set, name) in &cookies {
        assert_eq!(who(&gateway, "/", &back(set)).await, *name);
    }
    // What nobody said here is no reason to refuse.
    for bad in ["cookie: fg_instance=", "cookie: fg_instance=zz", "cookie: fg_instance"] {
        assert!(cookie(&ask(&gateway, "/", bad).await).is_some(), "{bad}");
    }
    let unknown = format!("cookie: fg_instance={}", "0".repeat(32));
    assert!(cookie(&ask(&gateway, "/", &unknown).await).is_some());
}

#[tokio::test]
async fn a_cookie_of_an_instance_that_is_gone_is_replaced() {
    let backends = named(3).await;
    let setup = to(&backends).service("sticky = true");
    let gateway = setup.start().await;
    let (set, name) = loop {
        let answer = ask(&gateway, "/", "").await;
        if answer.text() == "2" {
            break (cookie(&answer).expect("a cookie"), answer.text());
        }
    };
    assert_eq!(who(&gateway, "/", &back(&set)).await, name);
    let gateway = to(&backends[..2]).service("sticky = true").start().await;
    let moved = ask(&gateway, "/", &back(&set)).await;
    assert_ne!(moved.text(), name);
    let set = cookie(&moved).expect("another");
    for _ in 0..5 {
        let again = ask(&gateway, "/", &back(&set)).await;
        assert_eq!((again.text(), cookie(&again)), (moved.text(), None));
    }
    // One that does not answer: the request goes on, and with it the client.
    let dead = crate::support::ports::nobody();
    let gateway = Setup::to(&[dead, backends[0].address]).service("sticky = true").start().await;
    let answer = ask(&gateway, "/", "").await;
    assert!(cookie(&answer).is_some());
    for _ in 0..3 {
        assert_eq!(who(&gateway, "/", &back(&cookie(&answer).expect("one"))).await, "0");
    }
    // The gateway's own refusal names no instance.
    let gateway = Setup::to(&[dead]).service("sticky = true").start().await;
    let refused = gateway.fetch("/").await;
    assert_eq!((refused.status(), cookie(&refused)), (502, None));
}

#[tokio::test]
async fn a_cookie_is_secure_where_a_trusted_proxy_says_https() {
    let backends = named(1).await;
    for (trusted, secure) in [("trusted_proxies = [\"127.0.0.0/8\"]", true), ("", false)] {
        let gateway = to(&backends).top(trusted).service("sticky = true").start().await;
        let answer = ask(&gateway, "/", "x-forwarded-proto: https").await;
        assert_eq!(cookie(&answer).expect("one").ends_with("; Secure"), secure);
    }
}

#[tokio::test]
async fn its_own_zone_serves_and_another_when_that_fails() {
    let backends = named(3).await;
    let dead = crate::support::ports::nobody();
    let at = |address: SocketAddr, zone: &str| {
        format!("{{ address = \"http://{address}\", zone = \"{zone}\" }}")
    };
    let mut endpoints = vec![
        at(backends[0].address, "a"),
        at(backends[1].address, "b"),
        format!("\"http://{}\"", backends[2].address),
    ];
    let (top, keys) = ("zone = \"a\"", "zone = \"prefer\"\noutlier = false");
    let gateway = of_tables(&endpoints, top, keys).start().await;
    for _ in 0..10 {
        assert_eq!(who(&gateway, "/other/", "").await, "0");
    }
    // The only one of the zone is dead, and nobody has noticed: a retry leaves the zone.
    endpoints[0] = at(dead, "a");
    let gateway = of_tables(&endpoints, top, keys).start().await;
    for _ in 0..10 {
        assert_ne!(who(&gateway, "/other/", "").await, "0");
    }
    let gateway = of_tables(&endpoints, "zone = \"b\"", "").start().await;
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(who(&gateway, "/other/", "").await);
    }
    assert!(names.contains(&"1".to_owned()) && names.contains(&"2".to_owned()), "off: {names:?}");
}

/// How long each of so many answers took, with a few clients at a time: five backends that serve one request at a time,
/// one of them ten times slower.
#[expect(clippy::expect_used, reason = "a test fails by panicking and says why")]
async fn ninety_nine(balance: &str) -> Duration {
    let mut addresses = Vec::new();
    for at in 0..5 {
        let pause = Duration::from_millis(if at == 0 { 100 } else { 10 });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let one = Arc::new(Semaphore::new(1));
            while let Ok((stream, _)) = listener.accept().await {
                let one = Arc::clone(&one);
                tokio::spawn(async move {
                    let mut peer = Peer::new(stream);
                    while peer.try_request().await.is_some() {
                        let _turn = one.acquire().await;
                        tokio::time::sleep(pause).await;
                        if peer.try_send(OK).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }
    let setup = Setup::to(&addresses).service(&format!("balance = \"{balance}\"\noutlier = false"));
    let gateway = setup.start().await;
    // An open loop at half of what the five can do together.
    let mut asking = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_micros(4_878));
    // Few enough that the queue of the slow one, which takes turns like any, ends in time.
    for _ in 0..400 {
        tick.tick().await;
        let web = gateway.web();
        asking.push(tokio::spawn(async move {
            let began = std::time::Instant::now();
            let ask = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
            let mut client = Peer::asking(web, ask).await;
            assert_eq!(client.answer().await.status(), 200);
            began.elapsed()
        }));
    }
    let mut took = Vec::new();
    for asked in asking {
        took.push(asked.await.expect("an answer"));
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures time: for a machine that does nothing else"]
async fn a_slow_instance_costs_a_balancer_that_sees_it_less_than_half() {
    let turns = ninety_nine("round_robin").await;
    for balance in ["least_request", "peak_ewma"] {
        let found = ninety_nine(balance).await;
        println!("p99: round_robin {turns:?}, {balance} {found:?}");
        assert!(found * 2 <= turns, "{balance}: {found:?}, round_robin {turns:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_while_instances_come_and_go() {
    let backends = named(4).await;
    for balance in ["least_request", "peak_ewma", "consistent_hash"] {
        let service = format!("balance = \"{balance}\"\nsticky = true");
        let gateway = Arc::new(to(&backends).top("workers = 2").service(&service).start().await);
        let mut clients = Vec::new();
        for client in 0..8 {
            let gateway = Arc::clone(&gateway);
            clients.push(tokio::spawn(async move {
                for at in 0..40 {
                    who(&gateway, &format!("/{client}/{at}"), "").await;
                }
            }));
        }
        let drain = async |at: usize, what: &str| {
            let address = backends[at].address;
            let ask = format!(
                "POST /services/backend/instances/{address}/{what} HTTP/1.1\r\nhost: localhost\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            let admin = gateway.listener("admin");
            Peer::asking(admin, ask).await.answer().await.status()
        };
        for at in 0..4 {
            drain(at, "drain").await;
            drain(at, "restore").await;
        }
        for client in clients {
            wait::until("a client is done", SOON, async || client.is_finished().then_some(()))
                .await;
            client.await.expect("every request was answered");
        }
    }
}
