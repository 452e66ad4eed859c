//! Eureka's JSON in the few fields that matter. Server versions differ in it: one thing may stand without its list,
//! numbers and flags may be text, and whatever is not needed may be anything. One odd instance never loses the rest.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::apps::{Instance, Status};
use crate::config::model::{Endpoint, HostPort, Scheme};
use crate::registry::value::{self, Entry};

/// More instances than any Eureka server was seen to hold; what claims more is no registry's answer.
pub(super) const MOST: usize = 100_000;
/// The longest reason for leaving something out: it may quote what a peer wrote.
const REASON: usize = 200;

/// `/apps` or `/apps/delta` read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// `versions__delta`, which grows while a server lives.
    pub(super) version: Option<u64>,
    /// `apps__hashcode`: how many instances there are of each status.
    pub(super) hash: Option<String>,
    pub(super) listed: Vec<Listed>,
    /// Why something was left out, in the order of the answer.
    pub(super) skipped: Vec<String>,
}

/// An instance of an answer.
#[derive(Debug)]
pub(super) struct Listed {
    /// In lower case.
    pub(super) service: String,
    pub(super) id: String,
    /// `actionType` is `DELETED`, which only a delta says.
    pub(super) gone: bool,
    pub(super) instance: Instance,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    applications: &'a RawValue,
}

#[derive(Deserialize)]
struct Applications<'a> {
    #[serde(rename = "versions__delta")]
    version: Option<Value>,
    #[serde(rename = "apps__hashcode")]
    hash: Option<Value>,
    #[serde(borrow)]
    application: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Application<'a> {
    name: Option<Value>,
    #[serde(borrow)]
    instance: Option<&'a RawValue>,
}

/// Any type in any field, so that each is judged by itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    instance_id: Value,
    app: Value,
    host_name: Value,
    ip_addr: Value,
    status: Value,
    overridden_status: Value,
    /// As servers before 1.5 write it.
    #[serde(rename = "overriddenstatus")]
    overridden_before: Value,
    port: Value,
    secure_port: Value,
    data_center_info: Value,
    metadata: Value,
    action_type: Value,
}

