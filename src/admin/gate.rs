//! Who may ask: this machine, whoever has the token, and no page from elsewhere.

use std::net::{IpAddr, SocketAddr};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::Admin;
use super::answer::Refused;
use crate::config::Secret;

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Lets a request through to its answer, or refuses it.
pub(super) async fn check(
    State(admin): State<Admin>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = caller(admin.token.as_ref(), peer, &request).and_then(|()| page(&request));
    match allowed {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Refuses a caller by where it is and what it carries.
fn caller(token: Option<&Secret>, peer: SocketAddr, request: &Request) -> Result<(), Refused> {
    let here = peer.ip().to_canonical().is_loopback();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match token {
        None if here => Ok(()),
        None => Err(Refused::Forbidden("without an admin token only loopback may connect")),
        Some(_) if here && reads => Ok(()),
        Some(token) if carries(request.headers(), token) => Ok(()),
        Some(_) => Err(Refused::NoToken),
    }
}

fn carries(headers: &HeaderMap, token: &Secret) -> bool {
    let expected = token.reveal().as_bytes();
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    let matches: bool = given.ct_eq(expected).into();
    scheme.eq_ignore_ascii_case(b"Bearer ") && !expected.is_empty() && matches
}

/// Refuses what a page from elsewhere can make a browser send. A page whose name is rebound to this address still
/// carries its own name in Host; a page on another port still carries its own Origin.
fn page(request: &Request) -> Result<(), Refused> {
    let host = host(request)?;
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Ok(()),
        (Some(origin), None) if host.is_some_and(|host| is_own(origin.as_bytes(), &host)) => Ok(()),
        (Some(_), _) => Err(Refused::Forbidden("the Origin is not this server's own")),
    }
}

/// The name the request is sent to, if it says one; HTTP/1.0 need not (RFC 9112 §3.2).
fn host(request: &Request) -> Result<Option<Authority>, Refused> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (Some(host), None) => Some(
            Authority::try_from(host.as_bytes())
                .map_err(|_| Refused::Malformed("the Host is not a name with an optional port"))?,
        ),
        (None, _) => return Err(Refused::Malformed("there is no Host")),
        (Some(_), Some(_)) => return Err(Refused::Malformed("there are several Hosts")),
    };
    if host.iter().chain(request.uri().authority()).all(is_here) {
        Ok(host)
    } else {
        Err(Refused::Forbidden("the Host is neither an address nor localhost"))
    }
}

/// Whether a name cannot belong to somebody else: an address, or `localhost`. The admin has no other name, because it
/// is configured by address.
fn is_here(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named = host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok();
    named && !authority.as_str().contains('@')
}

/// Whether an Origin is where the request was sent to (RFC 6454 §7: scheme, host, port).
fn is_own(origin: &[u8], host: &Authority) -> bool {
    let authority = origin.strip_prefix(b"http://").map(Authority::try_from);
    let Some(Ok(origin)) = authority else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(host)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri("/services");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn asks(host: &str, origin: Option<&str>) -> Result<(), Refused> {
        let origin = origin.map(|origin| ("origin", origin));
        let headers: Vec<_> = [("host", host)].into_iter().chain(origin).collect();
        page(&request("GET", &headers))
    }

    #[test]
    fn addresses_and_localhost_are_hosts_of_the_admin_and_names_are_not() {
        for host in ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "10.1.2.3:9901", "LocalHost:1"] {
            assert_eq!(asks(host, None), Ok(()), "{host}");
        }
        for host in ["evil.example:9901", "localhost.evil.example", "127.0.0.1.evil.example", "1"] {
            assert!(matches!(asks(host, None), Err(Refused::Forbidden(_))), "{host}");
        }
        assert!(matches!(asks("a@127.0.0.1", None), Err(Refused::Forbidden(_))));
        assert!(matches!(asks("a b", None), Err(Refused::Malformed(_))));
        assert!(matches!(page(&request("GET", &[])), Err(Refused::Malformed(_))));
        let two = request("GET", &[("host", "127.0.0.1"), ("host", "127.0.0.1")]);
        assert!(matches!(page(&two), Err(Refused::Malformed(_))));
    }

    #[test]
    fn only_the_origin_the_request_is_sent_to_is_the_admins_own() {
        assert_eq!(asks("127.0.0.1:9901", Some("http://127.0.0.1:9901")), Ok(()));
        assert_eq!(asks("localhost", Some("http://localhost:80")), Ok(()));
        assert_eq!(asks("[::1]:9901", Some("http://[::1]:9901")), Ok(()));
        for origin in [
            "http://127.0.0.1:8080",
            "https://127.0.0.1:9901",
            "http://localhost:9901",
            "http://evil.example",
            "null",
            "",
        ] {
            let asked = asks("127.0.0.1:9901", Some(origin));
            assert!(matches!(asked, Err(Refused::Forbidden(_))), "{origin}");
        }
    }

    #[test]
    fn an_absolute_target_must_be_the_admins_too() {
        let mut rebound = request("GET", &[("host", "127.0.0.1")]);
        *rebound.uri_mut() = "http://evil.example/services".parse().unwrap();
        assert!(matches!(page(&rebound), Err(Refused::Forbidden(_))));
    }

    #[test]
    fn http_1_0_need_not_name_a_host_but_an_origin_then_is_nobodys() {
        let mut old = request("GET", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(page(&old), Ok(()));
        old.headers_mut().insert("origin", "http://127.0.0.1".parse().unwrap());
        assert!(matches!(page(&old), Err(Refused::Forbidden(_))));
    }

    #[test]
    fn without_a_token_loopback_may_do_all_and_others_nothing() {
        for peer in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.9]:5"] {
            assert_eq!(caller(None, peer.parse().unwrap(), &request("POST", &[])), Ok(()));
        }
        let refused = caller(None, "10.0.0.1:5".parse().unwrap(), &request("GET", &[]));
        assert!(matches!(refused, Err(Refused::Forbidden(_))));
    }

    #[test]
    fn a_token_is_needed_for_writes_and_from_elsewhere() {
        let token = Secret::new("s3cret".into());
        let asks = |peer: &str, method, value| {
            let request = request(method, &[("authorization", value)]);
            caller(Some(&token), peer.parse().unwrap(), &request)
        };
        let (here, there) = ("127.0.0.1:5", "10.0.0.1:5");
        assert_eq!(asks(here, "GET", ""), Ok(()));
        assert_eq!(asks(here, "POST", ""), Err(Refused::NoToken));
        assert_eq!(asks(here, "POST", "Bearer s3cret"), Ok(()));
        assert_eq!(asks(there, "GET", "bearer s3cret"), Ok(()));
        for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret ", "Basic s3cret"] {
            assert_eq!(asks(there, "GET", wrong), Err(Refused::NoToken), "{wrong}");
        }
    }

    #[test]
    fn an_empty_token_opens_nothing() {
        let request = request("GET", &[("authorization", "Bearer ")]);
        let asked =
            caller(Some(&Secret::new(String::new())), "10.0.0.1:5".parse().unwrap(), &request);
        assert_eq!(asked, Err(Refused::NoToken));
    }
}
