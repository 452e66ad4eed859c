//! Requests are sent again where that does no harm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer, SOON};
use crate::support::ports::nobody;
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc";
const PUT: &str = "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc";
const UNAVAILABLE: &str = "HTTP/1.1 503 Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
/// To be asked again in a second.
const LATER: &str = "HTTP/1.1 503 Later\r\nretry-after: 1\r\ncontent-length: 5\r\n\r\nlater";
/// Nothing but what a test is about leaves an instance out.
const ALONE: &str = "outlier = false\npanic = \"0%\"";
const SUPPRESSED: &str = "frontgate_retries_suppressed_total";
const RETRIES: &str = "frontgate_retries_total";

fn setup(instances: &[SocketAddr], retry: &str) -> Setup {
    Setup::to(instances).route(&format!("retry = {{ {retry} }}")).service(ALONE)
}

fn reason(reason: &str) -> String {
    format!("reason=\"{reason}\"")
}

/// A backend that answers with each of these in turn, the last one for ever.
async fn scripted(answers: &'static [&'static str]) -> Answering {
    let asked = AtomicUsize::new(0);
    Answering::by(move |_| {
        let at = asked.fetch_add(1, SeqCst).min(answers.len() - 1);
        answers[at].as_bytes().to_vec()
    })
    .await
}

#[tokio::test]
async fn a_request_is_sent_up_to_so_often_and_ends_with_the_last_answer() {
    const ANSWERS: &[&str] = &[UNAVAILABLE, "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno", OK];
    for (attempts, status, text) in
        [(1, 503, "busy"), (2, 500, "no"), (3, 200, "ok"), (4, 200, "ok")]
    {
        let backend = scripted(ANSWERS).await;
        let retry = format!("attempts = {attempts}, on = [\"5xx\"], backoff = \"1ms\"");
        let gateway = setup(&[backend.address], &retry).start().await;
        let answer = gateway.fetch("/").await;
        assert_eq!((answer.status(), answer.text().as_str()), (status, text), "{attempts}");
        assert_eq!(answer.code(), "", "it is the backend's own");
        let asked = attempts.min(3);
        assert_eq!(backend.count(), asked);
        gateway.metric_is(RETRIES, &[&reason("status")], (asked - 1) as f64).await;
        gateway.metric_is(SUPPRESSED, &[], 0.0).await;
        assert_eq!(backend.connections(), 1, "a short answer costs no connection");
    }
}

#[tokio::test]
async fn by_default_a_503_goes_to_another_instance_once_and_a_500_does_not() {
    let (bad, good) = (Answering::with(UNAVAILABLE).await, Answering::with(OK).await);
    let gateway = Setup::to(&[bad.address, good.address]).service(ALONE).start().await;
    for _ in 0..6 {
        assert_eq!(gateway.fetch("/").await.text(), "ok");
    }
    assert_eq!((bad.count(), good.count()), (3, 6));
    let broken = Answering::with("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno").await;
    let gateway = Setup::to(&[broken.address]).service(ALONE).start().await;
    assert_eq!(gateway.fetch("/").await.status(), 500);
    assert_eq!(broken.count(), 1);
}

#[tokio::test]
async fn each_attempt_goes_to_another_instance_while_there_is_one() {
    let mut backends = Vec::new();
    for _ in 0..12 {
        backends.push(Answering::with(UNAVAILABLE).await);
    }
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let retry = "attempts = 12, on = [\"503\"], backoff = \"0s\"";
    let gateway = setup(&addresses, retry).start().await;
    assert_eq!(gateway.fetch("/").await.text(), "busy");
    let counts: Vec<_> = backends.iter().map(Answering::count).collect();
    assert_eq!(counts, [1; 12]);
    // And then from the start.
    let two = &backends[..2];
    let gateway =
        setup(&addresses[..2], "attempts = 6, on = [\"503\"], backoff = \"0s\"").start().await;
    assert_eq!(gateway.fetch("/").await.text(), "busy");
    assert_eq!(two.iter().map(Answering::count).collect::<Vec<_>>(), [4, 4]);
}

