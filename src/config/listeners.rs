//! `[listen.…]` and `[admin]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::check::named;
use super::model::{ADMIN_ADDRESS, AdminConfig, Config, Limits, ListenerConfig};
use super::problem::Problems;
use super::schema;
use super::table::Table;
use super::tree::{Entry, Node, Value};

/// A map of headers cannot hold many more than 30,000, and what is added on the way needs room, too.
const MOST_HEADERS: usize = 10_000;
/// Less than this holds no useful head.
const LEAST_HEAD: usize = 1 << 10;

pub(super) fn listeners(main: &Node, top: &mut Table<'_>) -> Vec<ListenerConfig> {
    let entries = named(main, "listen", top.problems());
    let none = |entry: &Entry| entry.value.entries().is_some_and(<[Entry]>::is_empty);
    if main.entry("listen").is_none_or(none) {
        let hint = "[listen.web] with address = \"127.0.0.1:8080\"";
        top.problem("", "there is no listener", hint);
    }
    let mut listeners = Vec::new();
    for entry in entries {
        let title = format!("[listen.{}]", entry.key);
        let mut table = Table::new(title, schema::LISTEN, vec![&entry.value], top.problems());
        table.reject_unknown(&[]);
        let address = socket_address(&mut table, true);
        let reuse_port = table.flag("reuse_port").unwrap_or(false);
        let limits = limits(&mut table);
        if let Some(address) = address {
            listeners.push(ListenerConfig { name: entry.key.clone(), address, reuse_port, limits });
        }
    }
    listeners
}

fn limits(table: &mut Table<'_>) -> Limits {
    let default = Limits::default();
    let Some(mut table) = table.table("limits") else { return default };
    let header_bytes = table.size("header_bytes").unwrap_or(default.header_bytes);
    if header_bytes < LEAST_HEAD {
        table.problem("header_bytes", "`limits.header_bytes` must be at least 1KiB", None);
    }
    let target_bytes = table.size("target_bytes").unwrap_or(default.target_bytes);
    if target_bytes == 0 {
        table.problem("target_bytes", "`limits.target_bytes` must be at least 1B", None);
    }
    let mut time = |key, default: Duration| table.duration(key).unwrap_or(default);
    let header_timeout = time("header_timeout", default.header_timeout);
    let idle_timeout = time("idle_timeout", default.idle_timeout);
    let body_timeout = time("body_timeout", default.body_timeout);
    let mut count = |key, least, default| table.count(key, least).unwrap_or(default);
    let headers = count("headers", 1, default.headers);
    let connections = count("connections", 0, default.connections);
    let connections_per_client = count("connections_per_client", 0, default.connections_per_client);
    if headers > MOST_HEADERS {
        table.problem("headers", "`limits.headers` must be at most 10000", None);
    }
    Limits {
        header_timeout,
        header_bytes,
        headers,
        target_bytes,
        idle_timeout,
        body_timeout,
        connections,
        connections_per_client,
    }
}

pub(super) fn admin(top: &mut Table<'_>) -> Option<AdminConfig> {
    #[expect(clippy::expect_used, reason = "the constant is an address, as every test shows")]
    let default =
        || AdminConfig { address: ADMIN_ADDRESS.parse().expect("an address"), token: None };
    let Some(node) = top.find("admin") else { return Some(default()) };
    match &node.value {
        Value::Flag(false) => None,
        Value::Flag(true) => Some(default()),
        Value::Table(_) => {
            let mut table =
                Table::new("[admin]".to_owned(), schema::ADMIN, vec![node], top.problems());
            table.reject_unknown(&[]);
            let token = table.secret("token");
            let address =
                if table.has("address") { socket_address(&mut table, false) } else { None };
            Some(AdminConfig { address: address.unwrap_or(default().address), token })
        }
        Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Other(..) => {
            let message = format!("`admin` must be a table or false, not {}", node.what());
            top.problem("admin", message, None);
            None
        }
    }
}

fn socket_address(table: &mut Table<'_>, required: bool) -> Option<SocketAddr> {
    let (text, place) =
        if required { table.required("address")? } else { table.spot("address")? };
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let hint = match text.rsplit_once(':') {
        Some(("", port)) => format!("for every address of this machine: \"0.0.0.0:{port}\""),
        Some(("localhost", port)) => format!("\"127.0.0.1:{port}\""),
        _ => "an IP address and a port, like \"0.0.0.0:8080\" or \"[::]:8080\"".to_owned(),
    };
    table.problem_at(&place, "`address` is not an IP address and a port", hint);
    None
}

/// Two sockets cannot have one address; a listener's second one is told, and the admin.
pub(super) fn apart(config: &Config, main: &Node, problems: &mut Problems) {
    let place = |name: &str| {
        let table = &main.entry("listen")?.value.entry(name)?.value;
        table.entry("address").map(|entry| entry.value.place.clone())
    };
    let mut taken: Vec<&ListenerConfig> = Vec::new();
    for listener in &config.listeners {
        let first = taken.iter().find(|first| first.address == listener.address);
        if let (Some(first), Some(here)) = (first, place(&listener.name))
            && listener.address.port() != 0
        {
            let at = place(&first.name).map(|place| format!(", at {place}")).unwrap_or_default();
            let message = format!("[listen.{}] has this address too{at}", first.name);
            problems.push(&here, message, None);
        }
        taken.push(listener);
    }
    let admin = config.admin.as_ref().filter(|admin| admin.address.port() != 0);
    if let Some(first) = admin.and_then(|a| taken.iter().find(|l| l.address == a.address))
        && let Some(here) = place(&first.name)
    {
        let hint = "`admin.address` moves it, `admin = false` switches it off";
        problems.push(&here, "the admin server has this address", hint);
    }
}
