//! Configurations that load, and those that do not, with the exact text of every problem.
//!
//! `BLESS=1 cargo test --test config` rewrites the expected texts; read the difference before keeping it.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::fs;
use std::path::{Path, PathBuf};

use frontgate::assemble::{self, KINDS};
use frontgate::config::model::{
    Condition, Config, Found, HostPattern, Lookup, PathPattern, PathRewrite,
};
use frontgate::config::{self, Error, Loaded};

fn samples(folder: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
}

fn good(name: &str) -> Loaded {
    let path = PathBuf::from("tests/config/good").join(name);
    config::load(&path, &KINDS).unwrap_or_else(|error| panic!("{}:\n{error}", path.display()))
}

#[test]
fn every_bad_configuration_is_explained_as_expected() {
    let bless = std::env::vars().any(|(name, _)| name == "BLESS");
    let samples = samples("tests/config/bad");
    assert!(samples.len() >= 40, "only {} samples", samples.len());
    for path in samples {
        let text = match config::load(&path, &KINDS) {
            Ok(_) => panic!("{} loads", path.display()),
            Err(Error::Wrong(problems)) => problems.to_string(),
            Err(error) => panic!("{error}"),
        };
        let expected = path.with_extension("expected");
        if bless {
            fs::write(&expected, &text).unwrap();
        }
        let known = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(text, known, "\n{} is explained as\n{text}", path.display());
        assert!(!text.contains("hunter2") && !text.contains("1337"), "a secret:\n{text}");
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "an absolute path:\n{text}");
    }
}

#[test]
fn every_good_configuration_loads() {
    for path in samples("tests/config/good") {
        good(path.file_name().unwrap().to_str().unwrap());
    }
}

#[test]
fn every_example_loads_and_the_parts_agree() {
    let mut examples = 0;
    for folder in fs::read_dir("examples").unwrap() {
        let path = folder.unwrap().path().join("frontgate.toml");
        if path.is_file() {
            let loaded = config::load(&path, &KINDS).unwrap_or_else(|error| panic!("{error}"));
            let mut problems = config::Problems::new();
            assemble::check(&loaded, &mut problems);
            assert!(problems.is_empty() && loaded.warnings.is_empty(), "{problems}");
            examples += 1;
        }
    }
    assert!(examples > 0, "no example was found");
}

#[test]
fn a_missing_file_is_no_problem_of_the_configuration() {
    let error = config::load(Path::new("tests/config/nowhere.toml"), &KINDS).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }));
    assert_eq!(error.to_string(), "tests/config/nowhere.toml cannot be read: no such file");
}

#[test]
fn what_is_allowed_and_looks_like_a_mistake_is_a_warning() {
    let warnings: Vec<String> =
        good("warnings.toml").warnings.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(
        warnings,
        [
            "no file matches this pattern",
            "`empty` has no endpoints: its routes answer 503",
            "no route uses the service `empty`",
            "`hash_key` means nothing to the balancer `round_robin`",
            "route \"endless\" never pauses for as long as its backoff",
            "route \"endless\" tries again after a timeout that it does not have",
            "route \"late\" leaves no time for a second try",
            "route \"claimed\" ends before the breaker of `spread` times anything out",
            "route \"claimed\" spreads by a claim and has no `auth`",
            "route \"same\" spreads by a claim and has no `auth`",
            "`spread` and `other` keep clients by the same cookie, \"fg_instance\": on one host each overwrites the other's",
            "the retry budget of `other` lets nothing through"
        ]
    );
}

fn service<'a>(config: &'a Config, name: &str) -> &'a config::model::ServiceConfig {
    config.services.iter().find(|service| service.name == name).unwrap()
}

