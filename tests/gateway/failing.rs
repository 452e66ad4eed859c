//! Upstreams that fail, and what a client sees of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Message, Peer, SOON};
use crate::support::ports::nobody;
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc";
/// One that could be sent again as it is, and must not be.
const BARE: &str = "POST / HTTP/1.1\r\nhost: h\r\n\r\n";

fn assert_refused(answer: &Message, status: u16, code: &str, of: &str) {
    assert_eq!((answer.status(), answer.code()), (status, code), "{of}");
}

#[tokio::test]
async fn an_upstream_that_dies_before_its_answer_is_asked_once_for_a_post() {
    let (dying, backend) = (Backend::new().await, Answering::with(OK).await);
    let gateway = Setup::to(&[dying.address]).start().await;
    let deaths = [("", false), ("", true), ("HTTP/1.1 20", false), ("HTTP/1.1 200 OK\r\nx", true)];
    for (answer, reset) in deaths {
        for ask in [POST, BARE] {
            let mut client = gateway.ask(ask).await;
            let (mut upstream, _) = dying.request().await;
            upstream.send(answer).await;
            if reset {
                upstream.reset();
            } else {
                drop(upstream);
            }
            assert_refused(&client.answer().await, 502, "upstream_error", answer);
            dying.assert_untouched().await;
        }
    }
    // With another instance at hand it is not tried there, either.
    let gateway = Setup::to(&[dying.address, backend.address]).start().await;
    let mut refused = 0;
    for ask in [POST, POST, BARE, BARE] {
        let mut client = gateway.ask(ask).await;
        let upstream = tokio::select! {
            (upstream, _) = dying.request() => Some(upstream),
            answer = client.answer() => { assert_eq!(answer.text(), "ok"); None }
        };
        if upstream.is_some() {
            drop(upstream);
            refused += 1;
            assert_refused(&client.answer().await, 502, "upstream_error", "");
        }
    }
    assert_eq!((refused, backend.count()), (2, 2), "each was sent once");
}

#[tokio::test]
async fn a_get_that_was_lost_before_its_answer_goes_to_another_instance() {
    let (dying, backend) = (Backend::new().await, Answering::with(OK).await);
    let gateway = Setup::to(&[dying.address, backend.address]).start().await;
    let mut lost = 0.0;
    for asked in 1..=4 {
        let mut client = gateway.ask(GET).await;
        let upstream = tokio::select! {
            (upstream, _) = dying.request() => Some(upstream),
            () = reaches(&backend, asked) => None,
        };
        lost += if upstream.is_some() { 1.0 } else { 0.0 };
        drop(upstream);
        assert_eq!((client.answer().await.text().as_str(), backend.count()), ("ok", asked));
    }
    gateway.metric_is("frontgate_retries_total", &["reason=\"reset\""], lost).await;
}

/// Waits until a backend has been asked so often.
async fn reaches(backend: &Answering, count: usize) {
    wait::until("it is asked", SOON, async || (backend.count() >= count).then_some(())).await;
}

/// Leaves the gateway with one kept connection to this backend.
async fn keep_one(gateway: &Gateway, backend: &Backend) -> (Peer, Peer) {
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
    (client, upstream)
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_without_the_client_noticing() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    for ask in [GET, POST] {
        let (mut client, upstream) = keep_one(&gateway, &backend).await;
        drop(upstream);
        gateway.metric_is("frontgate_upstream_connections", &["state=\"idle\""], 0.0).await;
        client.send(ask).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(client.answer().await.text(), "ok", "{ask}");
    }
}

#[tokio::test]
async fn a_kept_connection_closed_as_it_is_used_costs_a_get_nothing_and_a_post_a_502() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    // The request arrives, and the backend closes instead of answering: too late for the gateway to have seen it.
    let (mut client, mut upstream) = keep_one(&gateway, &backend).await;
    client.send(GET).await;
    upstream.request().await;
    drop(upstream);
    let (mut fresh, _) = backend.request().await;
    fresh.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
    gateway.metric_is("frontgate_retries_total", &["reason=\"reused\""], 1.0).await;
    drop(client);
    for ask in [POST, BARE] {
        let mut client = gateway.ask(ask).await;
        fresh.request().await;
        drop(fresh);
        assert_refused(&client.answer().await, 502, "upstream_error", "it may have been done");
        backend.assert_untouched().await;
        fresh = keep_one(&gateway, &backend).await.1;
    }
}

