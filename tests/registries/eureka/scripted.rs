//! A scripted server for what a real one cannot be made to do: nonsense, failures, silence, floods.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use frontgate::config::model::HostPort;
use frontgate::registry::{Health, Liveness, Registration, Registry as _, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::wait;
use super::super::{SOON, Watching, addresses, live, query, stale};
use super::{Registry, SEEN, Settings};

/// Bound on a server that answers well again being believed: it may have said no for a while.
const RETURNED: Duration = Duration::from_secs(15);

/// What it does with a question.
#[derive(Clone)]
enum Reply {
    /// This JSON.
    Good(String),
    /// Sends these bytes, and closes.
    Raw(Vec<u8>),
    /// The same, and keeps the connection open.
    Unfinished(Vec<u8>),
}

/// Replies to `/apps` and `/apps/delta`, and the questions that were asked, as heads with their time.
struct Script {
    address: SocketAddr,
    replies: Arc<Mutex<[Reply; 2]>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Script {
    async fn start(apps: Reply, delta: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script =
            Self { address, replies: Arc::new(Mutex::new([apps, delta])), asked: Arc::default() };
        let (replies, asked) = (Arc::clone(&script.replies), Arc::clone(&script.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&replies), Arc::clone(&asked)));
            }
        });
        script
    }

    fn settings(&self) -> Settings {
        let mut settings =
            Settings::new("test", &[&format!("http://u:p%2F@{}/eureka", self.address)]);
        settings.poll = Duration::from_secs(1);
        settings
    }

    fn registry(&self) -> Registry {
        Registry::new(&self.settings()).expect("good settings")
    }

    fn set(&self, apps: Reply, delta: Reply) {
        *self.replies.lock().expect("no panic") = [apps, delta];
    }

    /// The paths asked for, from the nth question on.
    fn asked(&self, from: usize) -> Vec<String> {
        let asked = self.asked.lock().expect("no panic");
        let path = |head: &str| head.split(' ').nth(1).expect("a path").to_owned();
        asked.iter().skip(from).map(|(_, head)| path(head)).collect()
    }

    async fn next_questions(&self, count: usize) -> Vec<String> {
        let from = self.asked(0).len();
        wait::until("more questions", RETURNED, async || {
            Some(self.asked(from)).filter(|asked| asked.len() >= count)
        })
        .await
    }
}

/// None at the end of the connection.
async fn converse(
    mut stream: TcpStream,
    replies: Arc<Mutex<[Reply; 2]>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let is_delta = head.starts_with("GET /eureka/apps/delta ");
        asked.lock().expect("no panic").push((Instant::now(), head));
        let reply = replies.lock().expect("no panic")[usize::from(is_delta)].clone();
        match reply {
            Reply::Good(body) => {
                stream.write_all(&http("200 OK", "", body.as_bytes())).await.ok()?
            }
            Reply::Raw(bytes) => return stream.write_all(&bytes).await.ok(),
            Reply::Unfinished(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                std::future::pending().await
            }
        }
    }
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// An answer that lists these instances of service `s`, by port, each with what was done to it.
fn apps(version: u32, sum: &str, instances: &[(u16, &str)]) -> Reply {
    let one = |(port, action): &(u16, &str)| {
        format!(
            r#"{{"instanceId":"i{port}","ipAddr":"10.0.0.1","port":{{"$":{port},"@enabled":"true"}},"status":"UP","actionType":"{action}"}}"#
        )
    };
    let instances: Vec<String> = instances.iter().map(one).collect();
    let instances = instances.join(",");
    Reply::Good(format!(
        r#"{{"applications":{{"versions__delta":"{version}","apps__hashcode":"{sum}","application":[{{"name":"S","instance":[{instances}]}}]}}}}"#
    ))
}

fn nothing_new() -> Reply {
    apps(1, "UP_1_", &[])
}

