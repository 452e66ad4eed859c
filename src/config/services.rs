//! `[service.…]` over `[defaults.service]`, and services that only a route names.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::check::Scope;
use super::model::{
    CONSISTENT_HASH, Endpoint, Found, HashKey, HostPort, Lookup, PoolConfig, RouteConfig, Scheme,
    ServiceConfig,
};
use super::problem::{Problems, suggest};
use super::routes::Checked;
use super::source::Place;
use super::table::Table;
use super::tree::{Entry, Node, Value};
use super::{kind, lookup, policies, resilience, schema};

/// What every service says for itself.
pub(super) const NOT_INHERITED: [&str; 2] = ["name", "endpoints"];

pub(super) type Services = BTreeMap<String, ServiceConfig>;

pub(super) fn services(
    entries: &[&Entry],
    scope: &Scope<'_>,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Services {
    let mut services = Services::new();
    for entry in entries {
        if entry.key.is_empty() || entry.key.contains('/') {
            let message = "a service's name is not empty and holds no `/`";
            problems.push(&entry.place, message, "names with `/` are those of a catalog");
        }
        let title = format!("[service.{}]", entry.key);
        let layers = std::iter::once(&entry.value).chain(scope.service_defaults).collect();
        let mut table = Table::new(title, schema::SERVICE, layers, problems);
        table.reject_unknown(&[]);
        let mut service = policies(&mut table, scope);
        if let Some(node) = table.own("hash_key")
            && service.balance != CONSISTENT_HASH
        {
            let message = format!("`hash_key` means nothing to the balancer `{}`", service.balance);
            warnings.push(&node.place, message, "balance = \"consistent_hash\"");
        }
        service.name.clone_from(&entry.key);
        service.source = Some(entry.place.file_line());
        service.found = if table.own("endpoints").is_some() {
            written(&mut table)
        } else {
            registered(&mut table, entry, scope)
        };
        if service.found == Found::Written(Vec::new()) && table.own("endpoints").is_some() {
            let message = format!("`{}` has no endpoints: its routes answer 503", entry.key);
            warnings.push(&entry.place, message, None);
        }
        services.insert(entry.key.clone(), service);
    }
    services
}

/// A table that no route names is most often a misspelt one.
pub(super) fn unused(
    entries: &[&Entry],
    routes: &[std::sync::Arc<RouteConfig>],
    warnings: &mut Problems,
) {
    for entry in entries {
        if !routes.iter().any(|route| route.service == entry.key) {
            let near = suggest(&entry.key, routes.iter().map(|route| route.service.as_str()))
                .filter(|hint| hint.starts_with("did you mean"));
            warnings.push(&entry.place, format!("no route uses the service `{}`", entry.key), near);
        }
    }
}

/// Sees to it that the service of a route exists: one without a table is looked up in the only registry.
pub(super) fn named_by_route(
    services: &mut Services,
    route: &Checked,
    scope: &Scope<'_>,
    problems: &mut Problems,
) {
    let (Some(place), name) = (&route.service_place, &route.config.service) else { return };
    if services.contains_key(name) {
        return;
    }
    let mut service = of_catalog(scope, &mut Problems::new());
    let mut inherited = Problems::new();
    let registry = match scope.service_defaults {
        Some(defaults) if defaults.entry("registry").is_some() => {
            let layers = vec![defaults];
            scope.registry(&mut Table::new(String::new(), schema::SERVICE, layers, &mut inherited))
        }
        _ => (scope.registries.len() == 1).then_some(0),
    };
    if let Some(registry) = registry {
        service = in_registry(service, registry);
        let in_dns = scope.kind(registry).is_some_and(|kind| kind.names_only);
        if let Some(defaults) = scope.service_defaults.filter(|_| in_dns) {
            let title = "[defaults.service]".to_owned();
            lookup::complete(&mut Table::new(title, schema::SERVICE, vec![defaults], problems));
        }
    } else {
        let near = suggest(name, services.keys().map(String::as_str))
            .filter(|hint| hint.starts_with("did you mean"));
        let hint = near.unwrap_or_else(|| match scope.registries.len() {
            0 => format!("write [service.{name}] with `endpoints`; {}", scope.registries_hint()),
            _ => format!("write [service.{name}] with `registry`; {}", scope.registries_hint()),
        });
        problems.push(place, format!("there is no [service.{name}]"), hint);
    }
    if let Found::Registry { name: in_registry, .. } = &mut service.found {
        in_registry.clone_from(name);
    }
    service.name.clone_from(name);
    services.insert(name.clone(), service);
}

