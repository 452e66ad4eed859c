//! The life of the process: starting, draining, ending, running out of descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Peer, SOON};
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

fn config(listen: &str) -> String {
    format!(
        "workers = 2\n[admin]\naddress = \"127.0.0.1:0\"\n[listen.web]\n{listen}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nservice = \"s\"\n\
         [service.s]\nendpoints = [\"http://127.0.0.1:1\"]\n"
    )
}

#[tokio::test]
async fn a_taken_port_is_said_clearly_and_ends_with_1_even_when_its_owner_shares_it() {
    let owner = Gateway::start(&config("address = \"127.0.0.1:0\"\nreuse_port = true"), None).await;
    let taken = owner.web();
    let mut second = Gateway::spawn(&config(&format!("address = \"{taken}\"")), None);
    assert_eq!(second.exit(SOON).await, Some(1));
    let said = || second.said().join("\n");
    wait::until("it says why", SOON, async || said().contains("in use").then_some(())).await;
    assert!(said().contains(&format!("listener web cannot use {taken}")), "{}", said());
    let sharing = config(&format!("address = \"{taken}\"\nreuse_port = true"));
    let sharing = Gateway::start(&sharing, None).await;
    assert_eq!(sharing.web(), taken);
    let admin = owner.listener("admin");
    let text = config("address = \"127.0.0.1:0\"")
        .replace("[admin]\naddress = \"127.0.0.1:0\"", &format!("[admin]\naddress = \"{admin}\""));
    let mut third = Gateway::spawn(&text, None);
    assert_eq!(third.exit(SOON).await, Some(1));
}

#[tokio::test]
async fn a_wrong_config_ends_with_2() {
    let wrong = config("address = \"127.0.0.1:0\"\nadress = \"x\"");
    let mut gateway = Gateway::spawn(&wrong, None);
    assert_eq!(gateway.exit(SOON).await, Some(2));
    let said = || gateway.said().join("\n");
    wait::until("it says where", SOON, async || said().contains("adress").then_some(())).await;
    assert!(said().contains("frontgate.toml:6:1"), "{}", said());
}

