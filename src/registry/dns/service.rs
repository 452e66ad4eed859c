//! A service's complete set of instances, from SRV records or from addresses.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData};
use tokio::task::JoinSet;

use super::find::AGAIN;
use super::inquiry::{Addresses, Inquiry, Look};
use crate::config::model::{Endpoint, HostPort, Scheme};
use crate::registry::trouble::Trouble;
use crate::registry::value;

/// Names of one service that are resolved apart from it.
const TARGETS: usize = 1024;
/// Reasons of one answer that are told.
const TOLD: usize = 16;
/// Below this weight of the lightest target, one with the weight 0 would get too large a share.
const LIGHT: u16 = 10;

/// What was found.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) endpoints: Vec<Endpoint>,
    /// Why records were left out, one line each.
    pub(super) skipped: Vec<String>,
    /// How long it holds.
    pub(super) ttl: Duration,
}

impl Set {
    fn empty(ttl: Duration) -> Self {
        Self { endpoints: Vec::new(), skipped: Vec::new(), ttl }
    }
}

/// Addresses of targets as they were found last: one whose name cannot be looked up now keeps them.
pub(super) type Known = HashMap<Name, Vec<IpAddr>>;

/// Every address of a name, with one port. `last` are those found last.
pub(super) async fn of_host(
    inquiry: &Inquiry,
    name: &str,
    port: u16,
    last: &[IpAddr],
) -> Result<Set, Trouble> {
    let Addresses { ips, ttl, kept } = match inquiry.hosts(name, last).await? {
        Look::Found(found) => found,
        Look::Nothing(ttl) => return Ok(Set::empty(ttl)),
    };
    let endpoints = ips.into_iter().map(|ip| endpoint(ip, port, 1)).collect();
    let skipped = kept.map(|why| partly("the name", name, &why)).into_iter().collect();
    Ok(Set { ttl, skipped, ..Set::of(endpoints) })
}

fn unreadable(records: usize) -> Vec<String> {
    if records == 0 { Vec::new() } else { vec![format!("{records} of its records cannot be read")] }
}

/// Why some addresses are those that were known before.
fn partly(what: &str, name: &str, why: &Trouble) -> String {
    format!("{what} {name} cannot be looked up in full: {why}")
}

impl Set {
    fn of(endpoints: Vec<Endpoint>) -> Self {
        let endpoints = value::set(endpoints);
        Self { endpoints, skipped: Vec::new(), ttl: Duration::MAX }
    }
}

/// The targets of the SRV records with the lowest priority that has a usable one (RFC 2782).
pub(super) async fn of_records(
    inquiry: &Arc<Inquiry>,
    name: &str,
    known: &mut Known,
) -> Result<Set, Trouble> {
    let records = match inquiry.services(name).await? {
        Look::Found(records) => records,
        Look::Nothing(ttl) => return Ok(Set::empty(ttl)),
    };
    let mut groups: BTreeMap<u16, Vec<SRV>> = BTreeMap::new();
    for data in records.data {
        if let RData::SRV(record) = data {
            groups.entry(record.priority).or_default().push(record);
        }
    }
    // "A Target of "." means that the service is decidedly not available at this domain."
    if groups.values().flatten().all(|record| record.target.is_root()) {
        return Ok(Set::empty(records.ttl));
    }
    let mut targets = Targets {
        inquiry: Arc::clone(inquiry),
        found: records.beside,
        skipped: unreadable(records.unreadable),
        failure: None,
        ttl: records.ttl,
    };
    let before = std::mem::take(known);
    for group in groups.values() {
        let endpoints = targets.group(group, &before, known).await;
        if !endpoints.is_empty() {
            let set = Set::of(endpoints);
            return Ok(Set { skipped: targets.skipped, ttl: targets.ttl, ..set });
        }
    }
    match targets.failure {
        // They may have addresses, and were never known.
        Some(trouble) => Err(trouble),
        None => Ok(Set { skipped: targets.skipped, ..Set::empty(targets.ttl) }),
    }
}

struct Targets {
    inquiry: Arc<Inquiry>,
    /// What came beside the records.
    found: HashMap<Name, (Vec<IpAddr>, Duration)>,
    skipped: Vec<String>,
    failure: Option<Trouble>,
    ttl: Duration,
}

impl Targets {
    /// The instances of one priority.
    async fn group(&mut self, group: &[SRV], before: &Known, known: &mut Known) -> Vec<Endpoint> {
        let usable: Vec<&SRV> = group.iter().filter(|record| self.is_usable(record)).collect();
        self.resolve(&usable, before).await;
        let weights = Weights::of(&usable);
        let mut endpoints = Vec::new();
        for record in usable {
            let Some((addresses, ttl)) = self.found.get(&record.target) else { continue };
            self.ttl = self.ttl.min(*ttl);
            known.insert(record.target.clone(), addresses.clone());
            let weight = weights.scale(record.weight);
            endpoints.extend(addresses.iter().map(|ip| endpoint(*ip, record.port, weight)));
        }
        endpoints
    }

