//! Names and passwords.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer, SOON};
use crate::support::wait;

/// Of "secret", and cheap to try.
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
/// The same, and dear.
const BCRYPT: &str = "$2y$10$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u";

/// The header's line, with its end.
pub(crate) fn says(name: &str, password: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

/// The answer to a GET with these lines.
pub(crate) async fn ask(gateway: &Gateway, lines: &str) -> Message {
    let ask = format!("GET /a?b=1 HTTP/1.1\r\nhost: h\r\n{lines}connection: close\r\n\r\n");
    gateway.ask(ask).await.answer().await
}

async fn status(gateway: &Gateway, name: &str, password: &str) -> u16 {
    ask(gateway, &says(name, password)).await.status()
}

fn setup(backend: &Answering, auth: &str) -> Setup {
    let auth = format!("[auth.staff]\nkind = \"basic\"\n{auth}");
    Setup::to(&[backend.address]).route("auth = [\"staff\"]").tables(&auth)
}

fn write_whole(path: &Path, text: &str) {
    let new = path.with_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(new, path));
    assert!(written.is_ok(), "{written:?}");
}

async fn logged(gateway: &Gateway, words: &[&str]) -> String {
    wait::until(&format!("a line with {words:?}"), SOON, async || {
        gateway.said().into_iter().find(|line| words.iter().all(|word| line.contains(word)))
    })
    .await
}

#[tokio::test]
async fn every_form_of_hash_lets_its_user_in() {
    let backend = Answering::with(OK).await;
    let users = r#"
        [auth.staff.users]
        sha1 = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
        twoa = "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
        twob = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
        twoy = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
        five = "$5$rounds=77777$0123456789abcdef$O0Az4i0afh9FAdD8qiVLm5H8nM0VevSP43xNwX7jxh4"
        six = "$6$rounds=1000$abc$MqEcPZUYRGGcOeq7PhMpfjfu/F0HrVEI0OlZBijWvO8mSG77iNUDP5MqFceKpJTBc8iITVtNyLiNTRNCxv6oh0"
        "#;
    let gateway = setup(&backend, users).start().await;
    for name in ["sha1", "twoa", "twob", "twoy", "five", "six"] {
        assert_eq!(status(&gateway, name, "secret").await, 200, "{name}");
        assert_eq!(status(&gateway, name, "secret").await, 200, "{name} again");
        assert_eq!(status(&gateway, name, "wrong").await, 401, "{name}");
        assert_eq!(status(&gateway, name, "").await, 401, "{name}");
    }
    assert_eq!(status(&gateway, "nobody", "secret").await, 401);
    assert_eq!(backend.count(), 12);
}

