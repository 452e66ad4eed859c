//! Which instance gets a request, and with what target, through the real thing.

use std::net::SocketAddr;

use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Message, Peer};

/// Routes whose names say what they match; all lead to `backend` of the set-up.
const ROUTES: &str = r#"
[[route]]
name = "exact"
path = "/orders"
service = "backend"
[[route]]
name = "prefix"
path = "/orders/*"
strip_prefix = true
service = "backend"
[[route]]
name = "segment"
path = "/orders/{id}"
rewrite = "/v2/{id}/view"
service = "backend"
[[route]]
name = "regex"
hosts = ["r"]
path = "~^/r(\\d+)/x$"
rewrite = "/number/${1}"
service = "backend"
[[route]]
name = "rest"
path = "/old/*"
rewrite = "/new/{rest}"
service = "backend"
[[route]]
name = "host"
path = "/*"
hosts = ["shop.example.com"]
service = "backend"
[[route]]
name = "wildcard"
path = "/*"
hosts = ["*.example.com"]
service = "backend"
[[route]]
name = "canary"
path = "/*"
headers = { x-canary = "yes" }
service = "backend"
[[route]]
name = "query"
path = "/*"
query = { v = "2" }
service = "backend"
[[route]]
name = "first"
path = "/first"
priority = 5
headers = { x-early = true }
service = "backend"
[[route]]
name = "second"
path = "/first"
hosts = ["shop.example.com"]
service = "backend"
[[route]]
name = "inside"
path = "/inside"
listen = ["private"]
service = "backend"
"#;

const PRIVATE: &str = "[listen.private]\naddress = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn a_question_about_the_whole_server_is_not_rewritten() {
    let backend = Answering::with(OK).await;
    for route in ["rewrite = \"/v2/{rest}\"", "strip_prefix = true"] {
        let gateway = Setup::to(&[backend.address]).route(route).start().await;
        let mut client = gateway.ask("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok", "{route}");
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.head.start, "OPTIONS * HTTP/1.1", "{route}");
        assert_eq!(request.head.all("x-forwarded-prefix"), "", "{route}");
    }
}

/// Each route says its name to the backend.
fn named(routes: &str) -> String {
    let mut text = String::new();
    for line in routes.lines() {
        text.push_str(line);
        text.push('\n');
        if let Some(name) = line.strip_prefix("name = ") {
            text.push_str(&format!("request_headers = {{ set = {{ x-route = {name} }} }}\n"));
        }
    }
    text
}

async fn got(gateway: &Gateway, listener: &str, head: &str, backend: &Answering) -> Message {
    let ask = format!("{head}\r\nconnection: close\r\n\r\n");
    let mut client = Peer::asking(gateway.listener(listener), ask).await;
    let answer = client.answer().await;
    assert_eq!(answer.status(), 200, "{head}");
    backend.requests().pop().expect("a request")
}

#[tokio::test]
async fn a_request_takes_the_most_specific_route_and_its_rewrites() {
    let backend = Answering::with(OK).await;
    let tables = format!("{PRIVATE}{}", named(ROUTES));
    let setup = Setup::to(&[backend.address]).tables(&tables);
    let gateway = setup.route("request_headers = { set = { x-route = \"all\" } }").start().await;
    for (target, lines, route, arrives) in [
        ("/orders", "Host: h", "exact", "/orders"),
        ("/orders/7", "Host: h", "segment", "/v2/7/view"),
        ("/orders/7/items?a=b", "Host: h", "prefix", "/7/items?a=b"),
        ("/orders/", "Host: h", "prefix", "/"),
        ("/ordersx", "Host: h", "all", "/ordersx"),
        ("/r12/x?q", "Host: r", "regex", "/number/12?q"),
        ("/r12/xy", "Host: r", "all", "/r12/xy"),
        ("/old/a/b", "Host: h", "rest", "/new/a/b"),
        ("/", "Host: shop.example.com", "host", "/"),
        ("/", "Host: SHOP.example.com.:99", "host", "/"),
        ("/", "Host: a.b.example.com", "wildcard", "/"),
        ("/", "Host: example.com", "all", "/"),
        ("/", "Host: h\r\nX-Canary: yes", "canary", "/"),
        ("/", "Host: h\r\nX-Canary: yes!", "all", "/"),
        ("/?v=2", "Host: h", "query", "/?v=2"),
        ("/?v=3", "Host: h", "all", "/?v=3"),
        ("/first", "Host: shop.example.com\r\nX-Early: 1", "first", "/first"),
        ("/first", "Host: shop.example.com", "second", "/first"),
        ("/inside", "Host: h", "all", "/inside"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\n{lines}");
        let request = got(&gateway, "web", &head, &backend).await;
        let sent = request.head.start.split(' ').nth(1);
        assert_eq!((request.head.value("x-route"), sent), (Some(route), Some(arrives)), "{head}");
        let stripped = if route == "prefix" { "/orders" } else { "" };
        assert_eq!(request.head.all("x-forwarded-prefix"), stripped, "{head}");
    }
    let head = "GET /inside HTTP/1.1\r\nHost: h";
    let request = got(&gateway, "private", head, &backend).await;
    assert_eq!(request.head.value("x-route"), Some("inside"));
    let port = gateway.listener("private").port().to_string();
    assert_eq!(request.head.value("x-forwarded-port"), Some(&*port));
}

#[tokio::test]
async fn methods_choose_among_routes_and_the_rest_is_405() {
    let backend = Answering::with(OK).await;
    let tables = named(
        "[[route]]\nname = \"read\"\npath = \"/m\"\nmethods = [\"GET\"]\nservice = \"backend\"\n\
         [[route]]\nname = \"write\"\npath = \"/m\"\nmethods = [\"POST\"]\nservice = \"backend\"\n",
    );
    let setup = Setup::to(&[backend.address]).tables(&tables).route("hosts = [\"other\"]");
    let gateway = setup.start().await;
    for (method, route) in [("GET", "read"), ("HEAD", "read"), ("POST", "write")] {
        let ask = format!("{method} /m HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(gateway.ask(ask).await.answer_to(method).await.status(), 200);
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.head.value("x-route"), Some(route));
    }
    let answer = gateway.ask("PUT /m HTTP/1.1\r\nhost: h\r\n\r\n").await.answer().await;
    assert_eq!(answer.code(), "method_not_allowed");
    let allow = answer.head.value("allow").expect("what is allowed");
    let mut allow: Vec<_> = allow.split(", ").collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "POST"]);
    let answer = gateway.fetch("/elsewhere").await;
    assert_eq!((answer.status(), answer.code()), (404, "no_route"));
}

