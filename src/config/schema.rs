//! Every key there is: what makes a key known, and what `frontgate schema` prints.

mod route;
mod service;

use std::fmt::Write;

pub use route::ROUTE;
pub use service::SERVICE;

use super::kind::{Key, Kinds};

/// Where a catalog's services are found when it does not say.
pub(super) const CATALOG_PATH: &str = "/{service}/*";

/// Methods whose names are well known, so that another spelling is a mistake.
pub(super) const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The main file.
pub const TOP: &[Key] = &[
    Key::new("workers", "integer", "", "data-plane threads; default: the cores available"),
    Key::new("zone", "string", "", "where this gateway stands"),
    Key::new(
        "routes",
        "list of strings",
        "[]",
        "files of [[route]] and [service.…], relative to this one",
    ),
    Key::new(
        "shutdown_grace",
        "duration",
        "\"30s\"",
        "how long exchanges may go on after the listeners are closed",
    ),
    Key::new(
        "drain_delay",
        "duration",
        "\"0s\"",
        "between readiness failing and the first closed listener",
    ),
    Key::new(
        "state_dir",
        "path or false",
        "",
        "the registries' last good sets; default: $STATE_DIRECTORY, else \"state\" beside this file; false = no files",
    ),
    Key::new("log.level", "string", "\"info\"", "error · warn · info · debug · trace, or a filter"),
    Key::new("log.format", "string", "\"text\"", "text · json · logfmt"),
    Key::new("log.target", "string", "\"stderr\"", "stderr · syslog · journald"),
    Key::new(
        "trusted_proxies",
        "list of strings",
        "[]",
        "networks whose forwarded headers and request ids are believed",
    ),
    Key::new("listen", "tables by name", "", "where clients connect"),
    Key::new("admin", "table or false", "", "the admin server"),
    Key::new("registry", "tables by name", "", "where instances are found"),
    Key::new("catalog", "tables by name", "", "routes by service name, without a route each"),
    Key::new("register", "tables by name", "", "the gateway registers itself"),
    Key::new("auth", "tables by name", "", "ways to tell who a caller is"),
    Key::new("rate_store", "tables by name", "", "where several gateways count together"),
    Key::new("defaults.route", "table", "", "any route key but name, path, hosts, service"),
    Key::new("defaults.service", "table", "", "any service key but name, endpoints"),
    Key::new("service", "tables by name", "", "what stands behind routes"),
    Key::new("route", "list of tables", "", "what happens to which requests"),
];

/// `[listen.<name>]`.
pub const LISTEN: &[Key] = &[
    Key::new("address", "address and port", "", "port 0: any free one"),
    Key::new("reuse_port", "boolean", "false", "whether another process may share the port"),
    Key::new(
        "limits.header_timeout",
        "duration",
        "\"10s\"",
        "from the first byte of a head to its end; 0s = none",
    ),
    Key::new("limits.header_bytes", "size", "\"64KiB\"", "the whole head"),
    Key::new("limits.headers", "integer", "100", "header fields in a head"),
    Key::new("limits.target_bytes", "size", "\"8KiB\"", "the request target"),
    Key::new(
        "limits.idle_timeout",
        "duration",
        "\"75s\"",
        "between two exchanges, and while a client takes nothing; 0s = none",
    ),
    Key::new(
        "limits.body_timeout",
        "duration",
        "\"30s\"",
        "silence while a body is awaited; 0s = none",
    ),
    Key::new("limits.connections", "integer", "10000", "open connections; 0 = unlimited"),
    Key::new(
        "limits.connections_per_client",
        "integer",
        "0",
        "of one client address; 0 = unlimited",
    ),
];

/// `[admin]`.
pub const ADMIN: &[Key] = &[
    Key::new(
        "address",
        "address and port",
        "\"127.0.0.1:9901\"",
        "`admin = false` switches it off",
    ),
    Key::new("token", "secret", "", "without one only loopback may connect"),
];

/// `[registry.<name>]`, whatever its kind.
pub const REGISTRY: &[Key] = &[
    Key::new("kind", "string", "", "what it is"),
    Key::new("required", "boolean", "true", "whether readiness waits for it"),
];

/// `[catalog.<name>]`.
pub const CATALOG: &[Key] = &[
    Key::new("registry", "string", "", "default: the only one"),
    Key::new(
        "path",
        "string",
        "\"/{service}/*\"",
        "where a service is found; the prefix is stripped",
    ),
    Key::new("tag", "string", "", "only services that carry it; default: all"),
    Key::new("exclude", "list of strings", "[]", "services that get no route"),
];

/// `[register.<name>]`.
pub const REGISTER: &[Key] = &[
    Key::new("registry", "string", "", "default: the only one"),
    Key::new("name", "string", "", "what others find it by"),
    Key::new("address", "string", "", "host:port where others reach it"),
    Key::new("tags", "list of strings", "[]", "tags in the registry"),
    Key::new("check", "string", "", "path of an HTTP check; default: a heartbeat"),
];

