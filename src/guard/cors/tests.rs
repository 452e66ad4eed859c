use proptest::prelude::*;

use super::*;
use crate::config::model::OriginPattern;

fn exact(text: &str) -> OriginPattern {
    OriginPattern::Exact(text.to_owned())
}

fn below(before: &str, behind: &str) -> OriginPattern {
    OriginPattern::Subdomains { before: before.to_owned(), behind: behind.to_owned() }
}

fn cors(origins: Vec<OriginPattern>) -> Cors {
    Cors::new(&config(origins))
}

fn config(origins: Vec<OriginPattern>) -> CorsConfig {
    CorsConfig {
        origins,
        methods: Vec::new(),
        headers: CorsHeaders::These(Vec::new()),
        expose: Vec::new(),
        credentials: false,
        max_age: None,
    }
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name, HeaderValue::try_from(*value).unwrap());
    }
    map
}

#[test]
fn an_origin_is_what_is_written_and_nothing_that_looks_like_it() {
    let origins = Origins::new(&[
        exact("https://app.example.com"),
        exact("http://localhost:3000"),
        below("https://", ".example.org"),
        below("https://", ".example.net:8443"),
        exact("null"),
    ]);
    for good in [
        "https://app.example.com",
        "HTTPS://App.Example.COM",
        "http://localhost:3000",
        "https://a.example.org",
        "https://a.b-c.example.org",
        "https://A.EXAMPLE.ORG",
        "https://x.example.net:8443",
        "null",
    ] {
        assert!(origins.allow(good.as_bytes()), "{good}");
    }
    for bad in [
        "",
        "*",
        "http://app.example.com",
        "https://app.example.com:443",
        "https://app.example.com.",
        "https://app.example.com/",
        "https://app.example.com.evil.com",
        "https://evil.com#https://app.example.com",
        "https://localhost:3000",
        "http://localhost:30000",
        "http://localhost",
        "https://example.org",
        "https://.example.org",
        "https://evil-example.org",
        "https://evilexample.org",
        "https://a..example.org",
        "https://user@a.example.org",
        "https://evil.com/.example.org",
        "https://evil.com?.example.org",
        "https://evil.com:1.example.org",
        "https://evil.com\\.example.org",
        "https://evil.com#.example.org",
        "https://[::1].example.org",
        "https://\u{e9}.example.org",
        "https://a b.example.org",
        "http://a.example.org",
        "https://a.example.org:444",
        "https://x.example.net",
        "https://.example.net:8443",
        "https:/",
        "https://",
    ] {
        assert!(!origins.allow(bad.as_bytes()), "{bad}");
    }
    assert!(Origins::new(&[OriginPattern::Any]).allow(b"null"));
}

#[test]
fn several_origins_are_none() {
    let cors = cors(vec![exact("https://a.example")]);
    let (one, other) = ((ORIGIN, "https://a.example"), (ORIGIN, "https://b.example"));
    assert!(cors.allowed(&headers(std::slice::from_ref(&one))).is_some());
    assert!(cors.allowed(&headers(&[one.clone(), one.clone()])).is_none());
    assert!(cors.allowed(&headers(&[other, one])).is_none());
}

#[test]
fn only_a_question_about_a_method_is_a_preflight() {
    let ask = |method: Method, lines: &[(HeaderName, &str)]| {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        (parts.method, parts.headers) = (method, headers(lines));
        preflight(&parts)
    };
    let (origin, method) = ((ORIGIN, "https://a"), (ACCESS_CONTROL_REQUEST_METHOD, "PUT"));
    let both = [origin.clone(), method.clone()];
    assert_eq!(ask(Method::OPTIONS, &both), Some(Method::PUT));
    assert_eq!(ask(Method::GET, &both), None);
    assert_eq!(ask(Method::OPTIONS, std::slice::from_ref(&origin)), None);
    assert_eq!(ask(Method::OPTIONS, &[method]), None);
    assert_eq!(ask(Method::OPTIONS, &[origin, (ACCESS_CONTROL_REQUEST_METHOD, "a b")]), None);
}

