//! A scripted server for what real etcd cannot be made to do: nonsense, failures, silence, floods.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use frontgate::config::model::HostPort;
use frontgate::registry::etcd::{Etcd, Settings};
use frontgate::registry::{Health, Liveness, Registration, Registry, State};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::wait;
use crate::{SOON, Watching, addresses, live, query, stale};

/// Bound on a failure being noticed, and on its end.
const NOTICED: Duration = Duration::from_secs(30);

/// What it answers.
#[derive(Clone)]
enum Reply {
    /// As etcd would.
    Good,
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Sends these bytes and keeps the connection open.
    Unfinished(Vec<u8>),
}

/// What it answers to a range, and to a watch.
#[derive(Clone)]
struct Replies {
    range: Reply,
    watch: Reply,
    port: u16,
    /// Port and revision once a watch was begun, when these are others then.
    later: Option<(u16, i64)>,
}

const GOOD: Replies = Replies { range: Reply::Good, watch: Reply::Good, port: 1, later: None };

/// Holds the paths it was asked.
struct Script {
    address: SocketAddr,
    replies: watch::Sender<Replies>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(replies: Replies) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (replies, _) = watch::channel(replies);
        let asked = Arc::default();
        tokio::spawn(accept(listener, replies.clone(), Arc::clone(&asked)));
        Self { address, replies, asked }
    }

    fn registry(&self) -> Etcd {
        Etcd::new(&Settings::new("test", &self.address.to_string())).expect("good settings")
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }
}

async fn accept(
    listener: TcpListener,
    replies: watch::Sender<Replies>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (mut changes, asked) = (replies.subscribe(), Arc::clone(&asked));
        let now = changes.borrow_and_update().clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = converse(stream, now, asked) => {}
                // Who changes its mind begins anew.
                _ = changes.changed() => {}
            }
        });
    }
}

/// None at the end of the connection.
async fn converse(
    mut stream: TcpStream,
    replies: Replies,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let path = head.split(' ').nth(1)?.to_owned();
        asked.lock().expect("no panic").push(path.clone());
        let is_watch = path == "/v3/watch";
        match if is_watch { &replies.watch } else { &replies.range } {
            Reply::Good if is_watch => {
                stream.write_all(&streamed(&created())).await.ok()?;
                std::future::pending().await
            }
            Reply::Good if path.starts_with("/v3/lease/") => {
                stream.write_all(&good(&lease())).await.ok()?;
            }
            Reply::Good => {
                let begun = asked.lock().expect("no panic").iter().any(|path| path == "/v3/watch");
                let later = replies.later.filter(|_| begun);
                let (port, revision) = later.unwrap_or((replies.port, 7));
                let mut page = page(&[pair(port)]);
                page["header"]["revision"] = revision.to_string().into();
                stream.write_all(&good(&page)).await.ok()?;
            }
            Reply::Raw(bytes) => return stream.write_all(bytes).await.ok(),
            Reply::Unfinished(bytes) => {
                stream.write_all(bytes).await.ok()?;
                std::future::pending().await
            }
        }
    }
}

fn pair(port: u16) -> Value {
    let value = STANDARD.encode(format!("10.0.0.1:{port}"));
    json!({ "key": STANDARD.encode("/services/s/1"), "mod_revision": "7", "value": value })
}

fn page(pairs: &[Value]) -> Value {
    json!({ "header": { "revision": "7" }, "kvs": pairs, "count": "1" })
}

/// A lease that was granted, or kept alive.
fn lease() -> Value {
    json!({ "ID": "5", "TTL": "10", "result": { "ID": "5", "TTL": "10" } })
}

fn created() -> Value {
    json!({ "result": { "header": { "revision": "7" }, "created": true } })
}

