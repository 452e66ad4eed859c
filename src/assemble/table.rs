//! The table of routes and services: from a config, the names in its catalogs, and the table before it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::{
    CatalogConfig, Config, Found, PathPattern, PathRewrite, RouteConfig, Segment, ServiceConfig,
};
use crate::config::{Loaded, Problems};
use crate::forward::Service;
use crate::forward::service::Source;
use crate::gateway::{Route, Table};
use crate::guard::{self, Guard};
use crate::observe::numbers::RouteNumbers;
use crate::rewrite::Rewrite;
use crate::router::{Conflict, Entry, Router};

/// A catalog's routes lose against every written one.
const CATALOG_PRIORITY: i64 = i64::MIN;

/// A route and the label its numbers are kept under.
struct Planned {
    config: Arc<RouteConfig>,
    label: String,
}

/// Builds a table. `names` are the services of each catalog. What is equal in `before` is kept.
pub(super) fn build(
    config: &Config,
    names: &[Vec<String>],
    shared: &Arc<guard::Shared>,
    before: Option<&Table>,
) -> Result<Table, String> {
    let mut routes: Vec<Planned> = config
        .routes
        .iter()
        .map(|route| Planned { config: Arc::clone(route), label: route.name.clone() })
        .collect();
    let mut services = config.services.clone();
    for (catalog, names) in config.catalogs.iter().zip(names) {
        let registry = &config.registries[catalog.registry].name;
        for name in names.iter().filter(|name| is_routed(catalog, name)) {
            let service = format!("{registry}/{name}");
            routes.push(catalog_route(catalog, name, &service));
            if !services.iter().any(|known| known.name == service) {
                services.push(catalog_service(catalog, name, service));
            }
        }
    }
    let services = running(&services, config.workers, before);
    let index: HashMap<_, _> = services
        .iter()
        .enumerate()
        .map(|(at, service)| (service.config.name.clone(), at))
        .collect();
    let numbers = numbers(&routes, config.workers, before);
    let guards: HashMap<_, _> = before
        .into_iter()
        .flat_map(|table| &table.routes)
        .map(|route| (route.config.name.as_str(), &route.guard))
        .collect();
    let (router, _) =
        Router::build(routes.iter().enumerate().map(|(at, r)| entry(&r.config, at)).collect());
    let routes = routes.into_iter().map(|planned| {
        let service = index.get(&planned.config.service);
        let service =
            service.ok_or_else(|| format!("service {:?} is not there", planned.config.service))?;
        let before = guards.get(planned.config.name.as_str()).copied();
        let guard = Guard::new(&planned.config, shared, before);
        Ok(Arc::new(Route {
            rewrite: Rewrite::new(&planned.config, guard.auth.headers())?,
            guard,
            numbers: Arc::clone(&numbers[&planned.config.name]),
            service: *service,
            label: planned.label,
            config: planned.config,
        }))
    });
    Ok(Table {
        router,
        routes: routes.collect::<Result<_, String>>()?,
        services,
        unrouted: before.map_or_else(
            || Arc::new(RouteNumbers::new(config.workers)),
            |b| Arc::clone(&b.unrouted),
        ),
        shared: Arc::clone(shared),
        trusted: config.trusted_proxies.clone().into(),
    })
}

/// What only the router and the rewrites can find wrong.
pub(super) fn check(loaded: &Loaded, problems: &mut Problems) {
    let routes = &loaded.config.routes;
    let entries = routes.iter().enumerate().map(|(at, route)| entry(route, at)).collect();
    let (_, conflicts) = Router::build(entries);
    for conflict in conflicts {
        let (at, message, hint) = match conflict {
            Conflict::Ambiguous { first, second } => (
                second,
                format!(
                    "route {:?} takes the same requests as {:?}",
                    routes[second].name, routes[first].name
                ),
                format!(
                    "the other is at {}; give one a condition or another priority",
                    routes[first].source
                ),
            ),
            Conflict::Unreachable { by: better, entry } => (
                entry,
                format!("route {:?} can never be reached", routes[entry].name),
                format!(
                    "{:?} at {} takes all its requests before it",
                    routes[better].name, routes[better].source
                ),
            ),
            Conflict::Regex { entry, message } => (
                entry,
                format!(
                    "route {:?} has a regular expression that cannot be used",
                    routes[entry].name
                ),
                message,
            ),
        };
        problems.push(&loaded.route_places[at], message, hint);
    }
    for (route, place) in routes.iter().zip(&loaded.route_places) {
        if let Err(error) = Rewrite::new(route, &[]) {
            problems.push(place, format!("route {:?}: {error}", route.name), None);
        }
    }
}