async fn three() -> (Vec<Answering>, Vec<SocketAddr>) {
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(Answering::with(OK).await);
    }
    let addresses = backends.iter().map(|backend| backend.address).collect();
    (backends, addresses)
}

fn counts(backends: &[Answering]) -> Vec<usize> {
    backends.iter().map(Answering::count).collect()
}

#[tokio::test]
async fn requests_go_round_evenly() {
    for workers in [1, 3] {
        let (backends, addresses) = three().await;
        let setup = Setup::to(&addresses).top(&format!("workers = {workers}"));
        let gateway = setup.start().await;
        let mut client = Peer::connect(gateway.web()).await;
        for _ in 0..30 {
            client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
            assert_eq!(client.answer().await.text(), "ok");
        }
        assert_eq!(counts(&backends), [10, 10, 10], "{workers}");
    }
}

#[tokio::test]
async fn weights_share_requests_out_exactly() {
    let (backends, addresses) = three().await;
    let endpoints: Vec<_> = addresses
        .iter()
        .zip([5, 3, 2])
        .map(|(address, weight)| format!("{{ address = \"http://{address}\", weight = {weight} }}"))
        .collect();
    let tables = format!(
        "[[route]]\nname = \"w\"\npath = \"/w\"\nservice = \"weighted\"\n\
         [[route]]\nname = \"r\"\npath = \"/r\"\nservice = \"random\"\n\
         [service.weighted]\nendpoints = [{0}]\n\
         [service.random]\nbalance = \"random\"\nendpoints = [{0}]\n",
        endpoints.join(", ")
    );
    let gateway = Setup::to(&addresses).tables(&tables).start().await;
    let mut client = Peer::connect(gateway.web()).await;
    for _ in 0..50 {
        client.send("GET /w HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert_eq!(counts(&backends), [25, 15, 10]);
    for _ in 0..300 {
        client.send("GET /r HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok");
    }
    // Six standard deviations: 50 for the first, 40 for the last.
    let random: Vec<_> = counts(&backends).iter().zip([25, 15, 10]).map(|(a, b)| a - b).collect();
    assert!((100..=200).contains(&random[0]) && (20..=100).contains(&random[2]), "{random:?}");
}

#[tokio::test]
async fn the_upstream_sees_the_clients_host_unless_the_route_says_otherwise() {
    let backend = Answering::with(OK).await;
    for (route, host) in
        [("", "h".to_owned()), ("preserve_host = false", backend.address.to_string())]
    {
        let gateway = Setup::to(&[backend.address]).route(route).start().await;
        assert_eq!(gateway.fetch("/").await.status(), 200);
        let request = backend.requests().pop().expect("a request");
        assert_eq!(request.head.value("host"), Some(&*host));
        assert_eq!(request.head.value("x-forwarded-host"), Some("h"));
    }
}

#[tokio::test]
async fn headers_are_set_added_and_removed_both_ways() {
    let backend = Answering::with(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: s\r\nx-b: 1\r\nx-c: 1\r\n\r\nok",
    )
    .await;
    let gateway = Setup::to(&[backend.address])
        .route(
            "request_headers = { set = { x-a = \"set\" }, add = { x-b = \"added\" }, remove = [\"x-c\"] }\n\
             response_headers = { set = { x-a = \"set\" }, add = { x-b = \"added\" }, remove = [\"server\"] }",
        )
        .start()
        .await;
    let ask = "GET / HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\nx-b: 1\r\nx-c: 1\r\n\r\n";
    let answer = gateway.ask(ask).await.answer().await;
    let request = backend.requests().pop().expect("a request");
    for (head, values) in
        [(&request.head, ["set", "1|added", ""]), (&answer.head, ["set", "1|added", "1"])]
    {
        assert_eq!(["x-a", "x-b", "x-c"].map(|name| head.all(name)), values, "{}", head.raw);
    }
    assert_eq!(answer.head.all("server"), "");
}
