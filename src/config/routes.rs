//! `[[route]]` over `[defaults.route]`.

use super::check::Scope;
use super::model::{
    HostPattern, PathPattern, PathRewrite, ROUTE_IDLE_TIMEOUT, ROUTE_TIMEOUT, RouteConfig,
};
use super::problem::{Problems, suggest};
use super::source::Place;
use super::table::Table;
use super::tree::{Node, Value};
use super::{guards, headers, paths, retries, schema};

/// What every route says for itself.
pub(super) const NOT_INHERITED: [&str; 4] = ["name", "path", "hosts", "service"];

/// A route, and where what others must know of it stands.
pub(super) struct Checked {
    pub(super) config: RouteConfig,
    pub(super) place: Place,
    /// None when the service could not be read.
    pub(super) service_place: Option<Place>,
}

pub(super) fn route(node: &Node, scope: &Scope<'_>, problems: &mut Problems) -> Option<Checked> {
    let own_name = match node.entry("name").map(|entry| &entry.value.value) {
        Some(Value::Text(name)) => Some(name.clone()),
        _ => None,
    };
    let title = match &own_name {
        Some(name) => format!("[[route]] `{name}`"),
        None => "[[route]]".to_owned(),
    };
    let layers = std::iter::once(node).chain(scope.route_defaults).collect();
    let mut table = Table::new(title, schema::ROUTE, layers, problems);
    table.reject_unknown(&[]);
    if table.own("name").is_some() && table.text("name").as_deref() == Some("") {
        table.problem("name", "`name` is empty", None);
    }
    let (first, paths) = written_paths(&mut table);
    let hosts = hosts(&mut table);
    let service = service(&mut table);
    let mut config = settings(&mut table, scope);
    config.path = path_rewrite(&mut table, &paths);
    config.name = own_name.or(first).unwrap_or_else(|| "/*".to_owned());
    config.source = node.place.file_line();
    config.paths = paths;
    config.hosts = hosts;
    let (name, service_place) = service.unzip();
    config.service = name.unwrap_or_default();
    Some(Checked { config, place: node.place.clone(), service_place })
}

/// What every route of a catalog is like; also what checks the defaults by themselves.
pub(super) fn of_catalog(scope: &Scope<'_>, problems: &mut Problems) -> RouteConfig {
    let mut route = match scope.route_defaults {
        None => plain(),
        Some(defaults) => {
            let title = "[defaults.route]".to_owned();
            let mut table = Table::new(title, schema::ROUTE, vec![defaults], problems);
            table.reject_unknown(&[]);
            path_rewrite(&mut table, &[PathPattern::Prefix(Vec::new())]);
            settings(&mut table, scope)
        }
    };
    route.path = PathRewrite::StripPrefix;
    route
}

fn plain() -> RouteConfig {
    RouteConfig {
        name: String::new(),
        source: String::new(),
        paths: Vec::new(),
        hosts: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listen: Vec::new(),
        priority: 0,
        service: String::new(),
        path: PathRewrite::Keep,
        preserve_host: true,
        timeout: ROUTE_TIMEOUT,
        idle_timeout: ROUTE_IDLE_TIMEOUT,
        retry: super::model::RetryConfig::default(),
        upgrade: vec!["websocket".to_owned()],
        guard: super::model::GuardConfig::default(),
        request_headers: super::model::HeaderEdits::default(),
        response_headers: super::model::HeaderEdits::default(),
    }
}

/// The keys that `[defaults.route]` may hold, without those about the path.
fn settings(table: &mut Table<'_>, scope: &Scope<'_>) -> RouteConfig {
    let plain = plain();
    RouteConfig {
        methods: methods(table),
        headers: headers::header_conditions(table),
        query: headers::query_conditions(table),
        listen: listen(table, scope),
        priority: table.integer("priority").unwrap_or(plain.priority),
        preserve_host: table.flag("preserve_host").unwrap_or(plain.preserve_host),
        timeout: table.duration("timeout").unwrap_or(plain.timeout),
        idle_timeout: table.duration("idle_timeout").unwrap_or(plain.idle_timeout),
        retry: retries::retry(table),
        upgrade: upgrade(table).unwrap_or(plain.upgrade),
        guard: guards::guard(table, scope),
        request_headers: headers::edits(table, "request_headers"),
        response_headers: headers::edits(table, "response_headers"),
        ..plain
    }
}

/// The first path as written, and all of them; without `path` every path.
fn written_paths(table: &mut Table<'_>) -> (Option<String>, Vec<PathPattern>) {
    let spots = match table.own("path").map(|node| &node.value) {
        None => return (None, vec![PathPattern::Prefix(Vec::new())]),
        Some(Value::Text(_)) => table.spot("path").into_iter().collect(),
        Some(_) => table.spots("path").unwrap_or_default(),
    };
    if spots.is_empty() {
        table.problem("path", "`path` has no path in it", "without `path` every path matches");
    }
    let first = spots.first().map(|(text, _)| text.clone());
    let mut paths = Vec::new();
    for (text, place) in spots {
        match paths::parse(&text) {
            Ok(path) if paths.contains(&path) => {
                table.problem_at(&place, "this path stands here twice", None);
            }
            Ok(path) => paths.push(path),
            Err((message, hint)) => table.problem_at(&place, message, hint),
        }
    }
    (first, paths)
}

fn hosts(table: &mut Table<'_>) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    if table.own("hosts").is_none() {
        return hosts;
    }
    for (text, place) in table.spots("hosts").unwrap_or_default() {
        match paths::host(&text) {
            Ok(host) if hosts.contains(&host) => {
                table.problem_at(&place, "this host stands here twice", None);
            }
            Ok(host) => hosts.push(host),
            Err((message, hint)) => table.problem_at(&place, message, hint),
        }
    }
    hosts
}

