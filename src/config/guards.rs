//! `[auth.…]`, `[rate_store.…]`, and a route's keys that say who may come in and how often.

use http::{HeaderName, Method};

use super::check::{self, Scope};
use super::kind::{KIND_ONLY, Kinds, section};
use super::model::{
    AuthConfig, Config, CorsConfig, CorsHeaders, GuardConfig, OriginPattern, RateConfig, RateKey,
    RateMode, RateStoreConfig,
};
use super::problem::{Problems, suggest};
use super::routes::Checked;
use super::schema;
use super::source::Place;
use super::table::{Policy, Table};
use super::tree::{Entry, Node, Value};

pub(super) fn auths(
    entries: &[&Entry],
    kinds: &Kinds<'_>,
    problems: &mut Problems,
) -> Vec<AuthConfig> {
    let read = |entry: &&Entry| {
        let section = section(("auth", kinds.auths), entry, &KIND_ONLY, problems)?;
        Some(AuthConfig { name: entry.key.clone(), section })
    };
    entries.iter().filter_map(read).collect()
}

/// What `store` says for the gateway's own memory.
const LOCAL: &str = "local";

pub(super) fn rate_stores(
    main: &Node,
    kinds: &Kinds<'_>,
    problems: &mut Problems,
) -> Vec<RateStoreConfig> {
    let mut stores = Vec::new();
    for entry in check::named(main, "rate_store", problems) {
        if entry.key == LOCAL {
            let message = "`local` is the gateway's own memory and needs no table";
            problems.push(&entry.place, message, "give the store another name");
        }
        if let Some(section) =
            section(("rate_store", kinds.rate_stores), entry, &KIND_ONLY, problems)
        {
            stores.push(RateStoreConfig { name: entry.key.clone(), section });
        }
    }
    stores
}

/// A route's guards.
pub(super) fn guard(table: &mut Table<'_>, scope: &Scope<'_>) -> GuardConfig {
    GuardConfig {
        allow: check::networks(table, "allow"),
        deny: check::networks(table, "deny"),
        cors: cors(table),
        max_body: table.size("max_body").map(|bytes| bytes as u64),
        in_flight: table.count("in_flight", 1),
        auth: auth(table, scope),
        rates: rates(table, scope),
    }
}

fn auth(table: &mut Table<'_>, scope: &Scope<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if matches!(table.find("auth").map(|node| &node.value), Some(Value::Flag(false))) {
        return names;
    }
    for (name, place) in table.spots("auth").unwrap_or_default() {
        if !scope.auths.contains(&name) {
            let hint = suggest(&name, scope.auths.iter().map(String::as_str));
            let hint = hint.unwrap_or_else(|| format!("[auth.{name}] says how it is checked"));
            table.problem_at(&place, format!("no [auth.…] is called `{name}`"), hint);
        } else if names.contains(&name) {
            table.problem_at(&place, "this name stands here twice", None);
        } else {
            names.push(name);
        }
    }
    names
}

/// Says which tables no route names: what was meant to be guarded is open.
pub(super) fn unused(config: &Config, tables: (&[&Entry], &[&Entry]), warnings: &mut Problems) {
    let routes = config.routes.iter().chain(config.catalogs.iter().map(|catalog| &catalog.route));
    let guards: Vec<_> = routes.map(|route| &route.guard).collect();
    let (auths, stores) = tables;
    for entry in auths {
        if !guards.iter().any(|guard| guard.auth.contains(&entry.key)) {
            let message = format!("no route uses [auth.{}]: it guards nothing", entry.key);
            warnings.push(
                &entry.place,
                message,
                format!("auth = [\"{}\"] in a route does", entry.key),
            );
        }
    }
    for entry in stores {
        let named = |rate: &RateConfig| rate.store.as_ref() == Some(&entry.key);
        if !guards.iter().any(|guard| guard.rates.iter().any(named)) {
            let message = format!("no limit uses [rate_store.{}]", entry.key);
            warnings.push(&entry.place, message, None);
        }
    }
}

/// Says which route is open although routes are guarded by default.
pub(super) fn opened(node: &Node, route: &Checked, scope: &Scope<'_>, warnings: &mut Problems) {
    let default = scope.route_defaults.and_then(|defaults| defaults.entry("auth"));
    let guarded = default.is_some_and(|entry| match &entry.value.value {
        Value::List(names) => !names.is_empty(),
        Value::Text(_)
        | Value::Integer(_)
        | Value::Flag(_)
        | Value::Table(_)
        | Value::Other(..) => false,
    });
    if let Some(own) = node.entry("auth").filter(|_| guarded && route.config.guard.auth.is_empty())
    {
        let message = format!("route {:?} is open to everybody", route.config.name);
        warnings.push(&own.place, message, "[defaults.route] guards every other route");
    }
}