#[tokio::test]
async fn a_401_names_the_realm_and_the_log_the_reason() {
    let backend = Answering::with(OK).await;
    let auth = format!("realm = 'back \"office\"'\nusers = {{ alice = \"{SHA}\" }}");
    let gateway = setup(&backend, &auth).start().await;
    let refused = gateway.fetch("/").await;
    assert_eq!((refused.status(), refused.code()), (401, "unauthenticated"));
    let realm = r#"Basic realm="back \"office\"", charset="UTF-8""#;
    assert_eq!(refused.head.value("www-authenticate"), Some(realm));
    let refused = ask(&gateway, &says("alice", "wrong")).await;
    assert_eq!(refused.head.value("www-authenticate"), Some(realm));
    assert!(!refused.text().contains("alice"), "{}", refused.text());
    ask(&gateway, &says("mallory", "secret")).await;
    logged(&gateway, &["auth.staff: no credentials"]).await;
    logged(&gateway, &["auth.staff: the password is wrong for", "alice"]).await;
    logged(&gateway, &["auth.staff: there is no user", "mallory"]).await;
    let said = gateway.said().join("\n");
    assert!(!said.contains("secret") && !said.contains("{SHA}"), "{said}");
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn credentials_that_can_be_read_in_two_ways_are_refused() {
    let backend = Answering::with(OK).await;
    let gateway = setup(&backend, &format!("users = {{ alicia = \"{SHA}\" }}")).start().await;
    // As long as to need padding.
    let good = STANDARD.encode("alicia:secret");
    for lines in [
        format!("authorization: Basic {good}\r\n"),
        format!("Authorization:basic   {good} \r\n"),
        format!("AUTHORIZATION: BASIC {good}\r\n"),
    ] {
        assert_eq!(ask(&gateway, &lines).await.status(), 200, "{lines}");
    }
    let encoded = |text: &[u8]| format!("authorization: Basic {}\r\n", STANDARD.encode(text));
    for lines in [
        format!("authorization: Basic {good}\r\nauthorization: Basic {good}\r\n"),
        format!("authorization: Bearer x\r\nauthorization: Basic {good}\r\n"),
        format!("authorization: Basic {good}, Basic {good}\r\n"),
        format!("authorization: Basic {good}=\r\n"),
        format!("authorization: Basic {}\r\n", good.trim_end_matches('=')),
        format!("authorization: Basic\t{good}\r\n"),
        format!("authorization: Basic{good}\r\n"),
        format!("authorization: Digest {good}\r\n"),
        format!("x-authorization: Basic {good}\r\n"),
        "authorization: Basic\r\n".to_owned(),
        "authorization: Basic alicia:secret\r\n".to_owned(),
        "authorization:\r\n".to_owned(),
        encoded(b"aliciasecret"),
        encoded(b":secret"),
        encoded(b":"),
        encoded(b""),
        encoded(b"alicia:secret\n"),
        encoded(b"alicia\0:secret"),
        encoded(b"alicia:secret\x7f"),
        encoded("alicia:secret\u{85}".as_bytes()),
        encoded(b"alicia:secr\xe9t"),
        encoded(b"Alicia:secret"),
        encoded(b"alicia :secret"),
        encoded(b"alicia:secret:"),
        encoded(&[b"alicia:".as_slice(), &[b'x'; 5000]].concat()),
        format!("authorization: Basic {}\r\n", "A".repeat(1028)),
    ] {
        let refused = ask(&gateway, &lines).await;
        assert_eq!((refused.status(), refused.code()), (401, "unauthenticated"), "{lines}");
    }
    assert_eq!(backend.count(), 3);
}

#[tokio::test]
async fn the_upstream_is_told_the_name_and_only_by_the_gateway() {
    let backend = Answering::with(OK).await;
    let users = format!(
        "users = {{ alice = \"{SHA}\", \"Zoë\" = \"{SHA}\" }}\nforward = {{ sub = \"x-user\" }}"
    );
    let gateway = setup(&backend, &users).start().await;
    let forged = "x-user: root\r\nX_User: root\r\nx.user: root\r\nx-users: kept\r\n";
    for name in ["alice", "Zoë"] {
        let lines = format!("{}{forged}", says(name, "secret"));
        assert_eq!(ask(&gateway, &lines).await.status(), 200);
        let asked = backend.requests().pop().expect("one");
        let told: String = name.bytes().map(char::from).collect();
        assert_eq!(asked.head.value("x-user"), Some(&*told));
        assert_eq!(asked.head.all("x_user") + &asked.head.all("x.user"), "");
        assert_eq!(asked.head.value("x-users"), Some("kept"));
        assert!(asked.head.value("authorization").is_some());
    }
    let gateway =
        setup(&backend, &format!("users = {{ alice = \"{SHA}\" }}\nstrip = true")).start().await;
    assert_eq!(status(&gateway, "alice", "secret").await, 200);
    let asked = backend.requests().pop().expect("one");
    assert_eq!(asked.head.value("authorization"), None);
    assert_eq!(asked.head.value("x-user"), None);
    assert!(asked.head.start.starts_with("GET /a?b=1 "));
}

#[tokio::test]
async fn a_file_is_reread_while_requests_go_on() {
    let backend = Answering::with(OK).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.htpasswd");
    write_whole(&path, &format!("# staff\nalice:{SHA}\nplain:secret\nalice:{SHA}\n"));
    let gateway = setup(&backend, &format!("file = \"{}\"", path.display())).start().await;
    assert_eq!(status(&gateway, "alice", "secret").await, 200);
    assert_eq!(status(&gateway, "plain", "secret").await, 401);
    logged(&gateway, &["left out", "line=3", "no hash"]).await;
    logged(&gateway, &["left out", "line=4", "earlier line"]).await;

    // Alice's password changes, which counts at once although it was good a moment ago; Bob comes.
    let changed = "$apr1$saltsalt$Q17bmANhIA7pctgRGqF/S0";
    write_whole(&path, &format!("alice:{changed}\nbob:{SHA}\n"));
    logged(&gateway, &["has changed", "users=2"]).await;
    assert_eq!(status(&gateway, "alice", "secret").await, 401);
    assert_eq!(status(&gateway, "alice", "x").await, 200);
    assert_eq!(status(&gateway, "bob", "secret").await, 200);

    // A file that is away takes nobody's password away.
    std::fs::remove_file(&path).expect("there");
    logged(&gateway, &["cannot be read", "users last read stay"]).await;
    assert_eq!(status(&gateway, "bob", "secret").await, 200);
    write_whole(&path, "");
    logged(&gateway, &["has changed", "users=0"]).await;
    assert_eq!(status(&gateway, "bob", "secret").await, 401);
    write_whole(&path, &format!("carol:{SHA}\n"));
    logged(&gateway, &["has changed", "users=1"]).await;
    assert_eq!(status(&gateway, "carol", "secret").await, 200);
    let said = gateway.said();
    assert_eq!(said.iter().filter(|line| line.contains("cannot be read")).count(), 1, "{said:?}");
    assert!(!said.iter().any(|line| line.contains("secret") || line.contains("{SHA}")), "{said:?}");
}

/// A third more or less is not told apart from outside; without a try, an answer would take less than a hundredth.
#[tokio::test]
async fn nobody_can_tell_by_the_time_who_is_a_user() {
    const TIMES: usize = 15;
    let backend = Answering::with(OK).await;
    let mut users = "[auth.staff.users]\n".to_owned();
    for name in ["alice", "bob"] {
        writeln!(
            users,
            "{name} = \"$2y$08$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\""
        )
        .expect("memory");
    }
    let gateway = setup(&backend, &users).start().await;
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..TIMES {
        for (name, times) in ["alice", "mallory"].into_iter().zip(&mut times) {
            let before = Instant::now();
            assert_eq!(status(&gateway, name, &format!("wrong{turn}")).await, 401);
            times.push(before.elapsed());
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort_unstable();
        times[TIMES / 2].as_secs_f64()
    });
    let ratio = unknown / known;
    assert!((0.5..2.0).contains(&ratio), "a known user {known} s, an unknown one {unknown} s");
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_is_bounded_and_leaves_other_routes_alone() {
    const FLOOD: usize = 200;
    let backend = Answering::with(OK).await;
    let users = format!("users = {{ alice = \"{BCRYPT}\" }}");
    let open = "[[route]]\nname = \"open\"\npath = \"/open\"\nservice = \"backend\"";
    let gateway = setup(&backend, &users).tables(open).start().await;
    let mut flood = Vec::new();
    for at in 0..FLOOD {
        let lines = says("alice", &format!("guess{at}"));
        let ask = format!("GET / HTTP/1.1\r\nhost: h\r\n{lines}\r\n");
        flood.push(Peer::asking(gateway.web(), ask).await);
    }
    // Those who find no place are told so while the others still wait.
    wait::until("the queue is full and the rest refused", SOON, async || {
        let waiting = gateway.metric("frontgate_in_flight", &["route=\"all\""]).await;
        (waiting <= 70.0 && waiting > 0.0).then_some(())
    })
    .await;
    assert_eq!(gateway.fetch("/open").await.status(), 200);
    let line = logged(&gateway, &["overloaded", "too many passwords are being tried"]).await;
    assert!(line.contains("status=503"), "{line}");
    let mut refused = 0;
    for client in &mut flood {
        // Their answers have come; the others need not be waited for.
        let answer = tokio::time::timeout(Duration::from_millis(5), client.answer()).await;
        let Ok(answer) = answer.map_err(drop) else { continue };
        if answer.status() == 503 {
            refused += 1;
            assert_eq!(answer.code(), "overloaded");
            assert_eq!(answer.head.value("retry-after"), Some("1"));
            assert_eq!(answer.head.value("www-authenticate"), None);
        }
    }
    assert!(refused >= FLOOD / 2, "{refused}");
    // Who leaves makes room for who knows the password.
    drop(flood);
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    wait::until("alice comes in", SOON, async || {
        (status(&gateway, "alice", "secret").await == 200).then_some(())
    })
    .await;
}