/// Keeps asking over connections of its own until told to stop or nobody listens; counts what was answered, and panics
/// when anything was not.
fn load(
    gateway: &Gateway,
    kept: bool,
    stop: &Arc<AtomicBool>,
    done: &Arc<AtomicUsize>,
) -> tokio::task::JoinHandle<()> {
    let (web, stop, done) = (gateway.web(), Arc::clone(stop), Arc::clone(done));
    tokio::spawn(async move {
        let mut open = None;
        while !stop.load(SeqCst) {
            let mut client = match open.take() {
                Some(client) => client,
                None => match tokio::net::TcpStream::connect(web).await {
                    Ok(stream) => Peer::new(stream),
                    // Its listener is closed: there is nowhere left to ask.
                    Err(_) => return,
                },
            };
            client.send(GET).await;
            let answer = client.answer().await;
            assert_eq!(answer.text(), "ok");
            done.fetch_add(1, SeqCst);
            if kept && answer.head.value("connection").is_none() {
                open = Some(client);
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_request() {
    for workers in [1, 3] {
        let backend = Answering::with(OK).await;
        let mut gateway =
            Setup::to(&[backend.address]).top(&format!("workers = {workers}")).start().await;
        let (stop, done) = (Arc::default(), Arc::default());
        let loads: Vec<_> =
            (0..8).map(|number| load(&gateway, number % 2 == 0, &stop, &done)).collect();
        let served = |at_least: usize| {
            let done = &done;
            wait::until("requests are answered", SOON, async move || {
                (done.load(SeqCst) >= at_least).then_some(())
            })
        };
        served(200).await;
        let mut kept = gateway.ask(GET).await;
        kept.answer().await;
        gateway.signal(Signal::TERM);
        let began = Instant::now();
        let ready = wait::until("it is not ready", SOON, async || {
            let ready = gateway.admin("/readyz").await;
            (ready.status() == 503).then_some(ready)
        })
        .await;
        assert!(ready.text().contains("\"draining\":true"), "{}", ready.text());
        kept.send(GET).await;
        let last = kept.answer().await;
        assert_eq!((last.text().as_str(), last.head.value("connection")), ("ok", Some("close")));
        kept.closed().await;
        // Those that come without end do not keep it for ever; those that stop are waited for.
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.store(true, SeqCst);
        for load in loads {
            load.await.expect("every request was answered");
        }
        assert_eq!(gateway.exit(SOON).await, Some(0));
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(done.load(SeqCst) + 2, backend.count(), "all that was served was answered");
    }
}

#[tokio::test]
async fn drain_delay_keeps_everything_open_after_readiness_fails() {
    let backend = Answering::with(OK).await;
    let mut gateway = Setup::to(&[backend.address]).top("drain_delay = \"1500ms\"").start().await;
    let mut idle = gateway.ask(GET).await;
    idle.answer().await;
    gateway.signal(Signal::TERM);
    let began = Instant::now();
    wait::until("it is not ready", SOON, async || {
        (gateway.admin("/readyz").await.status() == 503).then_some(())
    })
    .await;
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
    while began.elapsed() < Duration::from_millis(1300) {
        assert_eq!(gateway.fetch("/").await.text(), "ok");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    idle.closed().await;
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(gateway.exit(SOON).await, Some(0));
}

#[tokio::test]
async fn a_long_exchange_ends_within_the_grace() {
    let backend = Backend::new().await;
    let mut gateway = Setup::to(&[backend.address]).top("shutdown_grace = \"8s\"").start().await;
    let mut waiting = gateway.ask(GET).await;
    let (mut late, _) = backend.request().await;
    let mut streaming = gateway.ask(GET).await;
    let (mut slow, _) = backend.request().await;
    slow.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
    streaming.head().await;
    streaming.take(3).await;
    gateway.signal(Signal::TERM);
    wait::until("the listener closes", SOON, async || {
        tokio::net::TcpStream::connect(gateway.web()).await.is_err().then_some(())
    })
    .await;
    assert!(gateway.is_running());
    late.send(OK).await;
    let answer = waiting.answer().await;
    assert_eq!((answer.text().as_str(), answer.head.value("connection")), ("ok", Some("close")));
    slow.send("def").await;
    assert_eq!(streaming.take(3).await, b"def");
    streaming.closed().await;
    assert_eq!(gateway.exit(SOON).await, Some(0));
}

#[tokio::test]
async fn what_outlives_the_grace_is_broken_off_and_counted_in_the_log() {
    let backend = Backend::new().await;
    let mut gateway =
        Setup::to(&[backend.address]).top("shutdown_grace = \"1500ms\"").start().await;
    let mut streaming = gateway.ask(GET).await;
    let (mut slow, _) = backend.request().await;
    slow.send("HTTP/1.1 200 OK\r\n\r\nabc").await;
    streaming.head().await;
    streaming.chunk().await;
    let mut old = gateway.ask("GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
    let (mut slow, _) = backend.request().await;
    slow.send("HTTP/1.1 200 OK\r\n\r\nabc").await;
    old.head().await;
    let _waiting = gateway.ask(GET).await;
    let (_late, _) = backend.request().await;
    gateway.signal(Signal::TERM);
    let began = Instant::now();
    let (rest, end) = streaming.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "not as if it were whole");
    assert_eq!(end, End::Reset);
    assert_eq!(old.ended().await, End::Reset, "nothing else says that it is not whole");
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    assert_eq!(gateway.exit(SOON).await, Some(0));
    let said = gateway.said();
    let lines: Vec<_> = said.iter().filter(|line| line.contains("shutdown_grace")).collect();
    assert!(matches!(lines[..], [line] if line.contains("3")), "{said:?}");
}

#[tokio::test]
async fn saying_it_twice_ends_at_once_with_1() {
    let backend = Backend::new().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Setup::to(&[backend.address]).start().await;
        let _waiting = gateway.ask(GET).await;
        let (_upstream, _) = backend.request().await;
        gateway.signal(signal);
        wait::until("it drains", SOON, async || {
            (gateway.admin("/readyz").await.status() == 503).then_some(())
        })
        .await;
        let began = Instant::now();
        gateway.signal(signal);
        assert_eq!(gateway.exit(SOON).await, Some(1));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn running_out_of_descriptors_pauses_accepting_and_is_said_once() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).open_files(64).start().await;
    let mut served = gateway.ask(GET).await;
    assert_eq!(served.answer().await.text(), "ok");
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(Peer::connect(gateway.web()).await);
    }
    let complaints = || {
        let said = gateway.said();
        said.iter().filter(|line| line.contains("cannot accept")).count()
    };
    wait::until("it complains", SOON, async || (complaints() > 0).then_some(())).await;
    served.send(GET).await;
    assert_eq!(served.answer().await.text(), "ok", "those that were accepted are served");
    // Some pauses later it has still said it once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(complaints(), 1, "{:?}", gateway.said());
    let mut late = gateway.ask(GET).await;
    idle.clear();
    assert_eq!(late.answer().await.text(), "ok", "it waited in the kernel's queue");
    assert_eq!(gateway.fetch("/").await.text(), "ok");
}

#[tokio::test]
async fn three_workers_serve_as_one() {
    let backend = Answering::with(OK).await;
    let gateway = Setup::to(&[backend.address]).top("workers = 3").start().await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(gateway.ask(GET).await);
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "ok");
    }
    for client in &mut clients {
        client.send(GET).await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "ok");
    }
    gateway.metric_is("frontgate_connections", &["listener=\"web\""], 60.0).await;
    gateway.metric_is("frontgate_requests_total", &["status=\"200\""], 120.0).await;
    drop(clients);
    gateway.metric_is("frontgate_connections", &["listener=\"web\""], 0.0).await;
}
