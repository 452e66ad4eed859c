//! An instance as it stands in a registry: the forms that a key's or a node's value may have.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::model::{Endpoint, HostPort, Scheme};

/// What Consul and DNS allow as well; sums of weights stay far from overflowing.
const HEAVIEST: f64 = 65_535.0;

/// An instance and what a query may ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) endpoint: Endpoint,
    /// Tags, and the names of metadata that says yes (`{"frontgate": "true"}`).
    pub(super) tags: Vec<String>,
    /// Whether it says that it can be used; where a registry has no such thing it always does.
    pub(super) up: bool,
}

impl Entry {
    /// Whether it carries all of these tags.
    pub(super) fn is_tagged(&self, tags: &[String]) -> bool {
        tags.iter().all(|tag| self.tags.iter().any(|has| has.eq_ignore_ascii_case(tag)))
    }
}

/// Reads `host:port`, `http(s)://host:port`, etcd's naming JSON `{"Addr":"host:port","Metadata":{…}}`, or
/// `{"address":"host:port","weight":3,"zone":"a","tags":[…]}`, or Curator's `{"address":"host","port":80,…}`. The error says
/// what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Entry, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?.trim();
    if text.starts_with('{') {
        let written: Written =
            serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))?;
        return written.entry();
    }
    let (scheme, address) = url(text, None)?;
    let endpoint = Endpoint { scheme, address, weight: 1, zone: None };
    Ok(Entry { endpoint, tags: Vec::new(), up: true })
}

/// Every JSON form at once: their keys do not overlap but for `address`.
#[derive(Deserialize)]
#[serde(default)]
struct Written {
    #[serde(rename = "Addr")]
    addr: Option<String>,
    #[serde(rename = "Metadata", alias = "metadata")]
    metadata: Option<Value>,
    address: Option<String>,
    port: Option<Value>,
    #[serde(rename = "sslPort")]
    ssl_port: Option<Value>,
    payload: Option<Value>,
    weight: Option<Value>,
    zone: Option<Value>,
    scheme: Option<String>,
    tags: Option<Vec<String>>,
    /// Curator; absent means that it is.
    enabled: bool,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            addr: None,
            metadata: None,
            address: None,
            port: None,
            ssl_port: None,
            payload: None,
            weight: None,
            zone: None,
            scheme: None,
            tags: None,
            enabled: true,
        }
    }
}

impl Written {
    fn entry(&self) -> Result<Entry, String> {
        let metadata = self.metadata();
        let text = self.addr.as_deref().or(self.address.as_deref()).filter(|text| !text.is_empty());
        let text = text.ok_or("it has neither `address` nor `Addr`")?;
        let written = self.scheme.as_deref().or_else(|| metadata?.get("scheme")?.as_str());
        if let Some(other) = written.filter(|scheme| *scheme != "http") {
            return Err(format!("its scheme `{}` is not spoken here", other.escape_default()));
        }
        let port = match (&self.port, &self.ssl_port) {
            (Some(Value::Null) | None, Some(port)) if !port.is_null() => {
                return Err("it answers over TLS only, which is not spoken here".into());
            }
            (Some(port), _) if !port.is_null() => Some(whole(port).ok_or("its port is no port")?),
            _ => None,
        };
        let (scheme, address) = url(text, port)?;
        let of = |key: &str, own: &Option<Value>| -> Option<Value> {
            own.clone().or_else(|| metadata?.get(key).cloned())
        };
        let weight = of("weight", &self.weight).as_ref().and_then(number);
        let zone = of("zone", &self.zone).and_then(|zone| zone.as_str().map(str::to_owned));
        let mut tags = self.tags.clone().unwrap_or_default();
        tags.extend(metadata.into_iter().flat_map(flags));
        let zone = zone.filter(|zone| !zone.is_empty());
        let endpoint = Endpoint { scheme, address, weight: weigh(weight), zone };
        Ok(Entry { endpoint, tags, up: self.enabled })
    }

    /// Metadata, or that of Curator's payload, as Spring Cloud writes it.
    fn metadata(&self) -> Option<&Map<String, Value>> {
        let of_payload = || self.payload.as_ref()?.as_object()?.get("metadata")?.as_object();
        self.metadata.as_ref().and_then(Value::as_object).or_else(of_payload)
    }
}

/// Metadata that is something else than a flag.
const SPOKEN_FOR: [&str; 4] = ["weight", "zone", "scheme", "protocol"];

/// The names of metadata that says yes.
pub(super) fn flags(metadata: &Map<String, Value>) -> impl Iterator<Item = String> + '_ {
    let says_yes = |value: &Value| match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => !matches!(text.trim(), "" | "false" | "no" | "off" | "0"),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let is_flag = |name: &str| !SPOKEN_FOR.contains(&name);
    let flags = metadata.iter().filter(move |(name, value)| is_flag(name) && says_yes(value));
    flags.map(|(name, _)| name.clone())
}

/// A weight as written, between 1 and what may be summed; 1 when there is none or it makes no sense.
pub(super) fn weigh(written: Option<f64>) -> u32 {
    let weight = written.filter(|weight| weight.is_finite() && *weight > 0.0).unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just clamped")]
    let whole = weight.clamp(1.0, HEAVIEST) as u32;
    whole
}

