//! Another service decides.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{End, Message, Peer, SOON};
use crate::support::wait;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

fn setup(backend: SocketAddr, service: SocketAddr, keys: &str) -> Setup {
    Setup::to(&[backend]).route("auth = [\"ext\"]").tables(&format!(
        "[auth.ext]\nkind = \"forward\"\nurl = \"http://{service}/check?by=us\"\n{keys}"
    ))
}

async fn said(gateway: &Gateway, what: &str) {
    wait::until(what, SOON, async || {
        gateway.said().iter().any(|line| line.contains(what)).then_some(())
    })
    .await;
}

fn assert_forbidden(answer: &Message) {
    assert_eq!((answer.status(), answer.code()), (403, "forbidden"));
    assert_eq!(answer.text(), "forbidden: this may not be done from here or by you\n");
}

#[tokio::test]
async fn who_is_let_in_is_told_to_the_upstream_and_by_nobody_else() {
    let backend = Answering::with(OK).await;
    let service = Answering::with(
        "HTTP/1.1 204 No Content\r\nX-User: alice\r\nx-group: a\r\nx-group: b\r\nx-other: 1\r\n\r\n",
    )
    .await;
    let keys = "response_headers = [\"x-user\", \"x-group\", \"x-role\"]";
    let gateway = setup(backend.address, service.address, keys).start().await;
    let ask = "POST /a%2Fb/c?d=e&f HTTP/1.1\r\nhost: shop.example\r\nauthorization: Bearer t\r\n\
         Cookie: a=1\r\ncookie: b=2\r\nx-user: mallory\r\nX-Role: admin\r\nx_role: admin\r\n\
         x-forwarded-for: 10.0.0.1\r\nx-forwarded-uri: /open\r\nx-original-uri: /open\r\n\
         x-secret: s\r\nconnection: x-user, x-gone\r\nx-gone: 1\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n";
    let answer = gateway.ask(ask).await.answer().await;
    assert_eq!(answer.text(), "ok");
    let asked = service.requests().pop().expect("a question");
    assert_eq!(asked.head.start, "GET /check?by=us HTTP/1.1");
    let expected = [
        "authorization: Bearer t".to_owned(),
        "cookie: a=1".to_owned(),
        "cookie: b=2".to_owned(),
        format!("host: {}", service.address),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-host: shop.example".to_owned(),
        "x-forwarded-method: POST".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        "x-forwarded-uri: /a%2Fb/c?d=e&f".to_owned(),
        "x-original-uri: /a%2Fb/c?d=e&f".to_owned(),
    ];
    assert_eq!(asked.head.sorted(), expected);
    assert_eq!(asked.body, b"");
    let request = backend.requests().pop().expect("a request");
    assert_eq!(request.body, b"abc");
    assert_eq!(request.head.all("x-user"), "alice");
    assert_eq!(request.head.all("x-group"), "a|b");
    assert_eq!(request.head.all("x-role"), "");
    assert_eq!(request.head.all("x_role"), "");
    assert_eq!(request.head.all("x-other"), "");
    assert_eq!(asked.head.value("x-request-id"), request.head.value("x-request-id"));
}

#[tokio::test]
async fn an_answer_that_does_not_let_in_is_the_clients() {
    for (given, status, name, value, text) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"x\"\r\ncontent-length: 5\r\n\r\nlogin",
            401,
            "www-authenticate",
            "Bearer realm=\"x\"",
            "login",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: https://login.example/?a=b\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
            302,
            "set-cookie",
            "a=1|b=2",
            "",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nx-frontgate-code: overloaded\r\nx-hop: 1\r\nconnection: x-hop\r\n\
             content-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n3\r\n<p>\r\n0\r\n\r\n",
            403,
            "content-type",
            "text/html",
            "<p>",
        ),
        (
            "HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
            429,
            "retry-after",
            "7",
            "",
        ),
    ] {
        let (backend, service) = (Answering::with(OK).await, Answering::with(given).await);
        let gateway = setup(backend.address, service.address, "").start().await;
        let mut client = gateway.ask(GET).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (status, text));
        assert_eq!(answer.head.all(name), value);
        for gone in ["x-frontgate-code", "x-hop", "connection"] {
            assert_eq!(answer.head.value(gone), None, "{gone}");
        }
        assert_eq!(answer.head.value("x-request-id").map(str::len), Some(32));
        // HEAD gets the length and no body, so that the next answer is where it should be.
        client.send("HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let head = client.answer_to("HEAD").await;
        assert_eq!((head.status(), head.head.all(name).as_str()), (status, value));
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), text);
        assert_eq!((backend.count(), service.count(), service.connections()), (0, 3, 1));
        let labels = ["fate=\"answered\""];
        gateway.metric_is("frontgate_requests_total", &labels, 3.0).await;
        assert_eq!(gateway.metric("frontgate_refusals_total", &["route=\"all\""]).await, 0.0);
    }
}

