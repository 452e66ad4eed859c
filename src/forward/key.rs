//! What of a request says which instance gets it, as a number.

use std::net::IpAddr;

use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::balance;
use crate::config::model::{HashKey, ServiceConfig};
use crate::exchange::Exchange;

/// The hash of the request's key, as the upstream shall see the request; none when nobody goes by it. A request without
/// the key goes by its client's address, so that whoever leaves it out has an instance too.
pub(super) fn of(service: &ServiceConfig, parts: &Parts, exchange: &Exchange) -> Option<u64> {
    if !balance::goes_by_key(&service.balance) {
        return None;
    }
    let headers = &parts.headers;
    let key = match service.hash_key.as_ref().unwrap_or(&HashKey::ClientIp) {
        HashKey::Header(name) => headers.get(name).map(HeaderValue::as_bytes),
        HashKey::Cookie(name) => cookies(headers, name).next(),
        HashKey::ClientIp => None,
        HashKey::Path => Some(parts.uri.path().as_bytes()),
        HashKey::Claim(name) => {
            let claim = exchange.caller.as_ref().and_then(|caller| caller.claim(name));
            claim.map(str::as_bytes)
        }
    };
    Some(key.map_or_else(|| hash_of(exchange.address), hash))
}

/// The values of a cookie (RFC 6265 section 4.2.1).
pub(super) fn cookies<'a>(
    headers: &'a HeaderMap,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let fields = headers.get_all(COOKIE).into_iter();
    let pairs = fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (known, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        (known == name.as_bytes()).then_some(value)
    })
}

/// Of an IPv6 address the network that one site has (RFC 6177), as limits count.
fn hash_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => hash(&v4.octets()),
        IpAddr::V6(v6) => hash(&v6.octets()[..8]),
    }
}

/// The same in every process and version: FNV-1a of 64 bits, over words of eight bytes in little-endian order and the
/// length, each multiplication followed by a shift, and `MurmurHash3`'s last mix.
fn hash(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let sum = words.chain([bytes.len() as u64]).fold(0xcbf2_9ce4_8422_2325_u64, |sum, word| {
        let product = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ (product >> 32)
    });
    let once = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let twice = (once ^ (once >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    twice ^ (twice >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;
    use std::rc::Rc;

    use http::{HeaderName, Method, Request};

    use super::*;
    use crate::exchange::{Caller, Client};

    fn of_key(key: HashKey, header: Option<(&str, &str)>, peer: &str) -> u64 {
        let service = ServiceConfig {
            balance: "consistent_hash".to_owned(),
            hash_key: Some(key),
            ..ServiceConfig::default()
        };
        let mut request = Request::builder().uri("/a/b?query");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let peer: SocketAddr = peer.parse().unwrap();
        let client = Client::new(peer, 0, 80, false);
        let mut exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("id"));
        exchange.caller = Some(Rc::new(Caller {
            name: "ann".into(),
            auth: "staff".into(),
            claims: vec![("sub".into(), "ann".into())],
            headers: Vec::new(),
            strip: None,
        }));
        of(&service, &parts, &exchange).unwrap()
    }

    #[test]
    fn each_key_is_found_where_it_stands() {
        let header = HashKey::Header(HeaderName::from_static("x-user"));
        let (v4, v6) = ("10.0.0.1:1", "[2001:db8:0:1::1]:1");
        assert_eq!(of_key(header.clone(), Some(("x-user", "ann")), v4), hash(b"ann"));
        let cookie = HashKey::Cookie("s".to_owned());
        let cookies = Some(("cookie", "t=1; s=ann; s=bob"));
        assert_eq!(of_key(cookie.clone(), cookies, v4), hash(b"ann"));
        assert_eq!(of_key(HashKey::Path, None, v4), hash(b"/a/b"));
        assert_eq!(of_key(HashKey::Claim("sub".to_owned()), None, v4), hash(b"ann"));
        // Whoever has none, and client_ip: the address; of IPv6 its network.
        for key in [header, cookie, HashKey::Claim("none".to_owned()), HashKey::ClientIp] {
            assert_eq!(of_key(key.clone(), None, v4), hash(&[10, 0, 0, 1]));
            assert_eq!(of_key(key.clone(), None, "[::ffff:10.0.0.1]:1"), hash(&[10, 0, 0, 1]));
            assert_eq!(of_key(key.clone(), None, v6), of_key(key, None, "[2001:db8:0:1::2]:9"));
        }
    }

    #[test]
    fn like_keys_have_hashes_that_have_nothing_in_common() {
        let texts: Vec<String> = (0..2000).map(|at| format!("user-{at}")).collect();
        let hashes = texts.iter().map(|text| hash(text.as_bytes()));
        let of_zeros = (0..40).map(|length| hash(&vec![0; length]));
        let all: HashSet<u64> = hashes.clone().chain(of_zeros).collect();
        assert_eq!(all.len(), 2040);
        for bit in 0..64 {
            let set = hashes.clone().filter(|hash| hash >> bit & 1 == 1).count();
            assert!((850..1150).contains(&set), "bit {bit} is set in {set} of 2000");
        }
    }
}