/// A number, also one that is written as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole(value: &Value) -> Option<u16> {
    let port = match value {
        Value::Number(number) => u16::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    port.filter(|port| *port != 0)
}

/// `host:port` or `http://host:port/`; a bare host where the port is known from elsewhere.
fn url(text: &str, port: Option<u16>) -> Result<(Scheme, HostPort), String> {
    let rest = match text.split_once("://") {
        None => text,
        Some(("http", rest)) => rest,
        Some((other, _)) => {
            return Err(format!("its scheme `{}` is not spoken here", other.escape_default()));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let is_url = rest.len() != text.len();
    let shown = || text.chars().take(80).collect::<String>().escape_default().to_string();
    if let Some(port) = port {
        return Ok((Scheme::Http, HostPort { host: host(rest)?, port }));
    }
    let (name, number) = match rest.rsplit_once(':') {
        // The last colon of a bare IPv6 address is no port's.
        Some((name, number)) if !name.contains(':') || name.ends_with(']') => (name, number),
        _ if is_url => (rest, "80"),
        _ => return Err(format!("`{}` has no port", shown())),
    };
    let port = number.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| format!("`{}` is not host:port", shown()))?;
    Ok((Scheme::Http, HostPort { host: host(name)?, port }))
}

/// A name or an address; IPv6 with or without brackets.
pub(super) fn host(address: &str) -> Result<String, String> {
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_name = !bare.is_empty() && bare.len() <= 253 && bare.chars().all(named);
    if is_name || bare.parse::<std::net::IpAddr>().is_ok() {
        Ok(bare.to_ascii_lowercase())
    } else {
        let shown: String = bare.chars().take(80).collect();
        Err(format!("`{}` is no address", shown.escape_default()))
    }
}

/// Sorted by address, each once: the same address twice is one instance, and the heavier entry speaks for both.
pub(super) fn set(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    endpoints.sort_by(|a, b| a.address.cmp(&b.address).then(b.weight.cmp(&a.weight)));
    endpoints.dedup_by(|a, b| a.address == b.address);
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(Entry { endpoint, tags, up }) => {
                let Endpoint { address, weight, zone, .. } = endpoint;
                let zone = zone.unwrap_or_default();
                let down = if up { "" } else { " down" };
                format!("{address} {weight} {zone} {}{down}", tags.join(",")).trim_end().to_owned()
            }
            Err(why) => format!("! {why}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1:80 1"),
            (" orders-1.Internal:8080\n", "orders-1.internal:8080 1"),
            ("http://10.0.0.1:80", "10.0.0.1:80 1"),
            ("http://10.0.0.1/", "10.0.0.1:80 1"),
            ("[::1]:80", "[::1]:80 1"),
            (r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}"#, "10.0.0.1:80 1"),
            (
                r#"{"Addr":"10.0.0.1:80","Metadata":{"weight":3,"zone":"a","frontgate":true,"x":"false"}}"#,
                "10.0.0.1:80 3 a frontgate",
            ),
            (r#"{"Addr":"10.0.0.1:80","Metadata":"anything"}"#, "10.0.0.1:80 1"),
            (
                r#"{"address":"http://10.0.0.1:80","weight":"5","zone":"b","tags":["v2"]}"#,
                "10.0.0.1:80 5 b v2",
            ),
            (r#"{"address":"10.0.0.1:80","weight":-3}"#, "10.0.0.1:80 1"),
            (r#"{"address":"10.0.0.1:80","weight":1e9}"#, "10.0.0.1:80 65535"),
            (
                r#"{"name":"s","id":"x","address":"10.0.0.1","port":80,"sslPort":null,"payload":{"@class":"c","metadata":{"zone":"z","frontgate":"yes"}},"registrationTimeUTC":1,"serviceType":"DYNAMIC","uriSpec":null}"#,
                "10.0.0.1:80 1 z frontgate",
            ),
            (
                r#"{"address":"10.0.0.1","port":80,"sslPort":443,"enabled":false}"#,
                "10.0.0.1:80 1   down",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_so() {
        for (text, expected) in [
            ("", "! `` has no port"),
            ("10.0.0.1", "! `10.0.0.1` has no port"),
            ("::1", "! `::1` has no port"),
            ("10.0.0.1:0", "! `10.0.0.1:0` is not host:port"),
            ("10.0.0.1:http", "! `10.0.0.1:http` is not host:port"),
            ("a b:80", "! `a b` is no address"),
            ("a/b:80", "! `a/b` is no address"),
            ("https://10.0.0.1:443", "! its scheme `https` is not spoken here"),
            ("{}", "! it has neither `address` nor `Addr`"),
            (
                r#"{"address":"10.0.0.1","port":null,"sslPort":443}"#,
                "! it answers over TLS only, which is not spoken here",
            ),
            (r#"{"address":"10.0.0.1","port":70000}"#, "! its port is no port"),
            (
                r#"{"address":7}"#,
                "! it cannot be read: invalid type: integer `7`, expected a string at line 1 column 12",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert!(read(&[0xff, 0xfe]).is_err());
    }
}
