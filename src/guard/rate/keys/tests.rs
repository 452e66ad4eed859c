use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, Method, Request};

use super::*;
use crate::exchange::{Caller, Client};

fn exchange(address: &str) -> Exchange {
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false);
    let mut exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("0"));
    exchange.address = address.parse().unwrap();
    exchange
}

fn asked(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// Whether two requests from one address share a limit; the text that goes elsewhere must say the same as the hash.
#[track_caller]
fn share(keys: &Keys, one: &[(&str, &str)], other: &[(&str, &str)]) -> bool {
    let exchange = exchange("192.0.2.1");
    let (one, other) = (asked(one), asked(other));
    let same = keys.hash(&one, &exchange) == keys.hash(&other, &exchange);
    assert_eq!(keys.text(&one, &exchange) == keys.text(&other, &exchange), same);
    same
}

fn header(name: &'static str) -> RateKey {
    RateKey::Header(http::HeaderName::from_static(name))
}

#[test]
fn an_address_is_a_client_and_of_ipv6_its_network() {
    let keys = Keys::new(&[RateKey::ClientIp]);
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ("::1", "127.0.0.1", false),
    ] {
        let hash = |address| keys.hash(&asked(&[]), &exchange(address));
        assert_eq!(hash(one) == hash(other), same, "{one} {other}");
    }
}

#[test]
fn a_header_is_its_value_and_no_two_lists_of_keys_are_the_same() {
    let keys = Keys::new(&[header("x-a")]);
    assert!(share(&keys, &[("x-a", "1")], &[("x-a", "1"), ("x-b", "2")]));
    assert!(!share(&keys, &[("x-a", "1")], &[("x-a", "2")]));
    assert!(!share(&keys, &[("x-a", "")], &[]));
    let keys = Keys::new(&[header("x-a"), header("x-b")]);
    assert!(!share(&keys, &[("x-a", "1"), ("x-b", "23")], &[("x-a", "12"), ("x-b", "3")]));
    assert!(!share(&keys, &[("x-a", "1")], &[("x-b", "1")]));
    assert!(share(&keys, &[("x-b", "2"), ("x-a", "1")], &[("x-a", "1"), ("x-b", "2")]));
}

#[test]
fn who_leaves_it_out_is_told_by_its_address() {
    for key in
        [header("x-a"), RateKey::Cookie("a".into()), RateKey::Claim("sub".into()), RateKey::Host]
    {
        let keys = Keys::new(&[key]);
        let hash = |address| keys.hash(&asked(&[]), &exchange(address));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
        assert_eq!(hash("192.0.2.1"), hash("192.0.2.1"));
    }
}

#[test]
fn a_second_value_of_the_callers_choice_is_no_new_limit() {
    let keys = Keys::new(&[header("x-a")]);
    let two = |one, other| [("x-a", one), ("x-a", other)];
    for (one, other) in [("1", "2"), ("2", "1"), ("1", "1"), ("", "3")] {
        assert!(share(&keys, &two(one, other), &[]), "{one} {other}");
    }
    let keys = Keys::new(&[RateKey::Cookie("sid".into())]);
    for cookies in ["sid=1; sid=2", "sid=2; sid=1", "sid=1;sid=3;sid=4"] {
        assert!(share(&keys, &[("cookie", cookies)], &[]), "{cookies}");
    }
    assert!(share(&keys, &[("cookie", "sid=1"), ("cookie", "sid=2")], &[]));
}

#[test]
fn a_host_is_its_name() {
    let keys = Keys::new(&[RateKey::Host]);
    let same = |one, other| share(&keys, &[("host", one)], &[("host", other)]);
    assert!(same("shop.example", "SHOP.example.:8080"));
    assert!(same("[::1]", "[::1]:80"));
    assert!(!same("[::1]", "[::2]"));
    assert!(!same("shop.example", "shop.examples"));
    let (long, upper) = ("a".repeat(100), "A".repeat(100));
    assert!(same(&long, &upper));
    assert!(!same(&long, &long[1..]));
}

#[test]
fn a_cookie_is_its_value() {
    let keys = Keys::new(&[RateKey::Cookie("sid".into())]);
    let same = |one, other| share(&keys, &[("cookie", one)], &[("cookie", other)]);
    assert!(same("sid=1", "a=b; sid=1;c=d"));
    assert!(!same("sid=1", "sid=2"));
    assert!(!same("sid=1", "xsid=1"));
    assert!(same("sid", "x; =; ;"), "no cookie of this name");
}

#[test]
fn a_claim_is_what_a_guard_found_out() {
    let keys = Keys::new(&[RateKey::Claim("sub".into())]);
    let hash = |sub: &str| {
        let mut exchange = exchange("192.0.2.1");
        exchange.caller = Some(Rc::new(Caller {
            name: sub.into(),
            auth: "a".into(),
            claims: vec![("sub".into(), sub.into())],
            headers: Vec::new(),
            strip: None,
        }));
        keys.hash(&asked(&[]), &exchange)
    };
    assert_eq!(hash("ann"), hash("ann"));
    assert_ne!(hash("ann"), hash("ben"));
}

#[test]
fn what_goes_elsewhere_is_the_same_everywhere_and_says_nothing_of_the_value() {
    let (one, other) = (Keys::new(&[header("x-a")]), Keys::new(&[header("x-a")]));
    let (asked, exchange) = (asked(&[("x-a", "secret")]), exchange("192.0.2.1"));
    assert_eq!(one.text(&asked, &exchange), other.text(&asked, &exchange));
    assert_ne!(one.hash(&asked, &exchange), other.hash(&asked, &exchange));
    assert_eq!(one.text(&asked, &exchange), "39978d1233152e6568e7ca21f63aebc4");
    assert_eq!(Keys::new(&[RateKey::Route]).text(&asked, &exchange), "");
}
