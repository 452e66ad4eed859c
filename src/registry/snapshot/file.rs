//! A snapshot as a file: `frontgate snapshot 1 <checksum>`, a line break, and JSON.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::model::{Endpoint, HostPort, Lookup, Scheme};
use crate::registry::trouble::encode;
use crate::registry::value::host;
use crate::registry::{CatalogQuery, Query};
use crate::state::{self, Kept};

/// What the first line begins with. Another version is another format.
const OPENING: &str = "frontgate snapshot 1 ";
/// Ten thousand instances are some 600 KB.
const LONGEST: u64 = 64 << 20;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) sets: Vec<Saved<Query, Endpoint>>,
    pub(super) names: Vec<Saved<CatalogQuery, String>>,
}

/// One question and its last good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved<Q, T> {
    pub(super) question: Q,
    pub(super) what: Vec<T>,
    /// When the registry confirmed it last; in a file that is written, none stands for the time of the file. What is
    /// read always has one.
    pub(super) confirmed: Option<SystemTime>,
}

#[derive(Deserialize, Serialize)]
struct Whole {
    sets: Vec<SetLine>,
    names: Vec<NamesLine>,
}

#[derive(Deserialize, Serialize)]
struct SetLine {
    service: String,
    tags: Vec<String>,
    passing_only: bool,
    /// Of a lookup of addresses.
    port: Option<u16>,
    /// Milliseconds since 1970.
    confirmed: Option<u64>,
    instances: Vec<InstanceLine>,
}

#[derive(Deserialize, Serialize)]
struct InstanceLine {
    host: String,
    port: u16,
    weight: u32,
    zone: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct NamesLine {
    tag: Option<String>,
    confirmed: Option<u64>,
    services: Vec<String>,
}

/// The file of a registry, whatever its name holds.
pub(super) fn name(registry: &str) -> String {
    format!("registry-{}.snapshot", encode(registry))
}

/// Nothing for a file that is not there. The error says in one line why a file cannot be used.
pub(super) fn read(path: &Path) -> Result<Contents, String> {
    let Some(Kept { body, modified }) = state::read(path, OPENING, LONGEST)? else {
        return Ok(Contents::default());
    };
    let whole: Whole = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(Contents {
        sets: whole.sets.into_iter().map(|line| line.saved(modified)).collect::<Result<_, _>>()?,
        names: whole.names.into_iter().map(|line| line.saved(modified)).collect(),
    })
}

/// Replaces the file whole.
pub(super) fn write(path: &Path, contents: Contents) -> io::Result<()> {
    let whole = Whole {
        sets: contents.sets.into_iter().map(SetLine::of).collect(),
        names: contents.names.into_iter().map(NamesLine::of).collect(),
    };
    state::write(path, OPENING, &serde_json::to_vec(&whole)?)
}

impl SetLine {
    fn of(saved: Saved<Query, Endpoint>) -> Self {
        let Query { service, tags, passing_only, lookup } = saved.question;
        let port = match lookup {
            Lookup::Srv => None,
            Lookup::Host { port } => Some(port),
        };
        let instances = saved.what.into_iter().map(InstanceLine::of).collect();
        Self {
            service,
            tags,
            passing_only,
            port,
            confirmed: saved.confirmed.map(millis),
            instances,
        }
    }

    fn saved(self, modified: SystemTime) -> Result<Saved<Query, Endpoint>, String> {
        let Self { service, tags, passing_only, port, confirmed, instances } = self;
        let lookup = port.map_or(Lookup::Srv, |port| Lookup::Host { port });
        Ok(Saved {
            question: Query { service, tags, passing_only, lookup },
            what: instances.into_iter().map(InstanceLine::endpoint).collect::<Result<_, _>>()?,
            confirmed: Some(confirmed.map_or(modified, time)),
        })
    }
}

impl InstanceLine {
    fn of(endpoint: Endpoint) -> Self {
        let Endpoint { scheme: Scheme::Http, address, weight, zone } = endpoint;
        Self { host: address.host, port: address.port, weight, zone }
    }

    fn endpoint(self) -> Result<Endpoint, String> {
        let Self { host: name, port, weight, zone } = self;
        if port == 0 || weight == 0 {
            return Err("it holds an instance without port or weight".into());
        }
        let address = HostPort { host: host(&name)?, port };
        Ok(Endpoint { scheme: Scheme::Http, address, weight, zone })
    }
}

impl NamesLine {
    fn of(saved: Saved<CatalogQuery, String>) -> Self {
        let confirmed = saved.confirmed.map(millis);
        Self { tag: saved.question.tag, confirmed, services: saved.what }
    }

    fn saved(self, modified: SystemTime) -> Saved<CatalogQuery, String> {
        Saved {
            question: CatalogQuery { tag: self.tag },
            what: self.services,
            confirmed: Some(self.confirmed.map_or(modified, time)),
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time that no clock can show counts as long ago.
fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn contents() -> Contents {
        let endpoint = |port, zone: Option<&str>| Endpoint {
            scheme: Scheme::Http,
            address: HostPort { host: "10.0.0.1".into(), port },
            weight: 3,
            zone: zone.map(str::to_owned),
        };
        let question = Query {
            service: "a/b \"c\"".into(),
            tags: vec!["v2".into()],
            passing_only: false,
            lookup: Lookup::Host { port: 7 },
        };
        let confirmed = Some(UNIX_EPOCH + Duration::from_millis(1_234_567));
        Contents {
            sets: vec![Saved {
                question,
                what: vec![endpoint(1, None), endpoint(2, Some("z"))],
                confirmed,
            }],
            names: vec![Saved {
                question: CatalogQuery { tag: Some("t".into()) },
                what: vec!["a".into()],
                confirmed,
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_was_confirmed_has_the_files_time() {
        let folder = tempfile::tempdir().unwrap();
        state::prepare(folder.path()).unwrap();
        let path = folder.path().join(name("con/sul .."));
        assert_eq!(read(&path).unwrap(), Contents::default(), "a file that is not there");
        write(&path, contents()).unwrap();
        assert_eq!(read(&path).unwrap(), contents());
        let mut confirmed = contents();
        confirmed.sets[0].confirmed = None;
        write(&path, confirmed).unwrap();
        let old = SystemTime::now() - Duration::from_secs(1000);
        File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        let age = |path: &Path| {
            read(path).unwrap().sets[0].confirmed.unwrap().elapsed().unwrap().as_secs()
        };
        assert!((1000..1010).contains(&age(&path)));
        state::touch(&path).unwrap();
        assert!(age(&path) < 10);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the file is left: {left:?}");
    }

    #[test]
    fn every_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, contents()).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path).is_err(), "byte {at} changed, and nobody noticed");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path).is_err(), "cut after {at} bytes, and nobody noticed");
        }
        let body = br#"{"sets":[{"service":"a","tags":[],"passing_only":true,"port":null,"confirmed":null,"instances":[{"host":"a b","port":1,"weight":1,"zone":null}]}],"names":[]}"#;
        state::write(&path, OPENING, body).unwrap();
        assert_eq!(read(&path).unwrap_err(), "`a b` is no address");
    }
}