#[tokio::test]
async fn a_post_is_sent_again_only_while_nothing_was_sent_or_with_a_key() {
    let bad = Answering::with(UNAVAILABLE).await;
    let gateway = setup(&[bad.address], "on = [\"503\"], idempotency_key = true").start().await;
    let mut client = gateway.ask(POST).await;
    assert_eq!(client.answer().await.text(), "busy");
    assert_eq!(bad.count(), 1);
    gateway.metric_is(SUPPRESSED, &["route=\"all\"", &reason("method")], 1.0).await;
    let keyed = "POST / HTTP/1.1\r\nhost: h\r\nidempotency-key: 7\r\ncontent-length: 3\r\n\r\nabc";
    client.send(keyed).await;
    assert_eq!(client.answer().await.text(), "busy");
    let bodies: Vec<_> = bad.requests().iter().map(Message::text).collect();
    assert_eq!(bodies, ["abc"; 3], "the body is sent again from its start");
    // Without the route's word the key says nothing.
    let gateway = setup(&[bad.address], "on = [\"503\"]").start().await;
    assert_eq!(gateway.ask(keyed).await.answer().await.text(), "busy");
    assert_eq!(bad.count(), 4);
    // No connection, so nothing was sent.
    let good = Answering::with(OK).await;
    let gateway = setup(&[nobody(), good.address], "on = [\"connect\"]").start().await;
    for _ in 0..4 {
        assert_eq!(gateway.ask(POST).await.answer().await.text(), "ok");
    }
}

#[tokio::test]
async fn a_body_that_is_not_kept_is_not_sent_again() {
    let bad = Answering::with(UNAVAILABLE).await;
    let retry = "on = [\"503\", \"reset\"], replay_bytes = \"2B\"";
    let gateway = setup(&[bad.address], retry).start().await;
    assert_eq!(gateway.ask(PUT).await.answer().await.text(), "busy");
    gateway.metric_is(SUPPRESSED, &[&reason("body")], 1.0).await;
    assert_eq!(bad.count(), 1);
    let short = "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(gateway.ask(short).await.answer().await.text(), "busy");
    assert_eq!(bad.count(), 3, "one that is empty needs not be kept");
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_goes_to_another_instance() {
    let (slow, good) = (Backend::new().await, Answering::with(OK).await);
    let retry = "per_try_timeout = \"300ms\", on = [\"timeout\"]";
    let gateway = setup(&[slow.address, good.address], retry).start().await;
    for begun in ["", "HTTP/1.1 200 OK\r\nx: "] {
        let mut late = 0;
        for _ in 0..2 {
            let mut client = gateway.ask(GET).await;
            let (asked, answer) = tokio::join!(
                tokio::time::timeout(Duration::from_millis(200), slow.request()),
                client.answer()
            );
            if let Ok((mut upstream, _)) = asked {
                late += 1;
                drop(upstream.try_send(begun).await);
            }
            assert_eq!(answer.text(), "ok");
        }
        assert!(late <= 2);
    }
    gateway.metric_is("frontgate_attempts_total", &["result=\"timeout\""], 2.0).await;
    gateway.metric_is(RETRIES, &[&reason("timeout")], 2.0).await;
}

#[tokio::test]
async fn an_attempts_time_bounds_also_the_only_one_of_a_post() {
    let slow = Backend::new().await;
    let retry = "per_try_timeout = \"200ms\", on = [\"timeout\"]";
    let gateway = setup(&[slow.address], retry).start().await;
    for (ask, reasons) in [(POST, "method"), ("", "")] {
        let began = Instant::now();
        let gateway = match ask {
            "" => {
                &setup(&[slow.address], "attempts = 1, per_try_timeout = \"200ms\"").start().await
            }
            _ => &gateway,
        };
        let mut client = gateway.ask(if ask.is_empty() { GET } else { ask }).await;
        let (_upstream, _) = slow.request().await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.code()), (504, "upstream_timeout"));
        assert!(began.elapsed() < Duration::from_secs(8), "the exchange has 15 s");
        slow.assert_untouched().await;
        if !reasons.is_empty() {
            gateway.metric_is(SUPPRESSED, &[&reason(reasons)], 1.0).await;
        }
    }
}

#[tokio::test]
async fn a_status_covers_what_the_gateway_would_answer_itself() {
    let garbage = scripted(&["nonsense\r\n\r\n", OK]).await;
    let gateway = setup(&[garbage.address], "on = [\"502\"], backoff = \"1ms\"").start().await;
    assert_eq!(gateway.fetch("/").await.text(), "ok");
    gateway.metric_is(RETRIES, &[&reason("malformed")], 1.0).await;
    let garbage = scripted(&["nonsense\r\n\r\n", OK]).await;
    let gateway = setup(&[garbage.address], "on = [\"503\"]").start().await;
    assert_eq!(gateway.fetch("/").await.code(), "upstream_error");
}