/// A registry that found one instance.
async fn settled() -> (Script, Registry, Watching) {
    let script = Script::start(apps(1, "UP_1_", &[(1, "ADDED")]), nothing_new()).await;
    let registry = script.registry();
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    (script, registry, found)
}

/// The last set stays, the server is not hammered, and a good answer is believed again.
async fn survives(what: &str, bad: Vec<u8>) {
    let (script, registry, mut found) = settled().await;
    script.set(Reply::Raw(bad.clone()), Reply::Raw(bad));
    let set = stale(&mut found, SEEN).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"], "{what}");
    health(&registry, Health::Stale, what).await;
    let before = script.asked(0).len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = script.asked(before).len();
    assert!((1..=5).contains(&asked), "{what}: asked {asked} times within 5 s");
    script.set(apps(1, "UP_1_", &[(2, "ADDED")]), nothing_new());
    live(&mut found, &["10.0.0.1:2"], RETURNED).await;
    health(&registry, Health::Ok, what).await;
}

/// The sets are published before the books are kept.
async fn health(registry: &Registry, expected: Health, what: &str) {
    let start = Instant::now();
    while registry.status().health != expected {
        assert!(start.elapsed() < SEEN, "{what}: {:?}", registry.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_answers_keep_the_last_set() {
    let packed = "Content-Encoding: gzip\r\n";
    let list = |text: &str| http("200 OK", "", text.as_bytes());
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("JSON that is cut off", list(r#"{"applications":{"application":[{"name":"#)),
        ("another type", list(r#"[{"applications":[]}]"#)),
        ("an object that says nothing", list("{\"applications\":{}}")),
        ("applications of another type", list(r#"{"applications":{"application":"none"}}"#)),
        (
            "nothing that can be read",
            list(r#"{"applications":{"application":[{"name":"S","instance":[7]}]}}"#),
        ),
        ("deep nesting", list(&"[".repeat(100_000))),
        ("XML", http("200 OK", "Content-Type: application/xml\r\n", b"<applications/>")),
        ("a page", list("<!doctype html><title>Eureka</title>")),
        ("a failure", http("500 Oops", "", b"no memory left")),
        ("a redirection", http("302 Found", "Location: /login\r\n", b"")),
        ("a refusal", http("401 No", "", b"")),
        ("a prohibition", http("403 No", "", b"")),
        ("a wrong path", http("404 No", "", b"")),
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("silence and an end", Vec::new()),
        ("a body that breaks off", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
        ("gzip that is none", http("200 OK", packed, b"{}")),
        ("gzip that is cut off", http("200 OK", packed, &gzip(b"{\"applications\":{}}")[..20])),
        ("a bomb", http("200 OK", packed, &gzip(&vec![b' '; 100 << 20]))),
        ("fifty megabytes", http("200 OK", "", &vec![b' '; 50 << 20])),
    ];
    let all = bad.into_iter().map(|(what, bytes)| tokio::spawn(survives(what, bytes)));
    for one in all.collect::<Vec<_>>() {
        one.await.expect("it survives");
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up_in_head_and_in_body() {
    let hangs = async |begun: &str| {
        let hang = Reply::Unfinished(begun.into());
        let script = Script::start(hang.clone(), hang).await;
        let registry = script.registry();
        let mut found = registry.watch(query("s"));
        let error = wait::until("given up", RETURNED, async || registry.status().last_error).await;
        assert!(error.1.contains("no complete answer within 8s"), "{error:?}");
        assert!(matches!(found.borrow().state, State::Unheard { .. }));
        assert_eq!(registry.status().health, Health::Connecting);
        script.set(apps(1, "UP_1_", &[(1, "ADDED")]), nothing_new());
        live(&mut found, &["10.0.0.1:1"], RETURNED).await;
    };
    tokio::join!(hangs(""), hangs("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"));
}

#[tokio::test]
async fn a_server_that_never_was_eureka_is_a_failure_and_asked_ever_more_seldom() {
    let says_no = async |bytes: Vec<u8>, why: &str| {
        let script = Script::start(Reply::Raw(bytes.clone()), Reply::Raw(bytes)).await;
        let registry = script.registry();
        let _found: Vec<_> = (0..50).map(|n| registry.watch(query(&n.to_string()))).collect();
        tokio::time::sleep(Duration::from_secs(8)).await;
        let asked = script.asked(0).len();
        assert!((2..=5).contains(&asked), "{why}: asked {asked} times within 8 s");
        let status = registry.status();
        assert_eq!(status.health, Health::Failed, "{why}");
        let (_, said) = status.last_error.expect("a failure");
        assert!(said.contains(why), "{said}");
    };
    tokio::join!(
        says_no(http("401 No", "", b""), "it does not take this user and password: change them in"),
        says_no(http("403 No", "", b"not you"), "answers 403: not you"),
        says_no(http("404 No", "", b"<html>"), "answers 404: is this Eureka's own address"),
        says_no(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), "HTTP"),
    );
}

#[tokio::test]
async fn deltas_are_taken_in_while_the_sum_comes_out_and_all_is_asked_for_when_not() {
    let (script, _registry, mut found) = settled().await;
    assert!(script.next_questions(2).await.iter().all(|path| path == "/eureka/apps/delta"));
    let delta = [(2, "ADDED"), (3, "MODIFIED"), (1, "DELETED")];
    script.set(Reply::Raw(Vec::new()), apps(2, "UP_2_", &delta));
    live(&mut found, &["10.0.0.1:2", "10.0.0.1:3"], SEEN).await;
    script.next_questions(2).await;
    assert_eq!(addresses(&found.borrow()), ["10.0.0.1:2", "10.0.0.1:3"], "twice is once");

    // A change was missed: what is published comes from the whole.
    let all = apps(1, "UP_3_", &[(4, "ADDED"), (5, "ADDED"), (6, "ADDED")]);
    script.set(all, apps(3, "UP_3_", &[(2, "DELETED")]));
    live(&mut found, &["10.0.0.1:4", "10.0.0.1:5", "10.0.0.1:6"], SEEN).await;
}

#[tokio::test]
async fn a_server_without_deltas_or_sums_is_asked_for_everything() {
    let all = |sum: &str, port: u16| apps(1, sum, &[(port, "ADDED")]);
    let forbidden = || Reply::Raw(http("403 Forbidden", "", b""));
    let broken = || Reply::Good("{".into());
    let failing = || Reply::Raw(http("500 Oops", "", b""));
    let asked_for_all = async |delta: Reply, sum: &str| {
        let script = Script::start(all(sum, 1), delta.clone()).await;
        let registry = script.registry();
        let mut found = registry.watch(query("s"));
        live(&mut found, &["10.0.0.1:1"], SEEN).await;
        script.next_questions(2).await;
        script.set(all(sum, 2), delta);
        live(&mut found, &["10.0.0.1:2"], SEEN).await;
        let asked = script.next_questions(2).await;
        assert!(asked.iter().all(|path| path == "/eureka/apps"), "{asked:?}");
        assert!(registry.status().last_error.is_none());
    };
    tokio::join!(
        asked_for_all(forbidden(), "UP_1_"),
        asked_for_all(broken(), "UP_1_"),
        asked_for_all(failing(), "UP_1_"),
        asked_for_all(nothing_new(), "DOWN_7_"),
    );
}

#[tokio::test]
async fn a_server_that_was_started_again_between_two_questions_is_doubted_until_it_has_said_everything()
 {
    let (script, registry, mut found) = settled().await;
    script.set(Reply::Unfinished(Vec::new()), apps(9, "UP_1_", &[]));
    script.next_questions(2).await;
    script.set(Reply::Unfinished(Vec::new()), apps(1, "UP_1_", &[]));
    let set = stale(&mut found, SEEN).await;
    let State::Stale { reason, .. } = &set.state else { panic!("{set:?}") };
    assert!(reason.contains("was started again"), "{reason}");
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    assert_eq!(registry.status().health, Health::Ok, "it does answer");
    script.set(apps(1, "UP_1_", &[(2, "ADDED")]), nothing_new());
    live(&mut found, &["10.0.0.1:2"], RETURNED).await;
}

#[tokio::test]
async fn a_server_that_said_everything_after_its_start_is_not_doubted_for_its_version() {
    let (script, _registry, mut found) = settled().await;
    script.set(nothing_new(), apps(9, "UP_1_", &[]));
    script.next_questions(2).await;
    script.set(Reply::Raw(Vec::new()), Reply::Raw(Vec::new()));
    stale(&mut found, SEEN).await;
    script.set(apps(1, "UP_1_", &[(2, "ADDED")]), apps(1, "UP_1_", &[]));
    live(&mut found, &["10.0.0.1:2"], RETURNED).await;
    script.set(Reply::Unfinished(Vec::new()), apps(1, "UP_1_", &[]));
    let asked = script.next_questions(2).await;
    assert!(asked.iter().all(|path| path == "/eureka/apps/delta"), "{asked:?}");
    assert_eq!(found.borrow().state, State::Live);
}

#[tokio::test]
async fn every_question_shows_who_asks_and_what_is_taken() {
    let (script, _registry, _found) = settled().await;
    let head = script.asked.lock().expect("no panic")[0].1.to_lowercase();
    assert!(head.starts_with("get /eureka/apps http/1.1\r\n"), "{head}");
    // u:p/
    for line in
        ["accept: application/json", "accept-encoding: gzip", "authorization: basic dtpwlw=="]
    {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn nothing_is_asked_any_more_when_nobody_has_the_registry_or_a_set_of_it() {
    let (script, registry, found) = settled().await;
    drop(registry);
    script.next_questions(2).await;
    drop(found);
    let quiet = async || {
        let before = script.asked(0).len();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        (script.asked(0).len() == before).then_some(())
    };
    wait::until("it is quiet", RETURNED, quiet).await;

    let registry = script.registry();
    assert_eq!(registry.status().health, Health::Connecting);
    script.next_questions(2).await;
    drop(registry);
    wait::until("it is quiet", SOON * 2, quiet).await;
}

#[tokio::test]
async fn a_registration_is_taken_back_by_another_server_when_the_one_that_has_it_hangs() {
    let taken = || Reply::Unfinished(http("204 No Content", "", b""));
    let (first, second) =
        (Script::start(taken(), taken()).await, Script::start(taken(), taken()).await);
    let mut settings = first.settings();
    settings.urls.push(format!("http://{}/eureka", second.address));
    let registry = Registry::new(&settings).expect("good settings");
    let registration = Registration {
        id: "edge-1".into(),
        name: "edge".into(),
        address: HostPort { host: "10.0.0.1".into(), port: 1 },
        tags: Vec::new(),
        check: Liveness::Heartbeat,
    };
    let kept = registry.register(registration).expect("taken");
    wait::until("it is registered", SOON, async || first.asked(0).first().cloned()).await;
    let silence = || Reply::Unfinished(Vec::new());
    first.set(silence(), silence());
    kept.deregister().await;
    assert_eq!(second.asked(0), ["/eureka/apps/EDGE/edge-1"]);
}

#[tokio::test]
async fn however_many_servers_fail_they_are_asked_once_a_second_together() {
    let mut servers = Vec::new();
    for _ in 0..4 {
        let fails = || Reply::Raw(http("500 Oops", "", b""));
        servers.push(Script::start(fails(), fails()).await);
    }
    let mut settings = servers[0].settings();
    settings.urls =
        servers.iter().map(|server| format!("http://{}/eureka", server.address)).collect();
    let registry = Registry::new(&settings).expect("good settings");
    let _found = registry.watch(query("s"));
    let asked = || servers.iter().map(|server| server.asked(0).len()).sum::<usize>();
    // The first pauses are short.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = asked();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = asked() - before;
    assert!((10..=24).contains(&asked), "asked {asked} times within 20 s");
}