/// What a service is like that has no table: the defaults. Its name and its place in a registry are the caller's.
pub(super) fn of_catalog(scope: &Scope<'_>, problems: &mut Problems) -> ServiceConfig {
    let Some(defaults) = scope.service_defaults else { return plain() };
    let title = "[defaults.service]".to_owned();
    let mut table = Table::new(title, schema::SERVICE, vec![defaults], problems);
    table.reject_unknown(&[]);
    if table.has("registry") {
        scope.registry(&mut table);
    }
    let mut service = policies(&mut table, scope);
    let tags = table.strings("tags").unwrap_or_default();
    let passing_only = table.flag("passing_only").unwrap_or(true);
    let lookup = lookup::inherited(&mut table);
    service.found =
        Found::Registry { registry: 0, name: String::new(), tags, passing_only, lookup };
    service
}

/// The same service in one registry.
pub(super) fn in_registry(mut service: ServiceConfig, index: usize) -> ServiceConfig {
    if let Found::Registry { registry, .. } = &mut service.found {
        *registry = index;
    }
    service
}

fn plain() -> ServiceConfig {
    let found = Found::Registry {
        registry: 0,
        name: String::new(),
        tags: Vec::new(),
        passing_only: true,
        lookup: Lookup::default(),
    };
    ServiceConfig { found, ..ServiceConfig::default() }
}

/// The keys that say how its instances are used, not which they are.
fn policies(table: &mut Table<'_>, scope: &Scope<'_>) -> ServiceConfig {
    let mut service = plain();
    if let Some((balance, place)) = table.spot("balance") {
        let known = |kind: &kind::KindInfo| kind.name == balance;
        if !scope.kinds.balancers.iter().any(known) {
            let hint = suggest(&balance, scope.kinds.balancers.iter().map(|kind| kind.name));
            table.problem_at(&place, format!("no balancer is called `{balance}`"), hint);
        }
        service.balance = balance;
    }
    if let Some(timeout) = table.duration("connect_timeout") {
        if timeout == Duration::ZERO {
            table.problem("connect_timeout", "`connect_timeout` must be more than 0s", None);
        }
        service.connect_timeout = timeout;
    }
    if let Some(mut pool) = table.table("pool") {
        let default = PoolConfig::default();
        service.pool = PoolConfig {
            idle_timeout: pool.duration("idle_timeout").unwrap_or(default.idle_timeout),
            idle: pool.count("idle", 0).unwrap_or(default.idle),
            connections: pool.count("connections", 1).unwrap_or(default.connections),
            pending: pool.count("pending", 0).unwrap_or(default.pending),
            max_age: pool.duration("max_age").unwrap_or(default.max_age),
        };
    }
    service.loss_guard = policies::loss_guard(table);
    service.stale = policies::stale(table);
    resilience::read(table, scope, &mut service);
    if service.balance == CONSISTENT_HASH && service.hash_key.is_none() {
        service.hash_key = Some(HashKey::ClientIp);
    }
    service
}

fn registered(table: &mut Table<'_>, entry: &Entry, scope: &Scope<'_>) -> Found {
    if table.has("registry") || scope.registries.len() == 1 {
        let name = if table.own("name").is_some() { table.text("name") } else { None };
        if name.as_deref() == Some("") {
            table.problem("name", "`name` is empty", None);
        }
        let tags = table.strings("tags").unwrap_or_default();
        let passing_only = table.flag("passing_only").unwrap_or(true);
        if let Some(registry) = scope.registry(table) {
            let name = name.unwrap_or_else(|| entry.key.clone());
            let lookup = lookup::read(table, scope, registry);
            return Found::Registry { registry, name, tags, passing_only, lookup };
        }
    } else {
        let message = format!("{} needs `endpoints` or `registry`", table.title());
        table.problem("", message, scope.registries_hint());
    }
    Found::Written(Vec::new())
}

