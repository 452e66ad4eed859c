//! `/routes`: what was written, where, and what passed.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Admin;
use super::answer::{Answer, Refused};
use crate::config::{Config, show};
use crate::gateway::{Route, Table};
use crate::observe::Totals;

/// Every route, in the order of the table.
pub(super) async fn all(State(admin): State<Admin>) -> Json<Value> {
    let world = &admin.world;
    let table = world.table.borrow().clone();
    let routes: Vec<Value> =
        table.routes.iter().map(|route| shown(&world.config, &table, route)).collect();
    Json(json!({"routes": routes}))
}

/// One route; a catalog's name may be written with its slash or with `%2F`.
pub(super) async fn one(
    State(admin): State<Admin>,
    name: Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(name) = name?;
    let table: Arc<Table> = admin.world.table.borrow().clone();
    match table.routes.iter().find(|route| route.config.name == name) {
        Some(route) => Ok(Json(shown(&admin.world.config, &table, route))),
        None => Err(Refused::NotFound(format!("there is no route {name:?}"))),
    }
}

fn shown(config: &Config, table: &Table, route: &Route) -> Value {
    let written = &route.config;
    let totals = Totals::of(&route.numbers);
    let service = table.services.get(route.service).map(|service| service.config.name.as_str());
    // A catalog's route is written nowhere.
    let source = Some(&written.source).filter(|source| !source.is_empty());
    let listeners = written.listen.iter().filter_map(|index| config.listeners.get(*index));
    json!({
        "name": written.name,
        "label": route.label,
        "source": source,
        "paths": written.paths.iter().map(show::path).collect::<Vec<_>>(),
        "hosts": written.hosts.iter().map(show::host).collect::<Vec<_>>(),
        "methods": written.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "listen": listeners.map(|listener| listener.name.as_str()).collect::<Vec<_>>(),
        "service": service.unwrap_or(&written.service),
        "priority": written.priority,
        "in_flight": totals.in_flight,
        "requests": totals.requests(),
        "errors": totals.errors(),
    })
}
