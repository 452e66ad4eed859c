//! `[registry.<name>]` of kind `zookeeper`.

use std::time::Duration;

use super::Zookeeper;
use super::names::Root;
use crate::config::{Key, Secret, Table};
use crate::fetch::tls::{Problem, problem};
use crate::registry::{FromTable, Reread};

const SERVERS: &str = "127.0.0.1:2181";
const ROOT: &str = "/services";
const TIMEOUT: Duration = Duration::from_secs(10);
/// A server of the usual settings grants between 4 and 40 s; these bounds only keep nonsense out.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// Its keys.
pub(in crate::registry) const KEYS: &[Key] = &[
    Key::new(
        "servers",
        "string",
        "\"127.0.0.1:2181\"",
        "host:port, several with commas between; a path at the end is put before root",
    ),
    Key::new("root", "string", "\"/services\"", "instances are children of <root>/<service>"),
    Key::new("auth", "secret", "", "user:password, shown in the scheme digest"),
    Key::new(
        "session_timeout",
        "duration",
        "\"10s\"",
        "asked for; after it a silent client's registrations go",
    ),
];

/// How an ensemble is reached and what is read there.
#[derive(Clone)]
pub struct Settings {
    /// The table's name.
    pub name: String,
    /// `host:port,host:port/path`.
    pub servers: String,
    /// The node whose children are services.
    pub root: String,
    /// `user:password`.
    pub auth: Option<Secret>,
    /// Called when something is not permitted; none when the credentials cannot have changed.
    pub reread: Option<Reread>,
    /// What is asked of the server, which may grant another.
    pub session_timeout: Duration,
}

impl Settings {
    /// An ensemble at these addresses, and defaults for the rest.
    pub fn new(name: &str, servers: &str) -> Self {
        Self {
            name: name.to_owned(),
            servers: servers.to_owned(),
            root: ROOT.to_owned(),
            auth: None,
            reread: None,
            session_timeout: TIMEOUT,
        }
    }

    fn read(name: &str, table: &mut Table<'_>) -> Self {
        let mut settings = Self::new(name, table.text("servers").as_deref().unwrap_or(SERVERS));
        settings.root = table.text("root").unwrap_or(settings.root);
        settings.auth = table.secret("auth");
        settings.reread = table.secret_reader("auth");
        settings.session_timeout =
            table.duration("session_timeout").unwrap_or(settings.session_timeout);
        settings
    }

    /// The same with servers alone in `servers`, and the root behind their path.
    pub(super) fn checked(&self) -> Result<(Self, Root), Problem> {
        let (servers, path) = match self.servers.split_once('/') {
            Some((servers, path)) => (servers, format!("/{path}")),
            None => (self.servers.as_str(), String::new()),
        };
        let servers = servers.split(',').map(server).collect::<Result<Vec<_>, _>>();
        let servers = servers.map_err(|why| problem("servers", why))?;
        let below = Root::new(&self.root).map_err(|why| problem("root", why))?;
        let root = match path.trim_end_matches('/') {
            "" => below,
            path => below.under(path).map_err(|why| problem("servers", why))?,
        };
        if self.auth.as_ref().is_some_and(|auth| !is_pair(auth)) {
            return Err(problem("auth", "must be a user and a password with a colon between"));
        }
        if !(SHORTEST..=LONGEST).contains(&self.session_timeout) {
            return Err(problem("session_timeout", "must be between 100ms and 1h"));
        }
        Ok((Self { servers: servers.join(","), ..self.clone() }, root))
    }
}

/// Whether it is `user:password`.
pub(super) fn is_pair(auth: &Secret) -> bool {
    auth.reveal().split_once(':').is_some_and(|(user, _)| !user.is_empty())
}

/// `host:port`, `[address]:port` or a host alone, as the client library wants it.
fn server(text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is not host:port");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        Some(_) => return Err(wrong()),
        None => (text, "2181"),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        }
    };
    match port.parse::<u16>() {
        Ok(1..) if is_host => Ok(format!("{host}:{port}")),
        Ok(_) | Err(_) => Err(wrong()),
    }
}

impl FromTable for Zookeeper {
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
        let info = INFOS.iter().find(|info| info.name == "zookeeper").unwrap();
        Section::from_toml("registry.zookeeper", info, text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn settings(text: &str) -> (Settings, Root) {
        let section = section(text);
        let mut problems = Problems::new();
        let read = Settings::read("z", &mut section.read(&mut problems));
        assert!(problems.is_empty(), "{problems}");
        read.checked().unwrap_or_else(|problem| panic!("{problem}"))
    }

    #[test]
    fn every_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let auth = folder.path().join("auth");
        std::fs::write(&auth, "user:old\n").unwrap();
        let (read, root) = settings(&format!(
            "kind = 'zookeeper'\nservers = ' a:2181, b ,[::1]:2183/app/x'\nroot = '/s'\nsession_timeout = '2s'\n\
             auth = {{ file = '{}' }}",
            auth.display()
        ));
        assert_eq!(read.servers, "a:2181,b:2181,[::1]:2183");
        assert_eq!(root.path(), "/app/x/s");
        assert_eq!(read.session_timeout, Duration::from_secs(2));
        assert_eq!(read.auth, Some(Secret::new("user:old".into())));
        std::fs::write(&auth, "user:new\n").unwrap();
        assert_eq!(read.reread.unwrap()(), Some(Secret::new("user:new".into())));
    }

    #[test]
    fn an_empty_table_is_the_server_beside_us() {
        let (read, root) = settings("kind = 'zookeeper'");
        assert_eq!((read.servers.as_str(), root.path()), (SERVERS, ROOT));
        assert_eq!((read.session_timeout, read.auth), (TIMEOUT, None));
        assert!(registry::build(&section("kind = 'zookeeper'"), &mut Problems::new()).is_some());
    }

    #[test]
    fn what_is_no_server_is_said_so() {
        for servers in
            ["", ",", "a:", "a:0", "a:65536", "a b:1", "::1", "[x]:1", "http://a:1", "a,,b"]
        {
            let settings = Settings::new("z", servers);
            assert!(settings.checked().is_err(), "{servers:?} was taken");
        }
    }
}
