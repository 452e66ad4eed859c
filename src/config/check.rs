//! The whole: every table in turn, then what refers to what.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::files::Files;
use super::kind::{KindInfo, Kinds};
use super::model::{Config, LogConfig, LogFormat, LogTarget, RouteConfig, SHUTDOWN_GRACE};
use super::problem::{Problems, suggest};
use super::source::Place;
use super::table::Table;
use super::tree::{Entry, Node, Value};
use super::{doubts, guards, listeners, registries, routes, schema, services};

/// What tables may refer to.
pub(super) struct Scope<'a> {
    pub(super) kinds: &'a Kinds<'a>,
    /// By index.
    pub(super) listeners: Vec<String>,
    /// By index.
    pub(super) registries: Vec<String>,
    /// By name: those whose table is good enough to tell.
    pub(super) registry_kinds: Vec<(String, KindInfo)>,
    /// By name, also those whose table is wrong.
    pub(super) auths: Vec<String>,
    /// By name, also those whose table is wrong.
    pub(super) rate_stores: Vec<String>,
    pub(super) route_defaults: Option<&'a Node>,
    pub(super) service_defaults: Option<&'a Node>,
    /// Where the gateway stands.
    pub(super) zone: Option<String>,
}

impl Scope<'_> {
    /// The index of the registry that a key names; without the key, of the only one.
    pub(super) fn registry(&self, table: &mut Table<'_>) -> Option<usize> {
        let title = table.title().to_owned();
        let Some((name, place)) = table.spot("registry") else {
            if !table.has("registry") && self.registries.len() == 1 {
                return Some(0);
            }
            if !table.has("registry") {
                table.problem("", format!("{title} needs `registry`"), self.registries_hint());
            }
            return None;
        };
        let found = self.registries.iter().position(|registry| *registry == name);
        if found.is_none() {
            let hint = suggest(&name, self.registries.iter().map(String::as_str));
            let message = format!("no registry is called `{name}`");
            table.problem_at(&place, message, hint.unwrap_or_else(|| self.registries_hint()));
        }
        found
    }

    /// What a registry is, when its table says.
    pub(super) fn kind(&self, registry: usize) -> Option<&KindInfo> {
        let name = self.registries.get(registry)?;
        self.registry_kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| kind)
    }

    /// The index of the registry that a key names, as long as it can do `what`: more than finding one name.
    pub(super) fn registry_of_more(&self, table: &mut Table<'_>, what: &str) -> Option<usize> {
        let found = self.registry(table)?;
        if let Some(kind) = self.kind(found).filter(|kind| kind.names_only) {
            let message = format!("a registry of the kind `{}` {what}", kind.name);
            table.problem("registry", message, "it finds the instances of a name, nothing else");
        }
        Some(found)
    }

    /// What to say when a registry is needed and it is not clear which.
    pub(super) fn registries_hint(&self) -> String {
        if self.registries.is_empty() {
            "no registry is configured: [registry.consul] with kind = \"consul\" is one".to_owned()
        } else {
            format!("known here: {}", self.registries.join(", "))
        }
    }
}

/// Checks everything. What could not be read has its default, so that the rest is checked as well; the result counts
/// only when there is no problem.
pub(super) fn check(
    files: &Files,
    kinds: &Kinds<'_>,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> (Config, Vec<Place>) {
    let main = &files.main;
    let mut top = Table::new("the main file".to_owned(), schema::TOP, vec![main], problems);
    top.reject_unknown(&[]);
    top.spots("routes");
    top.tables("defaults");
    let mut config = top_level(&mut top);
    config.listeners = listeners::listeners(main, &mut top);
    config.admin = listeners::admin(&mut top);
    listeners::apart(&config, main, top.problems());
    config.registries = registries::registries(main, kinds, problems);
    let scope = Scope {
        kinds,
        listeners: names(main, "listen"),
        registries: names(main, "registry"),
        registry_kinds: registries::kinds(&config.registries, kinds),
        auths: files.all().flat_map(|file| names(file, "auth")).collect(),
        rate_stores: names(main, "rate_store"),
        route_defaults: defaults(main, "route", &routes::NOT_INHERITED, problems),
        service_defaults: defaults(main, "service", &services::NOT_INHERITED, problems),
        zone: config.zone.clone(),
    };
    reject_other_tables(files, problems);
    config.auths = guards::auths(&tables(files, "auth", problems), kinds, problems);
    config.rate_stores = guards::rate_stores(main, kinds, problems);
    let mut services =
        services::services(&tables(files, "service", problems), &scope, problems, warnings);
    let mut places = Vec::new();
    for node in route_nodes(files, problems) {
        if let Some(route) = routes::route(node, &scope, problems) {
            services::named_by_route(&mut services, &route, &scope, problems);
            guards::opened(node, &route, &scope, warnings);
            config.routes.push(Arc::new(route.config));
            places.push(route.place);
        }
    }
    distinct(&config.routes, &places, problems);
    services::unused(&tables(files, "service", problems), &config.routes, warnings);
    config.catalogs = registries::catalogs(main, &scope, problems);
    config.registrations = registries::registrations(main, &scope, problems);
    let auths = tables(files, "auth", &mut Problems::new());
    let stores = named(main, "rate_store", &mut Problems::new());
    guards::unused(&config, (&auths, &stores), warnings);
    let written = tables(files, "service", &mut Problems::new());
    doubts::doubts(&config, (&places, &written), &services, warnings);
    config.services = services.into_values().map(Arc::new).collect();
    (config, places)
}

