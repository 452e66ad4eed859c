//! The effective configuration for people, secrets hidden.

mod resilience;

use serde_json::{Map, Value, json};

use super::kind::Section;
use super::model::{
    CatalogConfig, Condition, Config, CorsConfig, CorsHeaders, Endpoint, Found, GuardConfig,
    HeaderEdits, HostPattern, ListenerConfig, LogFormat, LogTarget, Lookup, OriginPattern,
    PathPattern, PathRewrite, RateConfig, RateMode, RegistrationConfig, RouteConfig, Segment,
    ServiceConfig,
};
use super::tree::{self, Node};
use super::units::{show_duration, show_rate, show_share, show_size};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// The effective configuration in the words of the file, defaults filled in.
pub fn show(config: &Config) -> Value {
    let registry = |index: usize| config.registries.get(index).map(|r| r.name.as_str());
    json!({
        "workers": config.workers,
        "zone": config.zone,
        "shutdown_grace": show_duration(config.shutdown_grace),
        "drain_delay": show_duration(config.drain_delay),
        "state_dir": config.state_dir.as_ref().map_or(Value::Bool(false), |path| path.to_string_lossy().into()),
        "log": {
            "level": config.log.level,
            "format": name_of(config.log.format, &LogFormat::NAMES),
            "target": name_of(config.log.target, &LogTarget::NAMES),
        },
        "trusted_proxies": config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "listen": by_name(&config.listeners, |l| (&l.name, listener(l))),
        "admin": config.admin.as_ref().map_or(Value::Bool(false), |admin| json!({
            "address": admin.address.to_string(),
            "token": admin.token.as_ref().map(|_| HIDDEN),
        })),
        "registry": by_name(&config.registries, |r| {
            let mut shown = section(&r.section);
            shown.insert("required".to_owned(), r.required.into());
            (&r.name, Value::Object(shown))
        }),
        "auth": by_name(&config.auths, |a| (&a.name, Value::Object(section(&a.section)))),
        "rate_store": by_name(&config.rate_stores, |s| (&s.name, Value::Object(section(&s.section)))),
        "catalog": by_name(&config.catalogs, |c| (&c.name, catalog(c, registry(c.registry)))),
        "register": by_name(&config.registrations, |r| (&r.table, registration(r, registry(r.registry)))),
        "service": by_name(&config.services, |s| (&s.name, service(s, &registry))),
        "route": config.routes.iter().map(|r| route(r, config)).collect::<Vec<_>>(),
    })
}

fn by_name<'a, T>(list: &'a [T], show: impl Fn(&'a T) -> (&'a String, Value)) -> Value {
    let entries = list.iter().map(show).map(|(name, value)| (name.clone(), value));
    Value::Object(entries.collect())
}

fn name_of<T: Copy + PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

fn listener(listener: &ListenerConfig) -> Value {
    let limits = &listener.limits;
    json!({
        "address": listener.address.to_string(),
        "reuse_port": listener.reuse_port,
        "limits": {
            "header_timeout": show_duration(limits.header_timeout),
            "header_bytes": show_size(limits.header_bytes),
            "headers": limits.headers,
            "target_bytes": show_size(limits.target_bytes),
            "idle_timeout": show_duration(limits.idle_timeout),
            "body_timeout": show_duration(limits.body_timeout),
            "connections": limits.connections,
            "connections_per_client": limits.connections_per_client,
        },
    })
}

/// As written: what a kind makes of the rest only the kind knows.
fn section(section: &Section) -> Map<String, Value> {
    let secret = |path: &str| {
        section.keys().iter().any(|key| match key.shape {
            "secret" => key.name == path,
            "table of secrets" => path.split_once('.').is_some_and(|(table, _)| table == key.name),
            _ => false,
        })
    };
    let mut shown = entries(section.node(), "", &secret);
    shown.insert("kind".to_owned(), section.kind.as_str().into());
    shown
}

fn entries(node: &Node, prefix: &str, secret: &dyn Fn(&str) -> bool) -> Map<String, Value> {
    let entries = node.entries().unwrap_or_default().iter();
    entries
        .map(|entry| {
            let path = format!("{prefix}{}", entry.key);
            let value =
                if secret(&path) { HIDDEN.into() } else { value(&entry.value, &path, secret) };
            (entry.key.clone(), value)
        })
        .collect()
}

