//! A scripted server for what a real agent cannot be made to do: nonsense, failures, silence, floods.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use frontgate::config::Secret;
use frontgate::registry::consul::{Consul, Settings};
use frontgate::registry::{Health, Registry, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::support::wait;
use super::{SOON, Watching, addresses, live, query, stale};

/// What it does with a question about a service.
#[derive(Clone)]
enum Reply {
    /// Answers as an agent would: held while the index asked with is this one.
    Good(u64, String),
    /// Sends these bytes at once, and closes.
    Raw(Vec<u8>),
    /// The same, and keeps the connection open.
    Unfinished(Vec<u8>),
}

/// Holds the questions it was asked, as heads.
struct Script {
    address: SocketAddr,
    reply: watch::Sender<Reply>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (reply, _) = watch::channel(reply);
        let asked = Arc::default();
        tokio::spawn(accept(listener, reply.clone(), Arc::clone(&asked)));
        Self { address, reply, asked }
    }

    fn registry(&self) -> Consul {
        let mut settings = Settings::new("test", &self.address.to_string());
        settings.token = Some(Secret::new("sesame".into()));
        Consul::new(&settings).expect("good settings")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn accept(
    listener: TcpListener,
    reply: watch::Sender<Reply>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, reply.subscribe(), Arc::clone(&asked)));
    }
}

/// None at the end of the connection.
async fn converse(
    mut stream: TcpStream,
    mut reply: watch::Receiver<Reply>,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        if head.starts_with("GET /v1/status/leader") {
            stream.write_all(&good(None, "\"here\"")).await.ok()?;
            continue;
        }
        asked.lock().expect("no panic").push(head.clone());
        let held = |reply: &Reply| match reply {
            Reply::Good(index, _) => head.contains(&format!("index={index}&")),
            Reply::Raw(_) | Reply::Unfinished(_) => false,
        };
        let now = reply.wait_for(|reply| !held(reply)).await.ok()?.clone();
        match now {
            Reply::Good(index, body) => stream.write_all(&good(Some(index), &body)).await.ok()?,
            Reply::Raw(bytes) => return stream.write_all(&bytes).await.ok(),
            Reply::Unfinished(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                std::future::pending().await
            }
        }
    }
}