#[tokio::test]
async fn an_instance_that_says_when_to_come_again_is_waited_for_if_there_is_time() {
    // Another one is asked at once.
    let (bound, good) = (Answering::with(LATER).await, Answering::with(OK).await);
    let gateway = setup(
        &[bound.address, good.address],
        "on = [\"503\"], backoff = \"9s\", max_backoff = \"9s\"",
    );
    let gateway = gateway.start().await;
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(gateway.fetch("/").await.text(), "ok");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(bound.count(), 1);
    // With none left it is waited for.
    let recovers = scripted(&[LATER, OK]).await;
    let gateway = setup(&[recovers.address], "on = [\"503\"]").start().await;
    let began = Instant::now();
    assert_eq!(gateway.fetch("/").await.text(), "ok");
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked too early");
    // Or not, if that is too long; the answer is passed on as it is, and at once.
    let busy = Answering::with(LATER.replace("after: 1", "after: 3600")).await;
    let gateway = setup(&[busy.address], "on = [\"503\"]").start().await;
    let answer = gateway.fetch("/").await;
    assert_eq!((answer.text().as_str(), answer.head.value("retry-after")), ("later", Some("3600")));
    assert_eq!(busy.count(), 1);
    gateway.metric_is(SUPPRESSED, &[&reason("timeout")], 1.0).await;
}

#[tokio::test]
async fn it_is_waited_for_also_where_the_others_do_not_answer() {
    for bound_first in [true, false] {
        let recovers = scripted(&[LATER, OK]).await;
        let mut both = [nobody(), recovers.address];
        if bound_first {
            both.reverse();
        }
        let retry = "attempts = 4, on = [\"connect\", \"503\"], backoff = \"1ms\"";
        let gateway = setup(&both, retry).start().await;
        let began = Instant::now();
        assert_eq!(gateway.fetch("/").await.text(), "ok", "{bound_first}");
        assert!(began.elapsed() >= Duration::from_secs(1), "it was asked too early");
        assert_eq!(recovers.count(), 2);
        gateway.metric_is(RETRIES, &[&reason("connect")], 1.0).await;
        gateway.metric_is(RETRIES, &[&reason("status")], 1.0).await;
    }
    // One that answers is rather asked again at once.
    let bound = Answering::with(LATER).await;
    let busy = scripted(&[UNAVAILABLE, OK]).await;
    let retry = "attempts = 3, on = [\"503\"], backoff = \"1ms\"";
    let gateway = setup(&[bound.address, busy.address], retry).start().await;
    let began = Instant::now();
    assert_eq!(gateway.fetch("/").await.text(), "ok");
    assert!(began.elapsed() < Duration::from_secs(1), "nobody had to be waited for");
    assert_eq!((bound.count(), busy.count()), (1, 2));
}

#[tokio::test]
async fn who_may_be_asked_again_at_once_has_asked_for_nothing() {
    for after in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let now = format!("HTTP/1.1 503 Now\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n");
        let (bad, good) = (Answering::with(now).await, Answering::with(OK).await);
        let service = format!("{ALONE}\nbalance = \"consistent_hash\"\nhash_key = \"path\"");
        let setup = Setup::to(&[bad.address, good.address]).route("retry = { attempts = 2 }");
        let gateway = setup.service(&service).start().await;
        for path in 0..12 {
            assert_eq!(gateway.fetch(&format!("/{path}")).await.text(), "ok", "{after}");
        }
        assert!(bad.count() > 0, "or this proves nothing");
    }
}

#[tokio::test]
async fn who_was_taken_out_meanwhile_is_not_waited_for() {
    let (bound, mends) = (Answering::with(LATER).await, scripted(&["", OK]).await);
    let retry = "attempts = 4, on = [\"reset\", \"503\"], backoff = \"1ms\"";
    let gateway = Setup::to(&[bound.address, mends.address])
        .route(&format!("retry = {{ {retry} }}"))
        .service("outlier = { consecutive = 1 }")
        .start()
        .await;
    assert_eq!(gateway.fetch("/").await.text(), "ok");
    assert_eq!((bound.count(), mends.count()), (1, 2));
}

