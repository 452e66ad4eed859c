//! Pages of other origins.

use crate::support::backend::Answering;
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Head, Message, SOON};
use crate::support::wait;

const APP: &str = "https://app.example.com";
const CORS: &str = "cors = { origins = [\"https://app.example.com\", \"https://*.example.org\"], \
     methods = [\"GET\", \"PUT\"], headers = [\"content-type\", \"X-Trace\"], \
     expose = [\"x-total\", \"etag\"], credentials = true, max_age = \"1h\" }";
/// An upstream that has its own mind about other origins.
const MINDED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvary: accept-encoding\r\n\
     access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n\
     access-control-expose-headers: *\r\naccess-control-max-age: 9\r\n\r\nok";
const ALLOWS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// What it says about other origins, in the order of [`ALLOWS`].
fn says(head: &Head) -> [String; 6] {
    ALLOWS.map(|name| head.all(name))
}

async fn ask(gateway: &Gateway, method: &str, fields: &[(&str, &str)]) -> Message {
    let fields: String =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let ask = format!("{method} / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{fields}\r\n");
    gateway.ask(ask).await.answer_to(method).await
}

async fn preflight(gateway: &Gateway, origin: &str, method: &str, headers: &str) -> Message {
    let mut fields = vec![("origin", origin), ("access-control-request-method", method)];
    if !headers.is_empty() {
        fields.push(("access-control-request-headers", headers));
    }
    ask(gateway, "OPTIONS", &fields).await
}