#[tokio::test]
async fn a_backend_that_closes_after_each_answer_costs_no_request() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).top("workers = 2").start().await;
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            // Closed without a word in the head, as servers do that stop: the next request races with it.
            let mut upstream = backend.accept().await;
            if upstream.try_request().await.is_some() {
                count.fetch_add(1, SeqCst);
                upstream.try_send(OK).await.ok();
            }
        }
    });
    let mut client = Peer::connect(gateway.web()).await;
    let mut answered = 0;
    for number in 0..400 {
        client.send(if number % 2 == 0 { GET } else { POST }).await;
        let answer = client.answer().await;
        // A POST may meet a connection that is closed at that very moment; it is never sent twice.
        let raced = number % 2 == 1 && answer.code() == "upstream_error";
        assert!(answer.text() == "ok" || raced, "{number}: {}", answer.head.raw);
        answered += usize::from(!raced);
    }
    assert_eq!(served.load(SeqCst), answered);
    assert!(answered >= 390, "of 400 only {answered}: closed connections are not seen");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_the_whole() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let cases = [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    ];
    for ask in [GET, "GET / HTTP/1.0\r\nhost: h\r\n\r\n"] {
        for answer in cases {
            let mut client = gateway.ask(ask).await;
            let (mut upstream, _) = backend.request().await;
            upstream.send(answer).await;
            assert_eq!(client.head().await.status(), 200);
            drop(upstream);
            let (rest, end) = client.rest().await;
            let text = String::from_utf8_lossy(&rest).into_owned();
            assert_eq!(end, End::Reset, "{ask}{answer}: {text:?}");
            assert!(!text.ends_with("0\r\n\r\n"), "{answer}: {text:?}");
        }
    }
    // One that lasts until the connection ends breaks by a reset.
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\nabc").await;
    client.head().await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"abc"[..]));
    upstream.reset();
    assert_eq!(client.rest().await.1, End::Reset);
    let failed = ["fate=\"upstream_failed\"", "status=\"200\""];
    gateway.metric_is("frontgate_requests_total", &failed, 11.0).await;
    // The client knows that something is missing; the log says of which request and of which instance.
    let instance = format!("instance=\"backend {}\"", backend.address);
    let lines = wait::until("each is in the log", SOON, async || {
        let said = gateway.said();
        let cut: Vec<_> = said.into_iter().filter(|line| line.contains(": cut off ")).collect();
        (cut.len() >= 11).then_some(cut)
    })
    .await;
    for line in lines {
        let words = [" WARN ", "status=200", "route=\"all\"", "id=\"", "method=GET", "broke off"];
        for word in words.into_iter().chain([instance.as_str()]) {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
}

#[tokio::test]
async fn an_answer_whose_body_breaks_at_its_first_byte_is_refused_as_any_other() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let backend = Answering::with(answer).await;
    let gateway = Setup::to(&[backend.address]).start().await;
    let ask = "GET / HTTP/1.1\r\nhost: h\r\naccept: text/html, Application/JSON;q=0.5\r\n\r\n";
    let mut client = gateway.ask(ask).await;
    let answer = client.answer().await;
    assert_refused(&answer, 502, "upstream_error", ask);
    assert_eq!(answer.head.value("content-type"), Some("application/json"));
    let said = wait::until("it says why", SOON, async || {
        gateway.said().into_iter().find(|line| line.contains("upstream_error"))
    })
    .await;
    let cause = format!("backend {}: the answer's body: a chunk size is not", backend.address);
    assert!(said.contains(&cause) && said.contains("all"), "{said}");
    let answer = gateway.fetch("/").await;
    assert_eq!(answer.head.value("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn a_post_after_many_kept_connections_died_at_once_is_still_answered() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).top("workers = 1").start().await;
    let mut clients = Vec::new();
    let mut upstreams = Vec::new();
    for _ in 0..200 {
        clients.push(gateway.ask(GET).await);
        upstreams.push(backend.request().await.0);
    }
    for (client, upstream) in clients.iter_mut().zip(&mut upstreams) {
        upstream.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    drop(upstreams);
    ended(backend.address, 200).await;
    let mut client = gateway.ask(POST).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send(OK).await;
    assert_eq!(client.answer().await.text(), "ok");
}

/// Waits until the other side's kernel has confirmed the end of so many connections of this backend.
async fn ended(backend: SocketAddr, count: usize) {
    // FIN_WAIT2, and TIME_WAIT when the gateway has noticed.
    const ENDED: [&str; 2] = ["05", "06"];
    let local = format!(":{:04X}", backend.port());
    wait::until("the connections have ended", SOON, async || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
        let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ended = fields.filter(|of| of[1].ends_with(&local) && ENDED.contains(&of[3])).count();
        (ended >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_connection_is_made_to_another_instance_for_any_method() {
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[nobody(), nobody(), backend.address]);
    let gateway = setup.route("retry = { attempts = 3 }").start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for _ in 0..9 {
        for ask in [GET, POST] {
            client.send(ask).await;
            assert_eq!(client.answer().await.text(), "ok");
        }
    }
    assert_eq!(backend.count(), 18);
    let gateway = Setup::to(&[nobody(), nobody()]).start().await;
    let answer = gateway.fetch("/").await;
    assert_refused(&answer, 502, "upstream_error", "nobody anywhere");
    gateway.metric_is("frontgate_attempts_total", &["result=\"connect\""], 2.0).await;
}

/// A listener whose queue is full, so that connecting to it hangs; its address, and what keeps it so.
async fn full() -> (SocketAddr, (socket2::Socket, Vec<std::net::TcpStream>)) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(0).expect("a listener");
    let address = socket.local_addr().expect("bound").as_socket().expect("an address");
    let mut held = Vec::new();
    loop {
        let connected = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
        match connected {
            Ok(stream) => held.push(stream),
            Err(_) => return (address, (socket, held)),
        }
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_in_time_is_made_to_another_instance() {
    let backend = Answering::with(OK).await;
    let (address, _held) = full().await;
    let service = "connect_timeout = \"200ms\"";
    let gateway = Setup::to(&[address, backend.address]).service(service).start().await;
    for _ in 0..2 {
        let began = Instant::now();
        let answer = gateway.fetch("/").await;
        assert_eq!(answer.text(), "ok");
        assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    }
    assert_eq!(backend.count(), 2);
    assert!(gateway.metric("frontgate_retries_total", &["reason=\"connect\""]).await >= 1.0);
    let gateway = Setup::to(&[address]).service(service).start().await;
    assert_refused(&gateway.fetch("/").await, 502, "upstream_error", "no other");
    let late = Setup::to(&[address]).route("timeout = \"100ms\"").start().await;
    assert_refused(&late.fetch("/").await, 504, "upstream_timeout", "the whole exchange is over");
}

#[tokio::test]
async fn an_exchange_that_takes_too_long_is_504() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("timeout = \"300ms\"").start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for (ask, begun) in [(GET, ""), (POST, ""), (GET, "HTTP/1.1 200 OK\r\nx: ")] {
        let sent = Instant::now();
        client.send(ask).await;
        let (mut upstream, _) = backend.request().await;
        upstream.send(begun).await;
        assert_refused(&client.answer().await, 504, "upstream_timeout", ask);
        let took = sent.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
        upstream.ended().await;
        backend.assert_untouched().await;
    }
    gateway.metric_is("frontgate_requests_total", &["fate=\"timed_out\""], 3.0).await;
    // It runs until the head; the body may take longer.
    client.send(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    tokio::time::sleep(Duration::from_millis(400)).await;
    upstream.send("ok").await;
    assert_eq!(client.take(2).await, b"ok");
}

#[tokio::test]
async fn a_body_that_falls_silent_is_broken_off() {
    let backend = Backend::new().await;
    let gateway = Setup::to(&[backend.address]).route("idle_timeout = \"300ms\"").start().await;
    let mut client = gateway.ask(GET).await;
    let (mut upstream, _) = backend.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
    client.head().await;
    // Slow, but not silent for too long.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        upstream.send("abc").await;
        assert_eq!(client.take(3).await, b"abc");
    }
    let silent = Instant::now();
    assert_eq!(client.ended().await, End::Reset);
    let took = silent.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    upstream.ended().await;
    gateway.metric_is("frontgate_requests_total", &["fate=\"timed_out\""], 1.0).await;
}

#[tokio::test]
async fn a_service_without_instances_is_503() {
    // A registry that cannot be reached gives none.
    let registry = nobody();
    let tables = format!(
        "[registry.main]\nkind = \"consul\"\naddress = \"http://{registry}\"\n\
         [[route]]\nname = \"empty\"\npath = \"/empty\"\nservice = \"none\"\n\
         [service.none]\nregistry = \"main\""
    );
    let gateway = Setup::to(&[registry]).tables(&tables).start().await;
    assert_refused(&gateway.fetch("/empty").await, 503, "no_instance", "");
    let labels = ["code=\"no_instance\"", "route=\"empty\""];
    gateway.metric_is("frontgate_refusals_total", &labels, 1.0).await;
}