#[test]
fn every_key_arrives_in_the_model() {
    let Loaded { config, route_places, .. } = good("everything.toml");
    assert_eq!(config.workers, 2);
    assert_eq!(config.shutdown_grace.as_secs(), 90);
    assert_eq!(config.trusted_proxies[1].to_string(), "192.0.2.7/32");
    assert_eq!(config.listeners[0].limits.header_bytes, 32 << 10);
    assert_eq!(config.listeners[1].name, "inner", "in file order");
    assert_eq!(config.admin.as_ref().unwrap().token.as_ref().unwrap().reveal(), "frontgate");
    assert!(!config.registries[0].required && config.registries[1].required);
    assert_eq!(config.catalogs[0].path, ("/api/".to_owned(), "/*".to_owned()));
    assert_eq!(config.catalogs[0].route.path, PathRewrite::StripPrefix);
    assert_eq!(config.catalogs[0].route.timeout.as_secs(), 10);
    assert_eq!(config.registrations[0].registry, 1);
    assert_eq!(config.registrations[0].address.to_string(), "[::1]:8080");
    let names: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["items", "orders", "static", "users"], "by name");
    let route = &config.routes[0];
    assert_eq!(route.source, "everything.toml:61", "seen from the main file");
    assert_eq!(
        route.hosts,
        [
            HostPattern::Exact("shop.example.com".to_owned()),
            HostPattern::Suffix(".example.com".to_owned()),
            HostPattern::Exact("[::1]".to_owned())
        ]
    );
    assert_eq!(route.listen, [1]);
    assert_eq!(route.upgrade, ["websocket", "spdy"], "in lower case");
    assert_eq!(config.routes[1].upgrade, ["websocket"], "by default");
    assert_eq!(route.headers[3].1, Condition::Matches("a+".to_owned()));
    assert!(route.timeout.is_zero() && !route.preserve_host && route.priority == -1);
    assert_eq!(config.routes[1].name, "/users/{id}", "called after its path");
    assert_eq!(config.routes[2].source, "everything/a.toml:1");
    assert!(matches!(config.routes[2].paths[0], PathPattern::Regex(_)));
    assert_eq!(route_places.len(), config.routes.len());
}

#[test]
fn what_a_table_writes_replaces_its_default_and_policies_merge_by_field() {
    let Loaded { config, .. } = good("everything.toml");
    let orders = service(&config, "orders");
    assert_eq!((orders.pool.idle, orders.pool.pending, orders.pool.connections), (4, 16, 1024));
    assert_eq!(orders.connect_timeout.as_secs(), 2);
    assert_eq!(service(&config, "users").pool.idle, 8, "also without a table");
    assert!(matches!(&service(&config, "static").found, Found::Written(list) if list.len() == 3));
    let edits = &config.routes[0].request_headers;
    let set: Vec<String> = edits
        .set
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .collect();
    assert_eq!(set, ["x-edge=1", "host=orders.internal", "x-kept=yes"], "by header name");
    assert_eq!(edits.remove, ["x-debug"]);
}

#[test]
fn upgrades_are_listed_or_switched_off_and_on_again() {
    for (defaults, own, listed) in [
        ("", "upgrade = false", &[][..]),
        ("", "upgrade = []", &[]),
        ("", "upgrade = true", &["websocket"]),
        ("upgrade = false", "", &[]),
        ("upgrade = false", "upgrade = true", &["websocket"]),
        ("upgrade = [\"a\"]", "upgrade = [\"b\"]", &["b"]),
        ("upgrade = [\"a\"]", "", &["a"]),
    ] {
        let text = format!(
            "[listen.web]\naddress = \"127.0.0.1:0\"\n[registry.consul]\nkind = \"consul\"\n\
             [defaults.route]\n{defaults}\n[[route]]\nservice = \"a\"\n{own}"
        );
        let loaded = config::parse(Path::new("frontgate.toml"), &text, &KINDS).unwrap();
        assert_eq!(loaded.config.routes[0].upgrade, listed, "{defaults}: {own}");
        let shown = &config::show(&loaded.config)["route"][0]["upgrade"];
        assert_eq!(*shown, serde_json::json!(listed));
    }
}

#[test]
fn an_inherited_prefix_is_stripped_where_there_is_one() {
    let Loaded { config, .. } = good("defaults_strip.toml");
    let rewrites: Vec<&PathRewrite> = config.routes.iter().map(|route| &route.path).collect();
    assert_eq!(
        rewrites,
        [
            &PathRewrite::StripPrefix,
            &PathRewrite::Keep,
            &PathRewrite::Template("/d/{rest}".to_owned()),
            &PathRewrite::Keep
        ]
    );
}

#[test]
fn a_service_without_a_table_is_found_in_the_only_registry() {
    let Loaded { config, .. } = good("only_registry.toml");
    let Found::Registry { registry: 0, name, passing_only: true, .. } =
        &service(&config, "orders").found
    else {
        panic!("{:?}", config.services)
    };
    assert_eq!(name, "orders");
    assert_eq!(config.routes[0].paths, [PathPattern::Prefix(Vec::new())], "every path");
    assert_eq!(config.routes[0].name, "/*");
}

