//! `[registry.<name>]` of kind `zookeeper`.

use std::sync::Arc;
use std::time::Duration;

use super::Zookeeper;
use super::names::Root;
use crate::config::{Key, Secret, Table};
use crate::registry::tls::{Problem, problem};
use crate::registry::{Registry, Reread};

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

/// Reports every problem of a table; starts nothing.
pub(in crate::registry) fn check(table: &mut Table<'_>) {
    read("", table);
}

/// The registry that a table describes; none when it has problems, which are reported.
pub(in crate::registry) fn open(name: &str, table: &mut Table<'_>) -> Option<Arc<dyn Registry>> {
    Some(Arc::new(read(name, table)?))
}

fn read(name: &str, table: &mut Table<'_>) -> Option<Zookeeper> {
    let settings = Settings::read(name, table);
    match Zookeeper::new(&settings) {
        Ok(zookeeper) => Some(zookeeper),
        Err(problem) => {
            table.problem(problem.key, problem.to_string(), None::<String>);
            None
        }
    }
}
