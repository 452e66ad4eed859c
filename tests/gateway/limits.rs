//! The limits and timers of listeners and pools.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use tokio::net::TcpSocket;

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::Setup;
use crate::support::peer::{End, Peer, SOON};
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// The time since `began` is what a timer says, and not much more.
fn assert_took(began: Instant, timer: Duration) {
    let took = began.elapsed();
    assert!(took + Duration::from_millis(20) >= timer, "{took:?} is less than {timer:?}");
    assert!(took < timer + Duration::from_millis(1500), "{took:?} is more than {timer:?}");
}

#[tokio::test]
async fn a_head_that_is_not_finished_in_time_is_408() {
    let backend = Answering::with(OK).await;
    let timer = Duration::from_millis(400);
    let gateway = Setup::to(&[backend.address]).limits("header_timeout = \"400ms\"").start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for first in [true, false] {
        // It runs from the head's first byte, not from the connection's beginning or the last answer.
        tokio::time::sleep(Duration::from_millis(500)).await;
        if first {
            client.send(GET).await;
            assert_eq!(client.answer().await.text(), "ok");
            continue;
        }
        let began = Instant::now();
        client.send("GET / HT").await;
        // More bytes buy no more time.
        tokio::time::sleep(Duration::from_millis(250)).await;
        client.send("TP/1.1\r\n").await;
        let answer = client.answer().await;
        assert_took(began, timer);
        assert_eq!((answer.status(), answer.code()), (408, "client_timeout"));
        assert_eq!(answer.head.value("connection"), Some("close"));
        client.closed().await;
    }
    assert_eq!(backend.count(), 1);
    gateway.metric_is("frontgate_refusals_total", &["code=\"client_timeout\""], 1.0).await;
}

#[tokio::test]
async fn a_client_that_is_silent_within_its_body_is_408() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).limits("body_timeout = \"400ms\"").start().await;
    for framing in ["content-length: 9", "transfer-encoding: chunked"] {
        let ask = format!("POST / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n1\r\na\r\n");
        let mut client = gateway.ask(ask).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        // Slow, but never silent for too long.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            client.send("1").await;
        }
        let silent = Instant::now();
        let answer = client.answer().await;
        assert_took(silent, Duration::from_millis(400));
        assert_eq!((answer.status(), answer.code()), (408, "client_timeout"));
        client.closed().await;
        let (rest, _) = upstream.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "the half-sent request is never completed");
    }
    let labels = ["code=\"client_timeout\"", "route=\"all\""];
    gateway.metric_is("frontgate_refusals_total", &labels, 2.0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address])
        .limits("idle_timeout = \"400ms\", header_timeout = \"200ms\"")
        .start()
        .await;
    let mut client = Peer::connect(gateway.web()).await;
    let began = Instant::now();
    client.closed().await;
    assert_took(began, Duration::from_millis(400));
    let mut client = gateway.ask(GET).await;
    client.answer().await;
    let began = Instant::now();
    client.closed().await;
    assert_took(began, Duration::from_millis(400));
    gateway.metric_is("frontgate_refusals_total", &[], 0.0).await;
    gateway.metric_is("frontgate_connections", &["listener=\"web\""], 0.0).await;
}