#[test]
fn what_an_answer_varies_by_is_added_to_what_it_did() {
    let more = || HeaderValue::from_static("Origin");
    for (said, expected) in [
        (&[][..], &["Origin"][..]),
        (&["accept-encoding"], &["accept-encoding, Origin"]),
        (&["accept, ORIGIN"], &["accept, ORIGIN"]),
        (&["*"], &["*"]),
        (&[""], &["Origin"]),
        (&["accept", "cookie"], &["accept, Origin", "cookie"]),
        (&["accept", "origin"], &["accept", "origin"]),
    ] {
        let lines: Vec<_> = said.iter().map(|value| (VARY, *value)).collect();
        let mut map = headers(&lines);
        vary(&mut map, more());
        assert_eq!(map.get_all(VARY).iter().collect::<Vec<_>>(), expected, "{said:?}");
    }
}

/// The same in words: split at the first `://`, the host by its labels.
fn naively(pattern: &OriginPattern, origin: &str) -> bool {
    let origin = origin.to_ascii_lowercase();
    match pattern {
        OriginPattern::Any => true,
        OriginPattern::Exact(exact) => *exact == origin,
        OriginPattern::Subdomains { before, behind } => {
            let Some(rest) = origin.strip_prefix(before.as_str()) else { return false };
            let Some(labels) = rest.strip_suffix(behind.as_str()) else { return false };
            let sign = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            labels.split('.').all(|label| !label.is_empty() && label.chars().all(sign))
        }
    }
}

proptest! {
    #[test]
    fn origins_match_as_in_words(
        origin in "(https?://|HTTPS://)?([aA]|evil-|evil|user@|x/|\\.){0,3}(\\.?[eE]xample\\.com)?(:8443|:443|/|\\.)?",
    ) {
        for pattern in [
            exact("https://example.com"),
            exact("https://a.example.com:8443"),
            below("https://", ".example.com"),
            below("https://", ".example.com:8443"),
        ] {
            let said = Origins::new(std::slice::from_ref(&pattern)).allow(origin.as_bytes());
            prop_assert_eq!(said, naively(&pattern, &origin), "{:?} {:?}", pattern, origin);
        }
    }

    #[test]
    fn any_bytes_are_an_origin_or_not(origin in proptest::collection::vec(any::<u8>(), 0..40)) {
        let pattern = below("https://", ".example.com");
        prop_assert!(!Origins::new(&[pattern, exact("null!")]).allow(&origin));
    }

    #[test]
    fn a_preflight_gets_what_it_asked_for_or_nothing(
        origin in prop_oneof![Just("https://a.example"), Just("https://b.example"), Just("null")],
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("PUT"), Just("put")],
        names in proptest::collection::vec(
            prop_oneof![Just("x-one"), Just("X-Two"), Just("accept"), Just("authorization"), Just("b d")],
            0..4,
        ),
        methods in proptest::sample::subsequence(vec![Method::GET, Method::PUT], 0..=2),
        any_header in any::<bool>(),
    ) {
        let these = vec![HeaderName::from_static("x-one"), HeaderName::from_static("x-two")];
        let cors = Cors::new(&CorsConfig {
            methods: methods.clone(),
            headers: if any_header { CorsHeaders::Any } else { CorsHeaders::These(these) },
            ..config(vec![exact("https://a.example")])
        });
        let list = names.join(", ");
        let asked = headers(&[(ORIGIN, origin), (ACCESS_CONTROL_REQUEST_HEADERS, &list)]);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let takes = methods.is_empty()
            || methods.contains(&method)
            || (method == Method::HEAD && methods.contains(&Method::GET));
        let sends = names.iter().all(|name| match *name {
            "b d" => false,
            "authorization" => any_header,
            _ => true,
        });
        let good = origin == "https://a.example" && takes && sends;
        let answer = cors.answer(&asked, &method);
        prop_assert_eq!(answer.is_ok(), good, "{:?}", answer);
        if let Ok(answer) = answer {
            let said = answer.headers();
            let allowed = said[ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap();
            prop_assert!(allowed.split(", ").any(|one| one == method.as_str()));
            let told = said.get(ACCESS_CONTROL_ALLOW_HEADERS).map(|value| value.to_str().unwrap());
            let wanted = list.to_ascii_lowercase();
            prop_assert_eq!(told, Some(wanted.as_str()).filter(|list| !list.is_empty()));
        }
    }
}
