//! `/healthz` and `/readyz`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Admin;
use crate::assemble::{Phase, World};
use crate::registry::{Health, Status};

/// 200 while the process serves.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"healthy": true}))
}

/// 200 when every required registry answered once, about all it was asked at start, and nothing drains, else 503 with the same body.
pub(super) async fn ready(State(admin): State<Admin>) -> (StatusCode, Json<Value>) {
    let (ready, body) = readiness(&admin.world);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body))
}

fn readiness(world: &World) -> (bool, Value) {
    let draining = *world.phase.borrow() != Phase::Serving;
    let mut ready = !draining;
    let mut parts = Vec::new();
    for (config, registry) in world.config.registries.iter().zip(&world.registries) {
        let status = registry.status();
        let awaited = registry.awaited();
        let answered = answered(&status) && awaited == 0;
        ready &= answered || !config.required;
        parts.push(json!({
            "name": format!("registry.{}", config.name),
            "ready": answered,
            "required": config.required,
            "reason": reason(&status, awaited),
        }));
    }
    let listeners: Map<String, Value> = world
        .listeners
        .iter()
        .map(|(name, address)| (name.clone(), address.to_string().into()))
        .collect();
    let body = json!({
        "ready": ready,
        "draining": draining,
        "listeners": listeners,
        "parts": parts,
    });
    (ready, body)
}

/// Whether it answered once: from then on the last good sets serve.
fn answered(status: &Status) -> bool {
    match status.health {
        Health::Ok | Health::Stale | Health::Snapshot => true,
        Health::Connecting | Health::Failed => status.last_success.is_some(),
    }
}

fn reason(status: &Status, awaited: usize) -> Option<String> {
    let state = match status.health {
        Health::Ok if awaited > 0 => return Some(format!("{awaited} sets are not known yet")),
        Health::Ok => return None,
        Health::Connecting => "nothing was heard yet",
        Health::Snapshot => "has not answered, the last good sets of an earlier run serve",
        Health::Stale => "does not answer, the last good sets serve",
        Health::Failed => "refuses to answer",
    };
    match &status.last_error {
        Some((_, error)) => Some(format!("{state}: {error}")),
        None => Some(state.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_registry_that_answered_once_stays_ready_when_it_goes_away() {
        let mut status = Status { health: Health::Connecting, ..Status::default() };
        assert!(!answered(&status));
        assert_eq!(reason(&status, 1).unwrap(), "nothing was heard yet");
        status.last_error = Some((SystemTime::now(), "connection refused".into()));
        assert_eq!(reason(&status, 1).unwrap(), "nothing was heard yet: connection refused");
        status.last_success = Some(SystemTime::now());
        status.health = Health::Stale;
        assert!(answered(&status));
        status.health = Health::Ok;
        assert_eq!(reason(&status, 2).unwrap(), "2 sets are not known yet");
        assert_eq!(reason(&status, 0), None);
    }
}