fn value(node: &Node, path: &str, secret: &dyn Fn(&str) -> bool) -> Value {
    match &node.value {
        tree::Value::Text(text) => without_user(text).into(),
        tree::Value::Integer(number) => (*number).into(),
        tree::Value::Flag(flag) => (*flag).into(),
        tree::Value::Other(_, text) => text.as_str().into(),
        tree::Value::List(list) => list.iter().map(|item| value(item, path, secret)).collect(),
        tree::Value::Table(_) => Value::Object(entries(node, &format!("{path}."), secret)),
    }
}

/// A URL without the name and password that may stand in it.
fn without_user(text: &str) -> String {
    match tree::user_of_url(text) {
        Some(user) => format!("{}{HIDDEN}{}", &text[..user.start], &text[user.end..]),
        None => text.to_owned(),
    }
}

fn catalog(catalog: &CatalogConfig, registry: Option<&str>) -> Value {
    let (before, after) = &catalog.path;
    json!({
        "registry": registry,
        "path": format!("{before}{{service}}{after}"),
        "tag": catalog.tag,
        "exclude": catalog.exclude,
    })
}

fn registration(registration: &RegistrationConfig, registry: Option<&str>) -> Value {
    json!({
        "registry": registry,
        "name": registration.name,
        "address": registration.address.to_string(),
        "tags": registration.tags,
        "check": registration.check,
    })
}

fn service<'a>(service: &ServiceConfig, registry: &dyn Fn(usize) -> Option<&'a str>) -> Value {
    let pool = &service.pool;
    let mut shown = json!({
        "balance": service.balance,
        "connect_timeout": show_duration(service.connect_timeout),
        "pool": {
            "idle_timeout": show_duration(pool.idle_timeout),
            "idle": pool.idle,
            "connections": pool.connections,
            "pending": pool.pending,
            "max_age": show_duration(pool.max_age),
        },
        "loss_guard": service.loss_guard.map_or(Value::Bool(false), |guard| json!({
            "max_removed": show_share(guard.max_removed),
            "hold": show_duration(guard.hold),
            "min_instances": guard.min_instances,
        })),
        "stale": {"max_age": service.stale.max_age.map(show_duration)},
    });
    match &service.found {
        Found::Written(list) => shown["endpoints"] = list.iter().map(endpoint).collect(),
        Found::Registry { registry: index, name, tags, passing_only, lookup } => {
            shown["registry"] = registry(*index).into();
            shown["name"] = name.as_str().into();
            shown["tags"] = tags.as_slice().into();
            shown["passing_only"] = (*passing_only).into();
            if let Lookup::Host { port } = lookup {
                shown["dns"] = "host".into();
                shown["port"] = (*port).into();
            }
        }
    }
    resilience::service(&mut shown, service);
    shown
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "address": format!("{}://{}", endpoint.scheme.as_str(), endpoint.address),
        "weight": endpoint.weight,
        "zone": endpoint.zone,
    })
}

fn route(route: &RouteConfig, config: &Config) -> Value {
    let conditions = |list: &mut dyn Iterator<Item = (String, &Condition)>| -> Value {
        Value::Object(list.map(|(name, one)| (name, condition(one))).collect())
    };
    let listeners = route.listen.iter().filter_map(|index| config.listeners.get(*index));
    let mut shown = json!({
        "name": route.name,
        "source": route.source,
        "path": route.paths.iter().map(path).collect::<Vec<_>>(),
        "hosts": route.hosts.iter().map(host).collect::<Vec<_>>(),
        "methods": route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "headers": conditions(&mut route.headers.iter().map(|(n, c)| (n.to_string(), c))),
        "query": conditions(&mut route.query.iter().map(|(n, c)| (n.clone(), c))),
        "listen": listeners.map(|listener| listener.name.as_str()).collect::<Vec<_>>(),
        "priority": route.priority,
        "service": route.service,
        "strip_prefix": route.path == PathRewrite::StripPrefix,
        "preserve_host": route.preserve_host,
        "timeout": show_duration(route.timeout),
        "idle_timeout": show_duration(route.idle_timeout),
        "retry": resilience::retry(&route.retry),
        "upgrade": route.upgrade,
        "request_headers": edits(&route.request_headers),
        "response_headers": edits(&route.response_headers),
    });
    guard(&mut shown, &route.guard);
    if let PathRewrite::Template(template) = &route.path {
        shown["rewrite"] = template.as_str().into();
    }
    shown
}

