//! Whom to ask: servers that are written down, or the system's, read again when its files change.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;

use super::Settings;

/// How often the system's files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);
/// More of a file is not read.
const LARGEST: u64 = 1 << 20;

/// Whom to ask, and how names are completed.
#[derive(Debug, Default)]
pub(super) struct Servers {
    /// In the order of trying.
    pub(super) addresses: Vec<SocketAddr>,
    /// Domains that a name may be in which is not written in full.
    pub(super) search: Vec<Name>,
    /// A name with as many dots is tried as it is first.
    pub(super) ndots: usize,
    /// What the system knows without asking, in lower case.
    hosts: HashMap<String, Vec<IpAddr>>,
    /// The one that answered last.
    first: AtomicUsize,
}

impl Servers {
    pub(super) fn written(addresses: Vec<SocketAddr>, search: Vec<Name>) -> Self {
        Self { addresses, search, ndots: 1, ..Self::default() }
    }

    /// Every one with its index, the one that answered last first.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (usize, SocketAddr)> + '_ {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.addresses.len());
        (0..count).map(move |step| (first + step) % count).map(|at| (at, self.addresses[at]))
    }

    /// This one answered.
    pub(super) fn answered(&self, index: usize) {
        self.first.store(index, Ordering::Relaxed);
    }

    /// Addresses of a name that nobody is asked for.
    pub(super) fn known(&self, name: &str) -> Option<Vec<IpAddr>> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        if let Ok(address) = bare.parse() {
            return Some(vec![address]);
        }
        let bare = bare.to_ascii_lowercase();
        // RFC 6761 §6.3. Over the older protocol: what listens on one of the two loopback addresses listens there.
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Some(vec![IpAddr::from([127, 0, 0, 1])]);
        }
        self.hosts.get(&bare).cloned()
    }

    /// What a name may be in full, the likeliest first (resolv.conf(5), `ndots` and `search`).
    pub(super) fn candidates(&self, name: &str) -> Option<Vec<Name>> {
        let mut full = Name::from_ascii(name).ok()?;
        if full.is_fqdn() {
            return Some(vec![full]);
        }
        let completed = self.search.iter().filter_map(|domain| {
            let mut completed = full.clone().append_domain(domain).ok()?;
            completed.set_fqdn(true);
            Some(completed)
        });
        let mut candidates: Vec<Name> = completed.collect();
        full.set_fqdn(true);
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let at = if dots >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(at, full);
        Some(candidates)
    }
}

/// Where it stands whom to ask.
pub(super) enum Source {
    Written(Arc<Servers>),
    System(Box<System>),
}

impl Source {
    pub(super) fn now(&self) -> Arc<Servers> {
        match self {
            Self::Written(servers) => Arc::clone(servers),
            Self::System(system) => system.now(),
        }
    }
}

/// The system's resolver configuration.
pub(super) struct System {
    settings: Settings,
    search: Option<Vec<Name>>,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    at: Instant,
    marks: [Mark; 2],
    servers: Arc<Servers>,
}

/// What a changed file changes.
type Mark = Option<(SystemTime, u64)>;

impl System {
    /// `search` stands instead of what the system says.
    pub(super) fn new(settings: &Settings, search: Option<Vec<Name>>) -> Self {
        Self { settings: settings.clone(), search, seen: Mutex::default() }
    }

    /// Looks at the files once a second at most.
    fn now(&self) -> Arc<Servers> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_ref().filter(|seen| seen.at.elapsed() < LOOK) {
            return Arc::clone(&seen.servers);
        }
        let marks = [mark(&self.settings.resolv_conf), mark(&self.settings.hosts)];
        let servers = match seen.take() {
            Some(before) if before.marks == marks => before.servers,
            before => self.read_anew(before.map(|before| before.servers)),
        };
        *seen = Some(Seen { at: Instant::now(), marks, servers: Arc::clone(&servers) });
        servers
    }

    /// A file that says nothing may be just being replaced. Without one before it means the server on this machine, as
    /// resolv.conf(5) has it.
    fn read_anew(&self, before: Option<Arc<Servers>>) -> Arc<Servers> {
        let registry = self.settings.name.as_str();
        match self.read() {
            Ok(servers) => {
                let addresses = &servers.addresses;
                tracing::info!(registry, ?addresses, "the system says whom to ask");
                Arc::new(servers)
            }
            Err(error) => {
                tracing::warn!(registry, error, "the system does not say whom to ask");
                before.unwrap_or_else(|| {
                    let here = SocketAddr::from(([127, 0, 0, 1], self.settings.port));
                    let search = self.search.clone().unwrap_or_default();
                    let hosts = self.read_hosts();
                    Arc::new(Servers { hosts, ..Servers::written(vec![here], search) })
                })
            }
        }
    }

    fn read(&self) -> Result<Servers, String> {
        let shown = self.settings.resolv_conf.display();
        let bytes = contents(&self.settings.resolv_conf)
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let (config, options) =
            parse_resolv_conf(&bytes).map_err(|error| format!("{shown}: {error}"))?;
        let addresses = config.name_servers().iter();
        let port = self.settings.port;
        let addresses = addresses.map(|server| SocketAddr::new(server.ip, port)).collect();
        Ok(Servers {
            addresses,
            search: self.search.clone().unwrap_or_else(|| config.search().to_vec()),
            ndots: options.ndots,
            hosts: self.read_hosts(),
            first: AtomicUsize::new(0),
        })
    }

    fn read_hosts(&self) -> HashMap<String, Vec<IpAddr>> {
        let hosts = contents(&self.settings.hosts).unwrap_or_default();
        names(&String::from_utf8_lossy(&hosts))
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// hosts(5): an address and its names on each line.
fn names(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            names.entry(name.to_ascii_lowercase()).or_default().push(address);
        }
    }
    names
}

#[cfg(test)]
mod tests;