    fn is_usable(&mut self, record: &SRV) -> bool {
        if record.target.is_root() {
            return false;
        }
        if record.port == 0 {
            self.skip(format!("the target {} has the port 0", record.target.to_ascii()));
        }
        record.port != 0
    }

    fn skip(&mut self, why: String) {
        if self.skipped.len() < TOLD {
            if !self.skipped.contains(&why) {
                self.skipped.push(why);
            }
        } else if self.skipped.len() == TOLD {
            self.skipped.push("there are more of these".to_owned());
        }
    }

    /// Looks up those targets whose addresses did not come along, all at the same time.
    async fn resolve(&mut self, group: &[&SRV], before: &Known) {
        let mut names: Vec<&Name> = group.iter().map(|record| &record.target).collect();
        names.retain(|name| !self.found.contains_key(name));
        names.sort_unstable();
        names.dedup();
        if names.len() > TARGETS {
            let more = names.len() - TARGETS;
            self.skip(format!("{more} targets beyond {TARGETS} are not looked up"));
            names.truncate(TARGETS);
        }
        let mut looks = JoinSet::new();
        for name in names {
            let (inquiry, name) = (Arc::clone(&self.inquiry), name.clone());
            let last = before.get(&name).cloned().unwrap_or_default();
            looks.spawn(async move {
                let found = inquiry.addresses(&name, &last).await;
                (name, found)
            });
        }
        let mut unknown = Vec::new();
        while let Some(look) = looks.join_next().await {
            // A panic is a defect that has been told elsewhere.
            let Ok((name, found)) = look else { continue };
            match found {
                Ok(Look::Found(Addresses { ips, ttl, kept })) => {
                    unknown.extend(kept.map(|why| partly("the target", &name.to_ascii(), &why)));
                    self.found.insert(name, (ips, ttl));
                }
                Ok(Look::Nothing(ttl)) => {
                    self.ttl = self.ttl.min(ttl);
                    unknown.push(format!("the target {} has no address", name.to_ascii()));
                }
                Err(trouble) => {
                    let shown = name.to_ascii();
                    unknown.push(format!("the target {shown} cannot be looked up: {trouble}"));
                    self.ttl = self.ttl.min(AGAIN);
                    match before.get(&name) {
                        Some(last) => drop(self.found.insert(name, (last.clone(), Duration::MAX))),
                        None => self.failure = Some(trouble),
                    }
                }
            }
        }
        // They came in any order.
        unknown.sort_unstable();
        unknown.into_iter().for_each(|why| self.skip(why));
    }
}

/// What one weight is beside the others of its priority.
struct Weights {
    factor: u16,
}

impl Weights {
    /// 0 is "very small", but not never: it becomes 1, and the others grow where that would be no small part of theirs.
    fn of(group: &[&SRV]) -> Self {
        let weights = || group.iter().map(|record| record.weight);
        let heavier = || weights().filter(|weight| *weight > 0);
        let factor = match (heavier().min(), heavier().max()) {
            (Some(lightest), Some(heaviest))
                if weights().any(|weight| weight == 0) && lightest < LIGHT =>
            {
                LIGHT.min(u16::MAX / heaviest).max(1)
            }
            _ => 1,
        };
        Self { factor }
    }

    fn scale(&self, weight: u16) -> u32 {
        (u32::from(weight) * u32::from(self.factor)).max(1)
    }
}

fn endpoint(ip: IpAddr, port: u16, weight: u32) -> Endpoint {
    let address = HostPort { host: ip.to_string(), port };
    Endpoint { scheme: Scheme::Http, address, weight, zone: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(weights: &[u16]) -> Vec<u32> {
        let records: Vec<SRV> =
            weights.iter().map(|weight| SRV::new(0, *weight, 1, Name::root())).collect();
        let group: Vec<&SRV> = records.iter().collect();
        let scale = Weights::of(&group);
        weights.iter().map(|weight| scale.scale(*weight)).collect()
    }

    #[test]
    fn weights_stay_as_written_unless_a_zero_would_weigh_too_much() {
        assert_eq!(scaled(&[60, 40]), [60, 40]);
        assert_eq!(scaled(&[0, 0]), [1, 1]);
        assert_eq!(scaled(&[0, 60, 40]), [1, 60, 40]);
        assert_eq!(scaled(&[0, 1, 2]), [1, 10, 20]);
        assert_eq!(scaled(&[0, 1, 65_535]), [1, 1, 65_535], "never more than fits");
    }
}
