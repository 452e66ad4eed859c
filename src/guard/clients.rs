//! Which addresses may come in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// `allow` and `deny` of a route.
#[derive(Debug)]
pub struct Clients {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
}

impl Clients {
    /// An empty `allow` lets everybody in that `deny` does not name.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self { allow: allow.into(), deny: deny.into() }
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
        let named = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        (self.allow.is_empty() || named(&self.allow)) && !named(&self.deny)
    }
}
