//! `[registry.<name>]` of kind `dns`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;

use super::Dns;
use crate::config::{Key, Table};
use crate::fetch::tls::{Problem, problem};
use crate::registry::FromTable;

/// Bound on one answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// More is a slip of the hand.
const MOST_ATTEMPTS: usize = 10;
const PORT: u16 = 53;

/// Its keys.
pub(in crate::registry) const KEYS: &[Key] = &[
    Key::new("servers", "list of strings", "", "address:port, in order; default: the system's"),
    Key::new(
        "search",
        "list of strings",
        "",
        "domains to complete names; default: the system's, none with `servers`",
    ),
    Key::new("timeout", "duration", "\"2s\"", "for one answer"),
    Key::new("attempts", "integer", "2", "questions to each silent server, before one over TCP"),
];

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The table's name.
    pub name: String,
    /// `address:port`, or an address; none means the system's.
    pub servers: Option<Vec<String>>,
    /// Domains that complete names; none means the system's, or none beside `servers`.
    pub search: Option<Vec<String>>,
    /// Bound on one answer.
    pub timeout: Duration,
    /// Questions to a silent server before it is asked over TCP.
    pub attempts: usize,
    /// Where servers listen that are written without a port.
    pub port: u16,
    /// Where the system says whom to ask.
    pub resolv_conf: PathBuf,
    /// Where the system keeps addresses that nobody is asked for.
    pub hosts: PathBuf,
}

impl Settings {
    /// The system's servers, and defaults for the rest.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            servers: None,
            search: None,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            port: PORT,
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
        }
    }

    fn read(name: &str, table: &mut Table<'_>) -> Self {
        let timeout = table.duration("timeout").unwrap_or(TIMEOUT);
        if timeout.is_zero() {
            table.problem("timeout", "`timeout` must be more than 0s", None::<String>);
        }
        let attempts = table.count("attempts", 1).unwrap_or(ATTEMPTS);
        if attempts > MOST_ATTEMPTS {
            let message = format!("`attempts` must be at most {MOST_ATTEMPTS}");
            table.problem("attempts", message, None::<String>);
        }
        Self {
            servers: table.strings("servers"),
            search: table.strings("search"),
            timeout,
            attempts,
            ..Self::new(name)
        }
    }

    pub(super) fn addresses(&self) -> Result<Option<Vec<SocketAddr>>, Problem> {
        let Some(servers) = &self.servers else { return Ok(None) };
        if servers.is_empty() {
            return Err(problem("servers", "there must be a server to ask"));
        }
        let read = |text: &String| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let alone = bare.unwrap_or(text).parse::<IpAddr>();
            let alone = alone.map(|ip| SocketAddr::new(ip, self.port));
            let address = alone.or_else(|_| text.parse::<SocketAddr>()).ok();
            address.filter(|address| address.port() != 0).ok_or_else(|| {
                problem("servers", format!("`{text}` is not an IP address, or one with a port"))
            })
        };
        servers.iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn domains(&self) -> Result<Option<Vec<Name>>, Problem> {
        let Some(search) = &self.search else { return Ok(None) };
        let read = |text: &String| {
            let name = Name::from_ascii(text).ok().filter(|name| !name.is_root());
            name.ok_or_else(|| problem("search", format!("`{text}` is no domain")))
        };
        search.iter().map(read).collect::<Result<_, _>>().map(Some)
    }
}

impl FromTable for Dns {
    fn from_table(name: &str, table: &mut Table<'_>) -> Result<Self, Problem> {
        Self::new(&Settings::read(name, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, Section};
    use crate::registry::{self, INFOS};

    fn section(text: &str) -> Section {
        let kind = INFOS.iter().find(|kind| kind.name == "dns").unwrap();
        Section::from_toml("registry.dns", kind, text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn read_all(text: &str) -> Settings {
        let mut problems = Problems::new();
        let settings = Settings::read("dns", &mut section(text).read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        settings
    }

    #[test]
    fn every_key_is_read() {
        let read = read_all(
            "kind = 'dns'\nservers = ['127.0.0.1:5353', '10.0.0.1', '[::1]:54', '[::1]', '::1']\n\
             search = ['prod.internal', 'internal.']\ntimeout = '500ms'\nattempts = 3",
        );
        assert_eq!((read.timeout, read.attempts), (Duration::from_millis(500), 3));
        let addresses: Vec<_> =
            read.addresses().unwrap().unwrap().iter().map(ToString::to_string).collect();
        let expected = ["127.0.0.1:5353", "10.0.0.1:53", "[::1]:54", "[::1]:53", "[::1]:53"];
        assert_eq!(addresses, expected);
        assert_eq!(read.domains().unwrap().unwrap().len(), 2);
    }

    #[test]
    fn an_empty_table_asks_whom_the_system_asks() {
        let read = read_all("kind = 'dns'");
        assert_eq!((read.addresses(), read.domains()), (Ok(None), Ok(None)));
        assert_eq!((read.timeout, read.attempts), (Duration::from_secs(2), 2));
    }

    #[test]
    fn what_cannot_be_used_is_a_problem_at_its_place() {
        for (text, expected) in [
            ("servers = ['dns.internal']", "`dns.internal` is not an IP address"),
            ("servers = ['127.0.0.1:0']", "`127.0.0.1:0` is not an IP address"),
            ("servers = ['127.0.0.1:99999']", "is not an IP address"),
            ("servers = []", "there must be a server to ask"),
            ("search = ['a..b']", "`a..b` is no domain"),
            ("timeout = '0s'", "more than 0s"),
            ("attempts = 0", "at least 1"),
            ("attempts = 11", "at most 10"),
        ] {
            let section = section(&format!("kind = 'dns'\n{text}"));
            let mut problems = Problems::new();
            registry::build(&section, &mut problems);
            let problems = problems.to_string();
            assert!(problems.contains(":2:") && problems.contains(expected), "{text}: {problems}");
        }
    }
}
