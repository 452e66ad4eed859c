//! What is said to etcd and what it says, in JSON ("gRPC gateway"): 64-bit numbers are strings, keys and values base64,
//! and what is zero or empty is left out.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A key, its value, and what etcd knows of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
    /// When it was written last.
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
}

/// An answer to a range.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<Pair>,
    #[serde(default)]
    pub(super) more: bool,
    /// Keys in all, on whichever page.
    #[serde(default, deserialize_with = "number")]
    pub(super) count: i64,
}

/// What a stream says in one line.
#[derive(Debug, Deserialize)]
pub(super) struct Line<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Value>,
}

/// What a watch says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    /// When what was to be told is no longer known.
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: i64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(default, rename = "type")]
    pub(super) verb: Verb,
    pub(super) kv: Pair,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Verb {
    #[default]
    Put,
    Delete,
}

/// A lease as it was granted.
#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
}

/// A lease as it was kept alive; nothing is left of one that is gone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Token {
    pub(super) token: String,
}

/// Reads an answer. The error says what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer cannot be read: {error}"))
}

/// The keys from one on, at a revision; 0 is the newest.
pub(super) fn range(from: &[u8], end: &[u8], revision: i64, limit: usize) -> Bytes {
    let (key, range_end) = (STANDARD.encode(from), STANDARD.encode(end));
    let (revision, limit) = (revision.to_string(), limit.to_string());
    said(&json!({ "key": key, "range_end": range_end, "revision": revision, "limit": limit }))
}

/// One key, without its value.
pub(super) fn look(key: &[u8]) -> Bytes {
    said(&json!({ "key": STANDARD.encode(key), "keys_only": true }))
}

/// Every change of the keys from this revision on.
pub(super) fn watch(from: &[u8], end: &[u8], revision: i64) -> Bytes {
    let (key, range_end) = (STANDARD.encode(from), STANDARD.encode(end));
    let start_revision = revision.to_string();
    said(&json!({ "create_request": {
        "key": key, "range_end": range_end, "start_revision": start_revision, "progress_notify": true,
    } }))
}

pub(super) fn grant(ttl: u64) -> Bytes {
    said(&json!({ "TTL": ttl.to_string() }))
}

/// To keep a lease alive, and to revoke it.
pub(super) fn lease(id: i64) -> Bytes {
    said(&json!({ "ID": id.to_string() }))
}

pub(super) fn put(key: &[u8], value: &[u8], lease: i64) -> Bytes {
    let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
    said(&json!({ "key": key, "value": value, "lease": lease.to_string() }))
}

pub(super) fn authenticate(name: &str, password: &str) -> Bytes {
    said(&json!({ "name": name, "password": password }))
}

fn said(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
}

/// A number, also one that is written as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<'a> {
        Number(i64),
        Text(#[serde(borrow)] Cow<'a, str>),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_as_etcd_writes_it_is_read() {
        let page: Page = read(
            br#"{"header":{"cluster_id":"324952591200643719","member_id":"3","revision":"3","raft_term":"2"},
                "kvs":[{"key":"L3NlcnZpY2VzL2EvMQ==","create_revision":"2","mod_revision":"2","version":"1","value":"MTAuMC4wLjE6MQ=="}],
                "more":true,"count":"2"}"#,
        )
        .unwrap();
        let pair =
            Pair { key: b"/services/a/1".to_vec(), value: b"10.0.0.1:1".to_vec(), mod_revision: 2 };
        assert_eq!((page.header.revision, page.more, page.kvs), (3, true, vec![pair]));
        let empty: Page = read(br#"{"header":{"revision":"1"}}"#).unwrap();
        assert!(empty.kvs.is_empty() && !empty.more);
    }

    #[test]
    fn a_change_as_etcd_tells_it_is_read() {
        let told: Line<Told> = read(
            br#"{"result":{"header":{"revision":"4"},"events":[{"type":"DELETE","kv":{"key":"YQ==","mod_revision":"4"}},
                {"kv":{"key":"Yg==","mod_revision":4,"value":"Yw=="}}]}}"#,
        )
        .unwrap();
        let events = told.result.unwrap().events;
        assert_eq!((events[0].verb, events[0].kv.key.as_slice()), (Verb::Delete, &b"a"[..]));
        assert_eq!((events[1].verb, events[1].kv.value.as_slice()), (Verb::Put, &b"c"[..]));
    }

    #[test]
    fn a_lease_that_is_gone_has_no_time_left() {
        let kept: Line<Kept> = read(br#"{"result":{"header":{},"ID":"12345"}}"#).unwrap();
        assert_eq!(kept.result.unwrap().ttl, 0);
    }

    #[test]
    fn what_is_no_answer_is_said_so() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"header":7}"#,
            r#"{"header":{"revision":"x"}}"#,
            r#"{"header":{"revision":"1"},"kvs":{}}"#,
            r#"{"header":{"revision":"1"},"kvs":[{"key":"?"}]}"#,
            r#"{"header":{"revision":"1"},"kvs":[{"key":7}]}"#,
            r#"{"header":{"revision":"1"},"kvs":[{"#,
        ] {
            assert!(read::<Page>(body.as_bytes()).is_err(), "{body}");
        }
        assert!(
            read::<Line<Told>>(br#"{"result":{"events":[{"type":"MAYBE","kv":{}}]}}"#).is_err()
        );
    }
}