#[tokio::test]
async fn a_preflight_is_answered_before_405_and_what_is_not_allowed_is_refused() {
    let backend = Answering::with(MINDED).await;
    // Neither who calls nor how many there are matters to it, and no upstream sees it.
    let setup = Setup::to(&[backend.address]).route("methods = [\"GET\", \"PUT\", \"POST\"]");
    let gateway = setup.route(CORS).route("max_body = \"0B\"").start().await;
    let answer = preflight(&gateway, APP, "PUT", "content-type,x-trace").await;
    assert_eq!(answer.status(), 204);
    let expected = [APP, "true", "GET, PUT, HEAD", "content-type, x-trace", "", "3600"];
    assert_eq!(says(&answer.head), expected);
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    assert_eq!(answer.head.value("vary"), Some(vary));
    assert!(answer.head.value("x-request-id").is_some());
    assert_eq!(answer.head.value("content-length"), None);
    let other = "https://a.b.example.org";
    let answer = preflight(&gateway, other, "HEAD", "").await;
    let expected = [other, "true", "GET, PUT, HEAD", "", "", "3600"];
    assert_eq!((answer.status(), says(&answer.head)), (204, expected.map(str::to_owned)));
    for (origin, method, headers, cause) in [
        ("https://evil.com", "PUT", "", r#"cors: not from the origin \"https://evil.com\""#),
        ("https://evil-example.org", "PUT", "", "cors: not from the origin"),
        ("null", "PUT", "", "cors: not from the origin"),
        (APP, "POST", "", "cors: not the method POST"),
        (APP, "PUT", "x-trace, authorization", "cors: not the header authorization"),
    ] {
        let answer = preflight(&gateway, origin, method, headers).await;
        assert_eq!((answer.status(), answer.code()), (403, "forbidden"), "{cause}");
        assert_eq!(answer.head.value("vary"), Some(vary));
        let allows = if origin == APP { APP } else { "" };
        assert_eq!(answer.head.all("access-control-allow-origin"), allows);
        assert_eq!(answer.head.all("access-control-allow-methods"), "");
        wait::until(cause, SOON, async || {
            gateway.said().iter().any(|line| line.contains(cause)).then_some(())
        })
        .await;
    }
    // What the route does not take is 405 for a page, too.
    let answer = preflight(&gateway, APP, "DELETE", "").await;
    assert_eq!((answer.status(), answer.code()), (405, "method_not_allowed"));
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn every_answer_says_who_may_read_it_and_what_the_upstream_said_is_gone() {
    let backend = Answering::with(MINDED).await;
    let gateway = Setup::to(&[backend.address]).route(CORS).start().await;
    let answer = ask(&gateway, "GET", &[("origin", APP)]).await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(says(&answer.head), [APP, "true", "", "", "x-total, etag", ""]);
    assert_eq!(answer.head.value("vary"), Some("accept-encoding, Origin"));
    for origin in ["https://evil.com", "null", "https://app.example.com, https://evil.com"] {
        // It is passed on, and the browser keeps it from the page.
        let answer = ask(&gateway, "GET", &[("origin", origin)]).await;
        assert_eq!((answer.status(), says(&answer.head).concat()), (200, String::new()));
        assert_eq!(answer.head.value("vary"), Some("accept-encoding, Origin"));
    }
    let answer = ask(&gateway, "GET", &[]).await;
    assert_eq!(says(&answer.head).concat(), "");
    assert_eq!(answer.head.value("vary"), Some("accept-encoding, Origin"));
    // An OPTIONS that asks about no method is a request like any other.
    let answer = ask(&gateway, "OPTIONS", &[("origin", APP)]).await;
    assert_eq!((answer.text().as_str(), backend.count()), ("ok", 6));
}

#[tokio::test]
async fn a_refusal_can_be_read_by_the_page_that_gets_it() {
    let backend = Answering::with(MINDED).await;
    let setup = Setup::to(&[backend.address]).route(CORS);
    let gateway = setup.clone().route("max_body = \"1B\"").start().await;
    let answer = ask(&gateway, "PUT", &[("origin", APP), ("content-length", "2")]).await;
    assert_eq!((answer.status(), answer.code()), (413, "body_too_large"));
    assert_eq!(says(&answer.head), [APP, "true", "", "", "x-total, etag", ""]);
    assert_eq!(answer.head.value("vary"), Some("Origin"));
    let gateway = setup.route("deny = [\"127.0.0.0/8\"]").start().await;
    let answer = ask(&gateway, "GET", &[("origin", APP)]).await;
    assert_eq!((answer.status(), answer.code()), (403, "forbidden"));
    assert_eq!(answer.head.all("access-control-allow-origin"), APP);
    // From there not even a question is answered.
    let answer = preflight(&gateway, APP, "PUT", "").await;
    assert_eq!((answer.status(), answer.code()), (403, "forbidden"));
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_before_its_first_byte_is_replaced_by_one_that_says_as_much() {
    let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nvary: cookie\r\n\r\nzz\r\n";
    let backend = Answering::with(broken).await;
    let setup = Setup::to(&[backend.address]).route(CORS);
    let gateway = setup.route("rate_limit = [{ rate = \"9/d\" }]").start().await;
    let answer = ask(&gateway, "GET", &[("origin", APP)]).await;
    assert_eq!((answer.status(), answer.code()), (502, "upstream_error"));
    assert_eq!(says(&answer.head), [APP, "true", "", "", "x-total, etag", ""]);
    assert_eq!(answer.head.value("vary"), Some("Origin"));
    assert_eq!(answer.head.value("ratelimit-remaining"), Some("8"));
}

#[tokio::test]
async fn neither_who_calls_nor_how_many_matters_to_a_preflight() {
    let backend = Answering::with(MINDED).await;
    let service = Answering::with(
        "HTTP/1.1 401 Unauthorized\r\nvary: cookie\r\naccess-control-allow-origin: *\r\n\
         content-length: 0\r\n\r\n",
    )
    .await;
    let auth = format!("[auth.ext]\nkind = \"forward\"\nurl = \"http://{}\"", service.address);
    let setup = Setup::to(&[backend.address]).route(CORS).route("auth = [\"ext\"]");
    let setup = setup.route("rate_limit = [{ rate = \"1/d\" }]").tables(&auth);
    let gateway = setup.start().await;
    for _ in 0..3 {
        assert_eq!(preflight(&gateway, APP, "PUT", "").await.status(), 204);
    }
    assert_eq!(service.count(), 0);
    // A page reads also what another service answers, and what a limit does.
    let answer = ask(&gateway, "GET", &[("origin", APP)]).await;
    assert_eq!((answer.status(), answer.code()), (401, ""));
    assert_eq!(says(&answer.head), [APP, "true", "", "", "x-total, etag", ""]);
    assert_eq!(answer.head.value("vary"), Some("cookie, Origin"));
    let answer = ask(&gateway, "GET", &[("origin", APP)]).await;
    assert_eq!((answer.status(), answer.code()), (429, "rate_limited"));
    assert_eq!(answer.head.all("access-control-allow-origin"), APP);
    assert_eq!((service.count(), backend.count()), (1, 0));
}

#[tokio::test]
async fn any_origin_is_a_star_and_nothing_varies() {
    let backend = Answering::with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let cors = "cors = { origins = [\"*\"], headers = [\"*\"] }";
    let gateway = Setup::to(&[backend.address]).route(cors).start().await;
    for origin in ["https://anyone.example", "null"] {
        let answer = ask(&gateway, "GET", &[("origin", origin)]).await;
        assert_eq!(says(&answer.head), ["*", "", "", "", "", ""]);
        assert_eq!(answer.head.value("vary"), None);
        let answer = preflight(&gateway, origin, "PURGE", "Authorization, x-anything").await;
        let expected = ["*", "", "PURGE", "authorization, x-anything", "", ""];
        assert_eq!((answer.status(), says(&answer.head)), (204, expected.map(str::to_owned)));
    }
    // A cache may give a page what it kept for somebody else, since nothing varies.
    let answer = ask(&gateway, "GET", &[]).await;
    assert_eq!(says(&answer.head), ["*", "", "", "", "", ""]);
    assert_eq!(answer.head.value("vary"), None);
}

#[tokio::test]
async fn a_page_without_an_origin_of_its_own_may_ask_where_that_is_written() {
    let backend = Answering::with(MINDED).await;
    let cors = "cors = { origins = [\"null\"] }";
    let gateway = Setup::to(&[backend.address]).route(cors).start().await;
    let answer = ask(&gateway, "GET", &[("origin", "null")]).await;
    assert_eq!(says(&answer.head), ["null", "", "", "", "", ""]);
}

#[tokio::test]
async fn the_route_of_the_method_that_is_asked_about_answers() {
    let backend = Answering::with(MINDED).await;
    let others = "[[route]]\nname = \"open\"\npath = \"/x\"\nmethods = [\"PUT\"]\nservice = \"backend\"\n\
         cors = { origins = [\"https://put.example\"] }\n\
         [[route]]\nname = \"plain\"\npath = \"/x\"\nmethods = [\"POST\"]\nservice = \"backend\"\n\
         [[route]]\nname = \"options\"\npath = \"/x\"\nmethods = [\"OPTIONS\"]\nservice = \"backend\"\n\
         cors = { origins = [\"https://any.example\"] }";
    let gateway = Setup::to(&[backend.address]).tables(others).start().await;
    let asks = async |origin: &str, method: &str| {
        let ask = format!(
            "OPTIONS /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\norigin: {origin}\r\n\
             access-control-request-method: {method}\r\n\r\n"
        );
        gateway.ask(ask).await.answer().await
    };
    let answer = asks("https://put.example", "PUT").await;
    assert_eq!((answer.status(), backend.count()), (204, 0));
    assert_eq!(answer.head.all("access-control-allow-methods"), "PUT");
    let answer = asks("https://any.example", "PUT").await;
    assert_eq!((answer.status(), backend.count()), (403, 0));
    // That route says nothing about pages: the upstream is asked, through the route that takes OPTIONS.
    let answer = asks("https://any.example", "POST").await;
    assert_eq!((answer.text().as_str(), backend.count()), ("ok", 1));
    assert_eq!(answer.head.all("access-control-allow-methods"), "");
    let page = gateway.admin("/metrics").await.text();
    assert!(page.contains("route=\"open\""), "{page}");
}
