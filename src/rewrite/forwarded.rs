//! Who the client is, and telling the upstream: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239).
//!
//! A peer that is not trusted can say nothing here, under no spelling; what a trusted one says is kept and continued.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::exchange::Client;

/// The client's address: the peer, or, where trusted peers say it, the rightmost that is not trusted. What is no
/// address ends the walk, so the last trusted one is then the client. `X-Forwarded-For` counts before `Forwarded`.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    let name = if headers.contains_key(X_FORWARDED_FOR) { X_FORWARDED_FOR } else { FORWARDED };
    let values = headers.get_all(&name).iter().rev();
    for element in values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
        let address = std::str::from_utf8(element).ok().and_then(|element| {
            let node = if name == FORWARDED { node(element)? } else { element };
            address(node)
        });
        let Some(address) = address else { break };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// The `for` of one element of `Forwarded`.
fn node(element: &str) -> Option<&str> {
    parameter(element, "for")
}

/// What `Forwarded` says of how this client's request came. What stands further left it may have written itself.
fn scheme_of(headers: &HeaderMap, client: IpAddr) -> Option<&'static str> {
    let values = headers.get_all(FORWARDED).iter().rev();
    let mut elements = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    // As the walk to the client's address: it ends at what is no address.
    let element = elements.find_map(|element| match node(element).and_then(address) {
        Some(address) if address != client => None,
        found => Some(found.map(|_| element)),
    });
    let proto = parameter(element??, "proto")?;
    ["http", "https"].into_iter().find(|scheme| proto.eq_ignore_ascii_case(scheme))
}

/// What one element of `Forwarded` says under a name.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        name.trim().eq_ignore_ascii_case(wanted).then(|| quoted.unwrap_or(value))
    })
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Tells the upstream who the client is. To be called before anything changes the Host.
pub fn apply(headers: &mut HeaderMap, client: &Client, address: IpAddr) {
    remove_claims(headers, client.trusted);
    if !client.trusted {
        return replace(headers, client, address);
    }
    let own = if client.tls { "https" } else { "http" };
    // A peer that writes `X-Forwarded-For` may pass on any `Forwarded`.
    let said = (!headers.contains_key(X_FORWARDED_FOR)).then(|| scheme_of(headers, address));
    let proto = HeaderValue::from_static(said.flatten().unwrap_or(own));
    headers.entry(X_FORWARDED_PROTO).or_insert(proto);
    append(headers, X_FORWARDED_FOR, ", ", &client.peer_value);
    if headers.contains_key(FORWARDED)
        && let Some(element) = element(headers, client)
    {
        append(headers, FORWARDED, ", ", &element);
    }
    headers.entry(X_FORWARDED_PORT).or_insert_with(|| client.port_value.clone());
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if !headers.contains_key(X_REAL_IP) {
        headers.insert(X_REAL_IP, address_value(client, address));
    }
}

/// Says everything anew, after every claim was removed: nothing of it is there that would have to be looked for.
fn replace(headers: &mut HeaderMap, client: &Client, address: IpAddr) {
    headers.append(X_FORWARDED_FOR, client.peer_value.clone());
    let proto = HeaderValue::from_static(if client.tls { "https" } else { "http" });
    headers.append(X_FORWARDED_PROTO, proto);
    headers.append(X_FORWARDED_PORT, client.port_value.clone());
    if let Some(host) = headers.get(HOST).cloned() {
        headers.append(X_FORWARDED_HOST, host);
    }
    headers.append(X_REAL_IP, address_value(client, address));
}

/// Takes out what a peer may not say: all of it when it is not trusted, and always the names that only look like ours,
/// since what reads them as environment variables (`HTTP_X_FORWARDED_FOR`) cannot tell them apart.
fn remove_claims(headers: &mut HeaderMap, trusted: bool) {
    let is_forbidden = |name: &HeaderName| match claim(name.as_str()) {
        Claim::None => false,
        Claim::Exact => !trusted,
        Claim::Alias => true,
    };
    // Removing invalidates the iterator. Names are few and the usual request has none, so it begins again.
    while let Some(name) = headers.keys().find(|name| is_forbidden(name)).cloned() {
        headers.remove(name);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    None,
    /// One of ours, as it is spelled.
    Exact,
    /// One of ours with other signs for its hyphens.
    Alias,
}

fn claim(name: &str) -> Claim {
    // Nearly every name ends here.
    let Some((b'x' | b'f', rest)) = name.as_bytes().split_first() else { return Claim::None };
    if rest.first().is_some_and(|second| second.is_ascii_alphanumeric() && *second != b'o') {
        return Claim::None;
    }
    let is = |ours: &str, name: &[u8]| {
        ours.len() == name.len()
            && ours
                .bytes()
                .zip(name)
                .all(|(our, byte)| our == *byte || (our == b'-' && !byte.is_ascii_alphanumeric()))
    };
    let start = name.as_bytes().get(..FORWARDED_PREFIX.len());
    let ours = start.is_some_and(|start| is(FORWARDED_PREFIX, start))
        || ["x-real-ip", "x-request-id", "forwarded"].iter().any(|it| is(it, name.as_bytes()));
    match ours {
        false => Claim::None,
        true if name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()) => {
            if name == "x-request-id" { Claim::None } else { Claim::Exact }
        }
        true => Claim::Alias,
    }
}

/// Joins all values there are and one more into one.
fn append(headers: &mut HeaderMap, name: HeaderName, by: &str, last: &HeaderValue) {
    let mut all = Vec::new();
    for value in headers.get_all(&name).iter().filter(|value| !value.is_empty()) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(by.as_bytes());
    }
    let joined = if all.is_empty() {
        last.clone()
    } else {
        all.extend_from_slice(last.as_bytes());
        // What is joined of values is a value.
        HeaderValue::try_from(all).unwrap_or_else(|_| last.clone())
    };
    headers.insert(name, joined);
}

/// This hop as an element of `Forwarded`.
fn element(headers: &HeaderMap, client: &Client) -> Option<HeaderValue> {
    let mut text = match client.peer.ip().to_canonical() {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if let Some(host) = host.filter(|host| !host.contains(['"', '\\'])) {
        write!(text, ";host=\"{host}\"").ok()?;
    }
    text.push_str(if client.tls { ";proto=https" } else { ";proto=http" });
    HeaderValue::try_from(text).ok()
}

fn address_value(client: &Client, address: IpAddr) -> HeaderValue {
    if address == client.peer.ip().to_canonical() {
        return client.peer_value.clone();
    }
    // An address is always a value.
    HeaderValue::try_from(address.to_string()).unwrap_or_else(|_| client.peer_value.clone())
}

/// What was cut off the path; added by the path's rewrite.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_PREFIX: &str = "x-forwarded-";

#[cfg(test)]
mod tests;
