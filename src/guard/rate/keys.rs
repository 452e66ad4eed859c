//! Who shares a limit.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;
use http::header::{COOKIE, HOST};
use http::request::Parts;

use crate::config::model::RateKey;
use crate::exchange::Exchange;

/// What tells the callers of one limit apart. Values are hashed, never kept.
#[derive(Debug)]
pub(super) struct Keys {
    of: Box<[RateKey]>,
    /// Random for each limit, so that nobody can aim at another's cell.
    random: RandomState,
}

/// Takes the bytes that make a key.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl<H: Hasher> Sink for H {
    fn put(&mut self, bytes: &[u8]) {
        self.write(bytes);
    }
}

struct Digest(Context);

impl Sink for Digest {
    fn put(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Keys {
    /// At least one.
    pub(super) fn new(of: &[RateKey]) -> Self {
        Self { of: of.into(), random: RandomState::new() }
    }

    /// Whether all callers share the limit.
    pub(super) fn is_one(&self) -> bool {
        self.of.iter().all(|key| *key == RateKey::Route)
    }

    /// A request's key within this process, never 0.
    pub(super) fn hash(&self, asked: &Parts, exchange: &Exchange) -> u64 {
        let mut hasher = self.random.build_hasher();
        self.put(asked, exchange, &mut hasher);
        hasher.finish().max(1)
    }

    /// A request's key as other gateways make it: the beginning of its SHA-256 in hexadecimal digits; empty when all
    /// callers share the limit.
    pub(super) fn text(&self, asked: &Parts, exchange: &Exchange) -> String {
        const BYTES: usize = 16;
        if self.is_one() {
            return String::new();
        }
        let mut digest = Digest(Context::new(&SHA256));
        self.put(asked, exchange, &mut digest);
        let digest = digest.0.finish();
        digest.as_ref().iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    fn put(&self, asked: &Parts, exchange: &Exchange, sink: &mut impl Sink) {
        let headers = &asked.headers;
        for key in &self.of {
            let there = match key {
                RateKey::Route => true,
                RateKey::ClientIp => false,
                RateKey::Header(name) => {
                    value(sink, headers.get_all(name).iter().map(http::HeaderValue::as_bytes))
                }
                RateKey::Cookie(name) => value(sink, cookies(headers, name)),
                RateKey::Host => host(sink, headers),
                RateKey::Claim(name) => {
                    let claim = exchange.caller.as_ref().and_then(|caller| caller.claim(name));
                    value(sink, claim.map(str::as_bytes).into_iter())
                }
            };
            // Who leaves it out shares no limit with others who do, and escapes none; nor does who writes it twice.
            if !there {
                address(sink, exchange.address);
            }
        }
    }
}

/// What follows, so that no two tuples are the same bytes.
const VALUE: u8 = 1;
const ADDRESS: u8 = 2;
const END: u8 = 3;

/// The only one there is, with its length. False without any, and with several: the upstream heeds one of them, and with
/// another of its choice beside it a caller would have a new limit for each request.
fn value<'a>(sink: &mut impl Sink, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    sink.put(&[VALUE]);
    sink.put(&value.len().to_le_bytes());
    sink.put(value);
    sink.put(&[END]);
    true
}

/// Of an IPv6 address the network that one site has (RFC 6177).
fn address(sink: &mut impl Sink, address: IpAddr) {
    sink.put(&[ADDRESS]);
    match address.to_canonical() {
        IpAddr::V4(v4) => sink.put(&v4.octets()),
        IpAddr::V6(v6) => sink.put(&v6.octets()[..8]),
    }
    sink.put(&[END]);
}

/// In lower case, without its port and a final dot.
fn host(sink: &mut impl Sink, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return false };
    let host = host.as_bytes();
    let end = match host {
        [b'[', ..] => host.iter().position(|byte| *byte == b']').map(|at| at + 1),
        _ => host.iter().position(|byte| *byte == b':'),
    };
    let name = &host[..end.unwrap_or(host.len())];
    let name = name.strip_suffix(b".").unwrap_or(name);
    sink.put(&[VALUE]);
    sink.put(&name.len().to_le_bytes());
    for part in name.chunks(64) {
        let mut lower = [0; 64];
        let lower = &mut lower[..part.len()];
        lower.copy_from_slice(part);
        lower.make_ascii_lowercase();
        sink.put(lower);
    }
    sink.put(&[END]);
    true
}

/// The values of a cookie (RFC 6265 section 4.2.1).
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(is(b';')));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(is(b'='))?;
        let (known, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        (known == name.as_bytes()).then_some(value)
    })
}

fn is(wanted: u8) -> impl Fn(&u8) -> bool {
    move |byte| *byte == wanted
}

#[cfg(test)]
mod tests;
