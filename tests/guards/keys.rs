//! Keys of callers.

use crate::basic::ask;
use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};

async fn gateway(backend: &Answering, auth: &str) -> Gateway {
    let auth = format!(
        "[auth.apps]\nkind = \"key\"\nkeys = {{ mobile = \"the-mobile-key\", web = \"the web's key\" }}\n{auth}"
    );
    Setup::to(&[backend.address]).route("auth = [\"apps\"]").tables(&auth).start().await
}

#[tokio::test]
async fn a_key_lets_in_and_tells_who_it_is() {
    let backend = Answering::with(OK).await;
    let gateway = gateway(&backend, "forward = { sub = \"x-app\" }").await;
    for (key, name) in [("the-mobile-key", "mobile"), ("the web's key", "web")] {
        let answer = ask(&gateway, &format!("X-API-Key: {key}\r\nx-app: admin\r\n")).await;
        assert_eq!(answer.status(), 200);
        let asked = backend.requests().pop().expect("one");
        assert_eq!(asked.head.value("x-app"), Some(name));
        assert_eq!(asked.head.value("x-api-key"), Some(key));
    }
    for lines in [
        "",
        "x-api-key:\r\n",
        "x-api-key: the-mobile-ke\r\n",
        "x-api-key: the-mobile-keys\r\n",
        "x-api-key: THE-MOBILE-KEY\r\n",
        "x-api-key: the-mobile-key, the-mobile-key\r\n",
        "x-api-key: the-mobile-key\r\nx-api-key: the-mobile-key\r\n",
        "x-api-key: the-mobile-key\r\nx-api-key: another-key\r\n",
        "x-api-key: mobile\r\n",
        "x-api-key: \"the-mobile-key\"\r\n",
        "x_api_key: the-mobile-key\r\n",
        "authorization: the-mobile-key\r\n",
        "cookie: x-api-key=the-mobile-key\r\n",
    ] {
        let refused = ask(&gateway, lines).await;
        assert_eq!((refused.status(), refused.code()), (401, "unauthenticated"), "{lines}");
        let challenge = refused.head.value("www-authenticate");
        assert_eq!(challenge, Some("ApiKey realm=\"apps\", header=\"x-api-key\""));
    }
    assert_eq!(backend.count(), 2);
    let said = gateway.said().join("\n");
    assert!(said.contains("auth.apps: nobody has this key"), "{said}");
    assert!(!said.contains("mobile-key"), "{said}");
}

#[tokio::test]
async fn several_places_carry_one_key_or_are_refused() {
    let backend = Answering::with(OK).await;
    let from = "from = [\"header:x-api-key\", \"cookie:key\", \"query:key\"]";
    let gateway = gateway(&backend, from).await;
    let asks = async |query: &str, lines: &str| {
        let ask = format!("GET /{query} HTTP/1.1\r\nhost: h\r\n{lines}connection: close\r\n\r\n");
        gateway.ask(ask).await.answer().await.status()
    };
    assert_eq!(asks("?key=the-mobile-key", "").await, 200);
    assert_eq!(asks("?key=the+web%27s+key", "").await, 200);
    assert_eq!(asks("", "cookie: a=b; key=the-mobile-key\r\n").await, 200);
    assert_eq!(asks("?key=the-mobile-key", "x-api-key: the-mobile-key\r\n").await, 200);
    let others = "x-api-key: the-mobile-key\r\ncookie: key=the web's key\r\n";
    assert_eq!(asks("", others).await, 401);
    assert_eq!(asks("?key=wrong", "x-api-key: the-mobile-key\r\n").await, 401);
    assert_eq!(asks("?key=the-mobile-key&key=the-mobile-key", "").await, 401);
    assert_eq!(asks("?key=the-mobile-key&k%65y=x", "").await, 401);
    assert_eq!(asks("?key=", "x-api-key: the-mobile-key\r\n").await, 200);
}

#[tokio::test]
async fn a_stripped_key_is_gone_and_nothing_else() {
    let backend = Answering::with(OK).await;
    let auth = "from = [\"header:x-api-key\", \"cookie:key\", \"query:key\"]\nstrip = true";
    let gateway = gateway(&backend, auth).await;
    let asks = async |query: &str, lines: &str| {
        let ask = format!("GET /a{query} HTTP/1.1\r\nhost: h\r\n{lines}connection: close\r\n\r\n");
        let status = gateway.ask(ask).await.answer().await.status();
        (status, backend.requests().pop().map(|asked| asked.head).unwrap_or_default())
    };
    let (status, head) = asks("?b=%20&key=the-mobile-key&c", "x-a: 1\r\n").await;
    assert_eq!((status, &*head.start), (200, "GET /a?b=%20&c HTTP/1.1"));
    let (status, head) = asks("?key=the-mobile-key", "cookie: b=2;  c=\"3\"\r\n").await;
    assert_eq!((status, &*head.start), (200, "GET /a HTTP/1.1"));
    assert_eq!(head.value("cookie"), Some("b=2;  c=\"3\""));
    let (status, head) = asks("?b", "cookie: b=2; key=the-mobile-key;  c=\"3\"\r\n").await;
    assert_eq!((status, head.value("cookie")), (200, Some("b=2;  c=\"3\"")));
    let (status, head) = asks("", "x-api-key: the-mobile-key\r\ncookie: b=2\r\n").await;
    assert_eq!((status, head.value("x-api-key"), head.value("cookie")), (200, None, Some("b=2")));
    // Only one of two places would be cleared.
    assert_eq!(asks("?key=the-mobile-key", "x-api-key: the-mobile-key\r\n").await.0, 401);
    assert!(!backend.requests().iter().any(|asked| asked.head.raw.contains("mobile-key")));
}
