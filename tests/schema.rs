//! What `frontgate schema` prints is what operators were told, and what happens.

use std::collections::BTreeMap;
use std::path::Path;

use frontgate::assemble::KINDS;
use frontgate::config::model::RouteConfig;
use frontgate::config::{self, Config, Key, schema};

const TABLES: [(&str, &[Key]); 10] = [
    ("main", schema::TOP),
    ("listen", schema::LISTEN),
    ("admin", schema::ADMIN),
    ("registry", schema::REGISTRY),
    ("catalog", schema::CATALOG),
    ("register", schema::REGISTER),
    ("service", schema::SERVICE),
    ("endpoint", schema::ENDPOINT),
    ("route", schema::ROUTE),
    ("rate", schema::RATE),
];

#[test]
fn every_promised_key_exists_with_its_promised_default_and_no_other() {
    let text = include_str!("config/contract.toml");
    let promised: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(text).unwrap();
    let known: BTreeMap<String, BTreeMap<String, String>> = TABLES
        .iter()
        .map(|(table, keys)| {
            let keys = keys.iter().map(|key| (key.name.to_owned(), key.default.to_owned()));
            ((*table).to_owned(), keys.collect())
        })
        .collect();
    for (table, keys) in &promised {
        for (key, default) in keys {
            assert_eq!(known[table].get(key), Some(default), "{table}.{key}");
        }
    }
    assert_eq!(promised, known);
}

fn read(text: &str) -> Config {
    config::parse(Path::new("frontgate.toml"), text, &KINDS)
        .unwrap_or_else(|e| panic!("{e}"))
        .config
}

const LISTEN: &str = "[listen.web]\naddress = \"127.0.0.1:8080\"\n";

#[test]
fn what_is_printed_loads_and_changes_nothing() {
    let printed = schema::print(&KINDS);
    assert_eq!(read(&printed), read(LISTEN), "{printed}");
    assert!(printed.contains("\n# [registry.consul]\n# kind = \"consul\"\n"), "{printed}");
}

#[test]
fn the_printed_defaults_are_the_ones_in_force() {
    let written = |keys: &[Key]| -> String {
        let keys = keys.iter().filter(|key| !key.default.is_empty());
        keys.map(|key| format!("{} = {}\n", key.name, key.default)).collect()
    };
    let text = |registry: &str, catalog: &str, service: &str, route: &str| {
        format!(
            "{LISTEN}[registry.consul]\nkind = \"consul\"\n{registry}[catalog.all]\n{catalog}\
             [service.a]\n{service}[service.b]\nendpoints = [{{ address = \"http://127.0.0.1:1\" }}]\n\
             [[route]]\nservice = \"a\"\n{route}"
        )
    };
    let bare = read(&text("", "", "", ""));
    let full = read(&text(
        &written(schema::REGISTRY),
        &written(schema::CATALOG),
        &written(schema::SERVICE),
        &written(schema::ROUTE),
    ));
    assert_eq!(config::show(&bare)["registry"]["consul"]["required"], true);
    assert_eq!(bare.catalogs, full.catalogs);
    let route = |config: &Config| RouteConfig {
        source: String::new(),
        ..RouteConfig::clone(&config.routes[0])
    };
    assert_eq!(route(&bare), route(&full));
    let unplaced = |config: &Config| -> Vec<_> {
        let services = config.services.iter();
        services
            .map(|one| (one.found.clone(), one.balance.clone(), one.pool, one.connect_timeout))
            .collect()
    };
    assert_eq!(unplaced(&bare), unplaced(&full));
}

#[test]
fn every_key_is_explained_in_one_line_within_the_table_it_belongs_to() {
    let printed = schema::print(&KINDS);
    for (table, keys) in TABLES {
        for key in keys {
            assert!(!key.about.is_empty() && !key.about.contains('\n'), "{table}.{}", key.name);
            let shown =
                table == "endpoint" || key.shape.contains("table") || printed.contains(key.name);
            assert!(shown, "{table}.{} is not printed", key.name);
        }
    }
}
