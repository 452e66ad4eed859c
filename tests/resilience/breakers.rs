//! What fails too much is cut off.
#![expect(clippy::expect_used, reason = "a test fails by panicking and says why")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer, SOON};
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno";
/// Long enough that nothing in a test comes after it.
const LONG: &str =
    "breaker = { kind = \"consecutive\", failures = 3, open = \"1h\" }\noutlier = false";
const SHORT: &str =
    "breaker = { kind = \"consecutive\", failures = 3, open = \"300ms\" }\noutlier = false";

/// A backend that fails as long as it is told to.
async fn moody() -> (Answering, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&fails);
    let answer = move |_: &Message| if told.load(SeqCst) { FAILED } else { OK }.into();
    (Answering::by(answer).await, fails)
}

fn assert_shut(answer: &Message) -> u64 {
    assert_eq!((answer.status(), answer.code()), (503, "breaker_open"), "{}", answer.head.raw);
    let seconds = answer.head.value("retry-after").expect("when to come again");
    seconds.parse().expect("seconds")
}

async fn fail(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        assert_eq!(gateway.fetch("/").await.text(), "no");
    }
}

/// What `/services` says of the service's one or first instance.
async fn shown(gateway: &Gateway, key: &str) -> String {
    let service = shown_service(gateway).await;
    service["instances"][0][key].as_str().unwrap_or_default().to_owned()
}

async fn shown_service(gateway: &Gateway) -> serde_json::Value {
    let text = gateway.admin("/services/backend").await.text();
    serde_json::from_str(&text).expect("JSON")
}