#[tokio::test]
async fn a_connection_that_lay_idle_is_served_again_and_its_idle_time_began_with_the_answers_end() {
    let backend = Answering::with(OK).await;
    let timer = Duration::from_millis(4500);
    let gateway = Setup::to(&[backend.address]).limits("idle_timeout = \"4500ms\"").start().await;
    let mut resting = gateway.ask(GET).await;
    assert_eq!(resting.answer().await.text(), "ok");
    let mut never = gateway.ask(GET).await;
    assert_eq!(never.answer().await.text(), "ok");
    let began = Instant::now();
    // Long enough that it has given back what it held while it was busy.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    resting.send("GET / HTTP/1.1\r\nho").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    resting.send("st: h\r\n\r\n").await;
    assert_eq!(resting.answer().await.text(), "ok");
    never.closed().await;
    assert_took(began, timer);
    resting.send(GET).await;
    assert_eq!(resting.answer().await.text(), "ok", "its time began anew");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let backend = Answering::by(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n".to_vec();
        answer.resize(answer.len() + (64 << 20), b'x');
        answer
    })
    .await;
    let gateway = Setup::to(&[backend.address]).limits("idle_timeout = \"500ms\"").start().await;
    let _client = gateway.ask(GET).await;
    gateway.metric_is("frontgate_requests_total", &["fate=\"client_gone\""], 1.0).await;
    gateway.metric_is("frontgate_connections", &["listener=\"web\""], 0.0).await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_so() {
    let backend = Answering::with(OK).await;
    for limits in ["connections = 3", "connections_per_client = 3"] {
        let setup = Setup::to(&[backend.address]).top("workers = 3").limits(limits);
        let gateway = setup.start().await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut client = gateway.ask(GET).await;
            assert_eq!(client.answer().await.text(), "ok", "{limits}");
            open.push(client);
        }
        for _ in 0..3 {
            let mut over = gateway.ask(GET).await;
            let answer = over.answer().await;
            assert_eq!((answer.status(), answer.code()), (503, "overloaded"), "{limits}");
            assert_eq!(answer.head.value("connection"), Some("close"));
            over.closed().await;
        }
        gateway.metric_is("frontgate_refusals_total", &["code=\"overloaded\""], 3.0).await;
        let cause = format!("listen.web.limits.{limits}");
        wait::until("the log names the limit", SOON, async || {
            gateway.said().iter().any(|line| line.contains(&cause)).then_some(())
        })
        .await;
        let mut first = open.remove(0);
        first.send(GET).await;
        assert_eq!(first.answer().await.text(), "ok", "those within go on");
        drop(first);
        gateway.metric_is("frontgate_connections", &["listener=\"web\""], 2.0).await;
        assert_eq!(gateway.fetch("/").await.text(), "ok", "{limits}: there is room again");
    }
}

#[tokio::test]
async fn no_more_than_64_connections_over_the_limit_are_told_so_at_a_time() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).limits("connections = 1").start().await;
    let mut within = gateway.ask(GET).await;
    assert_eq!(within.answer().await.text(), "ok");
    for round in 0..2 {
        // All of them wait in the queue by the time the first is looked at.
        let pid = Pid::from_raw(i32::try_from(gateway.pid()).expect("a process id"));
        gateway.signal(Signal::STOP);
        let status = waitid(WaitId::Pid(pid.expect("it runs")), WaitIdOptions::STOPPED);
        assert!(status.expect("our child").expect("it stopped").stopped());
        let mut over = Vec::new();
        for _ in 0..200 {
            over.push(Peer::connect(gateway.web()).await);
        }
        gateway.signal(Signal::CONT);
        let mut told = 0;
        for client in &mut over {
            if let Some(head) = client.try_head().await {
                assert_eq!(head.value("x-frontgate-code"), Some("overloaded"));
                told += 1;
            }
        }
        assert!((1..=64).contains(&told), "{told} in round {round}");
        drop(over);
        // Those that were told have left, so that others can be.
        wait::until("another is told", SOON, async || {
            Peer::connect(gateway.web()).await.try_head().await
        })
        .await;
    }
    within.send(GET).await;
    assert_eq!(within.answer().await.text(), "ok", "the one within goes on");
}

