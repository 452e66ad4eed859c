//! A route's whole rewrite, and what no client can get past it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::model::{PathPattern, PathRewrite, RetryConfig, Segment};

fn route() -> RouteConfig {
    RouteConfig {
        name: "orders".to_owned(),
        source: "test:1".to_owned(),
        paths: vec![PathPattern::Prefix(vec![Segment::Literal("orders".to_owned())])],
        hosts: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listen: Vec::new(),
        priority: 0,
        service: "orders".to_owned(),
        path: PathRewrite::StripPrefix,
        preserve_host: true,
        timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        retry: RetryConfig::default(),
        upgrade: vec!["websocket".to_owned()],
        guard: crate::config::model::GuardConfig::default(),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
    }
}

fn exchange(address: IpAddr) -> Exchange {
    Exchange {
        id: HeaderValue::from_static("the-id"),
        address,
        route: None,
        method: Method::GET,
        trusted: false,
        tls: false,
        may_switch: false,
        preflight: None,
        began: Instant::now(),
        refusal: None,
        caller: None,
        marks: Vec::new(),
        hints: Vec::new(),
        admitted: std::cell::Cell::new(false),
        cause: None,
        answerer: None,
        json: false,
        stopped: false,
        attempts: 0,
        retries: Default::default(),
        suppressed: None,
        counted: std::cell::Cell::new(true),
    }
}

fn client(trusted: bool) -> Client {
    Client {
        peer: "192.0.2.7:4711".parse().unwrap(),
        peer_value: HeaderValue::from_static("192.0.2.7"),
        trusted,
        listener: 0,
        port_value: HeaderValue::from_static("8080"),
        tls: false,
    }
}

fn parts(lines: &[(&str, &str)]) -> Parts {
    let request = Request::get("/orders/7?q=1");
    let request =
        lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_request_is_told_stripped_and_edited_in_that_order() {
    let mut config = route();
    config.request_headers.set =
        vec![(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"))];
    config.request_headers.remove = vec![HeaderName::from_static("x-real-ip")];
    let rewrite = Rewrite::new(&config, &[]).unwrap();
    let mut parts = parts(&[
        ("host", "shop"),
        ("connection", "x-gone"),
        ("x-gone", "1"),
        ("x-forwarded-prefix", "/evil"),
        ("x-request-id", "theirs"),
    ]);
    let client = client(false);
    rewrite.request(&mut parts, &exchange(client.peer.ip()), &client, 0);
    assert_eq!(parts.uri, "/7?q=1");
    let mut lines: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            ("host", "shop"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "shop"),
            ("x-forwarded-port", "8080"),
            ("x-forwarded-prefix", "/orders"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "the-id"),
        ]
    );
}

#[test]
fn a_trusted_peers_prefix_stands_before_ours() {
    let rewrite = Rewrite::new(&route(), &[]).unwrap();
    let mut parts = parts(&[("x-forwarded-prefix", "/shop")]);
    rewrite.request(&mut parts, &exchange("1.1.1.1".parse().unwrap()), &client(true), 0);
    let prefixes: Vec<_> = parts.headers.get_all("x-forwarded-prefix").iter().collect();
    assert_eq!(prefixes, ["/shop", "/orders"]);
    assert_eq!(parts.headers["x-real-ip"], "1.1.1.1");
}

#[test]
fn an_answer_carries_the_id_and_the_edits_come_last() {
    let mut config = route();
    config.response_headers.remove = vec![HeaderName::from_static("server")];
    let rewrite = Rewrite::new(&config, &[]).unwrap();
    let sent = [("server", "x"), ("keep-alive", "1"), ("x-request-id", "theirs"), ("etag", "1")];
    let mut headers = parts(&sent).headers;
    rewrite.response(StatusCode::OK, &mut headers, &exchange("1.1.1.1".parse().unwrap()));
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["etag", "x-request-id"]);
    assert_eq!(headers["x-request-id"], "the-id");
}

const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "content-length",
];
const PROTECTED: [&str; 3] = ["host", "authorization", "cookie"];
const CLAIMS: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "forwarded",
    "x-request-id",
];

/// A claim with any of its hyphens and cases spelled otherwise.
fn spelled() -> impl Strategy<Value = String> {
    let signs = prop::collection::vec(select(vec!['-', '_', '.', '~', '+']), 4);
    (select(CLAIMS.to_vec()), signs, any::<bool>()).prop_map(|(name, signs, upper)| {
        let mut signs = signs.into_iter();
        let name: String =
            name.chars().map(|c| if c == '-' { signs.next().unwrap() } else { c }).collect();
        if upper { name.to_ascii_uppercase() } else { name }
    })
}

fn lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let plain = |names: &[&str]| select(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    let name =
        prop_oneof![plain(&HOP_BY_HOP), plain(&PROTECTED), spelled(), plain(&["x-a", "x-b"])];
    let named = prop_oneof![plain(&HOP_BY_HOP), plain(&PROTECTED[..2]), spelled(), plain(&["X-A"])];
    let connection = prop::collection::vec(named, 0..4)
        .prop_map(|names| ("connection".to_owned(), names.join(", ")));
    let other = name.prop_map(|name| (name, "forged".to_owned()));
    prop::collection::vec(prop_oneof![1 => connection, 5 => other], 0..16)
}

proptest! {
    #[test]
    fn nothing_forged_and_nothing_hop_by_hop_is_sent_on(lines in lines()) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (&**n, &**v)).collect();
        let mut parts = parts(&lines);
        let before = parts.headers.clone();
        let client = client(false);
        let rewrite = Rewrite::new(&route(), &[]).unwrap();
        rewrite.request(&mut parts, &exchange(client.peer.ip()), &client, 0);
        for name in HOP_BY_HOP {
            prop_assert!(!parts.headers.contains_key(name), "{} in {:?}", name, parts.headers);
        }
        for name in &PROTECTED[..2] {
            let lost = before.get_all(*name).iter().ne(parts.headers.get_all(*name).iter());
            prop_assert!(!lost, "{} of {:?}", name, before);
        }
        for name in before.get_all("connection").iter().filter_map(|v| v.to_str().ok()) {
            let taken = name.split(", ").any(|name| name == "X-A");
            prop_assert!(!taken || !parts.headers.contains_key("x-a"));
        }
        let alike = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        for (name, value) in &parts.headers {
            let is_claim = CLAIMS.contains(&&*alike(name.as_str()));
            // The Host is the client's to choose.
            if is_claim && name != "x-forwarded-host" {
                prop_assert!(value != "forged", "{} in {:?}", name, parts.headers);
            }
            prop_assert!(!is_claim || CLAIMS.contains(&name.as_str()), "{}", name);
        }
    }
}