/// Services that are equal to what was there keep their instances, connections and numbers.
fn running(
    services: &[Arc<ServiceConfig>],
    workers: usize,
    before: Option<&Table>,
) -> Vec<Arc<Service>> {
    let known: HashMap<&str, &Arc<Service>> = before
        .into_iter()
        .flat_map(|table| &table.services)
        .map(|service| (service.config.name.as_str(), service))
        .collect();
    let service = |config: &Arc<ServiceConfig>| match known.get(config.name.as_str()) {
        Some(known) if known.config == *config => Arc::clone(known),
        Some(_) | None => {
            let service = Service::new(Arc::clone(config), workers);
            if let Found::Written(endpoints) = &config.found {
                service.update(endpoints, &[], Source::Static);
            }
            Arc::new(service)
        }
    };
    services.iter().map(service).collect()
}

/// Numbers belong to a name, not to a route: they go on when the table changes.
fn numbers(
    routes: &[Planned],
    workers: usize,
    before: Option<&Table>,
) -> HashMap<String, Arc<RouteNumbers>> {
    let mut numbers: HashMap<String, Arc<RouteNumbers>> = before
        .into_iter()
        .flat_map(|table| &table.routes)
        .map(|route| (route.config.name.clone(), Arc::clone(&route.numbers)))
        .collect();
    for route in routes {
        let name = route.config.name.clone();
        numbers.entry(name).or_insert_with(|| Arc::new(RouteNumbers::new(workers)));
    }
    numbers
}

fn entry(route: &RouteConfig, target: usize) -> Entry<usize> {
    Entry {
        hosts: route.hosts.clone(),
        paths: route.paths.clone(),
        methods: route.methods.clone(),
        headers: route.headers.clone(),
        query: route.query.clone(),
        listen: route.listen.clone(),
        priority: route.priority,
        target,
    }
}

fn is_routed(catalog: &CatalogConfig, name: &str) -> bool {
    is_segment(name) && !catalog.exclude.iter().any(|excluded| excluded == name)
}

/// Whether a service can be routed by its name.
pub(super) fn is_segment(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte))
}

fn catalog_route(catalog: &CatalogConfig, name: &str, service: &str) -> Planned {
    let (before, after) = &catalog.path;
    let path = format!("{before}{name}{after}");
    let literal = path.strip_suffix("/*");
    let segments = literal
        .unwrap_or(&path)
        .split('/')
        .skip(1)
        .map(|segment| Segment::Literal(segment.to_owned()))
        .collect();
    let (paths, rewrite) = match literal {
        Some(_) => (PathPattern::Prefix(segments), PathRewrite::StripPrefix),
        None => (PathPattern::Exact(segments), PathRewrite::Keep),
    };
    let label = format!("catalog.{}", catalog.name);
    let config = RouteConfig {
        name: format!("{label}/{name}"),
        paths: vec![paths],
        path: rewrite,
        service: service.to_owned(),
        priority: CATALOG_PRIORITY,
        ..(*catalog.route).clone()
    };
    Planned { config: Arc::new(config), label }
}

fn catalog_service(catalog: &CatalogConfig, name: &str, service: String) -> Arc<ServiceConfig> {
    let mut config = (*catalog.service).clone();
    if let Found::Registry { name: wanted, tags, .. } = &mut config.found {
        name.clone_into(wanted);
        tags.extend(
            catalog.tag.iter().filter(|tag| !tags.contains(tag)).cloned().collect::<Vec<_>>(),
        );
    }
    config.name = service;
    Arc::new(config)
}
