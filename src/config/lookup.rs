//! `dns` and `port` of a service.

use super::check::Scope;
use super::kind::KindInfo;
use super::model::Lookup;
use super::problem::suggest;
use super::table::Table;

/// What DNS is asked about a service of this registry. What another registry could not know is a problem where the
/// service itself writes it; inherited, it means those services that stand in DNS.
pub(super) fn read(table: &mut Table<'_>, scope: &Scope<'_>, registry: usize) -> Lookup {
    let Some(kind) = scope.kind(registry) else { return written(table) };
    if !kind.names_only {
        foreign(table, kind);
        return Lookup::Srv;
    }
    let lookup = written(table);
    if table.own("tags").is_some() && table.strings("tags").is_some_and(|tags| !tags.is_empty()) {
        let message = format!("a registry of the kind `{}` knows no tags", kind.name);
        table.problem("tags", message, "the name alone says which instances");
    }
    lookup
}

/// The same for services without a table of their own. Each default may stand alone: a service may write the other.
pub(super) fn inherited(table: &mut Table<'_>) -> Lookup {
    let port = port(table);
    match table.text("dns").as_deref() {
        Some("host") => port.map_or(Lookup::Srv, |port| Lookup::Host { port }),
        Some("srv") | None => Lookup::Srv,
        Some(other) => misspelt(table, other),
    }
}

/// A service that stands in DNS and has no table cannot write what the defaults leave open.
pub(super) fn complete(table: &mut Table<'_>) {
    if table.text("dns").as_deref() == Some("host") {
        with_port(table);
    }
}

fn port(table: &mut Table<'_>) -> Option<u16> {
    let port = table.count("port", 1)?;
    let narrow = u16::try_from(port).ok();
    if narrow.is_none() {
        table.problem("port", "`port` must be 1 to 65535", None);
    }
    narrow
}

fn written(table: &mut Table<'_>) -> Lookup {
    let port = port(table);
    let dns = table.text("dns");
    match dns.as_deref() {
        Some("host") => {
            with_port(table);
            Lookup::Host { port: port.unwrap_or(1) }
        }
        Some("srv") | None => {
            if table.own("port").is_some() {
                let message = "`port` means nothing beside SRV records, which hold their own";
                table.problem("port", message, "dns = \"host\" asks for addresses");
            }
            Lookup::Srv
        }
        Some(other) => misspelt(table, other),
    }
}

fn with_port(table: &mut Table<'_>) {
    if !table.has("port") {
        let message = "`dns = \"host\"` needs `port`";
        table.problem("dns", message, "addresses come without one, like port = 8080");
    }
}

fn misspelt(table: &mut Table<'_>, word: &str) -> Lookup {
    let hint = suggest(word, ["srv", "host"]);
    table.problem("dns", format!("`dns` has no `{word}`"), hint);
    Lookup::Srv
}

fn foreign(table: &mut Table<'_>, kind: &KindInfo) {
    // The default may stand anywhere.
    let asked = table.own("dns").is_some() && table.text("dns").is_some_and(|dns| dns != "srv");
    for (key, is_wrong) in [("dns", asked), ("port", table.own("port").is_some())] {
        if is_wrong {
            let message =
                format!("`{key}` means nothing to a registry of the kind `{}`", kind.name);
            table.problem(key, message, "only one of the kind `dns` is asked over DNS");
        }
    }
}
