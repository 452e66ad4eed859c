//! The keys of an identity provider that comes, goes and changes its mind.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;

use crate::jwt::{Issuer, answer, challenge, claims, encode, with_token};
use crate::support::backend::{Answering, Backend, OK};
use crate::support::gateway::{Gateway, Setup};
use crate::support::peer::{Peer, SOON};
use crate::support::{ports, wait};

/// A provider whose answer can be changed.
struct Provider {
    server: Answering,
    says: Arc<Mutex<String>>,
}

impl Provider {
    async fn new(says: String) -> Self {
        let says = Arc::new(Mutex::new(says));
        let said = Arc::clone(&says);
        let server = Answering::by(move |_| said.lock().unwrap().clone().into_bytes()).await;
        Self { server, says }
    }

    fn say(&self, says: String) {
        *self.says.lock().unwrap() = says;
    }
}

/// A set of RSA keys with these names.
fn set(keys: &[(&Issuer, &str)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(issuer, kid)| issuer.rsa_jwk(kid)).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

async fn gateway(backend: &Answering, provider: SocketAddr, state: Option<&Path>) -> Gateway {
    let state = state.map_or("false".to_owned(), |path| format!("{path:?}"));
    Setup::to(&[backend.address])
        .top(&format!("state_dir = {state}"))
        .route("auth = [\"staff\"]")
        .tables(&format!("[auth.staff]\nkind = \"jwt\"\njwks = \"http://{provider}/keys\""))
        .start()
        .await
}

const AWAY: &str =
    "Bearer error=\"invalid_token\", error_description=\"the keys to check it are not at hand\"";
const UNKNOWN: &str =
    "Bearer error=\"invalid_token\", error_description=\"the token's key is not known\"";

async fn says(gateway: &Gateway, text: &str) {
    let is_said = || gateway.said().iter().any(|line| line.contains(text));
    wait::until(text, SOON * 2, async || is_said().then_some(())).await;
}

/// The first token of all: on a busy machine the keys may be there later than a request waits for them.
async fn comes_in(gateway: &Gateway, token: &str) {
    wait::until("the keys are there", SOON, async || {
        (with_token(gateway, token).await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_key_is_fetched_for_the_first_token_that_names_it_and_the_old_one_is_forgotten() {
    let (old, new) = (Issuer::shared(), Issuer::new());
    let backend = Answering::with(OK).await;
    let provider = Provider::new(answer(&set(&[(old, "a")]))).await;
    let gateway = gateway(&backend, provider.server.address, None).await;
    let (with_old, with_new) =
        (old.token("RS256", "a", &claims("")), new.token("RS256", "b", &claims("")));
    comes_in(&gateway, &with_old).await;
    assert_eq!(provider.server.count(), 1);
    provider.say(answer(&set(&[(&new, "b")])));
    // Within the cool-down the token is refused, and nobody asks.
    assert_eq!(challenge(&with_token(&gateway, &with_new).await), UNKNOWN);
    assert_eq!(with_token(&gateway, &with_old).await.status(), 200);
    assert_eq!(provider.server.count(), 1);
    wait::until("the new key is known", SOON * 3, async || {
        (with_token(&gateway, &with_new).await.status() == 200).then_some(())
    })
    .await;
    assert_eq!(provider.server.count(), 2);
    // It was remembered as good; with its key went that.
    assert_eq!(challenge(&with_token(&gateway, &with_old).await), UNKNOWN);
}

/// A key without a name may be any token's; that it is not this one's says nothing of the provider's next.
#[tokio::test]
async fn a_name_that_nobody_knows_is_asked_for_also_where_keys_have_none() {
    let (old, new) = (Issuer::shared(), Issuer::new());
    let nameless = |issuer: &Issuer| set(&[(issuer, "a")]).replace("\"kid\":\"a\",", "");
    let backend = Answering::with(OK).await;
    let provider = Provider::new(answer(&nameless(old))).await;
    let gateway = gateway(&backend, provider.server.address, None).await;
    comes_in(&gateway, &old.token("RS256", "a", &claims(""))).await;
    provider.say(answer(&nameless(&new)));
    let with_new = new.token("RS256", "b", &claims(""));
    wait::until("the new key is known", SOON * 3, async || {
        (with_token(&gateway, &with_new).await.status() == 200).then_some(())
    })
    .await;
    assert_eq!(provider.server.count(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_names_asks_the_provider_once_in_ten_seconds() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let provider = Provider::new(answer(&set(&[(issuer, "a")]))).await;
    let gateway = gateway(&backend, provider.server.address, None).await;
    let began = std::time::Instant::now();
    let mut floods = Vec::new();
    for flood in 0..8 {
        let address = gateway.web();
        floods.push(tokio::spawn(async move {
            let mut client = Peer::connect(address).await;
            for n in 0..200 {
                let header = encode(format!(r#"{{"alg":"RS256","kid":"{flood}-{n}"}}"#));
                let ask = format!(
                    "GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {header}.e30.AAAA\r\n\r\n"
                );
                client.send(ask).await;
                assert_eq!(client.answer().await.status(), 401);
            }
        }));
    }
    for flood in floods {
        flood.await.unwrap();
    }
    let most = 2 + began.elapsed().as_secs() / 10;
    assert!(provider.server.count() as u64 <= most, "{} fetches", provider.server.count());
    let good = issuer.token("RS256", "a", &claims(""));
    assert_eq!(with_token(&gateway, &good).await.status(), 200);
}

#[tokio::test]
async fn a_provider_that_comes_later_is_noticed() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let address = ports::nobody();
    let gateway = gateway(&backend, address, None).await;
    let token = issuer.token("RS256", "a", &claims(""));
    let refused = with_token(&gateway, &token).await;
    assert_eq!((refused.status(), challenge(&refused)), (401, AWAY));
    says(&gateway, "no token can be checked").await;
    let provider = TcpListener::bind(address).await.unwrap();
    let set = answer(&set(&[(issuer, "a")]));
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = provider.accept().await {
            let mut peer = Peer::new(stream);
            peer.try_request().await;
            peer.try_send(&set).await.ok();
        }
    });
    wait::until("the provider is noticed", SOON * 3, async || {
        (with_token(&gateway, &token).await.status() == 200).then_some(())
    })
    .await;
    says(&gateway, "answers again").await;
    serving.abort();
}

#[tokio::test]
async fn a_request_waits_for_the_first_keys_but_not_for_ever() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let token = issuer.token("RS256", "a", &claims(""));
    let ask = format!("GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\r\n");
    let provider = Backend::new().await;
    let gateway = gateway(&backend, provider.address, None).await;
    let (mut asked, _) = provider.request().await;
    let mut waiting = gateway.ask(&ask).await;
    gateway.metric_is("frontgate_in_flight", &["route=\"all\""], 1.0).await;
    asked.send(answer(&set(&[(issuer, "a")]))).await;
    assert_eq!(waiting.answer().await.status(), 200);

    let silent = Backend::new().await;
    let gateway = self::gateway(&backend, silent.address, None).await;
    let refused = gateway.ask(&ask).await.answer().await;
    assert_eq!((refused.status(), challenge(&refused)), (401, AWAY));
}

#[tokio::test]
async fn garbage_changes_nothing_and_is_said_once() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let good = set(&[(issuer, "a")]);
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{good}");
    for (garbage, why) in [
        (answer("<html><body>maintenance</body></html>"), "no set of keys"),
        (answer(&good[..good.len() / 2]), "no set of keys"),
        (answer(r#"{"keys":{"a":1}}"#), "no set of keys"),
        (answer(r#"{"keys":[7,null,"x",{"kty":"RSA"}]}"#), "no key that can be used"),
        (answer(r#"{"keys":[]}"#), "no key that can be used"),
        (
            answer(&format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(10 << 20))),
            "longer than 262144 bytes",
        ),
        (OK.replace("200 OK", "500 Oops"), "500 Internal Server Error"),
        (OK.replace("200 OK", "302 Found"), "redirects are not followed"),
        ("hello\r\n\r\n".to_owned(), "the connection broke"),
        (cut, "no complete answer within 5s"),
        (String::new(), "the connection broke"),
    ] {
        let provider = Provider::new(garbage.clone()).await;
        let gateway = gateway(&backend, provider.server.address, None).await;
        let token = issuer.token("RS256", "a", &claims(""));
        let shown = &garbage[..garbage.len().min(90)];
        assert_eq!(challenge(&with_token(&gateway, &token).await), AWAY, "{shown}");
        says(&gateway, why).await;
        provider.say(answer(&good));
        wait::until("it is itself again", SOON * 2, async || {
            (with_token(&gateway, &token).await.status() == 200).then_some(())
        })
        .await;
        let warnings = gateway.said().iter().filter(|line| line.contains("no keys from")).count();
        assert_eq!(warnings, 1, "{shown}");
    }
}

/// An answer that holds for the shortest time, so that another is asked for soon.
fn short(set: &str) -> String {
    answer(set).replacen("\r\n", "\r\ncache-control: max-age=1\r\n", 1)
}

#[tokio::test]
async fn the_old_keys_serve_while_the_provider_fails() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let provider = Provider::new(short(&set(&[(issuer, "a")]))).await;
    let gateway = gateway(&backend, provider.server.address, None).await;
    let token = |n: u32| issuer.token("RS256", "a", &claims(&format!("\"n\":{n}")));
    comes_in(&gateway, &token(0)).await;
    provider.say(answer("<html>"));
    // A name that nobody knows makes it ask before the time, once it may.
    let unknown = issuer.token("RS256", "z", &claims(""));
    wait::until("it asks again", SOON * 3, async || {
        assert_eq!(with_token(&gateway, &unknown).await.status(), 401);
        (provider.server.count() > 1).then_some(())
    })
    .await;
    says(&gateway, "the old ones serve").await;
    for n in 1..20 {
        assert_eq!(with_token(&gateway, &token(n)).await.status(), 200);
    }
    // Failures are followed by pauses.
    assert!(provider.server.count() < 6, "{} fetches", provider.server.count());
}

#[tokio::test]
async fn a_restart_while_the_provider_is_away_finds_the_keys_of_before() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::new(answer(&set(&[(issuer, "a")]))).await;
    let address = provider.server.address;
    let token = issuer.token("RS256", "a", &claims(""));
    let first = gateway(&backend, address, Some(folder.path())).await;
    comes_in(&first, &token).await;
    let copy = folder.path().join("jwks-staff");
    wait::until("a copy is written", SOON, async || copy.exists().then_some(())).await;
    drop(first);

    // It refuses, or is silent: either way the copy serves.
    let silent = Backend::new().await;
    let text = std::fs::read_to_string(&copy).unwrap();
    assert!(text.starts_with("frontgate jwks 1 "), "{text}");
    provider.say(String::new());
    let second = gateway(&backend, address, Some(folder.path())).await;
    assert_eq!(with_token(&second, &token).await.status(), 200);
    says(&second, "the keys of an earlier run serve").await;
    drop(second);

    // The keys of one provider are not those of another, nor are damaged ones any.
    let other = gateway(&backend, silent.address, Some(folder.path())).await;
    assert_eq!(challenge(&with_token(&other, &token).await), AWAY);
    says(&other, "it is of another provider").await;
    drop(other);
    std::fs::write(&copy, text.replace("AQAB", "AQAC")).unwrap();
    let third = gateway(&backend, address, Some(folder.path())).await;
    assert_eq!(challenge(&with_token(&third, &token).await), AWAY);
    says(&third, "its checksum does not fit").await;
}

#[tokio::test]
async fn a_silent_provider_does_not_keep_the_copy_from_serving() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let token = issuer.token("RS256", "a", &claims(""));
    let address = ports::nobody();
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let first = gateway(&backend, address, Some(folder.path())).await;
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer::new(stream);
        peer.request().await;
        peer.send(answer(&set(&[(issuer, "a")]))).await;
        comes_in(&first, &token).await;
        let copy = folder.path().join("jwks-staff");
        wait::until("a copy is written", SOON, async || copy.exists().then_some(())).await;
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let second = gateway(&backend, address, Some(folder.path())).await;
    let (_silent, _) = listener.accept().await.unwrap();
    wait::until("the copy serves", SOON, async || {
        (with_token(&second, &token).await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn discovery_names_the_keys_and_must_name_the_same_issuer() {
    let issuer = Issuer::shared();
    let backend = Answering::with(OK).await;
    let says = Arc::new(Mutex::new((String::new(), String::new())));
    let said = Arc::clone(&says);
    let keys = set(&[(issuer, "a")]);
    let provider = Answering::by(move |request| {
        let (issuer, uri) = said.lock().unwrap().clone();
        if request.head.start.starts_with("GET /realm/.well-known/openid-configuration ") {
            answer(&format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}","x":1}}"#)).into_bytes()
        } else if request.head.start.starts_with("GET /certs ") {
            answer(&keys).into_bytes()
        } else {
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec()
        }
    })
    .await;
    let url = format!("http://{}/realm", provider.address);
    let setup = Setup::to(&[backend.address])
        .top("state_dir = false")
        .route("auth = [\"staff\"]")
        .tables(&format!("[auth.staff]\nkind = \"jwt\"\ndiscovery = \"{url}\""));
    let certs = format!("http://{}/certs", provider.address);
    let claims = |iss: &str| claims("").replace("https://idp", iss);
    for (iss, uri, why) in [
        ("http://thief", certs.as_str(), "is of the issuer"),
        (&*url, "http://keys.example.com/certs", "needs https://"),
        (&*url, "ftp://x", "needs https://"),
    ] {
        *says.lock().unwrap() = (iss.to_owned(), uri.to_owned());
        let gateway = setup.start().await;
        let token = issuer.token("RS256", "a", &claims(&url));
        assert_eq!(challenge(&with_token(&gateway, &token).await), AWAY, "{iss} {uri}");
        self::says(&gateway, why).await;
    }
    *says.lock().unwrap() = (format!("{url}/"), certs);
    let gateway = setup.start().await;
    for (iss, status) in [(&*url, 200), (&format!("{url}/"), 200), ("https://idp", 401)] {
        let token = issuer.token("RS256", "a", &claims(iss));
        assert_eq!(with_token(&gateway, &token).await.status(), status, "{iss}");
    }
}
