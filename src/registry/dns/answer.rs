//! What an answer says: the records of a name, that there are none, or that it could not be found out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::lenient::UNREADABLE;
use crate::registry::trouble::Trouble;

/// How long an answer without any times of its own holds.
const UNSAID: Duration = Duration::from_secs(5);
/// Aliases in one answer.
const ALIASES: usize = 16;

/// What a server said about a name and a type of records.
#[derive(Debug)]
pub(super) enum Said {
    /// At least one record.
    Records(Records),
    /// The name is another one's alias, and nothing is said about that.
    Alias(Name, Duration),
    /// There is none of this type, or (`nothing`) of any type.
    None {
        /// How long that holds.
        ttl: Duration,
        /// Whether the name does not exist at all.
        nothing: bool,
    },
}

/// Records, and what was said beside them.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) data: Vec<RData>,
    /// How many more there are that cannot be read.
    pub(super) unreadable: usize,
    /// The smallest time of the records and aliases on the way to them.
    pub(super) ttl: Duration,
    /// Addresses of other names, with the smallest time of each.
    pub(super) beside: HashMap<Name, (Vec<IpAddr>, Duration)>,
}

/// Reads an answer to this question; `server` speaks in the reasons.
pub(super) fn read(message: &Message, query: &Query, server: &str) -> Result<Said, Trouble> {
    let code = message.metadata.response_code;
    let (name, ttl) = follow(message, query);
    if code == ResponseCode::NXDomain {
        let holds = negative(message).unwrap_or(UNSAID);
        return Ok(Said::None { ttl: holds.min(ttl), nothing: true });
    }
    if matches!(code, ResponseCode::Refused | ResponseCode::NotAuth) {
        let why = "it does not serve this name, or not to us";
        return Err(Trouble::Refused(format!("{server} answers {}: {why}", word(code))));
    }
    if code != ResponseCode::NoError {
        return Err(Trouble::Broken(format!("{server} answers {}", word(code))));
    }
    let moved = name != query.name;
    let wanted = |kind: RecordType| kind == query.query_type;
    let mut least = ttl;
    let mut data = Vec::new();
    let of_name = |record: &&Record| record.name == name && record.record_type() == UNREADABLE;
    let unreadable = message.answers.iter().filter(of_name).count();
    for record in &message.answers {
        if record.name == name && wanted(record.record_type()) {
            least = least.min(seconds(record.ttl));
            data.push(record.data.clone());
        }
    }
    if !data.is_empty() {
        let beside = beside(message);
        return Ok(Said::Records(Records { data, unreadable, ttl: least, beside }));
    }
    if unreadable > 0 {
        return Err(Trouble::Broken(format!("{server} sends records that cannot be read alone")));
    }
    if let Some(ttl) = negative(message) {
        return Ok(Said::None { ttl: ttl.min(least), nothing: false });
    }
    if moved {
        return Ok(Said::Alias(name, least));
    }
    let metadata = &message.metadata;
    let refers = message.authorities.iter().any(|r| r.record_type() == RecordType::NS);
    if refers && !metadata.authoritative {
        let why = "it refers to other servers instead of asking them";
        return Err(Trouble::Refused(format!("{server} does not know this name: {why}")));
    }
    Ok(Said::None { ttl: UNSAID, nothing: false })
}

/// The name that the records belong to, behind its aliases, and their smallest time.
fn follow(message: &Message, query: &Query) -> (Name, Duration) {
    let mut name = query.name.clone();
    let mut ttl = Duration::MAX;
    for _ in 0..ALIASES {
        let alias = message.answers.iter().find_map(|record| {
            let RData::CNAME(target) = &record.data else { return None };
            (record.name == name).then(|| (target.0.clone(), record.ttl))
        });
        let Some((target, seconds_left)) = alias else { break };
        ttl = ttl.min(seconds(seconds_left));
        name = target;
    }
    (name, ttl)
}

/// How long a negative answer holds (RFC 2308 §5); none when it does not say.
fn negative(message: &Message) -> Option<Duration> {
    message.authorities.iter().find_map(|record| {
        let RData::SOA(soa) = &record.data else { return None };
        Some(seconds(record.ttl.min(soa.minimum)))
    })
}

fn beside(message: &Message) -> HashMap<Name, (Vec<IpAddr>, Duration)> {
    let mut beside: HashMap<Name, (Vec<IpAddr>, Duration)> = HashMap::new();
    for record in &message.additionals {
        let Some(address) = record.data.ip_addr() else { continue };
        let entry = beside.entry(record.name.clone()).or_insert((Vec::new(), Duration::MAX));
        entry.0.push(address);
        entry.1 = entry.1.min(seconds(record.ttl));
    }
    beside
}

/// The topmost bit set means zero (RFC 2181 §8).
fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl.into() })
}

/// As DNS people write it.
fn word(code: ResponseCode) -> String {
    const WORDS: [(ResponseCode, &str); 5] = [
        (ResponseCode::ServFail, "SERVFAIL"),
        (ResponseCode::Refused, "REFUSED"),
        (ResponseCode::FormErr, "FORMERR"),
        (ResponseCode::NotImp, "NOTIMP"),
        (ResponseCode::NotAuth, "NOTAUTH"),
    ];
    let word = WORDS.iter().find(|(known, _)| *known == code);
    word.map_or_else(
        || format!("the error code {}", u16::from(code)),
        |(_, word)| (*word).to_owned(),
    )
}

#[cfg(test)]
mod tests;
