//! `[registry.…]`, `[catalog.…]` and `[register.…]`.

use std::sync::Arc;

use super::check::{Scope, named};
use super::kind::{COMMON, KindInfo, Kinds, section};
use super::model::{CatalogConfig, HostPort, PathPattern, RegistrationConfig, RegistryConfig};
use super::problem::Problems;
use super::table::Table;
use super::tree::{Entry, Node};
use super::{paths, routes, schema, services};

pub(super) fn registries(
    main: &Node,
    kinds: &Kinds<'_>,
    problems: &mut Problems,
) -> Vec<RegistryConfig> {
    named(main, "registry", problems)
        .into_iter()
        .filter_map(|entry| registry(entry, kinds, problems))
        .collect()
}

/// What each of them is, by name.
pub(super) fn kinds(registries: &[RegistryConfig], kinds: &Kinds<'_>) -> Vec<(String, KindInfo)> {
    let kind = |registry: &RegistryConfig| {
        let found = kinds.registries.iter().find(|kind| kind.name == registry.section.kind);
        found.map(|kind| (registry.name.clone(), *kind))
    };
    registries.iter().filter_map(kind).collect()
}

fn registry(entry: &Entry, kinds: &Kinds<'_>, problems: &mut Problems) -> Option<RegistryConfig> {
    let title = format!("[registry.{}]", entry.key);
    let mut table = Table::new(title, schema::REGISTRY, vec![&entry.value], problems);
    let required = table.flag("required").unwrap_or(true);
    let section = section(("registry", kinds.registries), entry, &COMMON, problems)?;
    Some(RegistryConfig { name: entry.key.clone(), required, section })
}

pub(super) fn catalogs(
    main: &Node,
    scope: &Scope<'_>,
    problems: &mut Problems,
) -> Vec<CatalogConfig> {
    let mut catalogs = Vec::new();
    // Also without a catalog: this is what checks the defaults by themselves.
    let route = Arc::new(routes::of_catalog(scope, problems));
    let service = services::of_catalog(scope, problems);
    for entry in named(main, "catalog", problems) {
        let title = format!("[catalog.{}]", entry.key);
        let mut table = Table::new(title, schema::CATALOG, vec![&entry.value], problems);
        table.reject_unknown(&[]);
        let registry = scope.registry_of_more(&mut table, "has no list of its services");
        let path = catalog_path(&mut table);
        let tag = table.text("tag");
        let exclude = table.strings("exclude").unwrap_or_default();
        if let (Some(registry), Some(path)) = (registry, path) {
            let service = Arc::new(services::in_registry(service.clone(), registry));
            let (name, route) = (entry.key.clone(), route.clone());
            catalogs.push(CatalogConfig { name, registry, path, tag, exclude, route, service });
        }
    }
    catalogs
}

/// The path before and after `{service}`.
fn catalog_path(table: &mut Table<'_>) -> Option<(String, String)> {
    let text = match table.find("path") {
        Some(_) => table.text("path")?,
        None => schema::CATALOG_PATH.to_owned(),
    };
    let example = "like \"/{service}/*\" or \"/api/{service}/*\"";
    let Some((before, after)) = text.split_once("{service}") else {
        table.problem("path", "a catalog's path must contain {service}", example);
        return None;
    };
    // Read as a route's path with a service in it, so that the same rules hold.
    let sample = format!("{before}service{after}");
    match paths::parse(&sample) {
        Ok(PathPattern::Prefix(_))
            if before.ends_with('/') && after.starts_with('/') && !sample.contains('{') =>
        {
            Some((before.to_owned(), after.to_owned()))
        }
        Ok(_) => {
            let message = "a catalog's path must end in /* with {service} as a whole segment";
            table.problem("path", message, example);
            None
        }
        Err((message, _)) => {
            table.problem("path", message, example);
            None
        }
    }
}

pub(super) fn registrations(
    main: &Node,
    scope: &Scope<'_>,
    problems: &mut Problems,
) -> Vec<RegistrationConfig> {
    let mut registrations = Vec::new();
    for entry in named(main, "register", problems) {
        let title = format!("[register.{}]", entry.key);
        let mut table = Table::new(title, schema::REGISTER, vec![&entry.value], problems);
        table.reject_unknown(&[]);
        let registry = scope.registry_of_more(&mut table, "lets nobody register");
        let name = table.required("name").map(|(name, _)| name);
        if name.as_deref() == Some("") {
            table.problem("name", "`name` is empty", None);
        }
        let address = registered_address(&mut table);
        let tags = table.strings("tags").unwrap_or_default();
        let check = table.text("check");
        if check.as_ref().is_some_and(|path| !path.starts_with('/')) {
            table.problem("check", "`check` must be a path", "like \"/readyz\"");
        }
        if let (Some(registry), Some(name), Some(address)) = (registry, name, address) {
            let table = entry.key.clone();
            registrations.push(RegistrationConfig { table, registry, name, address, tags, check });
        }
    }
    registrations
}

fn registered_address(table: &mut Table<'_>) -> Option<HostPort> {
    let (text, place) = table.required("address")?;
    match services::host_port(&text, None) {
        Ok(address) => Some(address),
        Err(message) => {
            let hint = "where others reach the gateway, like \"10.0.0.5:8080\"";
            table.problem_at(&place, message, hint);
            None
        }
    }
}
