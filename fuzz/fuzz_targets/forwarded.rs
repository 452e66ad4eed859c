//! What a client says of itself: nothing of it survives from a peer that is not trusted, under any spelling.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use frontgate::exchange::Client;
use frontgate::rewrite::{forwarded, hop_by_hop};
use frontgate_fuzz::Fields;
use frontgate_fuzz::message::fields;
use frontgate_fuzz::theirs::map;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

// A byte that says who asks, then lines `name: value`.
fuzz_target!(|data: &[u8]| {
    let [who, lines @ ..] = data else { return };
    let written = map(&listed(lines));
    let trusted: [IpNet; 2] =
        ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a net"));
    let peer: SocketAddr = [
        "10.1.2.3:4",
        "192.0.2.9:4",
        "[2001:db8::9]:4",
        "[::ffff:10.0.0.1]:4",
        "[::ffff:192.0.2.9]:4",
        "[2001:db9::9]:4",
    ][usize::from(*who >> 1) % 6]
        .parse()
        .expect("an address");
    let is_trusted = trusted.iter().any(|net| net.contains(&peer.ip().to_canonical()));
    let mut client = Client::new(peer, 0, 8443, is_trusted);
    client.tls = who & 1 == 1;

    let address = forwarded::client_address(peer.ip(), &written, &trusted);
    finds_the_client(&written, &client, address, &trusted);

    let mut headers = written.clone();
    hop_by_hop::request(&mut headers, &[]);
    removes_only_what_is_for_one_hop(&fields(&written), &fields(&headers));
    let before = fields(&headers);
    forwarded::apply(&mut headers, &client, address);
    tells_only_the_truth(&before, &fields(&headers), &client, address);
    for value in headers.values() {
        assert!(HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{value:?} can be sent");
    }
});

fn listed(lines: &[u8]) -> Fields {
    let mut fields = Fields::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        if let Ok(name) = String::from_utf8(name) {
            fields.entry(name).or_default().push(value.to_vec());
        }
    }
    fields
}

/// The name with one sign for all that readers of environment variables cannot tell apart.
fn plain(name: &str) -> String {
    name.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-")
}

fn is_claim(name: &str) -> bool {
    let plain = plain(name);
    plain.starts_with("x-forwarded-") || plain == "x-real-ip" || plain == "forwarded"
}

fn finds_the_client(headers: &HeaderMap, client: &Client, address: IpAddr, trusted: &[IpNet]) {
    let peer = client.peer.ip();
    if !client.trusted {
        assert_eq!(address, peer.to_canonical(), "an untrusted peer is the client");
        return;
    }
    assert_eq!(address, address.to_canonical());
    if trusted.iter().any(|net| net.contains(&address)) {
        return;
    }
    // What stands further left was said by somebody who is not trusted, and changes nothing.
    let said = |name: &str| headers.contains_key(name).then(|| name.to_owned());
    let name = said("x-forwarded-for").or_else(|| said("forwarded")).expect("somebody said it");
    let mut all = fields(headers);
    let forged: &[u8] = if name == "forwarded" { b"for=6.6.6.6, " } else { b"6.6.6.6, " };
    let first = &mut all.get_mut(&name).expect("it is there")[0];
    *first = [forged, first].concat();
    assert_eq!(forwarded::client_address(peer, &map(&all), trusted), address);
}

fn removes_only_what_is_for_one_hop(before: &Fields, after: &Fields) {
    const HOP: [&str; 11] = [
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let connection = before.get("connection").into_iter().flatten();
    let named: Vec<String> = connection
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase())
        .collect();
    for (name, values) in before {
        let protected = name.starts_with("x-forwarded-")
            || ["authorization", "expect", "forwarded", "host", "x-real-ip"]
                .contains(&name.as_str());
        if HOP.contains(&name.as_str()) {
            continue;
        } else if protected || !named.contains(name) {
            assert_eq!(after.get(name), Some(values), "{name} is for the upstream");
        } else {
            assert_eq!(after.get(name), None, "{name} was for this hop");
        }
    }
    for (name, values) in after {
        let te = name == "te" && *values == [b"trailers"];
        let ours = name == "connection" && *values == [b"te"] && after.contains_key("te");
        assert!(te || ours || !HOP.contains(&name.as_str()), "{name} is for one hop");
        assert!(ours || before.contains_key(name), "{name} came from nowhere");
    }
}

fn tells_only_the_truth(before: &Fields, after: &Fields, client: &Client, address: IpAddr) {
    let bytes = |text: String| vec![text.into_bytes()];
    let peer = client.peer.ip().to_canonical().to_string();
    let names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    for name in after.keys().filter(|name| is_claim(name)) {
        let ours = names.contains(&name.as_str());
        assert!(ours || (client.trusted && *name == plain(name)), "{name} is a claim");
    }
    assert!(!after.keys().any(|name| plain(name) == "x-request-id" && name != "x-request-id"));
    // Everything else is as it was.
    let other = |fields: &Fields| -> Fields {
        let mut fields = fields.clone();
        fields.retain(|name, _| !is_claim(name) && plain(name) != "x-request-id");
        fields
    };
    assert_eq!(other(before), other(after));
    if client.trusted {
        let chain = &after["x-forwarded-for"];
        assert!(chain.len() == 1 && chain[0].ends_with(peer.as_bytes()), "the peer comes last");
        for name in &names[1..] {
            assert!(!before.contains_key(*name) || before[*name] == after[*name], "{name} is kept");
        }
    } else {
        let proto = if client.tls { "https" } else { "http" };
        assert_eq!(after["x-forwarded-for"], bytes(peer.clone()));
        assert_eq!(after["x-real-ip"], bytes(peer));
        assert_eq!(after["x-forwarded-proto"], bytes(proto.to_owned()));
        assert_eq!(after["x-forwarded-port"], bytes("8443".to_owned()));
        assert_eq!(address, client.peer.ip().to_canonical());
        let host = before.get("host").map(|hosts| vec![hosts[0].clone()]);
        assert_eq!(after.get("x-forwarded-host"), host.as_ref());
    }
}