/// Reads an answer. An error when it makes no sense as a whole.
pub(super) fn answer(body: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is no text")?.trim();
    let whole = object::<Whole<'_>>(text);
    let all = whole.and_then(|whole| object::<Applications<'_>>(whole.applications.get()));
    let all =
        all.map_err(|why| shorten(&format!("the answer is no list of applications: {why}")))?;
    // An empty registry has an empty sum, and in some versions no applications at all.
    if all.hash.is_none() && all.application.is_none() {
        return Err("the answer has neither applications nor their sum".into());
    }
    let mut answer = Answer {
        version: all.version.as_ref().and_then(number),
        hash: all.hash.as_ref().and_then(Value::as_str).map(str::to_owned),
        ..Answer::default()
    };
    let applications = list(all.application).map_err(|why| format!("its applications: {why}"))?;
    for raw in applications {
        application(raw, &mut answer)?;
    }
    // What is all nonsense is no empty registry.
    match answer.skipped.first() {
        Some(why) if answer.listed.is_empty() => {
            Err(format!("nothing of the answer can be read: {why}"))
        }
        _ => Ok(answer),
    }
}

fn application(raw: &RawValue, answer: &mut Answer) -> Result<(), String> {
    let named =
        object::<Application<'_>>(raw.get()).and_then(|read| Ok((list(read.instance)?, read.name)));
    let (instances, name) = match named {
        Ok(read) => read,
        Err(why) => {
            answer.skipped.push(shorten(&format!("an application: {why}")));
            return Ok(());
        }
    };
    let name = name.as_ref().and_then(text);
    for raw in instances {
        match instance(raw, name) {
            Ok((listed, why)) => {
                let label = || format!("`{}` of {}", listed.id, listed.service.escape_default());
                answer.skipped.extend(why.map(|why| shorten(&format!("{}: {why}", label()))));
                answer.listed.push(listed);
            }
            Err(why) => {
                let name = name.unwrap_or("?").escape_default();
                answer.skipped.push(shorten(&format!("an instance of {name}: {why}")));
            }
        }
        if answer.listed.len() + answer.skipped.len() > MOST {
            return Err(format!("the answer lists more than {MOST} instances"));
        }
    }
    Ok(())
}

/// An instance, and why it cannot be used though it says that it can.
fn instance(raw: &RawValue, app: Option<&str>) -> Result<(Listed, Option<String>), String> {
    let written: Written = object(raw.get())?;
    let service = app.or(text(&written.app)).ok_or("it belongs to no application")?.to_lowercase();
    let id = written.id().ok_or("it has no id, no host name and no address")?.to_owned();
    let status = Status::read(&written.status);
    let overridden = [&written.overridden_status, &written.overridden_before];
    let overridden = overridden.into_iter().map(Status::read).find(|s| *s != Status::Unknown);
    let effective = overridden.unwrap_or(status);
    let gone = text(&written.action_type) == Some("DELETED");
    let (entry, why) = match written.entry(effective) {
        Ok(entry) => (Some(entry), None),
        Err(why) => (None, Some(why).filter(|_| effective.may_serve() && !gone)),
    };
    let serves = effective.may_serve();
    Ok((Listed { service, id, gone, instance: Instance { status, entry, serves } }, why))
}

impl Written {
    /// As the server itself knows it.
    fn id(&self) -> Option<&str> {
        let of_amazon = || self.data_center("instance-id");
        text(&self.instance_id)
            .or_else(of_amazon)
            .or_else(|| text(&self.host_name))
            .or_else(|| text(&self.ip_addr))
    }

    fn entry(&self, status: Status) -> Result<Entry, String> {
        let (port, open) = port(&self.port, true)?;
        if !open {
            let (_, secure) = self::port(&self.secure_port, false).unwrap_or_default();
            let tls_only = "it answers over TLS only, which is not spoken here";
            return Err(if secure { tls_only } else { "it has no port that is open" }.into());
        }
        let port = port.ok_or("it has no port")?;
        let hosts = [text(&self.ip_addr), text(&self.host_name)].into_iter().flatten();
        let mut read = hosts.map(value::host);
        let first = read.next().ok_or("it has no address")?;
        let host = first.or_else(|why| read.find_map(Result::ok).ok_or(why))?;
        let none = Map::new();
        let metadata = self.metadata.as_object().unwrap_or(&none);
        let zone = metadata.get("zone").and_then(text);
        let zone = zone.or_else(|| self.data_center("availability-zone")).map(str::to_owned);
        let weight = value::weigh(metadata.get("weight").and_then(value::number));
        // An attribute of the XML that the JSON stems from is no flag.
        let tags = value::flags(metadata).filter(|name| !name.starts_with('@')).collect();
        let address = HostPort { host, port };
        let endpoint = Endpoint { scheme: Scheme::Http, address, weight, zone };
        Ok(Entry { endpoint, tags, up: status == Status::Up })
    }

    fn data_center(&self, key: &str) -> Option<&str> {
        text(self.data_center_info.get("metadata")?.get(key)?)
    }
}

/// `{"$":8080,"@enabled":"true"}`, or the bare number: the port, and whether it is open; `open` where that is not said.
fn port(written: &Value, open: bool) -> Result<(Option<u16>, bool), String> {
    let (number, flag) = match written {
        Value::Null => return Ok((None, false)),
        Value::Object(fields) => (fields.get("$"), fields.get("@enabled")),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            (Some(written), None)
        }
    };
    let open = match flag {
        None | Some(Value::Null) => open,
        Some(Value::Bool(flag)) => *flag,
        Some(other) => text(other).is_some_and(|flag| flag.eq_ignore_ascii_case("true")),
    };
    let Some(number) = number.filter(|number| !number.is_null()) else { return Ok((None, open)) };
    let port = self::number(number).and_then(|n| u16::try_from(n).ok()).filter(|port| *port != 0);
    match port {
        None if open => Err("its port is no port".into()),
        port => Ok((port, open)),
    }
}

/// An object and nothing else: a list of its values in the right order would be taken as well.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    if !text.starts_with('{') {
        return Err("it is no object".into());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The things of a list, or the one thing that stands in its place.
fn list(raw: Option<&RawValue>) -> Result<Vec<&RawValue>, String> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    match raw.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(raw.get()).map_err(|error| error.to_string()),
        Some(b'{') => Ok(vec![raw]),
        Some(b'n') => Ok(Vec::new()),
        _ => Err("neither a list nor an object".into()),
    }
}

/// Text that says something.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// A whole number, also one that is written as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| text(value)?.parse().ok())
}

fn shorten(reason: &str) -> String {
    reason.chars().take(REASON).collect()
}

#[cfg(test)]
mod tests;