fn good(index: Option<u64>, body: &str) -> Vec<u8> {
    let index = index.map_or_else(String::new, |index| format!("X-Consul-Index: {index}\r\n"));
    format!("HTTP/1.1 200 OK\r\n{index}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn entry(port: u16) -> String {
    format!(r#"[{{"Service":{{"Address":"10.0.0.1","Port":{port}}}}}]"#)
}

/// A registry that found one instance.
async fn settled() -> (Script, Consul, Watching) {
    let script = Script::start(Reply::Good(7, entry(1))).await;
    let registry = script.registry();
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    (script, registry, found)
}

/// The last set stays, the agent is not hammered, and a good answer is believed again.
async fn survives(bad: Reply) {
    let (script, registry, mut found) = settled().await;
    let before = script.asked().len();
    script.reply.send_replace(bad);
    let set = stale(&mut found, Duration::from_secs(10)).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    assert_eq!(registry.status().health, Health::Stale);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = script.asked().len() - before;
    assert!((1..=8).contains(&asked), "asked {asked} times within 2 s");
    script.reply.send_replace(Reply::Good(9, entry(2)));
    live(&mut found, &["10.0.0.1:2"], Duration::from_secs(10)).await;
    assert_eq!(registry.status().health, Health::Ok);
}

#[tokio::test]
async fn an_answer_cut_off_in_the_middle_keeps_the_last_set() {
    survives(Reply::Raw(good(Some(8), r#"[{"Service":{"Address":"#))).await;
}

#[tokio::test]
async fn an_answer_of_the_wrong_type_keeps_the_last_set() {
    survives(Reply::Raw(good(Some(8), r#"{"Service":[]}"#))).await;
}

#[tokio::test]
async fn an_answer_of_which_no_entry_can_be_read_keeps_the_last_set() {
    survives(Reply::Raw(good(Some(8), r#"[{"Service":"s"},7]"#))).await;
}

#[tokio::test]
async fn a_failure_of_the_agent_keeps_the_last_set() {
    let text =
        b"HTTP/1.1 500 Oops\r\nX-Consul-Index: 8\r\nContent-Length: 17\r\n\r\nNo cluster leader";
    survives(Reply::Raw(text.to_vec())).await;
}

#[tokio::test]
async fn a_token_that_is_refused_keeps_the_last_set() {
    let text = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\nACL not found";
    survives(Reply::Raw(text.to_vec())).await;
}

#[tokio::test]
async fn what_never_was_an_agent_is_a_failure_and_one_that_says_no_is_seldom_asked() {
    let no = "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\nACL not found";
    for (text, error) in [(no, "403: ACL not found"), ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP")] {
        let script = Script::start(Reply::Raw(text.into())).await;
        let registry = script.registry();
        let found = registry.watch(query("s"));
        // A turn each three seconds, and the first at once.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!((2..=3).contains(&script.asked().len()), "asked {} times", script.asked().len());
        let status = registry.status();
        assert_eq!(status.health, Health::Failed, "{status:?}");
        assert!(status.last_error.is_some_and(|(_, said)| said.contains(error)));
        assert!(matches!(found.borrow().state, State::Unheard { .. }));
    }
}

#[tokio::test]
async fn a_404_that_is_not_the_agents_keeps_the_last_set() {
    survives(Reply::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())).await;
}

#[tokio::test]
async fn what_is_no_http_keeps_the_last_set() {
    survives(Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_the_last_set() {
    survives(Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".to_vec())).await;
}

#[tokio::test]
async fn a_body_of_fifty_megabytes_keeps_the_last_set() {
    let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 8\r\nContent-Length: 52428800\r\n\r\n[";
    let mut text = head.as_bytes().to_vec();
    text.resize(head.len() + (50 << 20), b' ');
    survives(Reply::Raw(text)).await;
}

#[tokio::test]
async fn a_404_with_an_index_is_an_empty_set() {
    let (script, _registry, mut found) = settled().await;
    let text = b"HTTP/1.1 404 Not Found\r\nX-Consul-Index: 9\r\nContent-Length: 0\r\n\r\n";
    script.reply.send_replace(Reply::Raw(text.to_vec()));
    live(&mut found, &[], SOON).await;
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up_in_head_and_in_body() {
    for begun in ["", "HTTP/1.1 200 OK\r\nX-Consul-Index: 8\r\nContent-Length: 100\r\n\r\n["] {
        let script = Script::start(Reply::Unfinished(begun.into())).await;
        let registry = script.registry();
        let mut found = registry.watch(query("s"));
        let error =
            wait::until("given up", Duration::from_secs(10), async || registry.status().last_error);
        assert!(error.await.1.contains("no complete answer within 5s"), "{:?}", registry.status());
        assert!(matches!(found.borrow().state, State::Unheard { .. }));
        assert_eq!(registry.status().health, Health::Connecting);
        script.reply.send_replace(Reply::Good(8, entry(1)));
        live(&mut found, &["10.0.0.1:1"], Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn a_server_that_answers_at_once_without_an_index_is_asked_ten_times_a_second_at_most() {
    for index in ["", "X-Consul-Index: 0\r\n", "X-Consul-Index: -4\r\n", "X-Consul-Index: x\r\n"] {
        let body = entry(1);
        let length = body.len();
        let text = format!("HTTP/1.1 200 OK\r\n{index}Content-Length: {length}\r\n\r\n{body}");
        let script = Script::start(Reply::Raw(text.into_bytes())).await;
        let registry = script.registry();
        let mut found = registry.watch(query("s"));
        live(&mut found, &["10.0.0.1:1"], SOON).await;
        found.mark_unchanged();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = script.asked();
        assert!((10..=27).contains(&asked.len()), "{} times within 2 s", asked.len());
        assert!(asked[1].contains("index=1&wait=55s"), "{}", asked[1]);
        assert!(!found.has_changed().expect("it lives"), "the same set is no news");
    }
}

#[tokio::test]
async fn an_index_that_goes_backwards_starts_again() {
    let (script, _registry, mut found) = settled().await;
    script.reply.send_replace(Reply::Good(3, entry(2)));
    live(&mut found, &["10.0.0.1:2"], SOON).await;
    let asked = wait::until("asked with the new index", SOON, async || {
        Some(script.asked()).filter(|asked| asked.iter().any(|head| head.contains("index=3&")))
    })
    .await;
    let indices: Vec<&str> = asked
        .iter()
        .map(|head| head.split_once("index=").map_or("-", |(_, rest)| &rest[..1]))
        .collect();
    assert_eq!(indices, ["-", "7", "-", "3"]);
}

#[tokio::test]
async fn every_question_carries_the_token_and_the_options() {
    let (script, _registry, _found) = settled().await;
    let asked = script.asked();
    assert!(
        asked[0].starts_with("GET /v1/health/service/s?passing=1 HTTP/1.1\r\n"),
        "{}",
        asked[0]
    );
    assert!(asked[0].contains("x-consul-token: sesame\r\n"), "{}", asked[0]);
}
