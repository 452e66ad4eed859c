//! `[rate_store.<name>]` of kind `redis`.

use std::time::Duration;

use http::Uri;

use super::Counted;
use crate::config::{Key, Secret, Table};
use crate::fetch::tls;

/// Connections at a time, one for each worker: never fewer than a machine has workers.
pub(super) const WORKERS: usize = 4096;
/// Where a server listens when the address does not say.
const PORT: u16 = 6379;
/// Three requests wait so long when a server hangs; a healthy one is a hundred times as fast.
const TIMEOUT: Duration = Duration::from_millis(100);
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10);
const PREFIX: &str = "frontgate:";
const PREFIX_BYTES: usize = 64;

/// Its keys.
pub(super) const KEYS: &[Key] = &tls::and::<4, 9>([
    Key::new("url", "secret", "", "redis://user:password@host:6379/0; rediss:// is TLS"),
    Key::new("timeout", "duration", "\"100ms\"", "how long a request waits for the server"),
    Key::new(
        "on_error",
        "string",
        "\"allow\"",
        "while the server does not count: allow, deny, or local (this gateway counts by itself)",
    ),
    Key::new("prefix", "string", "\"frontgate:\"", "before every key that is written there"),
]);

/// How a server is reached and asked.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `http://host:port`, or `https://` under TLS: how a connection is asked for.
    pub(super) uri: Uri,
    /// None is the server's default user.
    pub(super) user: Option<String>,
    /// None asks without saying who.
    pub(super) password: Option<Secret>,
    /// Its number.
    pub(super) database: u32,
    /// For each take.
    pub(super) timeout: Duration,
    pub(super) on_error: OnError,
    /// Before every key.
    pub(super) prefix: Box<str>,
    pub(super) tls: tls::Settings,
}

/// What happens to a request that the server does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnError {
    Allow,
    Deny,
    Local,
}

impl OnError {
    const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Local];

    /// As written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Local => "local",
        }
    }

    pub(super) fn counted(self) -> Counted {
        match self {
            Self::Allow => Counted::Allow,
            Self::Deny => Counted::Deny,
            Self::Local => Counted::Local,
        }
    }
}

impl Settings {
    /// None when there are problems, which are reported.
    pub(super) fn read(table: &mut Table<'_>) -> Option<Self> {
        let address = address(table);
        let timeout = wait(table);
        let on_error = on_error(table);
        let prefix = prefix(table);
        let mut tls = tls::Settings::read(table);
        let address = address?;
        tls.on = address.tls;
        if table.has("tls") && !tls.on {
            table.problem("tls", "`tls` means nothing under redis://", "write rediss://");
        }
        Some(Self {
            uri: address.uri,
            user: address.user,
            password: address.password,
            database: address.database,
            timeout: timeout?,
            on_error: on_error?,
            prefix: prefix?,
            tls,
        })
    }
}

fn wait(table: &mut Table<'_>) -> Option<Duration> {
    if !table.has("timeout") {
        return Some(TIMEOUT);
    }
    let written = table.duration("timeout")?;
    if (SHORTEST..=LONGEST).contains(&written) {
        return Some(written);
    }
    table.problem(
        "timeout",
        "`timeout` must be between 1ms and 10s",
        "every limited request waits for the server; a healthy one answers within a millisecond",
    );
    None
}

fn on_error(table: &mut Table<'_>) -> Option<OnError> {
    if !table.has("on_error") {
        return Some(OnError::Allow);
    }
    let written = table.text("on_error")?;
    let known = OnError::ALL.into_iter().find(|one| one.word() == written);
    if known.is_none() {
        let message = format!("`on_error` cannot be {written:?}");
        table.problem("on_error", message, "known here: allow, deny, local");
    }
    known
}

fn prefix(table: &mut Table<'_>) -> Option<Box<str>> {
    if !table.has("prefix") {
        return Some(PREFIX.into());
    }
    let written = table.text("prefix")?;
    let odd = |c: char| c.is_control() || matches!(c, '{' | '}');
    if written.len() <= PREFIX_BYTES && !written.contains(odd) {
        return Some(written.into());
    }
    let message = format!("`prefix` has at most {PREFIX_BYTES} bytes, and no braces in it");
    table.problem("prefix", message, "a cluster places a key by what stands in braces");
    None
}

/// What is wrong, and what to do.
type Wrong = (&'static str, &'static str);

/// A user and a password.
type Identity = (Option<String>, Option<Secret>);

struct Address {
    uri: Uri,
    tls: bool,
    user: Option<String>,
    password: Option<Secret>,
    database: u32,
}

fn address(table: &mut Table<'_>) -> Option<Address> {
    if !table.has("url") {
        table.problem(
            "",
            "a store of kind `redis` needs `url`",
            "like \"redis://127.0.0.1:6379/0\"",
        );
    }
    let url = table.secret("url")?;
    let read = parse(url.reveal());
    if let Err((message, hint)) = &read {
        table.problem("url", format!("`url` {message}"), *hint);
    }
    read.ok()
}

/// The address in parts. The error never repeats it: it may hold a password.
fn parse(url: &str) -> Result<Address, Wrong> {
    const LIKE: &str = "like \"redis://user:password@host:6379/0\"";
    let tls = match url.split_once("://") {
        Some(("redis", _)) => false,
        Some(("rediss", _)) => true,
        Some(("unix" | "redis+unix", _)) => {
            return Err((
                "names a socket file",
                "let the server listen on loopback: \"redis://127.0.0.1\"",
            ));
        }
        _ => return Err(("is neither redis:// nor rediss://", LIKE)),
    };
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains(['?', '#']) || authority.contains(['?', '#']) {
        return Err((
            "has options, or a sign that must be escaped",
            "a `?` or `#` in a password is written %3F or %23",
        ));
    }
    let database = if path.is_empty() { Some(0) } else { path.parse().ok() };
    let Some(database) = database else {
        return Err((
            "does not end with the number of a database",
            "like \"redis://host:6379/0\"; a `/` in a password is written %2F",
        ));
    };
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let (user, password) = identity(credentials)?;
    let uri = server(host, tls).ok_or(("names no host, or no port that can be", LIKE))?;
    Ok(Address { uri, tls, user, password, database })
}

fn identity(credentials: Option<&str>) -> Result<Identity, Wrong> {
    let Some(credentials) = credentials else { return Ok((None, None)) };
    let decoded = |text: &str| {
        decode(text).ok_or((
            "holds a user or password that cannot be read",
            "a sign is escaped as `%` and two hexadecimal digits, a `%` itself as %25",
        ))
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    if password.is_empty() {
        return Err(("names a user without a password", "like \"redis://user:password@host\""));
    }
    let user = if user.is_empty() { None } else { Some(decoded(user)?) };
    Ok((user, Some(Secret::new(decoded(password)?))))
}

/// How a connection to `host`, `host:port` or `[address]:port` is asked for.
fn server(host: &str, tls: bool) -> Option<Uri> {
    let authority: http::uri::Authority = host.parse().ok()?;
    let name = authority.host();
    let port = match host.strip_prefix(name)?.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => PORT,
    };
    if name.is_empty() {
        return None;
    }
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{name}:{port}").parse().ok()
}

/// Percent-encoding undone (RFC 3986 §2.1); none when it is broken or holds no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
