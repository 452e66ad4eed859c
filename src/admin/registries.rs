//! `/registries`: where each stands.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Admin;
use super::time::rfc3339;
use crate::registry::{Health, Status};

/// Every registry, in the order of the config.
pub(super) async fn all(State(admin): State<Admin>) -> Json<Value> {
    let world = &admin.world;
    let registries: Vec<Value> = world
        .config
        .registries
        .iter()
        .zip(&world.registries)
        .map(|(config, registry)| {
            let mut shown = shown(&registry.status());
            shown["name"] = config.name.clone().into();
            shown["kind"] = config.section.kind.clone().into();
            shown["required"] = config.required.into();
            shown
        })
        .collect();
    Json(json!({"registries": registries}))
}

fn shown(status: &Status) -> Value {
    let state = match status.health {
        Health::Ok => "ok",
        Health::Connecting => "connecting",
        Health::Snapshot => "snapshot",
        Health::Stale => "stale",
        Health::Failed => "failed",
    };
    let last_error = status
        .last_error
        .as_ref()
        .map(|(at, message)| json!({"at": rfc3339(*at), "message": message}));
    json!({
        "state": state,
        "last_success": status.last_success.map(rfc3339),
        "last_error": last_error,
        "services": status.services,
        "instances": status.instances,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_registry_shows_its_newest_error_with_its_time_and_null_for_what_never_was() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        let status = Status {
            health: Health::Failed,
            last_success: None,
            last_error: Some((at, "403: bad token".into())),
            services: 3,
            instances: 6,
        };
        assert_eq!(
            shown(&status),
            json!({
                "state": "failed",
                "last_success": null,
                "last_error": {"at": "1970-01-01T00:01:00.000Z", "message": "403: bad token"},
                "services": 3,
                "instances": 6,
            })
        );
    }
}
