use super::*;
use crate::config::{Problems, Section};
use crate::guard::auth;

fn section(text: &str) -> Section {
    let info = auth::INFOS.iter().find(|info| info.name == "forward").unwrap();
    Section::from_toml("auth.ext", info, text).unwrap_or_else(|e| panic!("{e}"))
}

fn read(text: &str) -> Result<Forward, String> {
    let section = section(text);
    let mut problems = Problems::new();
    let setting = Setting { name: "ext", state: None };
    let forward = Forward::from_table(setting, &mut section.read(&mut problems));
    forward.filter(|_| problems.is_empty()).ok_or_else(|| problems.to_string())
}

#[test]
fn every_key_is_read_and_has_its_default() {
    let read_one = read("kind = 'forward'\nurl = 'http://authz/check?a=b'").unwrap();
    assert_eq!(read_one.uri, "http://authz/check?a=b");
    assert_eq!(read_one.timeout, Duration::from_secs(2));
    assert_eq!(*read_one.request_headers, [AUTHORIZATION, COOKIE]);
    assert_eq!(read_one.headers(), [] as [HeaderName; 0]);
    let all = read(
        "kind = 'forward'\nurl = 'https://authz:8443/check'\ntimeout = '300ms'\nrequest_headers = ['X-Key']\n\
         response_headers = ['X-User', 'x-groups']\ntls = { server_name = 'authz.internal', verify = false }",
    )
    .unwrap();
    assert_eq!(all.timeout, Duration::from_millis(300));
    assert_eq!(*all.request_headers, ["x-key"]);
    assert_eq!(all.headers(), ["x-user", "x-groups"]);
    assert!(read("kind = 'forward'\nurl = 'http://a'\nrequest_headers = []").is_ok());
}

#[test]
fn what_cannot_be_used_is_a_problem_at_its_place() {
    for (text, expected) in [
        ("timeout = '1s'", "forward needs `url`"),
        ("url = 'authz/check'", "not the address of a service"),
        ("url = 'ftp://authz'", "not the address of a service"),
        ("url = 'http:///check'", "not the address of a service"),
        ("url = 'http://authz/#a'", "not the address of a service"),
        ("url = 'http://me:sesame@authz/'", "holds a user"),
        ("url = 'http://a'\ntimeout = '0s'", "more than nothing"),
        ("url = 'http://a'\nrequest_headers = ['content-length']", "may not name content-length"),
        ("url = 'http://a'\nrequest_headers = ['Host']", "may not name host"),
        (
            "url = 'http://a'\nresponse_headers = ['X-Forwarded-For']",
            "may not name x-forwarded-for",
        ),
        ("url = 'http://a'\nresponse_headers = ['x-user', 'X-User']", "names x-user twice"),
        ("url = 'http://a'\nresponse_headers = ['a b']", "cannot be a header's name"),
        ("url = 'https://a'\ntls = { server_name = 'not a name' }", "tls.server_name"),
    ] {
        let said = read(&format!("kind = 'forward'\n{text}")).map(|_| ()).unwrap_err();
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn the_first_header_that_came_names_the_caller() {
    let read = read("kind = 'forward'\nurl = 'http://a'\nresponse_headers = ['x-user', 'x-group']");
    let forward = read.unwrap();
    let named = |lines: &[(&'static str, &[u8])]| {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let caller = forward.caller(&map);
        assert_eq!(caller.claim("sub").unwrap_or("-"), &*caller.name);
        (caller.name.to_string(), caller.headers.len())
    };
    assert_eq!(
        named(&[("x-user", b"alice"), ("x-group", b"a"), ("x-group", b"b")]),
        ("alice".into(), 3)
    );
    assert_eq!(named(&[("x-group", b"a"), ("x-other", b"b")]), ("a".into(), 1));
    assert_eq!(named(&[]), ("-".into(), 0));
    assert_eq!(named(&[("x-user", b"\xff")]), ("-".into(), 1));
    assert_eq!(named(&[("x-user", &[b'x'; 300])]), ("-".into(), 1));
}

#[tokio::test]
async fn no_more_are_asked_about_than_there_are_places_and_that_is_said_once() {
    let forward = read("kind = 'forward'\nurl = 'http://127.0.0.1:1'").unwrap();
    let client = Client::with(&forward.tls, CONNECTIONS, BODY_BYTES);
    let (asking, said) = (Cell::new(0), Cell::new((None, 0)));
    let window = Window(Rc::new(Asking { forward: Arc::new(forward), client, asking, said }));
    let (parts, ()) = Request::new(()).into_parts();
    let peer = crate::exchange::Client::new(([127, 0, 0, 1], 9).into(), 0, 80, false);
    let exchange = Exchange::begin(&peer, Method::GET, HeaderValue::from_static("id"));
    let check = || window.check(&parts, &exchange);
    let waiting: Vec<_> = (0..ASKING).map(|_| check()).collect();
    assert!(waiting.iter().all(|verdict| matches!(verdict, Verdict::Ask(_))));
    let unsaid = (0..100).map(|_| {
        assert!(matches!(check(), Verdict::Out(Denied::Busy { .. })));
        window.0.said.get().1
    });
    assert!(unsaid.max() > Some(0), "a line a second, not one each");
    // Also one that was never answered gives its place back.
    drop(waiting);
    assert!(matches!(check(), Verdict::Ask(_)));
    assert_eq!(window.0.asking.get(), 0);
}
