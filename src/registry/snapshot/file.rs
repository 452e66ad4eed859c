//! A snapshot as a file: `frontgate snapshot 1 <checksum>`, a line break, and JSON.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::config::model::{Endpoint, HostPort, Lookup, Scheme};
use crate::registry::trouble::encode;
use crate::registry::value::host;
use crate::registry::{CatalogQuery, Query};

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

/// Makes the folder, and tries to write in it.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let trial = folder.join(format!(".trial-{}", std::process::id()));
    File::create(&trial)?;
    fs::remove_file(&trial)
}

/// Nothing for a file that is not there. The error says in one line why a file cannot be used.
pub(super) fn read(path: &Path) -> Result<Contents, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        Err(error) => return Err(error.to_string()),
    };
    let modified = file.metadata().and_then(|about| about.modified()).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let sum =
        line.strip_prefix(OPENING.as_bytes()).ok_or("it is of another version, or no snapshot")?;
    if sum != checksum(body).as_bytes() {
        return Err("its checksum does not fit: it is damaged".into());
    }
    let whole: Whole = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(Contents {
        sets: whole.sets.into_iter().map(|line| line.saved(modified)).collect::<Result<_, _>>()?,
        names: whole.names.into_iter().map(|line| line.saved(modified)).collect(),
    })
}

/// Replaces the file whole: whoever reads it sees the old or the new one, also after a crash. A folder that is gone is
/// made again.
pub(super) fn write(path: &Path, contents: Contents) -> io::Result<()> {
    let whole = Whole {
        sets: contents.sets.into_iter().map(SetLine::of).collect(),
        names: contents.names.into_iter().map(NamesLine::of).collect(),
    };
    let body = serde_json::to_vec(&whole)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = fresh(path);
    let mut file = File::create(&fresh)?;
    writeln!(file, "{OPENING}{}", checksum(&body))?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

/// Where a file is written before it takes the place of the one there is. Two gateways may share the folder; what they
/// write at the same time must not mix.
pub(super) fn fresh(path: &Path) -> PathBuf {
    path.with_extension(format!("new-{}", std::process::id()))
}

/// The file's time is now.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

fn checksum(body: &[u8]) -> String {
    digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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
        prepare(folder.path()).unwrap();
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
        touch(&path).unwrap();
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
        let text = [format!("{OPENING}{}\n", checksum(body)).as_bytes(), body].concat();
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap_err(), "`a b` is no address");
    }
}