/// What is not written is not shown: the guards of a route stand out that way.
fn guard(shown: &mut Value, guard: &GuardConfig) {
    let nets = |nets: &[ipnet::IpNet]| -> Value { nets.iter().map(ToString::to_string).collect() };
    shown["auth"] = guard.auth.as_slice().into();
    shown["rate_limit"] = guard.rates.iter().map(rate).collect();
    shown["allow"] = nets(&guard.allow);
    shown["deny"] = nets(&guard.deny);
    if let Some(bytes) = guard.max_body {
        shown["max_body"] = show_size(bytes as usize).into();
    }
    if let Some(most) = guard.in_flight {
        shown["in_flight"] = most.into();
    }
    if let Some(policy) = &guard.cors {
        shown["cors"] = cors(policy);
    }
}

fn rate(limit: &RateConfig) -> Value {
    let mut shown = json!({
        "rate": show_rate(limit.rate),
        "burst": limit.burst,
        "key": limit.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "mode": "reject",
        "store": limit.store.as_deref().unwrap_or("local"),
    });
    if let RateMode::Delay { max_wait, max_queue } = limit.mode {
        shown["mode"] = "delay".into();
        shown["max_wait"] = show_duration(max_wait).into();
        shown["max_queue"] = max_queue.into();
    }
    shown
}

fn cors(cors: &CorsConfig) -> Value {
    let origin = |origin: &OriginPattern| match origin {
        OriginPattern::Any => "*".to_owned(),
        OriginPattern::Exact(text) => text.clone(),
        OriginPattern::Subdomains { before, behind } => format!("{before}*{behind}"),
    };
    let names = |names: &[http::HeaderName]| -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    };
    json!({
        "origins": cors.origins.iter().map(origin).collect::<Vec<_>>(),
        "methods": cors.methods.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "headers": match &cors.headers {
            CorsHeaders::Any => vec!["*".to_owned()],
            CorsHeaders::These(list) => names(list),
        },
        "expose": names(&cors.expose),
        "credentials": cors.credentials,
        "max_age": cors.max_age.map(show_duration),
    })
}

/// A path as it is written.
pub fn path(path: &PathPattern) -> String {
    let joined = |segments: &[Segment]| -> String {
        let each = segments.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Capture(name) => format!("/{{{name}}}"),
        });
        each.collect()
    };
    match path {
        PathPattern::Exact(segments) if segments.is_empty() => "/".to_owned(),
        PathPattern::Exact(segments) => joined(segments),
        PathPattern::Prefix(segments) => format!("{}/*", joined(segments)),
        PathPattern::Regex(source) => format!("~{source}"),
    }
}

/// A host as it is written.
pub fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(labels) => format!("*{labels}"),
    }
}

fn condition(condition: &Condition) -> Value {
    match condition {
        Condition::Equals(text) => text.as_str().into(),
        Condition::Matches(source) => format!("~{source}").into(),
        Condition::Present => true.into(),
        Condition::Absent => false.into(),
    }
}

fn edits(edits: &HeaderEdits) -> Value {
    let values = |list: &[(http::HeaderName, http::HeaderValue)]| -> Value {
        let each = list.iter().map(|(name, value)| {
            (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
        });
        Value::Object(each.collect())
    };
    json!({
        "set": values(&edits.set),
        "add": values(&edits.add),
        "remove": edits.remove.iter().map(http::HeaderName::as_str).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_user() {
        assert_eq!(without_user("http://user:s3cret@host:1/a"), "http://***@host:1/a");
        assert_eq!(without_user("user:s3cret@host:1/a"), "***@host:1/a");
        for plain in ["http://host:1", "host:1", "user@host", "://@", ""] {
            assert_eq!(without_user(plain), plain);
        }
    }
}