fn good(body: &Value) -> Vec<u8> {
    answer("200 OK", &body.to_string())
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The head of an endless answer, and its first lines.
fn streamed(line: &Value) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    [head.as_bytes().to_vec(), chunk(format!("{line}\n").as_bytes())].concat()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A watch that is confirmed, and then says this.
fn then(lines: &[u8]) -> Vec<u8> {
    [streamed(&created()), chunk(lines)].concat()
}

/// A registry that found one instance.
async fn settled() -> (Script, Etcd, Watching) {
    let script = Script::start(GOOD).await;
    let registry = script.registry();
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    (script, registry, found)
}

/// The last set stays, the server is not hammered, and a good answer is believed again.
async fn survives(bad: Replies) {
    let (script, registry, mut found) = settled().await;
    script.replies.send_replace(bad);
    let set = stale(&mut found, NOTICED).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    // The first pauses are short.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = script.asked();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = script.asked() - before;
    assert!((1..=7).contains(&asked), "asked {asked} times within 5 s");
    assert_eq!(addresses(&found.borrow_and_update()), ["10.0.0.1:1"]);
    script.replies.send_replace(Replies { port: 2, ..GOOD });
    live(&mut found, &["10.0.0.1:2"], NOTICED).await;
    wait::until("well", SOON, async || (registry.status().health == Health::Ok).then_some(()))
        .await;
}

async fn survives_range(range: Reply) {
    survives(Replies { range, ..GOOD }).await;
}

async fn survives_watch(watch: Reply) {
    survives(Replies { watch, ..GOOD }).await;
}

#[tokio::test]
async fn an_answer_cut_off_in_the_middle_keeps_the_last_set() {
    let whole = page(&[pair(9)]).to_string();
    survives_range(Reply::Raw(answer("200 OK", &whole[..whole.len() / 2]))).await;
}

#[tokio::test]
async fn answers_of_the_wrong_type_keep_the_last_set() {
    let wrong = json!({ "header": { "revision": "7" }, "kvs": { "key": 7 } });
    let wrong = survives_range(Reply::Raw(good(&wrong)));
    tokio::join!(survives_range(Reply::Raw(answer("200 OK", "{}"))), wrong);
}

#[tokio::test]
async fn failures_keep_the_last_set() {
    let words = json!({ "error": "etcdserver: no leader", "code": 14 }).to_string();
    let led_by_none = survives_range(Reply::Raw(answer("503 Service Unavailable", &words)));
    tokio::join!(survives_range(Reply::Raw(answer("500 Oops", "no"))), led_by_none);
}

#[tokio::test]
async fn what_is_no_http_and_a_body_that_breaks_off_keep_the_last_set() {
    let broken_off = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    tokio::join!(
        survives_range(Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        survives_range(Reply::Raw(broken_off.to_vec())),
    );
}

#[tokio::test]
async fn silence_keeps_the_last_set() {
    survives_range(Reply::Unfinished(Vec::new())).await;
}

#[tokio::test]
async fn a_body_of_fifty_megabytes_keeps_the_last_set() {
    let mut text = b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n{".to_vec();
    text.resize(text.len() + (50 << 20), b' ');
    survives_range(Reply::Raw(text)).await;
}

#[tokio::test]
async fn pages_that_do_not_go_on_keep_the_last_set() {
    let mut endless = page(&[pair(9)]);
    endless["more"] = true.into();
    survives_range(Reply::Raw(good(&endless))).await;
}

#[tokio::test]
async fn more_keys_than_are_taken_are_not_all_read_to_find_that_out() {
    let mut first = page(&[pair(9)]);
    (first["more"], first["count"]) = (true.into(), "200001".into());
    let script = Script::start(Replies { range: Reply::Raw(good(&first)), ..GOOD }).await;
    let registry = script.registry();
    let _found = registry.watch(query("s"));
    let (_, error) = wait::until("a failure", SOON, async || registry.status().last_error).await;
    assert!(error.contains("more than 200000 keys") && error.contains("`/services/`"), "{error}");
    assert_eq!(registry.status().health, Health::Failed);
}

#[tokio::test]
async fn everything_is_read_again_when_a_silent_watch_is_ahead_of_what_the_server_has() {
    let script = Script::start(Replies { later: Some((2, 3)), ..GOOD }).await;
    let registry = script.registry();
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:2"], NOTICED).await;
    let (_, error) = registry.status().last_error.expect("it is said");
    assert!(error.contains("those of revision 3, after 7 was read"), "{error}");
}

#[tokio::test]
async fn everything_is_read_again_when_a_watch_is_silent_for_longer_than_etcd_would_be() {
    let (script, _registry, mut found) = settled().await;
    let watches = || {
        let asked = script.asked.lock().expect("no panic");
        asked.iter().filter(|path| *path == "/v3/watch").count()
    };
    assert_eq!(watches(), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16 * 60)).await;
    tokio::time::resume();
    wait::until("another watch", SOON, async || (watches() == 2).then_some(())).await;
    live(&mut found, &["10.0.0.1:1"], SOON).await;
}

#[tokio::test]
async fn a_watch_that_is_never_confirmed_or_ends_at_once_keeps_the_last_set() {
    let ended = [streamed(&created()), b"0\r\n\r\n".to_vec()].concat();
    tokio::join!(survives_watch(Reply::Unfinished(Vec::new())), survives_watch(Reply::Raw(ended)),);
}

#[tokio::test]
async fn a_watch_that_says_nonsense_keeps_the_last_set() {
    let event = json!({ "type": "DELETE", "kv": { "key": STANDARD.encode("/services/s/1") } });
    let unconfirmed = json!({ "result": { "events": [event] } });
    let cancelled = json!({ "result": { "canceled": true, "cancel_reason": "because" } });
    tokio::join!(
        survives_watch(Reply::Unfinished(then(b"nonsense\n"))),
        survives_watch(Reply::Unfinished(then(format!("{cancelled}\n").as_bytes()))),
        survives_watch(Reply::Unfinished(streamed(&unconfirmed))),
    );
}

#[tokio::test]
async fn a_line_without_end_keeps_the_last_set() {
    let mut text = streamed(&created());
    text.extend(chunk(&vec![b' '; 50 << 20]));
    survives_watch(Reply::Unfinished(text)).await;
}

#[tokio::test]
async fn more_than_is_taken_keeps_what_was_taken() {
    let zone = "z".repeat(60_000);
    let mut lines = Vec::new();
    for number in 0..1_300 {
        let key = STANDARD.encode(format!("/services/other/{number}"));
        let value = json!({ "address": "10.0.0.1:9", "zone": zone }).to_string();
        let event = json!({ "kv": { "key": key, "value": STANDARD.encode(value) } });
        lines.extend(format!("{}\n", json!({ "result": { "events": [event] } })).into_bytes());
    }
    survives_watch(Reply::Unfinished(then(&lines))).await;
}

#[tokio::test]
async fn a_server_whose_history_is_always_gone_is_not_asked_in_a_hot_loop() {
    let compacted = json!({ "result": { "canceled": true, "compact_revision": "9" } });
    let watch = Reply::Unfinished(then(format!("{compacted}\n").as_bytes()));
    let script = Script::start(Replies { watch, ..GOOD }).await;
    let registry = script.registry();
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = script.asked();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let asked = script.asked() - before;
    assert!((1..=9).contains(&asked), "asked {asked} times within 6 s");
    assert_eq!(found.borrow().state, State::Live, "what is read is as good as ever");
}

#[tokio::test]
async fn what_never_was_etcd_is_a_failure() {
    let not_found = answer("404 Not Found", "404 page not found");
    for (text, error) in [
        (not_found, "--enable-grpc-gateway"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), "HTTP"),
        (answer("403 Forbidden", "<html>"), "answers 403"),
    ] {
        let script = Script::start(Replies { range: Reply::Raw(text), ..GOOD }).await;
        let registry = script.registry();
        let found = registry.watch(query("s"));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!((2..=8).contains(&script.asked()), "asked {} times", script.asked());
        let status = registry.status();
        assert_eq!(status.health, Health::Failed, "{status:?}");
        assert!(
            status.last_error.as_ref().is_some_and(|(_, said)| said.contains(error)),
            "{status:?}"
        );
        assert!(matches!(found.borrow().state, State::Unheard { .. }));
    }
}

#[tokio::test]
async fn however_much_is_watched_and_registered_a_server_that_fails_is_asked_once_a_second() {
    let script = Script::start(Replies { range: Reply::Raw(answer("500 Oops", "")), ..GOOD }).await;
    let registry = script.registry();
    let _found: Vec<_> =
        (0..100).map(|number| registry.watch(query(&number.to_string()))).collect();
    let _kept: Vec<_> =
        (0..10).filter_map(|number| registry.register(registration(number))).collect();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = script.asked();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = script.asked() - before;
    assert!((1..=10).contains(&asked), "asked {asked} times within 10 s");
}

#[tokio::test]
async fn however_many_members_fail_they_are_asked_once_a_second_together() {
    let mut members = Vec::new();
    for _ in 0..4 {
        let range = Reply::Raw(answer("500 Oops", ""));
        members.push(Script::start(Replies { range, ..GOOD }).await);
    }
    let mut settings = Settings::new("test", "");
    settings.endpoints = members.iter().map(|member| member.address.to_string()).collect();
    let registry = Etcd::new(&settings).expect("good settings");
    let mut found = registry.watch(query("s"));
    let asked = || members.iter().map(Script::asked).sum::<usize>();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = asked();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = asked() - before;
    assert!((10..=24).contains(&asked), "asked {asked} times within 20 s");
    for member in &members {
        member.replies.send_replace(GOOD);
    }
    live(&mut found, &["10.0.0.1:1"], SOON).await;
}

fn registration(number: u16) -> Registration {
    Registration {
        id: number.to_string(),
        name: "s".into(),
        address: HostPort { host: "10.0.0.1".into(), port: 1 },
        tags: Vec::new(),
        check: Liveness::Heartbeat,
    }
}

#[tokio::test]
async fn leases_are_kept_alive_where_nothing_can_be_watched() {
    let watch = Reply::Unfinished(Vec::new());
    let script = Script::start(Replies { watch, ..GOOD }).await;
    let registry = script.registry();
    let _found = registry.watch(query("s"));
    wait::until("the first failure", NOTICED, async || registry.status().last_error).await;
    let _kept: Vec<_> =
        (0..3).filter_map(|number| registry.register(registration(number))).collect();
    let asked = |path: &str| {
        let asked = script.asked.lock().expect("no panic");
        asked.iter().filter(|asked| *asked == path).count()
    };
    wait::until("all are there", NOTICED, async || (asked("/v3/kv/put") >= 3).then_some(())).await;
    let alive = async || (asked("/v3/lease/keepalive") >= 6).then_some(());
    wait::until("all are kept alive", NOTICED * 2, alive).await;
}