/// Each is a thread with its own sockets; more is a slip of the hand.
const MOST_WORKERS: usize = 1024;

fn top_level(top: &mut Table<'_>) -> Config {
    let workers = top.count("workers", 1);
    if workers.is_some_and(|workers| workers > MOST_WORKERS) {
        top.problem("workers", format!("`workers` must be at most {MOST_WORKERS}"), None);
    }
    Config {
        workers: workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        zone: top.text("zone"),
        shutdown_grace: top.duration("shutdown_grace").unwrap_or(SHUTDOWN_GRACE),
        drain_delay: top.duration("drain_delay").unwrap_or_default(),
        state_dir: state_dir(top),
        log: log(top),
        trusted_proxies: networks(top, "trusted_proxies"),
        listeners: Vec::new(),
        admin: None,
        registries: Vec::new(),
        catalogs: Vec::new(),
        registrations: Vec::new(),
        auths: Vec::new(),
        rate_stores: Vec::new(),
        services: Vec::new(),
        routes: Vec::new(),
    }
}

/// `false` keeps no files. Otherwise as written, or what a service manager gives, or `state` beside the file.
fn state_dir(top: &mut Table<'_>) -> Option<PathBuf> {
    let written = top.find("state_dir").map(|node| (&node.value, node.place.clone()));
    match written {
        Some((Value::Flag(false), _)) => return None,
        None | Some((Value::Flag(true), _)) => {}
        Some((Value::Text(text), place)) if text.is_empty() => {
            top.problem_at(&place, "`state_dir` is empty", "`false` keeps no files");
            return None;
        }
        Some((Value::Text(_), _)) => return top.path("state_dir"),
        Some((_, place)) => {
            top.problem_at(&place, "`state_dir` must be a path or false", "like \"state\"");
            return None;
        }
    }
    // systemd gives several, separated by colons, when a unit asks for several.
    let given = top.env("STATE_DIRECTORY");
    let given = given.as_deref().and_then(|list| list.split(':').find(|path| !path.is_empty()));
    Some(given.map_or_else(|| top.place().source().folder().join("state"), PathBuf::from))
}

fn log(top: &mut Table<'_>) -> LogConfig {
    let mut log = LogConfig::default();
    let Some(mut table) = top.table("log") else { return log };
    if let Some((level, place)) = table.spot("level") {
        if let Err(hint) = check_level(&level) {
            table.problem_at(&place, "`log.level` is not a level nor a filter", hint);
        }
        log.level = level;
    }
    if let Some(format) = word(&mut table, "format", &LogFormat::NAMES) {
        log.format = format;
    }
    if let Some(target) = word(&mut table, "target", &LogTarget::NAMES) {
        log.target = target;
    }
    log
}

/// One of a few words.
pub(super) fn word<T: Copy>(table: &mut Table<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let (text, place) = table.spot(key)?;
    let found = words.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let hint = suggest(&text, words.iter().map(|(name, _)| *name));
        let key = table.full(key);
        table.problem_at(&place, format!("`{key}` cannot be `{text}`"), hint);
    }
    found.map(|(_, value)| *value)
}

/// Whether a text is a level, or `target=level` pairs and a level separated by commas; otherwise a hint.
pub fn check_level(text: &str) -> Result<(), Option<String>> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for part in text.split(',') {
        let (target, level) = part.split_once('=').unwrap_or(("-", part));
        let target_fits =
            !target.is_empty() && target.chars().all(|c| c.is_alphanumeric() || "_:-".contains(c));
        if !LEVELS.contains(&level.trim()) {
            return Err(suggest(level, LEVELS));
        }
        if !target_fits {
            return Err(Some("like \"info,frontgate::registry=debug\"".to_owned()));
        }
    }
    Ok(())
}

