//! What counts as a good answer, over HTTP and over TCP.

use super::{CHECKS, SOON, asking, is_check, shown, turned};
use crate::support::backend::{Answering, Backend, OK};
use crate::support::wait;

#[tokio::test]
async fn a_whole_answer_of_a_listed_status_is_good_and_nothing_else() {
    let good = [
        OK.to_owned(),
        "HTTP/1.0 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 418 I am\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}"),
        // A head just within its bound, and a body far beyond what is looked at.
        format!("HTTP/1.1 200 OK\r\na: {}\r\n{}", "a".repeat(60_000), &OK[17..]),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}", "a".repeat(1 << 20)),
    ];
    let bad = [
        ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned(), "status 500"),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_owned(), "status 302"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned() + OK, "a malformed answer"),
        ("\0\n".to_owned(), "a malformed answer"),
        ("HTTP/1.1 200 OK\r\na: ".to_owned() + &"a".repeat(70_000), "a malformed answer"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(3) + "HTTP/1.1 503 No\r\n\r\n", "status 503"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n".to_owned(),
            "a malformed answer",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "a malformed answer",
        ),
        (String::new(), "closed before an answer"),
    ];
    let mut instances = Vec::new();
    let mut expected = Vec::new();
    let answers = good.iter().map(|answer| (answer, None));
    for (answer, error) in answers.chain(bad.iter().map(|(answer, error)| (answer, Some(*error)))) {
        let backend = Answering::with(answer.clone()).await;
        instances.push(backend.address);
        expected.push((backend, answer, error));
    }
    let asked = "status = [\"200-299\", \"418\"], interval = \"1h\", unhealthy_interval = \"1h\"";
    let gateway = asking(&instances, asked).await;
    for (backend, answer, error) in expected {
        let answer = &answer[..answer.len().min(60)];
        let health = if error.is_some() { "down" } else { "up" };
        let one = turned(&gateway, backend.address, health).await;
        let said = one["health_error"].as_str();
        assert_eq!(said.is_some(), error.is_some(), "{answer:?}: {one}");
        assert!(
            said.unwrap_or_default().starts_with(error.unwrap_or_default()),
            "{answer:?}: {one}"
        );
    }
    gateway.metric_is(CHECKS, &["result=\"ok\""], good.len() as f64).await;
    gateway.metric_is(CHECKS, &["result=\"failed\""], bad.len() as f64).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_bad() {
    let backend = Backend::new().await;
    let gateway = asking(&[backend.address], "unhealthy_interval = \"10ms\"").await;
    for (sent, error) in [
        ("HTTP/1.1 200 OK\r\n", "closed before an answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "closed before the answer's end"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok",
            "closed before the answer's end",
        ),
    ] {
        let (mut peer, _) = backend.request().await;
        peer.send(sent).await;
        drop(peer);
        wait::until(error, SOON, async || {
            (shown(&gateway).await[0]["health_error"] == error).then_some(())
        })
        .await;
    }
    // Without a length the end of the connection is the end of the answer.
    for _ in 0..2 {
        let (mut peer, _) = backend.request().await;
        peer.send("HTTP/1.1 200 OK\r\n\r\nok").await;
    }
    turned(&gateway, backend.address, "up").await;
}

#[tokio::test]
async fn path_and_host_are_as_written() {
    let backend = Answering::with(OK).await;
    let asked = "path = \"/ready?deep=1\", host = \"orders.internal\"";
    let gateway = asking(&[backend.address], asked).await;
    turned(&gateway, backend.address, "up").await;
    let head = &backend.requests()[0].head;
    assert_eq!(head.start, "GET /ready?deep=1 HTTP/1.1");
    assert_eq!(head.value("host"), Some("orders.internal"));
}

#[tokio::test]
async fn a_name_is_looked_up_and_health_that_is_only_on_has_every_default() {
    let backend = Answering::with(OK).await;
    let (web, admin) =
        ("[listen.web]\naddress = \"127.0.0.1:0\"", "[admin]\naddress = \"127.0.0.1:0\"");
    let config = format!(
        "workers = 1\n{web}\n{admin}\n[[route]]\nname = \"all\"\npath = \"/*\"\nservice = \"backend\"\n\
         [service.backend]\nendpoints = [\"http://localhost:{}\"]\nhealth = true\n",
        backend.address.port()
    );
    let gateway = crate::support::gateway::Gateway::start(&config, None).await;
    wait::until("it is up", SOON, async || {
        (shown(&gateway).await[0]["health"] == "up").then_some(())
    })
    .await;
    assert!(backend.requests().iter().all(is_check));
}

#[tokio::test]
async fn where_nobody_listens_is_down_at_once() {
    let nobody = crate::support::ports::nobody();
    for kind in ["http", "tcp", "grpc"] {
        let gateway = asking(&[nobody], &format!("kind = \"{kind}\"")).await;
        let down = turned(&gateway, nobody, "down").await;
        let error = down["health_error"].as_str().unwrap_or_default();
        assert!(error.starts_with("cannot connect: Connection refused"), "{kind}: {error}");
    }
}

#[tokio::test]
async fn a_listener_that_says_nothing_is_well_for_tcp() {
    let backend = Backend::new().await;
    let gateway = asking(&[backend.address], "kind = \"tcp\", interval = \"10ms\"").await;
    for _ in 0..3 {
        backend.accept().await.closed().await;
    }
    turned(&gateway, backend.address, "up").await;
    drop(backend);
    let (name, labels) = (CHECKS, ["result=\"failed\""]);
    wait::until("several bad ones", SOON, async || {
        (gateway.metric(name, &labels).await >= 3.0).then_some(())
    })
    .await;
    assert_eq!(shown(&gateway).await[0]["health"], "down");
}
