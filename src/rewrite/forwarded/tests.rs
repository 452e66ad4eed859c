//! Every rule for trusted and untrusted peers.

use super::*;

fn nets(all: &[&str]) -> Vec<IpNet> {
    all.iter().map(|net| net.parse().unwrap()).collect()
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
    };
    lines.iter().map(pair).collect()
}

fn client(trusted: bool, tls: bool) -> Client {
    Client {
        peer: "10.0.0.9:4711".parse().unwrap(),
        peer_value: HeaderValue::from_static("10.0.0.9"),
        trusted,
        listener: 0,
        port_value: HeaderValue::from_static("8443"),
        tls,
    }
}

fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn the_client_is_the_rightmost_address_that_is_not_trusted() {
    let trusted = nets(&["10.0.0.0/8", "2001:db8::/32"]);
    for (peer, lines, wanted) in [
        ("192.0.2.1", &["1.1.1.1"][..], "192.0.2.1"),
        ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", &["9.9.9.9, 1.1.1.1,10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", &["9.9.9.9", "1.1.1.1", "10.0.0.3, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["1.1.1.1,caf\u{e9},10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["1.1.1.1:80"], "1.1.1.1"),
        ("10.0.0.1", &["[2001:db9::1]:80, [2001:db8::7]"], "2001:db9::1"),
        ("10.0.0.1", &["2001:db9::1"], "2001:db9::1"),
        ("2001:db8::1", &["::ffff:1.1.1.1, ::ffff:10.0.0.2"], "1.1.1.1"),
        ("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
        ("::ffff:192.0.2.1", &["1.1.1.1"], "192.0.2.1"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let found = client_address(peer.parse().unwrap(), &map(&lines), &trusted);
        assert_eq!(found, wanted.parse::<IpAddr>().unwrap(), "{peer} says {lines:?}");
    }
}

#[test]
fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
    let trusted = nets(&["10.0.0.0/8"]);
    for (forwarded, wanted) in [
        ("for=1.1.1.1", "1.1.1.1"),
        ("for=9.9.9.9, proto=http; For=\"1.1.1.1:80\" ;by=x", "1.1.1.1"),
        ("for=\"[2001:db8::1]:80\", for=10.0.0.2", "2001:db8::1"),
        ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
        ("for=1.1.1.1, proto=http", "10.0.0.1"),
    ] {
        let found = client_address(
            "10.0.0.1".parse().unwrap(),
            &map(&[("forwarded", forwarded)]),
            &trusted,
        );
        assert_eq!(found, wanted.parse::<IpAddr>().unwrap(), "{forwarded}");
    }
    let both = map(&[("forwarded", "for=2.2.2.2"), ("x-forwarded-for", "1.1.1.1")]);
    let found = client_address("10.0.0.1".parse().unwrap(), &both, &trusted);
    assert_eq!(found, "1.1.1.1".parse::<IpAddr>().unwrap());
}

#[test]
fn what_an_untrusted_peer_says_is_replaced() {
    let mut headers = map(&[
        ("host", "shop.example.com:8443"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "6.6.6.7"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-user", "root"),
        ("x-real-ip", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_for", "6.6.6.6"),
        ("x.real.ip", "6.6.6.6"),
        ("x_request_id", "6"),
        ("xylophone", "kept"),
    ]);
    apply(&mut headers, &client(false, true), "10.0.0.9".parse().unwrap());
    assert_eq!(
        sorted(&headers),
        [
            ("host", "shop.example.com:8443"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-host", "shop.example.com:8443"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "10.0.0.9"),
            ("xylophone", "kept"),
        ]
    );
}

#[test]
fn what_a_trusted_peer_says_is_continued() {
    let mut headers = map(&[
        ("host", "inside"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "1.1.1.1, 10.0.0.8"),
        ("x-forwarded-host", "shop.example.com"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/shop"),
        ("x-real-ip", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("x_forwarded_for", "6.6.6.6"),
    ]);
    apply(&mut headers, &client(true, false), "1.1.1.1".parse().unwrap());
    assert_eq!(
        sorted(&headers),
        [
            ("forwarded", "for=1.1.1.1, for=10.0.0.9;host=\"inside\";proto=http"),
            ("host", "inside"),
            ("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.8, 10.0.0.9"),
            ("x-forwarded-host", "shop.example.com"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-prefix", "/shop"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "1.1.1.1"),
        ]
    );
}

#[test]
fn what_a_trusted_peer_does_not_say_is_filled_in() {
    let mut headers = map(&[("host", "h"), ("x-forwarded-for", "1.1.1.1")]);
    apply(&mut headers, &client(true, false), "1.1.1.1".parse().unwrap());
    assert_eq!(
        sorted(&headers),
        [
            ("host", "h"),
            ("x-forwarded-for", "1.1.1.1, 10.0.0.9"),
            ("x-forwarded-host", "h"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "1.1.1.1"),
        ]
    );
    let mut headers = map(&[("host", "h"), ("x-forwarded-for", "")]);
    apply(&mut headers, &client(true, false), "10.0.0.9".parse().unwrap());
    assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
}

#[test]
fn how_the_client_came_is_what_the_element_that_names_it_says() {
    for (lines, wanted) in [
        (&[("forwarded", "for=1.1.1.1;proto=https")][..], "https"),
        (&[("forwarded", "for=\"1.1.1.1:80\"; Proto=\"HTTPS\"")], "https"),
        (&[("forwarded", "for=1.1.1.1;proto=http, for=10.0.0.8;proto=https")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=https"), ("forwarded", "for=10.0.0.8")], "https"),
        // What stands before that the client wrote itself.
        (&[("forwarded", "for=1.1.1.1;proto=https, for=1.1.1.1;proto=http")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=https, for=1.1.1.1")], "http"),
        (&[("forwarded", "for=6.6.6.6;proto=https")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=https, for=_hidden;proto=http")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=https, proto=http")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=gopher")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=https"), ("x-forwarded-for", "1.1.1.1")], "http"),
        (&[("forwarded", "for=1.1.1.1;proto=https"), ("x-forwarded-proto", "http")], "http"),
    ] {
        let mut headers = map(lines);
        apply(&mut headers, &client(true, false), "1.1.1.1".parse().unwrap());
        assert_eq!(headers["x-forwarded-proto"], wanted, "{lines:?}");
    }
}

#[test]
fn an_alias_is_told_from_the_name_and_from_others() {
    for (name, wanted) in [
        ("x-forwarded-for", Claim::Exact),
        ("x-forwarded-", Claim::Exact),
        ("forwarded", Claim::Exact),
        ("x-real-ip", Claim::Exact),
        ("x_real-ip", Claim::Alias),
        ("x-forwarded.host", Claim::Alias),
        ("x~forwarded~proto", Claim::Alias),
        ("x-forwarded-for_", Claim::Alias),
        ("x-request_id", Claim::Alias),
        ("x-request-id", Claim::None),
        ("x-forwardedfor", Claim::None),
        ("x-forward", Claim::None),
        ("forwarded-for", Claim::None),
        ("xoforwarded-for", Claim::None),
        ("from", Claim::None),
        ("x", Claim::None),
    ] {
        assert_eq!(claim(name), wanted, "{name}");
    }
}