#[tokio::test]
async fn a_client_is_counted_by_its_address_however_that_is_written() {
    let backend = Answering::with(OK).await;
    // On a socket for both families, IPv4 clients come as `::ffff:127.0.0.1`.
    let both = "[listen.both]\naddress = \"[::]:0\"\nlimits = { connections_per_client = 2 }";
    let gateway = Setup::to(&[backend.address]).tables(both).start().await;
    let port = gateway.listener("both").port();
    let from = async |source: &str| {
        let source: SocketAddr = source.parse().expect("an address");
        let socket = match source {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.expect("a socket");
        socket.bind(source).expect("an address of this machine");
        let to = match source {
            SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)),
        };
        let mut client = Peer::new(socket.connect(to).await.expect("a connection"));
        client.send(GET).await;
        let status = client.answer().await.status();
        (client, status)
    };
    let mut open = Vec::new();
    for (source, status) in [
        ("127.0.0.1:0", 200),
        ("127.0.0.1:0", 200),
        ("127.0.0.1:0", 503),
        ("127.0.0.2:0", 200),
        ("[::1]:0", 200),
        ("[::1]:0", 200),
        ("[::1]:0", 503),
        ("127.0.0.2:0", 200),
        ("127.0.0.2:0", 503),
    ] {
        let (client, got) = from(source).await;
        assert_eq!(got, status, "{source}");
        open.push(client);
    }
    drop(open.remove(0));
    gateway.metric_is("frontgate_connections", &["listener=\"both\""], 5.0).await;
    assert_eq!(from("127.0.0.1:0").await.1, 200, "what was closed is free again");
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_made_and_no_more_exchanges_wait() {
    let backend = Backend::new().await;
    let pool = "pool = { connections = 2, pending = 1 }";
    let gateway = Setup::to(&[backend.address]).service(pool).start().await;
    let mut clients = Vec::new();
    let mut upstreams = Vec::new();
    for _ in 0..2 {
        clients.push(gateway.ask(GET).await);
        upstreams.push(backend.request().await.0);
    }
    let mut waiting = gateway.ask(GET).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 3.0).await;
    let refused = gateway.fetch("/").await;
    assert_eq!((refused.status(), refused.code()), (503, "overloaded"));
    backend.assert_untouched().await;
    upstreams[0].send(OK).await;
    assert_eq!(clients[0].answer().await.text(), "ok");
    // The one that waits gets the connection that became free.
    upstreams[0].request().await;
    upstreams[0].send(OK).await;
    assert_eq!(waiting.answer().await.text(), "ok");
    // And a new one where a connection ended instead.
    let mut waiting = gateway.ask(GET).await;
    upstreams[0].request().await;
    let mut next = gateway.ask(GET).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 3.0).await;
    upstreams[1].send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(clients[1].answer().await.text(), "ok");
    let (mut fresh, _) = backend.request().await;
    fresh.send(OK).await;
    assert_eq!(next.answer().await.text(), "ok");
    upstreams[0].send(OK).await;
    assert_eq!(waiting.answer().await.text(), "ok");
}

#[tokio::test]
async fn an_instance_without_room_is_passed_over_and_that_is_no_attempt() {
    let (one, two) = (Backend::new().await, Backend::new().await);
    let gateway = Setup::to(&[one.address, two.address])
        .service("pool = { connections = 1, pending = 0 }\nretry_budget = { share = \"0%\", floor = \"0/s\" }")
        .start()
        .await;
    let (mut first, mut second) = (gateway.ask(GET).await, gateway.ask(GET).await);
    let (mut busy, mut other) = (one.request().await.0, two.request().await.0);
    for _ in 0..6 {
        let refused = gateway.fetch("/").await;
        assert_eq!((refused.status(), refused.code()), (503, "overloaded"));
    }
    other.send(OK).await;
    assert_eq!(second.answer().await.text(), "ok");
    for _ in 0..6 {
        let mut client = gateway.ask(GET).await;
        other.request().await;
        other.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    busy.send(OK).await;
    assert_eq!(first.answer().await.text(), "ok");
    for counter in ["frontgate_retries_total", "frontgate_retries_suppressed_total"] {
        gateway.metric_is(counter, &[], 0.0).await;
    }
    gateway.metric_is("frontgate_attempts_total", &["result=\"ok\""], 8.0).await;
    gateway.metric_is("frontgate_attempts_total", &[], 8.0).await;
    let said = gateway.said().join("\n");
    assert!(said.contains("attempts=0") && said.contains("too many wait"), "{said}");
}

#[tokio::test]
async fn a_connection_that_another_worker_keeps_makes_room() {
    let backend = Answering::with(OK).await;
    for (pool, workers) in [("connections = 1, pending = 0", 2), ("connections = 2", 4)] {
        let setup = Setup::to(&[backend.address]).top(&format!("workers = {workers}"));
        let gateway = setup.service(&format!("pool = {{ {pool} }}")).start().await;
        let began = Instant::now();
        for _ in 0..60 {
            assert_eq!(gateway.fetch("/").await.text(), "ok", "{pool}");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{pool}: {:?}", began.elapsed());
    }
}

/// Clients of both workers ask one after the other and share one connection, so all but one wait at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_worker_starves_while_another_has_its_connection() {
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[backend.address]).top("workers = 2").route("timeout = \"3s\"");
    let gateway = setup.service("pool = { connections = 1 }").start().await;
    let (web, until) = (gateway.web(), Instant::now() + Duration::from_secs(4));
    let clients = (0..8).map(|_| {
        tokio::spawn(async move {
            let mut client = Peer::connect(web).await;
            let mut answers = 0;
            while Instant::now() < until {
                client.send(GET).await;
                assert_eq!(client.answer().await.text(), "ok");
                answers += 1;
            }
            answers
        })
    });
    for client in clients.collect::<Vec<_>>() {
        let answers = client.await.expect("none is refused");
        assert!(answers > 20, "one had only {answers}");
    }
}

