//! `/config`: the effective configuration, secrets hidden.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Admin;
use crate::config::show;

/// What the gateway runs on, defaults filled in.
pub(super) async fn effective(State(admin): State<Admin>) -> Json<Value> {
    Json(show(&admin.world.config))
}