fn written(table: &mut Table<'_>) -> Found {
    for key in ["registry", "name", "tags", "passing_only", "dns", "port"] {
        if table.own(key).is_some() {
            let message = format!("`{key}` means nothing beside `endpoints`");
            table.problem(key, message, "an instance is written or found in a registry, not both");
        }
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let node = table.own("endpoints");
    let Some(Value::List(items)) = node.map(|node| &node.value) else {
        let message = "`endpoints` must be a list";
        table.problem("endpoints", message, "like [\"http://10.0.0.1:8080\"]");
        return Found::Written(endpoints);
    };
    for item in items {
        let Some(endpoint) = endpoint(item, table) else { continue };
        let twin = endpoints.iter().position(|known| known.address == endpoint.address);
        if let Some(twin) = twin {
            let message = format!("this endpoint is written twice, first at {}", places[twin]);
            table.problem_at(&item.place, message, "`weight` gives one a larger share");
            continue;
        }
        endpoints.push(endpoint);
        places.push(item.place.clone());
    }
    Found::Written(endpoints)
}

/// `"http://host:port"` or `{ address = "http://host:port", weight = 3, zone = "a" }`.
fn endpoint(item: &Node, table: &mut Table<'_>) -> Option<Endpoint> {
    let hint =
        "like \"http://10.0.0.1:8080\" or { address = \"http://10.0.0.1:8080\", weight = 3 }";
    match &item.value {
        Value::Text(text) => {
            let address = address(text, &item.place, table)?;
            Some(Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None })
        }
        Value::Table(_) => {
            let title = "this endpoint".to_owned();
            let mut table = Table::new(title, schema::ENDPOINT, vec![item], table.problems());
            table.reject_unknown(&[]);
            let weight = table.count("weight", 1).unwrap_or(1);
            let zone = table.text("zone");
            let weight = u32::try_from(weight).ok().filter(|weight| *weight <= MOST_WEIGHT);
            if weight.is_none() {
                table.problem("weight", format!("`weight` must be at most {MOST_WEIGHT}"), None);
            }
            let (text, place) = table.required("address")?;
            let address = address(&text, &place, &mut table)?;
            Some(Endpoint { scheme: Scheme::Http, address, weight: weight?, zone })
        }
        Value::Integer(_) | Value::Flag(_) | Value::List(_) | Value::Other(..) => {
            let message = format!("an endpoint must be a string or a table, not {}", item.what());
            table.problem_at(&item.place, message, hint);
            None
        }
    }
}

/// What Consul and DNS allow as well; sums of them stay far from overflowing.
const MOST_WEIGHT: u32 = 65_535;

fn address(text: &str, place: &Place, table: &mut Table<'_>) -> Option<HostPort> {
    if text.starts_with("https://") {
        let message = "instances cannot be reached over TLS yet";
        table.problem_at(place, message, "`http://` works");
        return None;
    }
    let Some(rest) = text.strip_prefix("http://") else {
        let hint = host_port(text, None).is_ok().then(|| format!("\"http://{text}\""));
        let hint = hint.unwrap_or_else(|| "like \"http://10.0.0.1:8080\"".to_owned());
        table.problem_at(place, "an endpoint begins with http://", hint);
        return None;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        let message = "an endpoint has no path";
        table.problem_at(place, message, "`rewrite` of a route changes the path that is sent");
        return None;
    }
    match host_port(rest, Some(80)) {
        Ok(address) => Some(address),
        Err(message) => {
            table.problem_at(place, message, "like \"http://10.0.0.1:8080\"");
            None
        }
    }
}

/// `host:port`, `1.2.3.4:port` or `[::1]:port`; the port may be missing when there is a usual one.
pub(super) fn host_port(text: &str, usual: Option<u16>) -> Result<HostPort, &'static str> {
    let (host, rest) = if let Some(inside) = text.strip_prefix('[') {
        let (host, rest) = inside.split_once(']').ok_or("the address has no `]`")?;
        host.parse::<Ipv6Addr>().map_err(|_| "in brackets stands an IPv6 address")?;
        (host, rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (host, rest) = text.split_at(end);
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || !host.chars().all(fits) {
            return Err("this is not a host and a port");
        }
        (host, rest)
    };
    let port = match (rest.strip_prefix(':'), usual) {
        (Some(port), _) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok(),
        (None, None) if rest.is_empty() => return Err("the port is missing"),
        (None, usual) if rest.is_empty() => usual,
        _ => return Err("this is not a host and a port"),
    };
    let port = port.filter(|port| *port != 0).ok_or("the port must be 1 to 65535")?;
    Ok(HostPort { host: host.to_ascii_lowercase(), port })
}
