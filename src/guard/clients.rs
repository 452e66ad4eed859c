//! Which addresses may come in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// `allow` and `deny` of a route.
#[derive(Debug)]
pub struct Clients {
    /// None lets everybody in.
    allow: Option<Addresses>,
    deny: Addresses,
}

/// Ranges of addresses, first and last, in order and apart: thousands of networks cost a dozen comparisons.
#[derive(Debug)]
struct Addresses {
    v4: Box<[(Ipv4Addr, Ipv4Addr)]>,
    v6: Box<[(Ipv6Addr, Ipv6Addr)]>,
}

impl Clients {
    /// An empty `allow` lets everybody in that `deny` does not name.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let allow = (!allow.is_empty()).then(|| Addresses::new(allow));
        Self { allow, deny: Addresses::new(deny) }
    }

    /// 403 for an address that may not come in.
    pub fn check(&self, exchange: &mut Exchange) -> Result<(), Refusal> {
        if self.lets_in(exchange.address) {
            return Ok(());
        }
        exchange.cause = Some(format!("{} may not come in here", exchange.address));
        Err(Refusal::Forbidden)
    }

    fn lets_in(&self, address: IpAddr) -> bool {
        // An IPv4 address in IPv6's clothes is an IPv4 address.
        let address = address.to_canonical();
        self.allow.as_ref().is_none_or(|allow| allow.hold(address)) && !self.deny.hold(address)
    }
}

impl Addresses {
    fn new(nets: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push((net.network(), net.broadcast())),
                IpNet::V6(net) => v6.push((net.network(), net.broadcast())),
            }
        }
        Self { v4: apart(v4), v6: apart(v6) }
    }

    fn hold(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => hold(&self.v4, address),
            IpAddr::V6(address) => hold(&self.v6, address),
        }
    }
}

/// In order, those that lie within another left out: networks overlap only so.
fn apart<A: Copy + Ord>(mut ranges: Vec<(A, A)>) -> Box<[(A, A)]> {
    ranges.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    ranges.dedup_by(|next, kept| next.1 <= kept.1);
    ranges.into()
}

fn hold<A: Copy + Ord>(ranges: &[(A, A)], address: A) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the words say, one network after the other.
    fn naively(allow: &[IpNet], deny: &[IpNet], address: IpAddr) -> bool {
        let named = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        (allow.is_empty() || named(allow)) && !named(deny)
    }

    /// Few enough addresses that networks meet and hold each other.
    fn v4() -> impl Strategy<Value = Ipv4Addr> {
        (prop_oneof![Just(10_u8), Just(11), Just(255), Just(0)], any::<[bool; 6]>()).prop_map(
            |(first, bits)| {
                let at = |n: usize| u8::from(bits[n]);
                Ipv4Addr::new(
                    first,
                    at(0) * 128 + at(1),
                    at(2) * 255,
                    at(3) * 128 + at(4) * 2 + at(5),
                )
            },
        )
    }

    fn net() -> impl Strategy<Value = IpNet> {
        let v6 = |(address, bits)| {
            IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(u128::from(address) << 64)), bits).unwrap()
        };
        let v4 = |(address, bits)| IpNet::new(IpAddr::V4(address), bits).unwrap();
        prop_oneof![(self::v4(), 0..=32_u8).prop_map(v4), (any::<u64>(), 0..=128_u8).prop_map(v6),]
    }

    fn address(nets: &[IpNet]) -> impl Strategy<Value = IpAddr> + use<> {
        let edges: Vec<IpAddr> =
            nets.iter().flat_map(|net| [net.network(), net.broadcast(), net.addr()]).collect();
        let edges = if edges.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { edges };
        prop_oneof![
            proptest::sample::select(edges),
            v4().prop_map(IpAddr::V4),
            any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        ]
    }

    proptest! {
        #[test]
        fn addresses_come_in_as_the_words_say(
            (allow, deny, addresses) in (
                proptest::collection::vec(net(), 0..12),
                proptest::collection::vec(net(), 0..12),
            )
                .prop_flat_map(|(allow, deny)| {
                    let all: Vec<_> = allow.iter().chain(&deny).copied().collect();
                    let addresses = proptest::collection::vec(address(&all), 1..30);
                    (Just(allow), Just(deny), addresses)
                })
        ) {
            let clients = Clients::new(&allow, &deny);
            for address in addresses {
                let expected = naively(&allow, &deny, address.to_canonical());
                prop_assert_eq!(clients.lets_in(address), expected, "{} {:?} {:?}", address, allow, deny);
                if let IpAddr::V4(v4) = address {
                    prop_assert_eq!(clients.lets_in(v4.to_ipv6_mapped().into()), expected);
                }
            }
        }
    }

    #[test]
    fn each_of_a_thousand_networks_counts() {
        let net = |n: u32| IpNet::new(Ipv4Addr::from_bits(n << 20).into(), 24).unwrap();
        let nets: Vec<IpNet> = (0..1_000).rev().map(net).collect();
        let clients = Clients::new(&nets, &[]);
        for n in 0..1_000 {
            assert!(clients.lets_in(Ipv4Addr::from_bits(n << 20 | 255).into()), "{n}");
            assert!(!clients.lets_in(Ipv4Addr::from_bits(n << 20 | 256).into()), "{n}");
        }
    }
}
