//! What another service is asked about a request: by whom it is, for what, and what it brings along.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;

use crate::exchange::{Exchange, REQUEST_ID};
use crate::wire::list::members;

const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// As nginx's manual has it for `auth_request`.
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const TRACE: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];
/// The question about one request. Nothing but these headers of its own goes along, as they came.
pub(super) fn of(
    uri: &Uri,
    headers: &[HeaderName],
    asked: &Parts,
    exchange: &Exchange,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri.clone();
    let told = request.headers_mut();
    for name in headers.iter().chain(&TRACE).filter(|name| !is_for_us_alone(name, &asked.headers)) {
        copy(name, name, &asked.headers, told);
    }
    tell(told, asked, exchange);
    request
}

/// Who asks for what, in Traefik's names: what a client says under them is not looked at, unless it is a trusted proxy,
/// which alone knows how the client asked.
fn tell(told: &mut HeaderMap, asked: &Parts, exchange: &Exchange) {
    for (name, text) in [
        (METHOD, asked.method.as_str()),
        (URI, asked.uri.path_and_query().map_or("/", |target| target.as_str())),
        (FOR, &*exchange.address.to_string()),
    ] {
        // All of them are visible ASCII.
        if let Ok(value) = HeaderValue::from_str(text) {
            told.insert(name, value);
        }
    }
    if let Some(uri) = told.get(URI).cloned() {
        told.insert(ORIGINAL_URI, uri);
    }
    let proto = HeaderValue::from_static(if exchange.tls { "https" } else { "http" });
    if !exchange.trusted || !copy(&PROTO, &PROTO, &asked.headers, told) {
        told.insert(PROTO, proto);
    }
    if !exchange.trusted || !copy(&FORWARDED_HOST, &FORWARDED_HOST, &asked.headers, told) {
        copy(&HOST, &FORWARDED_HOST, &asked.headers, told);
    }
    told.insert(REQUEST_ID, exchange.id.clone());
}

/// Every value; whether there was one.
fn copy(from: &HeaderName, to: &HeaderName, asked: &HeaderMap, told: &mut HeaderMap) -> bool {
    let mut any = false;
    for value in asked.get_all(from) {
        told.append(to.clone(), value.clone());
        any = true;
    }
    any
}

/// Named by `Connection`, a header does not reach the upstream (RFC 9110 section 7.6.1): who decides may not see what the
/// upstream will not. Authorization cannot be named so.
fn is_for_us_alone(name: &HeaderName, asked: &HeaderMap) -> bool {
    *name != AUTHORIZATION
        && asked
            .get_all(CONNECTION)
            .iter()
            .flat_map(members)
            .any(|member| member.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use http::Method;
    use http::header::COOKIE;

    use super::*;
    use crate::exchange::Client;

    fn asked(uri: &str, lines: &[(&str, &str)]) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.method, parts.uri) = (Method::PUT, uri.parse().unwrap());
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            parts.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        parts
    }

    fn exchange(trusted: bool) -> Exchange {
        let client = Client::new(SocketAddr::from(([192, 0, 2, 1], 9)), 0, 80, trusted);
        let mut exchange = Exchange::begin(&client, Method::PUT, HeaderValue::from_static("id"));
        exchange.address = IpAddr::from([203, 0, 113, 5]);
        exchange
    }

    fn told(asked: &Parts, trusted: bool) -> Vec<String> {
        let uri = Uri::from_static("http://authz/check?by=us");
        let request = of(&uri, &[AUTHORIZATION, COOKIE], asked, &exchange(trusted));
        assert_eq!((request.method(), request.uri()), (&Method::GET, &uri));
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
        };
        let mut lines: Vec<_> = request.headers().iter().map(text).collect();
        lines.sort();
        lines
    }

    const CLAIMS: [(&str, &str); 10] = [
        ("host", "shop.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-uri", "/open"),
        ("x-forwarded-method", "GET"),
        ("x-original-uri", "/open"),
        ("x-request-id", "mine"),
        ("content-length", "3"),
        ("x-other", "1"),
    ];

    #[test]
    fn it_is_told_what_the_gateway_knows_and_not_what_the_client_claims() {
        let expected = |proto: &str, host: &str| {
            vec![
                "x-forwarded-for: 203.0.113.5".to_owned(),
                format!("x-forwarded-host: {host}"),
                "x-forwarded-method: PUT".to_owned(),
                format!("x-forwarded-proto: {proto}"),
                "x-forwarded-uri: /a%2Fb?c=%0D%0Ad".to_owned(),
                "x-original-uri: /a%2Fb?c=%0D%0Ad".to_owned(),
                "x-request-id: id".to_owned(),
            ]
        };
        let asked = asked("/a%2Fb?c=%0D%0Ad", &CLAIMS);
        assert_eq!(told(&asked, false), expected("http", "shop.example"));
        // How the client asked is known to the proxy before us alone; what it asked for is not.
        assert_eq!(told(&asked, true), expected("https", "other.example"));
    }

    #[test]
    fn chosen_headers_go_along_as_they_came() {
        let lines = [
            ("authorization", "a"),
            ("cookie", "one=1"),
            ("cookie", "two=2"),
            ("traceparent", "00-1"),
        ];
        let all = told(&asked("/", &lines), false).join("\n");
        for line in ["authorization: a", "cookie: one=1\ncookie: two=2", "traceparent: 00-1"] {
            assert!(all.contains(line), "{all}");
        }
    }

    #[test]
    fn what_the_upstream_will_not_see_decides_nothing() {
        let lines = [
            ("connection", "keep-alive, Cookie"),
            ("connection", "authorization"),
            ("authorization", "a"),
            ("cookie", "one=1"),
        ];
        let all = told(&asked("/", &lines), false).join("\n");
        assert!(all.contains("authorization: a") && !all.contains("cookie"), "{all}");
    }
}