/// A list of networks and addresses.
pub(super) fn networks(table: &mut Table<'_>, key: &str) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for (text, place) in table.spots(key).unwrap_or_default() {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(net) => nets.push(plain(net)),
            Err(_) => {
                let hint = "like \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"";
                table.problem_at(&place, "not a network and not an address", hint);
            }
        }
    }
    nets
}

/// IPv4 addresses in IPv6's clothes (RFC 4291 section 2.5.5.2) are IPv4 addresses, as those of clients are.
fn plain(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(v4, bits)| IpNet::new(v4.into(), bits).ok()).unwrap_or(net)
}

/// `[defaults.<what>]`, without the keys that belong to one route or service alone.
fn defaults<'a>(
    main: &'a Node,
    what: &str,
    alone: &[&str],
    problems: &mut Problems,
) -> Option<&'a Node> {
    let node = &main.entry("defaults")?.value.entry(what)?.value;
    let Some(entries) = node.entries() else {
        problems.push(&node.place, format!("`defaults.{what}` must be a table"), None);
        return None;
    };
    for entry in entries.iter().filter(|entry| alone.contains(&entry.key.as_str())) {
        let message = format!("`{}` has no default: every {what} has its own", entry.key);
        problems.push(&entry.place, message, None);
    }
    Some(node)
}

/// The tables by name under one key of the main file, and a problem for what is not a table.
pub(super) fn named<'a>(node: &'a Node, key: &str, problems: &mut Problems) -> Vec<&'a Entry> {
    let Some(found) = node.entry(key) else { return Vec::new() };
    let Some(entries) = found.value.entries() else {
        let message = format!("`{key}` must hold tables by name, not be {}", found.value.what());
        problems.push(&found.value.place, message, format!("like [{key}.name]"));
        return Vec::new();
    };
    let (tables, others): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry.value.entries().is_some());
    for entry in others {
        let what = entry.value.what();
        let message = format!("`{key}.{}` must be a table, not {what}", entry.key);
        let hint = format!("each table under `{key}` has a name of its own: [{key}.name]");
        problems.push(&entry.value.place, message, hint);
    }
    tables
}

/// Also of tables that are wrong, so that nothing that names them is called wrong as well.
fn names(main: &Node, key: &str) -> Vec<String> {
    named(main, key, &mut Problems::new()).into_iter().map(|entry| entry.key.clone()).collect()
}

/// The tables by name under one key of all files; a name in two of them is a problem.
fn tables<'a>(files: &'a Files, key: &str, problems: &mut Problems) -> Vec<&'a Entry> {
    let mut seen: HashMap<&str, &Entry> = HashMap::new();
    let mut all = Vec::new();
    for node in files.all() {
        for entry in named(node, key, problems) {
            if let Some(first) = seen.get(entry.key.as_str()) {
                let message =
                    format!("`{key}.{}` is written twice, first at {}", entry.key, first.place);
                problems.push(&entry.place, message, None);
            } else {
                seen.insert(&entry.key, entry);
                all.push(entry);
            }
        }
    }
    all
}

fn route_nodes<'a>(files: &'a Files, problems: &mut Problems) -> Vec<&'a Node> {
    let mut all = Vec::new();
    for node in files.all() {
        let Some(entry) = node.entry("route") else { continue };
        let Value::List(list) = &entry.value.value else {
            let message = format!("`route` must be a list of tables, not {}", entry.value.what());
            problems.push(&entry.value.place, message, "with two brackets: [[route]]");
            continue;
        };
        for item in list {
            if item.entries().is_some() {
                all.push(item);
            } else {
                let message = format!("a route must be a table, not {}", item.what());
                problems.push(&item.place, message, "like [[route]]");
            }
        }
    }
    all
}

/// A route file holds routes, services and ways to tell who calls, and nothing that is the whole gateway's.
fn reject_other_tables(files: &Files, problems: &mut Problems) {
    for entry in files.routes.iter().flat_map(|file| file.entries().unwrap_or_default()) {
        if !["route", "service", "auth"].contains(&entry.key.as_str()) {
            let message = format!("`{}` does not stand in a route file", entry.key);
            let hint = if schema::TOP.iter().any(|key| key.name == entry.key) {
                Some("it stands in the main file".to_owned())
            } else {
                suggest(&entry.key, ["route", "service", "auth"])
            };
            problems.push(&entry.place, message, hint);
        }
    }
}

fn distinct(routes: &[Arc<RouteConfig>], places: &[Place], problems: &mut Problems) {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for (route, place) in routes.iter().zip(places) {
        if let Some(first) = seen.get(route.name.as_str()) {
            let message = format!("two routes are called `{}`, the first at {first}", route.name);
            problems.push(place, message, "a route without `name` is called after its first path");
        } else {
            seen.insert(&route.name, place);
        }
    }
}