#[tokio::test]
async fn a_401_of_the_service_offers_the_other_ways_in_too() {
    let backend = Answering::with(OK).await;
    let apps = "[auth.apps]\nkind = \"key\"\nkeys = { mobile = \"the-mobile-key\" }";
    for (given, status, offers) in [
        (
            "HTTP/1.1 401 No\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n",
            401,
            "Bearer|ApiKey realm=\"apps\", header=\"x-api-key\"",
        ),
        ("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", 302, ""),
    ] {
        let service = Answering::with(given).await;
        let url = service.address;
        let tables = format!("{apps}\n[auth.ext]\nkind = \"forward\"\nurl = \"http://{url}\"");
        for order in ["\"apps\", \"ext\"", "\"ext\", \"apps\""] {
            let setup = Setup::to(&[backend.address]).route(&format!("auth = [{order}]"));
            let gateway = setup.tables(&tables).start().await;
            let answer = gateway.fetch("/").await;
            assert_eq!(
                (answer.status(), answer.head.all("www-authenticate").as_str()),
                (status, offers)
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_decision_lets_nobody_in() {
    let long =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 10 << 20, "x".repeat(10 << 20));
    let endless = format!("HTTP/1.1 403 No\r\n\r\n{}", "x".repeat(1 << 20));
    for (given, cause) in [
        ("HTTP/1.1 500 Oops\r\nx-user: a\r\ncontent-length: 6\r\n\r\nsecret", "it answered 500"),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "it answered 503"),
        ("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "it answered 101"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "the connection broke: "),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "no complete answer within 500ms"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nabc", "the connection broke: "),
        (&long, "the answer is longer than 65536 bytes"),
        (&endless, "the answer is longer than 65536 bytes"),
        ("HTTP/1.1 200 OK\r\n", "no complete answer within 500ms"),
        ("\0", "the connection broke: "),
    ] {
        let (backend, service) = (Answering::with(OK).await, Answering::with(given).await);
        let gateway = setup(backend.address, service.address, "timeout = \"500ms\"").start().await;
        let answer = gateway.fetch("/").await;
        assert_forbidden(&answer);
        assert_eq!(backend.count(), 0);
        said(&gateway, &format!("auth.ext: {}: {cause}", service.address)).await;
        said(&gateway, "who may come in does not: nobody may auth=\"ext\"").await;
    }
}

#[tokio::test]
async fn a_service_that_is_away_silent_or_breaks_off_lets_nobody_in() {
    let backend = Answering::with(OK).await;
    let closed = crate::support::ports::nobody();
    let gateway = setup(backend.address, closed, "").start().await;
    assert_forbidden(&gateway.fetch("/").await);
    said(&gateway, "cannot connect: ").await;
    let service = Backend::new().await;
    let gateway = setup(backend.address, service.address, "timeout = \"400ms\"").start().await;
    let mut client = gateway.ask(GET).await;
    let (peer, _) = service.request().await;
    assert_forbidden(&client.answer().await);
    said(&gateway, "no complete answer within 400ms").await;
    drop(peer);
    let gateway = setup(backend.address, service.address, "").start().await;
    let mut client = gateway.ask(GET).await;
    // A kept connection may end while a question is on its way, so it is asked once more, and no oftener.
    for _ in 0..2 {
        let (peer, _) = service.request().await;
        peer.reset();
    }
    assert_forbidden(&client.answer().await);
    service.assert_untouched().await;
    let mut client = gateway.ask(GET).await;
    let (peer, _) = service.request().await;
    drop(peer);
    let (mut peer, _) = service.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn connections_to_the_service_are_kept() {
    let backend = Answering::with(OK).await;
    let service = Answering::with("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nyes!").await;
    let gateway = setup(backend.address, service.address, "").start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for _ in 0..20 {
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert_eq!((backend.count(), service.count(), service.connections()), (20, 20, 1));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_question_back() {
    let backend = Answering::with(OK).await;
    let service = Backend::new().await;
    let setup = setup(backend.address, service.address, "timeout = \"1h\"");
    let gateway = setup.route("in_flight = 1").start().await;
    let client = gateway.ask(GET).await;
    let (mut peer, _) = service.request().await;
    drop(client);
    let end = peer.ended().await;
    assert!(matches!(end, End::Closed | End::Reset));
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 0.0).await;
    let mut client = gateway.ask(GET).await;
    let (mut peer, _) = service.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
}

#[tokio::test]
async fn many_questions_at_once_share_a_bounded_number_of_connections() {
    const CLIENTS: usize = 200;
    let backend = Answering::with(OK).await;
    let service = Answering::with("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let gateway = setup(backend.address, service.address, "timeout = \"10s\"").start().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(gateway.ask(GET).await);
    }
    for mut client in clients {
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert_eq!(service.count(), CLIENTS);
    assert!(service.connections() <= 64, "{}", service.connections());
}

#[tokio::test]
async fn nothing_in_a_request_becomes_part_of_the_question() {
    let backend = Answering::with(OK).await;
    let service = Answering::with("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let keys = "request_headers = [\"authorization\", \"x-key\"]";
    let gateway = setup(backend.address, service.address, keys).start().await;
    for (target, fields) in [
        ("/%0d%0ax-user:%20evil?%0d%0a", ""),
        ("//authz/check?by=us", ""),
        ("http://other.example/x", ""),
        ("/?a=%00", ""),
        ("/", "authorization: a\tb\r\n"),
        ("/", "x-key: \u{e9}\u{ff}\r\n"),
        ("/", "x-key: GET /check HTTP/1.1\r\n"),
        ("/", "content-length: 3\r\n"),
        ("/", "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\n"),
    ] {
        let mut client = gateway
            .ask(format!(
                "POST {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{fields}\r\nabc"
            ))
            .await;
        let answer = client.answer().await;
        assert!([200, 400].contains(&answer.status()), "{target} {fields}");
        if answer.status() == 400 {
            continue;
        }
        let asked = service.requests().pop().expect("a question");
        assert_eq!(asked.head.start, "GET /check?by=us HTTP/1.1");
        assert_eq!((asked.head.value("content-length"), asked.body.len()), (None, 0));
        assert_eq!(asked.head.value("x-user"), None);
        assert_eq!(asked.head.value("x-forwarded-method"), Some("POST"));
        assert_eq!(asked.head.value("x-forwarded-proto"), Some("http"));
        let host = if target.starts_with("http://") { "other.example" } else { "h" };
        assert_eq!(asked.head.value("x-forwarded-host"), Some(host));
    }
}

#[tokio::test]
async fn a_service_that_hangs_holds_up_nobody_else() {
    let backend = Answering::with(OK).await;
    let service = Backend::new().await;
    let open = "[[route]]\nname = \"open\"\npath = \"/open\"\nservice = \"backend\"";
    let setup = setup(backend.address, service.address, "timeout = \"1h\"").tables(open);
    let gateway = setup.start().await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(gateway.ask(GET).await);
    }
    let fetched = tokio::time::timeout(Duration::from_secs(5), gateway.fetch("/open")).await;
    assert_eq!(fetched.expect("the open route is served").text(), "ok");
}