/// The lines about breakers, once there are so many.
async fn said(gateway: &Gateway, count: usize) -> Vec<String> {
    wait::until("the log says so", SOON, async || {
        let lines = gateway.said();
        let lines: Vec<_> = lines.into_iter().filter(|line| line.contains("from=")).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

/// Waits for an answer of the backend itself.
async fn recovers(gateway: &Gateway) {
    wait::until("it closes", SOON, async || {
        (gateway.fetch("/").await.text() == "ok").then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_opens_lets_one_probe_through_and_closes_and_every_step_is_visible() {
    let (backend, fails) = moody().await;
    let gateway = Setup::to(&[backend.address]).service(SHORT).start().await;
    let instance = format!("instance=\"{}\"", backend.address);
    assert_eq!(shown(&gateway, "breaker").await, "closed");
    gateway.metric_is("frontgate_breaker_state", &[&instance], 0.0).await;
    fail(&gateway, 3).await;
    // Another failure opens it again as soon as it was asked, so that it is never seen closed.
    wait::until("it is shut", SOON, async || {
        let answer = gateway.fetch("/").await;
        (answer.text() != "no").then(|| assert_eq!(assert_shut(&answer), 1))
    })
    .await;
    assert!(["open", "half_open"].contains(&shown(&gateway, "breaker").await.as_str()));
    assert_eq!(shown(&gateway, "state").await, "open");
    fails.store(false, SeqCst);
    recovers(&gateway).await;
    assert_eq!(shown(&gateway, "breaker").await, "closed");
    assert_eq!(shown(&gateway, "state").await, "ready");
    let lines = said(&gateway, 3).await;
    for word in [
        " WARN ",
        "service=\"backend\"",
        "from=\"closed\" to=\"open\"",
        "3 failures in a row",
        "300ms",
    ] {
        assert!(lines[0].contains(word), "{word} in {}", lines[0]);
    }
    assert!(lines[0].contains(&backend.address.to_string()), "{}", lines[0]);
    assert!(lines[1].contains("from=\"open\" to=\"half_open\""), "{}", lines[1]);
    let last = lines.last().expect("three");
    assert!(
        last.contains("from=\"half_open\" to=\"closed\"") && last.contains("a good probe"),
        "{last}"
    );
}

#[tokio::test]
async fn open_it_refuses_at_once_without_a_connection_and_says_for_how_long() {
    let (backend, _) = moody().await;
    let setup = Setup::to(&[backend.address]).top("workers = 2").service(LONG);
    let gateway = setup.start().await;
    fail(&gateway, 3).await;
    let connections = backend.connections();
    for _ in 0..40 {
        let left = assert_shut(&gateway.fetch("/").await);
        assert!((3_000..=3_600).contains(&left), "{left}");
    }
    assert_eq!((backend.count(), backend.connections()), (3, connections), "on both workers");
    assert_eq!(
        (shown(&gateway, "breaker").await, shown(&gateway, "state").await),
        ("open".into(), "open".into())
    );
    let instance = format!("instance=\"{}\"", backend.address);
    gateway.metric_is("frontgate_breaker_state", &["service=\"backend\"", &instance], 2.0).await;
    gateway.metric_is("frontgate_refusals_total", &["code=\"breaker_open\""], 40.0).await;
    gateway.metric_is("frontgate_instances", &["state=\"open\""], 1.0).await;
    gateway.metric_is("frontgate_retries_total", &[], 0.0).await;
}

#[tokio::test]
async fn what_is_not_its_own_failure_does_not_open_it() {
    for status in ["400", "404", "429", "499", "501"] {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        let backend = Answering::with(answer).await;
        let gateway = Setup::to(&[backend.address]).service(LONG).start().await;
        for _ in 0..5 {
            assert_eq!(gateway.fetch("/").await.status().to_string(), status);
        }
        assert_eq!(shown(&gateway, "breaker").await, "closed", "{status}");
    }
}

#[tokio::test]
async fn every_way_to_fail_before_the_answer_opens_it() {
    let nobody = crate::support::ports::nobody();
    let garbage = Answering::with("garbage\r\n\r\n").await;
    let silent = Backend::new().await;
    let closing = Answering::with("").await;
    for address in [nobody, garbage.address, silent.address, closing.address] {
        let setup = Setup::to(&[address]).service(LONG).route("retry = false\ntimeout = \"300ms\"");
        let gateway = setup.start().await;
        wait::until("it opens", SOON, async || {
            let answer = gateway.fetch("/").await;
            (answer.code() == "breaker_open").then_some(())
        })
        .await;
        let lines = said(&gateway, 1).await;
        assert!(lines[0].contains("3 failures in a row"), "{}", lines[0]);
    }
}

#[tokio::test]
async fn an_open_instance_is_passed_over_without_an_error_and_without_a_retry() {
    let ((bad, fails), good) = (moody().await, Answering::with(OK).await);
    let setup = Setup::to(&[bad.address, good.address]).service(LONG).route("retry = false");
    let gateway = setup.start().await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(gateway.fetch("/").await.text() == "no");
    }
    assert_eq!((failed, bad.count(), good.count()), (3, 3, 37));
    fails.store(false, SeqCst);
    let page = gateway.metric("frontgate_retries_total", &[]).await;
    assert!(page == 0.0, "{page} retries");
    gateway.metric_is("frontgate_attempts_total", &[], 40.0).await;
}

#[tokio::test]
async fn an_instance_that_is_well_again_comes_back_on_its_own() {
    let ((bad, fails), good) = (moody().await, Answering::with(OK).await);
    let setup = Setup::to(&[bad.address, good.address]).top("workers = 2").service(SHORT);
    let gateway = setup.start().await;
    wait::until("it opens", SOON, async || {
        gateway.fetch("/").await;
        (shown_service(&gateway).await["instances"].as_array()?.iter())
            .any(|instance| instance["breaker"] != "closed")
            .then_some(())
    })
    .await;
    fails.store(false, SeqCst);
    let before = bad.count();
    wait::until("it takes turns", SOON, async || {
        gateway.fetch("/").await;
        (bad.count() >= before + 5).then_some(())
    })
    .await;
    gateway.metric_is("frontgate_breaker_state", &[], 0.0).await;
}

#[tokio::test]
async fn a_service_may_have_one_breaker_for_all_its_instances() {
    let (one, other) = (Answering::with(FAILED).await, Answering::with(FAILED).await);
    let service = LONG.replace(" }", ", scope = \"service\" }");
    let setup = Setup::to(&[one.address, other.address]).top("workers = 2").service(&service);
    let gateway = setup.start().await;
    fail(&gateway, 3).await;
    for _ in 0..10 {
        assert!(assert_shut(&gateway.fetch("/").await) > 3_000);
    }
    assert_eq!(one.count() + other.count(), 3);
    let service = shown_service(&gateway).await;
    assert_eq!(service["breaker"], "open");
    assert_eq!(service["instances"][0]["breaker"], "off");
    gateway.metric_is("frontgate_breaker_state", &["instance=\"*\""], 2.0).await;
    let lines = said(&gateway, 1).await;
    assert!(lines[0].contains("instance=*") && lines[0].contains("to=\"open\""), "{}", lines[0]);
}

#[tokio::test]
async fn a_services_breaker_closes_again() {
    let (backend, fails) = moody().await;
    let service = SHORT.replace(" }", ", scope = \"service\", probes = 2 }");
    let gateway = Setup::to(&[backend.address]).service(&service).start().await;
    fail(&gateway, 3).await;
    fails.store(false, SeqCst);
    recovers(&gateway).await;
    recovers(&gateway).await;
    assert_eq!(shown_service(&gateway).await["breaker"], "closed");
    let lines = said(&gateway, 3).await;
    assert!(lines[2].contains("2 good probes"), "{}", lines[2]);
}

/// A gateway whose one instance is half open, and a backend that is led by hand.
async fn half_open(top: &str) -> (Gateway, Backend) {
    let backend = Backend::new().await;
    let service =
        "breaker = { kind = \"consecutive\", failures = 1, open = \"100ms\" }\noutlier = false";
    let setup = Setup::to(&[backend.address]).top(top).service(service).route("retry = false");
    let gateway = setup.start().await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status(), 500);
    gateway.metric_is("frontgate_breaker_state", &[], 1.0).await;
    (gateway, backend)
}

#[tokio::test]
async fn while_a_probe_is_under_way_all_others_are_refused() {
    let (gateway, backend) = half_open("workers = 2").await;
    let mut probe = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    for _ in 0..20 {
        assert_eq!(assert_shut(&gateway.fetch("/").await), 1);
    }
    backend.assert_untouched().await;
    upstream.send(OK).await;
    assert_eq!(probe.answer().await.text(), "ok");
    gateway.metric_is("frontgate_breaker_state", &[], 0.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_a_probe_says_nothing_and_gives_its_place_back() {
    let (gateway, backend) = half_open("").await;
    for _ in 0..5 {
        let probe = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        drop(probe);
        upstream.ended().await;
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
        gateway.metric_is("frontgate_breaker_state", &[], 1.0).await;
    }
    let mut probe = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(probe.answer().await.text(), "ok");
    gateway.metric_is("frontgate_breaker_state", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_share_a_breaker_and_its_row_of_failures() {
    let (backend, _) = moody().await;
    let service =
        "breaker = { kind = \"consecutive\", failures = 200, open = \"1h\" }\noutlier = false";
    let setup = Setup::to(&[backend.address]).top("workers = 2").service(service);
    let gateway = setup.start().await;
    let refused = Arc::new(AtomicU64::new(0));
    let mut asking = Vec::new();
    for _ in 0..8 {
        let (mut client, refused) = (Peer::connect(gateway.web()).await, Arc::clone(&refused));
        asking.push(tokio::spawn(async move {
            for _ in 0..50 {
                client.send(GET).await;
                let shut = client.answer().await.code() == "breaker_open";
                refused.fetch_add(u64::from(shut), SeqCst);
            }
        }));
    }
    for task in asking {
        task.await.expect("it asks");
    }
    // What was on its way when the last one failed still came.
    let count = backend.count();
    assert!((200..208).contains(&count), "{count} were let through");
    assert_eq!(refused.load(SeqCst), 400 - count as u64);
}

const HYSTRIX: &str = "breaker = { kind = \"hystrix\", max_concurrent = 2, timeout = \"400ms\", \
                       min_requests = 4, open = \"1h\" }\noutlier = false";

#[tokio::test]
async fn hystrix_refuses_one_too_many_until_another_answer_has_ended() {
    for scope in ["instance", "service"] {
        let backend = Backend::new().await;
        let service =
            HYSTRIX.replace("400ms", "1h").replace(" }", &format!(", scope = \"{scope}\" }}"));
        let setup = Setup::to(&[backend.address]).top("workers = 2").service(&service);
        let gateway = setup.start().await;
        // One after the other: two workers would race, and which answer is whose would be chance.
        let mut first = gateway.ask(GET).await;
        let (mut one, _) = backend.request().await;
        let mut second = gateway.ask(GET).await;
        let (mut two, _) = backend.request().await;
        one.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nab").await;
        two.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nab").await;
        // The heads are there, and their verdicts told; the exchanges go on.
        first.head().await;
        second.head().await;
        for _ in 0..10 {
            let answer = gateway.fetch("/").await;
            assert_eq!((answer.status(), answer.code()), (503, "overloaded"), "{scope}");
        }
        backend.assert_untouched().await;
        one.send("cd").await;
        assert_eq!(first.take(4).await, b"abcd");
        let mut third = gateway.ask(GET).await;
        let (mut three, _) = wait::until("there is room", SOON, async || {
            tokio::select! {
                asked = backend.request() => Some(asked),
                answer = third.answer() => {
                    assert_eq!(answer.code(), "overloaded");
                    third = gateway.ask(GET).await;
                    None
                }
            }
        })
        .await;
        assert_eq!(
            gateway.fetch("/").await.code(),
            "overloaded",
            "{scope}: only one was given back"
        );
        // A client that leaves within its answer makes room, too.
        drop(second);
        two.ended().await;
        three.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(third.answer().await.status(), 200);
        gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
        let (_one, _two) = (gateway.ask(GET).await, gateway.ask(GET).await);
        let (_first, _second) = (backend.request().await, backend.request().await);
        assert_eq!(gateway.fetch("/").await.code(), "overloaded", "{scope}");
        let refused = ["code=\"breaker_open\""];
        gateway.metric_is("frontgate_refusals_total", &refused, 0.0).await;
    }
}

#[tokio::test]
async fn hystrix_waits_only_so_long_for_an_answer_and_counts_it() {
    let backend = Backend::new().await;
    let setup = Setup::to(&[backend.address]).service(HYSTRIX).route("retry = false");
    let gateway = setup.start().await;
    for _ in 0..4 {
        let asked = Instant::now();
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.code()), (504, "upstream_timeout"));
        let took = asked.elapsed();
        assert!((Duration::from_millis(350)..SOON).contains(&took), "{took:?}");
        upstream.ended().await;
    }
    assert!(assert_shut(&gateway.fetch("/").await) > 3_000);
    let lines = said(&gateway, 1).await;
    assert!(lines[0].contains("4 of 4 failed in 10s"), "{}", lines[0]);
    // The body may take as long as it likes.
    let gateway = setup_again(&backend).await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
    client.head().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    upstream.send("ok").await;
    assert_eq!(client.take(2).await, b"ok");
}

async fn setup_again(backend: &Backend) -> Gateway {
    Setup::to(&[backend.address]).service(HYSTRIX).start().await
}

#[tokio::test]
async fn a_limits_refusal_never_reaches_the_breaker() {
    let backend = Answering::with(OK).await;
    let route = "rate_limit = [{ rate = \"1/h\", burst = 1, key = \"route\" }]";
    let gateway = Setup::to(&[backend.address]).service(LONG).route(route).start().await;
    assert_eq!(gateway.fetch("/").await.status(), 200);
    for _ in 0..6 {
        assert_eq!(gateway.fetch("/").await.status(), 429);
    }
    assert_eq!(shown(&gateway, "breaker").await, "closed");
}

#[tokio::test]
async fn after_closing_its_share_rises_and_the_rest_goes_elsewhere() {
    let ((bad, fails), good) = (moody().await, Answering::with(OK).await);
    let service = SHORT.replace(" }", ", ramp = \"1h\" }");
    let setup = Setup::to(&[bad.address, good.address]).service(&service).route("retry = false");
    let gateway = setup.start().await;
    while bad.count() < 3 {
        gateway.fetch("/").await;
    }
    fails.store(false, SeqCst);
    recovers_fully(&gateway).await;
    let before = bad.count();
    for _ in 0..50 {
        assert_eq!(gateway.fetch("/").await.text(), "ok");
    }
    let got = bad.count() - before;
    assert!(got <= 5, "{got} of 50, in the first seconds of an hour");
}

async fn recovers_fully(gateway: &Gateway) {
    wait::until("it closes", SOON, async || {
        gateway.fetch("/").await;
        let lines = gateway.said();
        lines.iter().any(|line| line.contains("to=\"closed\"")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_whose_breakers_are_open_is_not_well() {
    for scope in ["instance", "service"] {
        let (backend, _fails) = moody().await;
        let service = format!(
            "breaker = {{ kind = \"consecutive\", failures = 3, open = \"1h\", scope = \"{scope}\" }}\noutlier = false"
        );
        let gateway = Setup::to(&[backend.address]).service(&service).start().await;
        assert_eq!(shown_service(&gateway).await["state"], "ok");
        fail(&gateway, 3).await;
        assert_shut(&gateway.fetch("/").await);
        assert_eq!(shown_service(&gateway).await["state"], "degraded", "{scope}");
    }
}

#[tokio::test]
async fn who_finds_all_connections_taken_says_nothing_of_the_instance() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address])
        .route("retry = false\ntimeout = \"300ms\"")
        .service("pool.connections = 1\nbreaker = { kind = \"consecutive\", failures = 2, open = \"1h\" }")
        .start()
        .await;
    // The first takes the connection for longer than the others wait; it alone was sent.
    let mut first = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(first.head().await.status(), 200);
    for _ in 0..3 {
        let answer = gateway.fetch("/").await;
        assert_eq!((answer.status(), answer.code()), (504, "upstream_timeout"));
    }
    assert_eq!(shown(&gateway, "breaker").await, "closed");
    gateway.metric_is("frontgate_attempts_total", &["result=\"connect\""], 3.0).await;
}

#[tokio::test]
async fn an_attempt_whose_client_left_is_counted_as_that() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let client = gateway.ask(GET).await;
    let (_upstream, _) = backend.request().await;
    drop(client);
    gateway.metric_is("frontgate_attempts_total", &["result=\"client_gone\""], 1.0).await;
}

#[tokio::test]
async fn who_got_a_connection_too_late_says_nothing_of_an_instance_that_answers() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address])
        .route("retry = false\ntimeout = \"1s\"")
        .service("pool.connections = 1\nbreaker = { kind = \"consecutive\", failures = 1, open = \"1h\" }")
        .start()
        .await;
    let mut first = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    let mut second = gateway.ask(GET).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    upstream.send(OK).await;
    assert_eq!(first.answer().await.text(), "ok");
    // It waited for most of its time, and is not answered in the rest.
    upstream.request().await;
    assert_eq!(second.answer().await.code(), "upstream_timeout");
    gateway.metric_is("frontgate_attempts_total", &["result=\"timeout\""], 1.0).await;
    assert_eq!(shown(&gateway, "breaker").await, "closed");
    // One that has all its time and is not answered does.
    assert_eq!(gateway.fetch("/").await.code(), "upstream_timeout");
    assert_eq!(shown(&gateway, "breaker").await, "open");
}