fn methods(table: &mut Table<'_>) -> Vec<http::Method> {
    let mut methods = Vec::new();
    for (text, place) in table.spots("methods").unwrap_or_default() {
        let upper = text.to_ascii_uppercase();
        let usual = http::Method::from_bytes(upper.as_bytes())
            .is_ok_and(|method| schema::METHODS.contains(&method.as_str()));
        match http::Method::from_bytes(text.as_bytes()) {
            Ok(http::Method::CONNECT) => {
                table.problem_at(&place, "CONNECT is always answered with 405", None);
            }
            Ok(_) if usual && text != upper => {
                let message = "methods are case-sensitive";
                table.problem_at(&place, message, format!("\"{upper}\""));
            }
            Ok(method) if methods.contains(&method) => {
                table.problem_at(&place, "this method stands here twice", None);
            }
            Ok(method) => methods.push(method),
            Err(_) => table.problem_at(&place, format!("{text:?} cannot be a method"), None),
        }
    }
    methods
}

fn listen(table: &mut Table<'_>, scope: &Scope<'_>) -> Vec<usize> {
    let mut listen = Vec::new();
    for (name, place) in table.spots("listen").unwrap_or_default() {
        match scope.listeners.iter().position(|known| *known == name) {
            Some(index) if listen.contains(&index) => {
                table.problem_at(&place, "this listener stands here twice", None);
            }
            Some(index) => listen.push(index),
            None => {
                let hint = suggest(&name, scope.listeners.iter().map(String::as_str));
                table.problem_at(&place, format!("no listener is called `{name}`"), hint);
            }
        }
    }
    listen
}

/// `["websocket"]`, true for what is so anyway, false for none.
fn upgrade(table: &mut Table<'_>) -> Option<Vec<String>> {
    if let Some(Value::Flag(on)) = table.find("upgrade").map(|node| &node.value) {
        return if *on { None } else { Some(Vec::new()) };
    }
    let mut protocols = Vec::new();
    for (text, place) in table.spots("upgrade")? {
        let protocol = text.to_ascii_lowercase();
        // Both are tokens (RFC 9110 sections 5.1 and 7.8).
        if protocol == "*" || http::HeaderName::from_bytes(protocol.as_bytes()).is_err() {
            let hint = "its name alone, like \"websocket\": it may come in any version";
            table.problem_at(&place, format!("{text:?} cannot be a protocol's name"), hint);
        } else if protocol == "h2c" {
            let hint =
                "take it out: on that connection nothing would be routed or guarded any more";
            table.problem_at(&place, "HTTP/2 cannot be upgraded to (RFC 9113 section 3.1)", hint);
        } else if protocols.contains(&protocol) {
            table.problem_at(&place, "this protocol stands here twice", None);
        } else {
            protocols.push(protocol);
        }
    }
    Some(protocols)
}

/// `"orders"` or `[{ service = "orders" }]`.
fn service(table: &mut Table<'_>) -> Option<(String, Place)> {
    let Some(node) = table.own("service") else {
        let message = format!("{} needs `service`", table.title());
        let place = table.place();
        table.problem_at(&place, message, "where its requests go: a [service.…] or its name");
        return None;
    };
    let (name, place) = match &node.value {
        Value::List(list) if list.len() == 1 && list[0].entries().is_some() => {
            let title = "this entry".to_owned();
            let layers = vec![&list[0]];
            let mut entry = Table::new(title, schema::SPLIT, layers, table.problems());
            entry.reject_unknown(&[]);
            entry.count("weight", 1);
            entry.required("service")?
        }
        Value::List(list) if list.len() > 1 => {
            table.problem("service", "traffic cannot be split between services yet", None);
            return None;
        }
        Value::List(_) => {
            table.problem("service", "`service` names no service", "like \"orders\"");
            return None;
        }
        Value::Text(_)
        | Value::Integer(_)
        | Value::Flag(_)
        | Value::Table(_)
        | Value::Other(..) => table.spot("service")?,
    };
    if name.is_empty() {
        table.problem_at(&place, "`service` is empty", None);
        return None;
    }
    Some((name, place))
}

/// `strip_prefix` or `rewrite`: what the route writes goes before what it inherits.
fn path_rewrite(table: &mut Table<'_>, paths: &[PathPattern]) -> PathRewrite {
    let strip = table.flag("strip_prefix").unwrap_or(false);
    let rewrite = table.spot("rewrite");
    let (own_strip, own_rewrite) =
        (table.own("strip_prefix").is_some(), table.own("rewrite").is_some());
    let Some((template, place)) = rewrite.filter(|_| own_rewrite || !own_strip || !strip) else {
        return if strip { strip_prefix(table, paths, own_strip) } else { PathRewrite::Keep };
    };
    if strip && own_strip == own_rewrite {
        let hint = "`rewrite = \"/{rest}\"` does what `strip_prefix` does";
        table.problem("strip_prefix", "`strip_prefix` does not go together with `rewrite`", hint);
    }
    match paths::template(&template, paths) {
        Ok(rewrite) => rewrite,
        Err((message, hint)) => {
            table.problem_at(&place, message, hint);
            PathRewrite::Keep
        }
    }
}

fn strip_prefix(table: &mut Table<'_>, paths: &[PathPattern], own: bool) -> PathRewrite {
    if paths.iter().all(|path| matches!(path, PathPattern::Prefix(_))) {
        return PathRewrite::StripPrefix;
    }
    // An inherited one is for those routes that have a prefix.
    if own {
        let hint = "a prefix is like \"/orders/*\"; for other paths there is `rewrite`";
        table.problem("strip_prefix", "`strip_prefix` needs a path that is a prefix", hint);
    }
    PathRewrite::Keep
}
