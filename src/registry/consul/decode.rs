//! Consul's answers in the few fields that matter. Lenient: unknown fields, `null` lists and bad entries harm nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::model::{Endpoint, HostPort, Scheme};
use crate::registry::{Query, value};

/// Consul's own limit of a weight.
const HEAVIEST: i64 = 65_535;

/// `/v1/health/service/<name>` read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Sorted by address, each once.
    pub(super) endpoints: Vec<Endpoint>,
    /// Why entries were left out, in the order of the answer.
    pub(super) skipped: Vec<String>,
}

/// An entry of `/v1/health/service/<name>`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    node: Option<Node>,
    service: Option<Service>,
    checks: Option<Vec<Check>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    node: Option<String>,
    address: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: Option<String>,
    address: Option<String>,
    port: Option<i64>,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, Value>>,
    weights: Option<Weights>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Weights {
    passing: Option<i64>,
    warning: Option<i64>,
}

/// An entry of `/v1/health/state/any`, and of an entry's checks.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    node: Option<String>,
    #[serde(rename = "CheckID")]
    check_id: Option<String>,
    status: Option<String>,
    service_name: Option<String>,
}

/// What a check says: the service it is about (empty for a whole node) and its status.
pub(super) type Verdict = (String, String);

/// Reads `/v1/health/service/<name>`. An error when the answer as a whole makes no sense.
pub(super) fn endpoints(body: &[u8], query: &Query) -> Result<Decoded, String> {
    let (entries, unreadable) = list::<Entry>(body)?;
    if entries.is_empty()
        && let Some(why) = unreadable.first()
    {
        return Err(format!("no entry of the answer can be read: {why}"));
    }
    let mut decoded = Decoded { endpoints: Vec::new(), skipped: unreadable };
    for entry in entries {
        match endpoint(&entry, query) {
            Ok(Some(endpoint)) => decoded.endpoints.push(endpoint),
            Ok(None) => {}
            Err(why) => decoded.skipped.push(format!("{}: {why}", entry.label())),
        }
    }
    // The same address twice may be registered by two agents.
    decoded.endpoints = value::set(decoded.endpoints);
    Ok(decoded)
}

/// Reads `/v1/catalog/services`: names and the tags that any instance has.
pub(super) fn services(body: &[u8]) -> Result<BTreeMap<String, Vec<String>>, String> {
    let services: Option<BTreeMap<String, Option<Vec<String>>>> =
        serde_json::from_slice(body).map_err(|e| e.to_string())?;
    Ok(services
        .unwrap_or_default()
        .into_iter()
        .map(|(name, tags)| (name, tags.unwrap_or_default()))
        .collect())
}

/// Reads `/v1/health/state/any`: each check by node and id.
pub(super) fn checks(body: &[u8]) -> Result<BTreeMap<(String, String), Verdict>, String> {
    let (checks, _) = list::<Check>(body)?;
    Ok(checks
        .into_iter()
        .map(|check| {
            let key = (check.node.unwrap_or_default(), check.check_id.unwrap_or_default());
            (key, (check.service_name.unwrap_or_default(), check.status.unwrap_or_default()))
        })
        .collect())
}

/// The entries that can be read, and why others cannot. `null` is an empty list, as Go writes one.
fn list<T: DeserializeOwned>(body: &[u8]) -> Result<(Vec<T>, Vec<String>), String> {
    let raw: Option<Vec<&RawValue>> =
        serde_json::from_slice(body).map_err(|e| format!("the answer is no list: {e}"))?;
    let (mut read, mut bad) = (Vec::new(), Vec::new());
    for entry in raw.unwrap_or_default() {
        match serde_json::from_str(entry.get()) {
            Ok(entry) => read.push(entry),
            Err(error) => bad.push(error.to_string()),
        }
    }
    Ok((read, bad))
}

/// None for an instance that is not asked for.
fn endpoint(entry: &Entry, query: &Query) -> Result<Option<Endpoint>, String> {
    let service = entry.service.as_ref().ok_or("it has no service")?;
    let tags = service.tags.as_deref().unwrap_or_default();
    let wanted = |tag: &String| tags.iter().any(|has| has.eq_ignore_ascii_case(tag));
    let worst = entry.worst();
    let healthy =
        if query.passing_only { worst == Status::Passing } else { worst != Status::Critical };
    if !healthy || !query.tags.iter().all(wanted) {
        return Ok(None);
    }
    let scheme = match service.meta("scheme") {
        None | Some("http") => Scheme::Http,
        Some(other) => return Err(format!("its scheme `{other}` is not spoken here")),
    };
    let of_node = entry.node.as_ref().and_then(|node| node.address.as_deref());
    let address = [service.address.as_deref(), of_node]
        .into_iter()
        .flatten()
        .find(|address| !address.is_empty())
        .ok_or("it has no address")?;
    Ok(Some(Endpoint {
        scheme,
        address: HostPort { host: value::host(address)?, port: port(service.port)? },
        weight: service.weight(worst),
        zone: service.meta("zone").map(str::to_owned),
    }))
}

fn port(port: Option<i64>) -> Result<u16, String> {
    match port.unwrap_or(0) {
        0 => Err("it has no port".into()),
        port => u16::try_from(port).map_err(|_| format!("{port} is no port")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Passing,
    Warning,
    Critical,
}

impl Entry {
    /// As Consul aggregates: the worst check of the service and of its node. What is unknown counts as critical, as does
    /// maintenance.
    fn worst(&self) -> Status {
        let checks = self.checks.as_deref().unwrap_or_default();
        let status = |check: &Check| match check.status.as_deref() {
            Some("passing") => Status::Passing,
            Some("warning") => Status::Warning,
            Some(_) | None => Status::Critical,
        };
        checks.iter().map(status).max().unwrap_or(Status::Passing)
    }

    fn label(&self) -> String {
        let id = self.service.as_ref().and_then(|service| service.id.as_deref());
        let node = self.node.as_ref().and_then(|node| node.node.as_deref());
        format!(
            "`{}` on node `{}`",
            id.unwrap_or("?").escape_default(),
            node.unwrap_or("?").escape_default()
        )
    }
}

impl Service {
    fn meta(&self, key: &str) -> Option<&str> {
        let value = self.meta.as_ref()?.get(key)?.as_str()?;
        (!value.is_empty()).then_some(value)
    }

    /// Meta `weight` is written for a gateway; otherwise Consul's own weights speak.
    fn weight(&self, worst: Status) -> u32 {
        let written = self.meta("weight").and_then(|weight| weight.trim().parse().ok());
        let own = self.weights.as_ref().and_then(|weights| match worst {
            Status::Warning => weights.warning,
            Status::Passing | Status::Critical => weights.passing,
        });
        let weight = written.filter(|weight| *weight > 0).or(own).unwrap_or(1);
        u32::try_from(weight.clamp(1, HEAVIEST)).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