#[tokio::test]
async fn an_answer_at_hand_is_not_lost_to_an_instance_without_room() {
    let (busy, full) = (Answering::with(UNAVAILABLE).await, Backend::new().await);
    let gateway = Setup::to(&[full.address, busy.address])
        .route("retry = { attempts = 2, on = [\"503\"], backoff = \"1ms\" }")
        .service(&format!("{ALONE}\npool = {{ connections = 1, pending = 0 }}"))
        .start()
        .await;
    let mut first = gateway.ask(GET).await;
    let (mut upstream, _) = full.request().await;
    for asked in [2, 4] {
        let answer = gateway.fetch("/").await;
        assert_eq!((answer.status(), answer.text().as_str()), (503, "busy"));
        assert_eq!(busy.count(), asked, "who has room is asked again");
    }
    upstream.send(OK).await;
    assert_eq!(first.answer().await.text(), "ok");
}

#[tokio::test]
async fn trailers_go_again_with_their_body_and_count_as_part_of_it() {
    for (kept, again) in [("64KiB", true), ("560B", false)] {
        let backend = Backend::new().await;
        let retry = format!("on = [\"503\"], replay_bytes = \"{kept}\", backoff = \"1ms\"");
        let gateway = setup(&[backend.address], &retry).start().await;
        let head =
            "PUT / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
        let sum = "7".repeat(64);
        let body = format!("3\r\nabc\r\n0\r\nx-sum: {sum}\r\n\r\n");
        let mut client = gateway.ask(format!("{head}{body}")).await;
        let (mut upstream, first) = backend.request().await;
        upstream.send(UNAVAILABLE).await;
        if again {
            let second = upstream.request().await;
            for got in [&first, &second] {
                assert_eq!(got.text(), "abc");
                assert_eq!(got.trailers, [("x-sum".to_owned(), sum.clone())]);
            }
            upstream.send(OK).await;
        }
        assert_eq!(client.answer().await.status(), if again { 200 } else { 503 }, "{kept}");
        let suppressed = if again { 0.0 } else { 1.0 };
        gateway.metric_is(SUPPRESSED, &[&reason("body")], suppressed).await;
    }
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_yet_stands_against_nothing() {
    let backend = Backend::new().await;
    let retry = "on = [\"503\"], backoff = \"1ms\", replay_bytes = \"0B\"";
    let gateway = setup(&[backend.address], retry).start().await;
    let head = "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n";
    let mut client = gateway.ask(head).await;
    let mut first = backend.accept().await;
    first.head().await;
    first.send(UNAVAILABLE).await;
    let mut second = backend.accept().await;
    second.head().await;
    second.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(client.head().await.start.contains(" 100 "));
    client.send("abc").await;
    assert_eq!(second.take(3).await, b"abc");
    second.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
    gateway.metric_is(RETRIES, &[&reason("status")], 1.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_waited_is_not_sent_again() {
    let later = "HTTP/1.1 503 Later\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let busy = Answering::with(later).await;
    let gateway = setup(&[busy.address], "on = [\"503\"]").start().await;
    let client = gateway.ask(GET).await;
    wait::until("it is asked", SOON, async || (busy.count() == 1).then_some(())).await;
    drop(client);
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 1.0).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(busy.count(), 1);
}

#[tokio::test]
async fn an_answer_at_hand_is_the_clients_if_nothing_comes_of_the_pause() {
    // It asks to be left alone, and is gone when its time has come.
    let busy = Answering::with(LATER).await;
    let gateway = setup(&[busy.address], "on = [\"503\"]").start().await;
    let mut client = gateway.ask(GET).await;
    wait::until("it is asked", SOON, async || (busy.count() == 1).then_some(())).await;
    let drain = format!("/services/backend/instances/{}/drain", busy.address);
    assert_eq!(gateway.post(&drain).await.status(), 200);
    assert_eq!(client.answer().await.text(), "later");
    assert_eq!(busy.count(), 1);
    gateway.metric_is(SUPPRESSED, &[&reason("no_instance")], 1.0).await;
}

#[tokio::test]
async fn a_route_without_retries_sends_nothing_twice_also_on_a_kept_connection() {
    for retry in ["attempts = 1", "on = [\"connect\", \"503\"]"] {
        let backend = Backend::new().await;
        let gateway = setup(&[backend.address], retry).start().await;
        let mut client = gateway.ask(GET).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok");
        client.send(GET).await;
        upstream.request().await;
        drop(upstream);
        assert_eq!(client.answer().await.code(), "upstream_error", "{retry}");
        backend.assert_untouched().await;
        gateway.metric_is(RETRIES, &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_lost_counts_also_where_no_new_one_can_be_made() {
    let (dying, good) = (Backend::new().await, Answering::with(OK).await);
    let gateway = setup(&[dying.address, good.address], "on = [\"reset\"]").start().await;
    let mut client = Peer::connect(gateway.web()).await;
    let mut twice = async || {
        for _ in 0..2 {
            client.send(GET).await;
            assert_eq!(client.answer().await.text(), "ok");
        }
    };
    let answers = async {
        let (mut upstream, _) = dying.request().await;
        upstream.send(OK).await;
        upstream
    };
    let ((), mut upstream) = tokio::join!(twice(), answers);
    let dies = async {
        upstream.request().await;
        drop(dying);
        drop(upstream);
    };
    tokio::join!(twice(), dies);
    gateway.metric_is(RETRIES, &[&reason("reused")], 1.0).await;
    gateway.metric_is(RETRIES, &[&reason("connect")], 1.0).await;
    assert_eq!(good.count(), 3);
}

#[tokio::test]
async fn who_was_left_too_little_time_is_not_blamed() {
    let (one, other) = (Backend::new().await, Backend::new().await);
    let gateway =
        setup(&[one.address, other.address], "per_try_timeout = \"400ms\", on = [\"timeout\"]")
            .route("timeout = \"600ms\"")
            .service("breaker = { kind = \"consecutive\", failures = 1, open = \"1h\" }");
    let gateway = gateway.start().await;
    assert_eq!(gateway.fetch("/").await.code(), "upstream_timeout");
    gateway.metric_is("frontgate_attempts_total", &["result=\"timeout\""], 2.0).await;
    // Open is 2: the breaker of the first, which had all the time a try may take.
    gateway.metric_is("frontgate_breaker_state", &[], 2.0).await;
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_leaves_a_try_half_of_its_time() {
    let backend = Backend::new().await;
    let gateway =
        setup(&[backend.address], "attempts = 1, per_try_timeout = \"900ms\"").start().await;
    let mut client = gateway.ask(POST.replace("host", "expect: 100-continue\r\nhost")).await;
    let mut upstream = backend.accept().await;
    // It never says to go on: its body comes all the same, and in time for an answer.
    assert_eq!(upstream.request().await.text(), "abc");
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn nothing_is_sent_again_after_the_client_saw_a_byte() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let backend = Answering::with(format!("{hints}{UNAVAILABLE}")).await;
    let gateway = setup(&[backend.address], "on = [\"5xx\", \"reset\"]").start().await;
    let mut client = gateway.ask(GET).await;
    assert_eq!(client.head().await.status(), 103);
    assert_eq!(client.answer().await.text(), "busy");
    assert_eq!(backend.count(), 1);
    gateway.metric_is(SUPPRESSED, &[&reason("begun")], 1.0).await;
}

#[tokio::test]
async fn an_answer_that_is_not_passed_on_holds_no_place_that_its_retry_needs() {
    let (bad, good) = (Answering::with(UNAVAILABLE).await, Answering::with(OK).await);
    let alone = "breaker = { kind = \"hystrix\", max_concurrent = 1, timeout = \"1h\", open = \"1h\", scope = \"service\" }";
    let gateway = setup(&[bad.address, good.address], "on = [\"503\"]").service(alone);
    let gateway = gateway.start().await;
    for _ in 0..4 {
        assert_eq!(gateway.fetch("/").await.text(), "ok");
    }
    assert_eq!((bad.count(), good.count()), (2, 4));
}

#[tokio::test]
async fn a_retry_that_a_breaker_forbids_is_counted() {
    let bad = Answering::with(UNAVAILABLE).await;
    let opens = "breaker = { kind = \"consecutive\", failures = 1, open = \"1h\" }";
    let gateway = setup(&[bad.address], "on = [\"503\"]").service(opens).start().await;
    assert_eq!(gateway.fetch("/").await.text(), "busy");
    assert_eq!(bad.count(), 1);
    gateway.metric_is(SUPPRESSED, &["route=\"all\"", &reason("breaker")], 1.0).await;
}

#[tokio::test]
async fn the_log_tells_of_every_attempt_and_of_what_forbade_another() {
    let dead = [nobody(), nobody()];
    let gateway = setup(&dead, "attempts = 2").start().await;
    assert_eq!(gateway.fetch("/").await.code(), "upstream_error");
    let line = refusal(&gateway).await;
    for address in dead {
        assert!(
            line.contains(&format!("backend {address}: no connection could be made")),
            "{line}"
        );
    }
    assert!(line.contains("attempts=2"), "{line}");
    let lost = Backend::new().await;
    let gateway = setup(&[lost.address], "on = [\"reset\"]").start().await;
    let mut client = gateway.ask(POST).await;
    drop(lost.request().await);
    assert_eq!(client.answer().await.code(), "upstream_error");
    let line = refusal(&gateway).await;
    assert!(line.contains("before an answer; not sent again: method"), "{line}");
}

async fn refusal(gateway: &Gateway) -> String {
    wait::until("it says why", SOON, async || {
        gateway.said().into_iter().find(|line| line.contains(": refused "))
    })
    .await
}

/// So many GETs, from so many clients at a time; how many had this status.
async fn load(gateway: &Gateway, requests: usize, status: u16) -> usize {
    const CLIENTS: usize = 8;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let web = gateway.web();
        clients.push(tokio::spawn(async move {
            let mut client = Peer::connect(web).await;
            let mut such = 0;
            for _ in 0..requests / CLIENTS {
                client.send(GET).await;
                such += usize::from(client.answer().await.status() == status);
            }
            such
        }));
    }
    let mut such = 0;
    for client in clients {
        such += client.await.unwrap_or_default();
    }
    such
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_total_outage_costs_no_more_than_the_budget() {
    const REQUESTS: usize = 2_000;
    let failing = "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno";
    let (one, two) = (Answering::with(failing).await, Answering::with(failing).await);
    let dead = [nobody(), nobody()];
    let retry = "attempts = 3, on = [\"connect\", \"5xx\"], backoff = \"1ms\"";
    for (instances, status) in [([one.address, two.address], 500), (dead, 502)] {
        let began = Instant::now();
        let gateway = setup(&instances, retry).top("workers = 2").start().await;
        assert_eq!(load(&gateway, REQUESTS, status).await, REQUESTS);
        let tens = began.elapsed().as_secs() / 10 + 1;
        let most = REQUESTS as f64 * 1.2 + 100.0 * tens as f64;
        let attempts = gateway.metric("frontgate_attempts_total", &[]).await;
        assert!(attempts <= most, "{attempts} attempts, {most} allowed");
        assert!(
            attempts >= REQUESTS as f64 * 1.15,
            "only {attempts} attempts: the budget is for use"
        );
        assert!(gateway.metric(SUPPRESSED, &[&reason("budget")]).await > 0.0);
    }
}

/// One of five that fails as this does; the others are well.
async fn one_of_five(bad: SocketAddr, retry: &str) -> (Gateway, Vec<Answering>) {
    let mut good = Vec::new();
    for _ in 0..4 {
        good.push(Answering::with(OK).await);
    }
    let addresses: Vec<_> = good.iter().map(|backend| backend.address).chain([bad]).collect();
    (setup(&addresses, retry).top("workers = 2").start().await, good)
}

const MENDED: &str = "attempts = 3, per_try_timeout = \"300ms\", on = [\"connect\", \"reset\", \"timeout\", \"5xx\"]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_five_that_fails_costs_no_request() {
    const REQUESTS: usize = 800;
    let answers = [
        ("500", "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"),
        ("later", "HTTP/1.1 503 Later\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
        ("garbage", "nonsense\r\n\r\n"),
        ("close", ""),
    ];
    for (kind, answer) in answers {
        let bad = Answering::with(answer).await;
        let (gateway, _good) = one_of_five(bad.address, MENDED).await;
        assert_eq!(load(&gateway, REQUESTS, 200).await, REQUESTS, "{kind}");
        assert!(bad.count() >= REQUESTS / 6, "{kind} was asked only {}", bad.count());
    }
    let (gateway, _good) = one_of_five(nobody(), MENDED).await;
    assert_eq!(load(&gateway, REQUESTS, 200).await, REQUESTS, "refused");
    for (kind, hangs) in [("reset", false), ("hang", true)] {
        let backend = Arc::new(Backend::new().await);
        let (gateway, _good) = one_of_five(backend.address, MENDED).await;
        let taking = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                match backend.accept_any().await {
                    peer if hangs => held.push(peer),
                    peer => peer.reset(),
                }
            }
        });
        let requests = if hangs { 80 } else { REQUESTS };
        assert_eq!(load(&gateway, requests, 200).await, requests, "{kind}");
        taking.abort();
    }
}
