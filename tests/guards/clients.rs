//! Which addresses may come in.

use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::Message;

async fn ask(gateway: &Gateway, fields: &str) -> Message {
    let ask = format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{fields}\r\n");
    gateway.ask(ask).await.answer().await
}

#[tokio::test]
async fn only_who_is_allowed_and_not_denied_comes_in() {
    for (route, comes_in) in [
        ("allow = [\"127.0.0.1\"]", true),
        ("allow = [\"::ffff:127.0.0.0/104\"]", true),
        ("allow = [\"10.0.0.0/8\", \"::1\"]", false),
        ("deny = [\"10.0.0.0/8\"]", true),
        ("deny = [\"::ffff:127.0.0.1\"]", false),
        ("allow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.1\"]", false),
        ("allow = [\"::/0\"]", false),
    ] {
        let backend = Answering::with(OK).await;
        let gateway = Setup::to(&[backend.address]).route(route).start().await;
        let answer = gateway.fetch("/").await;
        let expected = if comes_in { (200, "") } else { (403, "forbidden") };
        assert_eq!((answer.status(), answer.code()), expected, "{route}");
        assert_eq!(backend.count(), usize::from(comes_in), "{route}");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_cannot_say_who_it_is() {
    let backend = Answering::with(OK).await;
    let route = "allow = [\"10.0.0.0/8\"]";
    let gateway = Setup::to(&[backend.address]).route(route).start().await;
    for claim in [
        "x-forwarded-for: 10.0.0.1\r\n",
        "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nx-forwarded-for: 10.0.0.1\r\n",
        "x_forwarded_for: 10.0.0.1\r\n",
        "x-real-ip: 10.0.0.1\r\n",
        "forwarded: for=10.0.0.1\r\n",
        "client-ip: 10.0.0.1\r\ntrue-client-ip: 10.0.0.1\r\ncf-connecting-ip: 10.0.0.1\r\n",
    ] {
        let answer = ask(&gateway, claim).await;
        assert_eq!((answer.status(), answer.code()), (403, "forbidden"), "{claim}");
    }
    assert_eq!(backend.count(), 0);
    // Nor who it is not.
    let gateway = Setup::to(&[backend.address]).route("deny = [\"127.0.0.1\"]").start().await;
    assert_eq!(ask(&gateway, "x-forwarded-for: 10.0.0.1\r\n").await.status(), 403);
}

#[tokio::test]
async fn behind_trusted_proxies_it_is_the_client_that_comes_in_or_not() {
    let backend = Answering::with(OK).await;
    let setup = Setup::to(&[backend.address])
        .top("trusted_proxies = [\"::ffff:127.0.0.1\", \"192.0.2.0/24\"]")
        .route(
            "allow = [\"10.0.0.0/8\", \"2001:db8::/32\", \"127.0.0.1\"]\ndeny = [\"10.6.6.0/24\"]",
        );
    let gateway = setup.start().await;
    for (fields, status) in [
        ("x-forwarded-for: 10.0.0.1\r\n", 200),
        ("x-forwarded-for: ::ffff:10.0.0.1\r\n", 200),
        ("x-forwarded-for: [2001:db8::7]:443\r\n", 200),
        ("x-forwarded-for: 10.0.0.1, 192.0.2.7\r\n", 200),
        ("forwarded: for=10.0.0.1\r\n", 200),
        // The proxy itself.
        ("", 200),
        ("x-forwarded-for: 10.6.6.6\r\n", 403),
        ("x-forwarded-for: ::ffff:10.6.6.6\r\n", 403),
        ("x-forwarded-for: 203.0.113.9\r\n", 403),
        // What a client says before the proxies do is not believed.
        ("x-forwarded-for: 10.0.0.1, 203.0.113.9\r\n", 403),
        ("x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 203.0.113.9, 192.0.2.7\r\n", 403),
        ("x-forwarded-for: 203.0.113.9\r\nforwarded: for=10.0.0.1\r\n", 403),
    ] {
        assert_eq!(ask(&gateway, fields).await.status(), status, "{fields}");
    }
    assert_eq!(backend.count(), 6);
}