/// More ask than there are connections, of one worker: none is closed for one that waits and has its turn.
#[tokio::test]
async fn connections_that_are_waited_for_are_not_made_anew() {
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[backend.address]).top("workers = 1");
    let gateway = setup.service("pool = { connections = 4 }").start().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(Peer::connect(gateway.web()).await);
    }
    for _ in 0..50 {
        for client in &mut clients {
            client.send(GET).await;
        }
        for client in &mut clients {
            assert_eq!(client.answer().await.text(), "ok");
        }
    }
    assert!(backend.connections() <= 4, "{} were made", backend.connections());
}

#[tokio::test]
async fn an_exchange_that_waits_for_a_connection_gives_up_in_time() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address])
        .service("pool = { connections = 1 }")
        .route("timeout = \"500ms\"")
        .start()
        .await;
    let mut first = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await;
    first.head().await;
    let began = Instant::now();
    let late = gateway.fetch("/").await;
    assert_eq!((late.status(), late.code()), (504, "upstream_timeout"));
    assert_took(began, Duration::from_millis(500));
    // One that leaves meanwhile leaves nothing behind.
    let gone = gateway.ask(GET).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 2.0).await;
    drop(gone);
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 1.0).await;
    upstream.send("k").await;
    first.take(2).await;
    first.send(GET).await;
    upstream.request().await;
    upstream.send(OK).await;
    assert_eq!(first.answer().await.text(), "ok");
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_allowed() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).service("pool = { idle = 2 }").start().await;
    let (mut clients, mut upstreams) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        clients.push(gateway.ask(GET).await);
        upstreams.push(backend.request().await.0);
    }
    for (upstream, client) in upstreams.iter_mut().zip(&mut clients) {
        upstream.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    gateway.metric_is("frontgate_upstream_connections", &["state=\"idle\""], 2.0).await;
    for upstream in &mut upstreams[2..] {
        assert_eq!(upstream.ended().await, End::Closed);
    }
}

#[tokio::test]
async fn an_upstream_connection_is_not_used_beyond_its_age_or_its_idle_time() {
    let backend = Answering::with(OK).await;
    for pool in ["pool = { idle_timeout = \"300ms\" }", "pool = { max_age = \"300ms\" }"] {
        let gateway = Setup::to(&[backend.address]).service(pool).start().await;
        let before = backend.connections();
        for _ in 0..2 {
            assert_eq!(gateway.fetch("/").await.text(), "ok");
        }
        assert_eq!(backend.connections(), before + 1, "{pool}: young, it is used again");
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(gateway.fetch("/").await.text(), "ok");
        assert_eq!(backend.connections(), before + 2, "{pool}: old, it is not");
        let began = Instant::now();
        wait::until("the sweep closes it", SOON, async || (backend.open() == 0).then_some(()))
            .await;
        assert_took(began, Duration::from_millis(300));
        gateway.metric_is("frontgate_upstream_connections", &["state=\"idle\""], 0.0).await;
    }
}