#[test]
fn what_dns_is_asked_is_inherited_and_stays_with_services_in_dns() {
    let Loaded { config, .. } = good("dns.toml");
    let lookup = |name: &str| match &service(&config, name).found {
        Found::Registry { lookup, .. } => *lookup,
        Found::Written(_) => panic!("{name} is in a registry"),
    };
    assert_eq!(lookup("inherits"), Lookup::Host { port: 8080 });
    assert_eq!(lookup("records"), Lookup::Srv);
    assert_eq!(lookup("other"), Lookup::Host { port: 81 });
    assert_eq!(lookup("elsewhere"), Lookup::Srv);
    assert_eq!(lookup("untabled"), Lookup::Host { port: 8080 });
    let shown = config::show(&config);
    assert_eq!(shown["service"]["other"]["dns"], "host");
    assert_eq!(shown["service"]["other"]["port"], 81);
}

#[test]
fn secrets_are_neither_shown_nor_printed() {
    let Loaded { config, .. } = good("everything.toml");
    let shown = config::show(&config).to_string();
    let debug = format!("{config:?}");
    for text in [&shown, &debug] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let shown = config::show(&config);
    assert_eq!(shown["registry"]["second"]["token"], "***");
    assert_eq!(shown["registry"]["consul"]["datacenter"], "dc1");
    assert_eq!(shown["admin"]["token"], "***");
}

#[test]
fn two_readings_of_one_file_are_equal_until_a_value_differs() {
    let read = |text: &str| {
        let text = format!("workers = 1\n[listen.web]\naddress = '127.0.0.1:0'\n{text}");
        config::parse(Path::new("frontgate.toml"), &text, &KINDS).unwrap().config
    };
    let one = read("[registry.c]\nkind = 'consul'\ntoken = 'a'\nstale = true\n");
    assert_eq!(one, read("# moved\n\n[registry.c]\nstale = true\nkind = 'consul'\ntoken = 'a'\n"));
    assert_ne!(one, read("[registry.c]\nkind = 'consul'\ntoken = 'b'\nstale = true\n"));
    assert_ne!(one, read("[registry.c]\nkind = 'consul'\ntoken = 'a'\nstale = false\n"));
}

proptest::proptest! {
    #[test]
    fn line_and_column_point_at_what_is_wrong(
        fillers in proptest::collection::vec("[ \t]{0,3}(#[ a-zäöü€\t=\\[]{0,20})?", 1..12),
        indents in proptest::collection::vec("[ \t]{0,5}", 12),
        wide in "[a-zäöü€]{0,12}",
    ) {
        const WRONG: [&str; 4] = ["\"@1\"", "-12", "\"@three\"", "[\"@4\"]"];
        let keys = ["workers", "workers", "drain_delay", "log"];
        for (wrong, name) in WRONG.iter().zip(keys) {
            // Something wide before it in the same line: columns are characters.
            let bad = format!("{}{name} = {wrong} # {wide}", indents[0]);
            let mut lines: Vec<String> =
                fillers.iter().zip(&indents).map(|(filler, indent)| format!("{indent}{filler}")).collect();
            let at = wide.len() % (lines.len() + 1);
            lines.insert(at, bad);
            lines.push("[listen.web]\naddress = \"127.0.0.1:0\"".to_owned());
            let text = lines.join("\n");
            let problems = config::parse(Path::new("f"), &text, &KINDS).unwrap_err();
            proptest::prop_assert_eq!(problems.len(), 1, "{}", problems);
            let place = &problems.iter().next().unwrap().place;
            let line = text.lines().nth(place.line() - 1).unwrap();
            let rest: String = line.chars().skip(place.column() - 1).collect();
            proptest::prop_assert!(rest.starts_with(wrong), "{} points at {:?}", place, rest);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}", key in "[a-z_]{1,12}") {
        config::parse(Path::new("f"), &text, &KINDS).ok();
        config::parse(Path::new("f"), &format!("[listen.web]\naddress = {text}\n{key} = {text}"), &KINDS).ok();
    }
}

#[test]
fn a_secret_whose_file_changed_makes_another_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frontgate.toml");
    let text = "workers = 1\n[listen.web]\naddress = '127.0.0.1:0'\n\
                [registry.c]\nkind = 'consul'\ntoken = { file = 'token' }\n";
    fs::write(&path, text).unwrap();
    let read = |token: &str| {
        fs::write(folder.path().join("token"), token).unwrap();
        config::load(&path, &KINDS).unwrap().config
    };
    let one = read("a\n");
    assert_eq!(one, read("a"), "newlines at the end are no part of it");
    assert_ne!(one, read("b"));
}