fn rates(table: &mut Table<'_>, scope: &Scope<'_>) -> Vec<RateConfig> {
    let Some(node) = table.find("rate_limit") else { return Vec::new() };
    let entries = match &node.value {
        Value::Flag(false) => return Vec::new(),
        Value::List(list) => list.iter().collect(),
        // One limit without the brackets says the same.
        Value::Table(_) => vec![node],
        Value::Text(_) | Value::Integer(_) | Value::Flag(true) | Value::Other(..) => {
            let message = format!("`rate_limit` must be a list of tables, not {}", node.what());
            table.problem(
                "rate_limit",
                message,
                "like [{ rate = \"100/s\", key = \"client_ip\" }]",
            );
            return Vec::new();
        }
    };
    let rate = |node: &Node| {
        if node.entries().is_none() {
            let message = format!("`rate_limit` holds tables, not {}", node.what());
            table.problem_at(&node.place, message, "like { rate = \"100/s\" }");
            return None;
        }
        let title = "this limit".to_owned();
        let mut limit = Table::new(title, schema::RATE, vec![node], table.problems());
        limit.reject_unknown(&[]);
        rate(&mut limit, scope)
    };
    entries.into_iter().filter_map(rate).collect()
}

fn rate(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<RateConfig> {
    if !table.has("rate") {
        table.problem("", "a limit needs `rate`", "like \"100/s\"");
    }
    let rate = table.rate("rate", 1);
    let burst = table.count("burst", 1).map(|burst| burst as u64);
    let keys = keys(table);
    let mode = mode(table);
    let store = store(table, scope);
    let rate = rate?;
    Some(RateConfig { burst: burst.unwrap_or(rate.count), rate, keys, mode, store })
}

fn keys(table: &mut Table<'_>) -> Vec<RateKey> {
    let spots = match table.find("key").map(|node| &node.value) {
        None => return vec![RateKey::Route],
        Some(Value::Text(_)) => table.spot("key").into_iter().collect(),
        Some(_) => table.spots("key").unwrap_or_default(),
    };
    let mut keys = Vec::new();
    for (text, place) in spots {
        match key(&text) {
            Ok(key) if keys.contains(&key) => {
                table.problem_at(&place, "this key stands here twice", None);
            }
            Ok(key) => keys.push(key),
            Err(hint) => {
                table.problem_at(&place, format!("{text:?} tells no callers apart"), hint);
            }
        }
    }
    if keys.is_empty() { vec![RateKey::Route] } else { keys }
}

fn key(text: &str) -> Result<RateKey, Option<String>> {
    let known = ["route", "client_ip", "host", "header:x", "cookie:x", "claim:sub"];
    let (what, of) = text.split_once(':').map_or((text, None), |(what, of)| (what, Some(of)));
    match (what, of.filter(|of| !of.is_empty())) {
        ("route", None) => Ok(RateKey::Route),
        ("client_ip", None) => Ok(RateKey::ClientIp),
        ("host", None) => Ok(RateKey::Host),
        ("claim", Some(name)) => Ok(RateKey::Claim(name.to_owned())),
        ("cookie", Some(name)) => Ok(RateKey::Cookie(name.to_owned())),
        ("header", Some(name)) => HeaderName::from_bytes(name.as_bytes())
            .map(RateKey::Header)
            .map_err(|_| Some(format!("{name:?} cannot be a header's name"))),
        _ => Err(suggest(text, known)),
    }
}

fn mode(table: &mut Table<'_>) -> RateMode {
    let max_wait = table.duration("max_wait");
    let max_queue = table.count("max_queue", 1);
    let delays = match table.spot("mode") {
        None => false,
        Some((text, _)) if text == "reject" => false,
        Some((text, _)) if text == "delay" => true,
        Some((text, place)) => {
            let hint = suggest(&text, ["reject", "delay"]);
            table.problem_at(&place, format!("`mode` cannot be `{text}`"), hint);
            true
        }
    };
    if !delays {
        for key in ["max_wait", "max_queue"] {
            if !table.has(key) {
                continue;
            }
            let message = format!("`{key}` means nothing while one too many is rejected");
            table.problem(key, message, "it goes with mode = \"delay\"");
        }
        return RateMode::Reject;
    }
    RateMode::Delay {
        max_wait: max_wait.unwrap_or(RateMode::MAX_WAIT),
        max_queue: max_queue.unwrap_or(RateMode::MAX_QUEUE),
    }
}

fn store(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<String> {
    let (name, place) = table.spot("store")?;
    if name == LOCAL {
        return None;
    }
    if !scope.rate_stores.contains(&name) {
        let known = scope.rate_stores.iter().map(String::as_str).chain([LOCAL]);
        let hint = suggest(&name, known);
        table.problem_at(&place, format!("no [rate_store.…] is called `{name}`"), hint);
    }
    Some(name)
}

fn cors(table: &mut Table<'_>) -> Option<CorsConfig> {
    if !table.has("cors") {
        return None;
    }
    let place = table.find("cors").map_or(table.place(), |node| node.place.clone());
    let Policy::Written(mut cors) = table.policy("cors") else {
        let off = matches!(table.find("cors").map(|node| &node.value), Some(Value::Flag(false)));
        if !off {
            table.problem(
                "cors",
                "`cors` has no defaults",
                "like { origins = [\"https://app.example.com\"] }",
            );
        }
        return None;
    };
    let origins = origins(&mut cors, &place);
    let credentials = cors.flag("credentials").unwrap_or(false);
    // Any page can have a frame in a sandbox, whose origin is `null`.
    let anyones = [(OriginPattern::Any, "*"), (OriginPattern::Exact("null".to_owned()), "null")];
    for (_, text) in anyones.iter().filter(|(it, _)| credentials && origins.contains(it)) {
        let message = format!("`cors.credentials` does not go together with the origin {text:?}");
        let hint = "any page could then act as your users: name the origins";
        cors.problem("credentials", message, hint);
    }
    Some(CorsConfig {
        origins,
        methods: methods(&mut cors),
        headers: match names(&mut cors, "headers") {
            Some(names) => CorsHeaders::These(names),
            None => CorsHeaders::Any,
        },
        expose: names(&mut cors, "expose").unwrap_or_default(),
        credentials,
        max_age: cors.duration("max_age"),
    })
}

fn origins(cors: &mut Table<'_>, place: &Place) -> Vec<OriginPattern> {
    let mut origins = Vec::new();
    let spots = cors.spots("origins");
    if spots.as_ref().is_none_or(Vec::is_empty) && !(cors.has("origins") && spots.is_none()) {
        cors.problem_at(place, "`cors` needs `origins`", "like [\"https://app.example.com\"]");
    }
    for (text, place) in spots.unwrap_or_default() {
        match origin(&text) {
            Some(origin) if origins.contains(&origin) => {
                cors.problem_at(&place, "this origin stands here twice", None);
            }
            Some(origin) => origins.push(origin),
            None => {
                let hint = "a scheme and a host, perhaps a port: \"https://app.example.com\", \"https://*.example.com\" or \"*\"";
                cors.problem_at(&place, format!("{text:?} is no origin"), hint.to_owned());
            }
        }
    }
    origins
}

/// As a browser writes one (RFC 6454 section 6.1): no path, no final slash, no port that the scheme implies.
fn origin(text: &str) -> Option<OriginPattern> {
    if text == "*" {
        return Some(OriginPattern::Any);
    }
    // What a page without an origin of its own sends: a file, a frame in a sandbox.
    if text == "null" {
        return Some(OriginPattern::Exact(text.to_owned()));
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let uri: http::Uri = format!("http://{}", authority.replacen("*.", "", 1)).parse().ok()?;
    let plain = uri.authority()?.as_str() == authority.replacen("*.", "", 1)
        && !authority.contains('@')
        && !authority.replacen("*.", "", 1).contains('*');
    let implied = matches!((scheme, uri.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    let is_scheme = !scheme.is_empty()
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !plain || implied || !is_scheme {
        return None;
    }
    Some(match authority.strip_prefix('*') {
        Some(behind) if behind.starts_with('.') => {
            OriginPattern::Subdomains { before: format!("{scheme}://"), behind: behind.to_owned() }
        }
        Some(_) => return None,
        None => OriginPattern::Exact(text),
    })
}

fn methods(cors: &mut Table<'_>) -> Vec<Method> {
    let mut methods = Vec::new();
    for (text, place) in cors.spots("methods").unwrap_or_default() {
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                methods.push(method)
            }
            _ => {
                let hint = format!("\"{}\"", text.to_ascii_uppercase());
                cors.problem_at(&place, format!("{text:?} is no method"), hint);
            }
        }
    }
    methods
}

/// None is `"*"`.
fn names(cors: &mut Table<'_>, key: &str) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for (text, place) in cors.spots(key).unwrap_or_default() {
        if text == "*" && key == "headers" {
            return None;
        }
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) => names.push(name),
            Err(_) => cors.problem_at(&place, format!("{text:?} cannot be a header's name"), None),
        }
    }
    Some(names)
}