/// An entry of `endpoints`.
pub const ENDPOINT: &[Key] = &[
    Key::new("address", "string", "", "http://host:port"),
    Key::new("weight", "integer", "1", "share of the traffic"),
    Key::new("zone", "string", "", "where it stands"),
];

/// An entry of a route's `service` when that is a list.
pub const SPLIT: &[Key] = &[
    Key::new("service", "string", "", "its name"),
    Key::new("weight", "integer", "1", "its share"),
];

/// An entry of a route's `rate_limit`.
pub const RATE: &[Key] = &[
    Key::new("rate", "rate", "", "like \"100/s\", \"600/m\""),
    Key::new("burst", "integer", "", "how many at once; default: the rate's count"),
    Key::new(
        "key",
        "string or list of strings",
        "\"route\"",
        "route · client_ip · host · header:x · cookie:x · claim:sub",
    ),
    Key::new("mode", "string", "\"reject\"", "reject · delay"),
    Key::new("max_wait", "duration", "\"1s\"", "of mode delay: how long one waits"),
    Key::new("max_queue", "integer", "1000", "of mode delay: how many wait"),
    Key::new("store", "string", "\"local\"", "or the name of a [rate_store.…]"),
];

/// `[auth.<name>]` and `[rate_store.<name>]`, whatever their kind.
pub const OF_KIND: &[Key] = &[Key::new("kind", "string", "", "what it is")];

/// Every key of every table with its default, as TOML: what has a default stands as a setting, the rest as comments.
pub fn print(kinds: &Kinds<'_>) -> String {
    let mut text = String::from(
        "# Every key with its default. A line that is a comment shows a key without one.\n",
    );
    let top: Vec<&Key> = TOP.iter().filter(|key| !is_table(key)).collect();
    keys(&mut text, &top, "");
    let mut table = |header: &str, about: &str, known: &[&Key], off: &str| {
        write!(text, "\n# {about}\n{off}{header}\n").ok();
        keys(&mut text, known, off);
    };
    table("[listen.web]", "Where clients connect: any number, any name.", &all(LISTEN), "");
    table("[admin]", "The admin server; `admin = false` switches it off.", &all(ADMIN), "");
    for kind in kinds.registries {
        let known: Vec<&Key> = REGISTRY[1..].iter().chain(kind.keys).collect();
        let header = format!("[registry.{0}]\n# kind = \"{0}\"", kind.name);
        table(&header, &format!("{}.", kind.about), &known, "# ");
    }
    for (part, kinds) in [("auth", kinds.auths), ("rate_store", kinds.rate_stores)] {
        for kind in kinds {
            let header = format!("[{part}.{0}]\n# kind = \"{0}\"", kind.name);
            table(&header, &format!("{}.", kind.about), &all(kind.keys), "# ");
        }
    }
    table("[catalog.all]", "Routes by service name.", &all(CATALOG), "# ");
    table("[register.self]", "The gateway registers itself.", &all(REGISTER), "# ");
    table(
        "[service.name]",
        "What stands behind routes; also [defaults.service].",
        &all(SERVICE),
        "# ",
    );
    table("[[route]]", "What happens to which requests; also [defaults.route].", &all(ROUTE), "# ");
    table("rate_limit = [{ … }]", "An entry of a route's `rate_limit`.", &all(RATE), "# ");
    if !kinds.balancers.is_empty() {
        text.push_str("\n# Balancers:\n");
    }
    for kind in kinds.balancers {
        writeln!(text, "#   {:<14} {}", kind.name, kind.about).ok();
    }
    text
}

fn all(keys: &[Key]) -> Vec<&Key> {
    keys.iter().collect()
}

fn is_table(key: &Key) -> bool {
    key.shape.contains("table") || key.name.starts_with("defaults.")
}

fn keys(text: &mut String, keys: &[&Key], off: &str) {
    for key in keys {
        let (off, value) = match (key.name, key.default) {
            // Loads as it stands with this address only.
            ("address", "") if off.is_empty() => (off, "\"127.0.0.1:8080\""),
            (_, "") => ("# ", "…"),
            (_, default) => (off, default),
        };
        let setting = format!("{off}{} = {value}", key.name);
        writeln!(text, "{setting:<44} # {}: {}", key.shape, key.about).ok();
    }
}

/// The names of all keys whose values are never shown.
pub(super) fn secret_names(kinds: &Kinds<'_>) -> Vec<&'static str> {
    let parts = [kinds.registries, kinds.balancers, kinds.auths, kinds.rate_stores];
    let kinds = parts.into_iter().flatten().flat_map(|kind| kind.keys);
    let mut names: Vec<&str> = [ADMIN, TOP]
        .into_iter()
        .flatten()
        .chain(kinds)
        .filter(|key| matches!(key.shape, "secret" | "table of secrets"))
        .map(|key| key.name.rsplit('.').next().unwrap_or(key.name))
        .chain(["password", "secret"])
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
