//! Several schemes on a route: any one lets in.

use crate::basic::{ask, says};
use crate::support::backend::{Answering, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::SOON;
use crate::support::{ports, wait};

/// Both of "secret".
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
const BCRYPT: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// Guarded by these, in this order.
async fn gateway(backend: &Answering, names: &str) -> Gateway {
    let tables = format!(
        "[auth.staff]\nkind = \"basic\"\nusers = {{ alice = \"{SHA}\" }}\nforward = {{ sub = \"x-user\" }}\nstrip = true\n\
         [auth.guests]\nkind = \"basic\"\nusers = {{ gustav = \"{BCRYPT}\" }}\nforward = {{ sub = \"x-guest\" }}\n\
         [auth.apps]\nkind = \"key\"\nkeys = {{ mobile = \"the-mobile-key\" }}\nforward = {{ sub = \"x-app\" }}\n\
         [[route]]\nname = \"open\"\npath = \"/open\"\nservice = \"backend\""
    );
    let setup = Setup::to(&[backend.address]).route(&format!("auth = [{names}]"));
    setup.tables(&tables).start().await
}

#[tokio::test]
async fn any_one_lets_in_whatever_their_order() {
    let backend = Answering::with(OK).await;
    let key = "x-api-key: the-mobile-key\r\n";
    for names in ["\"staff\", \"guests\", \"apps\"", "\"apps\", \"guests\", \"staff\""] {
        let gateway = gateway(&backend, names).await;
        let forged = "x-user: root\r\nx_guest: root\r\nX-App: root\r\n";
        for (lines, told) in [
            (says("alice", "secret"), ["alice", "", ""]),
            (says("gustav", "secret"), ["", "gustav", ""]),
            (key.to_owned(), ["", "", "mobile"]),
            (format!("x-api-key: wrong\r\n{}", says("gustav", "secret")), ["", "gustav", ""]),
            (format!("{key}{}", says("alice", "wrong")), ["", "", "mobile"]),
            (format!("{key}authorization: Bearer x\r\n"), ["", "", "mobile"]),
        ] {
            assert_eq!(ask(&gateway, &format!("{forged}{lines}")).await.status(), 200, "{lines}");
            let head = backend.requests().pop().expect("one").head;
            let heard = ["x-user", "x-guest", "x-app"].map(|name| head.all(name));
            assert_eq!(heard, told, "{names}: {lines}");
            assert_eq!(head.all("x_guest"), "");
        }
        for lines in [
            String::new(),
            says("alice", "wrong"),
            says("gustav", "") + "x-api-key: wrong\r\n",
            says("alice", "secret") + &says("gustav", "secret"),
        ] {
            assert_eq!(ask(&gateway, &lines).await.status(), 401, "{lines}");
        }
    }
}

#[tokio::test]
async fn what_only_a_guard_may_say_is_not_heard_behind_a_body_either() {
    let backend = Answering::with(OK).await;
    let gateway = gateway(&backend, "\"staff\", \"apps\"").await;
    let post = |path: &str, trailers: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-api-key: the-mobile-key\r\n\
             transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailers}\r\n"
        )
    };
    let forged = "x-user: root\r\nX_App: root\r\nx-sum: 1\r\nx.app: root\r\n";
    for (path, trailers, passed) in [
        ("/", forged, &["x-sum: 1"][..]),
        ("/", "x-app: root\r\n", &[]),
        ("/open", "x-app: root\r\n", &["x-app: root"]),
    ] {
        assert_eq!(gateway.ask(post(path, trailers)).await.answer().await.status(), 200);
        let request = backend.requests().pop().expect("one");
        assert_eq!(request.body, b"abc");
        let names: Vec<_> =
            request.trailers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(names, passed, "{trailers}");
    }
}

#[tokio::test]
async fn a_401_offers_every_way_in_and_the_log_says_why_each_was_none() {
    let backend = Answering::with(OK).await;
    let gateway = gateway(&backend, "\"apps\", \"staff\"").await;
    let refused = ask(&gateway, &says("alice", "wrong")).await;
    let offers =
        "ApiKey realm=\"apps\", header=\"x-api-key\"|Basic realm=\"staff\", charset=\"UTF-8\"";
    assert_eq!((refused.status(), refused.head.all("www-authenticate").as_str()), (401, offers));
    wait::until("both reasons", SOON, async || {
        let why = "auth.apps: no credentials; auth.staff: the password is wrong for";
        gateway.said().iter().any(|line| line.contains(why)).then_some(())
    })
    .await;
    // Each answer has its own offers only, also where one connection carries several.
    assert_eq!(ask(&gateway, "").await.head.all("www-authenticate"), offers);
    // A route without schemes asks for nothing, believes nothing and takes nothing away.
    let open = "GET /open HTTP/1.1\r\nhost: h\r\nx-user: root\r\nx-api-key: k\r\nauthorization: Basic x\r\n\r\n";
    assert_eq!(gateway.ask(open).await.answer().await.status(), 200);
    let head = backend.requests().pop().expect("one").head;
    assert_eq!(head.value("authorization"), Some("Basic x"));
    assert_eq!((head.value("x-user"), head.value("x-api-key")), (Some("root"), Some("k")));
}

#[tokio::test]
async fn a_refusal_of_who_is_known_names_the_caller_in_the_log() {
    let tables = "[auth.apps]\nkind = \"key\"\nkeys = { \"mobile app\" = \"the-mobile-key\" }";
    // Nobody listens there, so what comes in is refused behind the guards.
    let nowhere = ports::nobody();
    let setup = Setup::to(&[nowhere]).route("auth = [\"apps\"]").tables(tables);
    let gateway = setup.start().await;
    assert_eq!(ask(&gateway, "x-api-key: the-mobile-key\r\n").await.status(), 502);
    wait::until("the caller's name", SOON, async || {
        gateway.said().iter().any(|line| line.contains("caller=\"mobile app\"")).then_some(())
    })
    .await;
    ask(&gateway, "").await;
    let unknown = wait::until("the refusal", SOON, async || {
        gateway.said().into_iter().find(|line| line.contains("unauthenticated"))
    });
    assert!(!unknown.await.contains("caller="));
}
