//! `/services`: where each sends its exchanges, and how that goes.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::Admin;
use super::answer::{Answer, Refused};
use super::drain;
use super::time::rfc3339;
use crate::assemble::World;
use crate::config::model::{Found, ServiceConfig};
use crate::forward::Service;
use crate::forward::breaker;
use crate::forward::service::{InstanceSnapshot, Snapshot, Source};
use crate::forward::standing::Reason;

/// Every service, in the order of the table.
pub(super) async fn all(State(admin): State<Admin>) -> Json<Value> {
    let table = admin.world.table.borrow().clone();
    let services: Vec<Value> =
        table.services.iter().map(|service| one_of(&admin.world, service)).collect();
    Json(json!({"services": services}))
}

/// One service; a catalog's name may be written with its slash or with `%2F`.
pub(super) async fn one(
    State(admin): State<Admin>,
    name: Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(name) = name?;
    let table = admin.world.table.borrow().clone();
    match table.services.iter().find(|service| service.config.name == name) {
        Some(service) => Ok(Json(one_of(&admin.world, service))),
        None if drain::is_address(&name) => Err(Refused::Method("POST")),
        None => Err(Refused::NotFound(format!("there is no service {name:?}"))),
    }
}

fn one_of(world: &World, service: &Service) -> Value {
    let registry = match &service.config.found {
        Found::Written(_) => None,
        Found::Registry { registry, .. } => world.config.registries.get(*registry),
    };
    let registry = registry.map(|registry| registry.name.as_str());
    shown(&service.config, registry, &service.snapshot())
}

fn shown(config: &ServiceConfig, registry: Option<&str>, snapshot: &Snapshot) -> Value {
    let (source, stale_since, last_error) = match &snapshot.source {
        Source::Static => ("static", None, None),
        Source::Pending => ("pending", None, None),
        Source::Unheard { reason } => ("pending", None, Some(reason)),
        Source::Snapshot { since, reason } => ("snapshot", Some(rfc3339(*since)), Some(reason)),
        Source::Live => ("live", None, None),
        Source::Stale { since, reason } => ("stale", Some(rfc3339(*since)), Some(reason)),
    };
    let attempts: Map<String, Value> = snapshot
        .attempts
        .iter()
        .map(|(result, count)| ((*result).into(), (*count).into()))
        .collect();
    let sum = |of: fn(&InstanceSnapshot) -> u64| snapshot.instances.iter().map(of).sum::<u64>();
    json!({
        "name": config.name,
        "registry": registry,
        "balance": config.balance,
        "breaker": breaker_state(snapshot.breaker),
        "state": state(snapshot),
        "panic": snapshot.panic,
        "source": source,
        "stale_since": stale_since,
        "last_error": last_error,
        "in_flight": sum(|instance| instance.in_flight),
        "requests": sum(|instance| instance.requests),
        "failures": sum(|instance| instance.failures),
        "attempts": attempts,
        "instances": snapshot.instances.iter().map(|one| instance(config, one)).collect::<Vec<_>>(),
    })
}

/// `empty` without an instance to send to, `degraded` in panic, on a set that may be out of date, or when breakers or
/// checks leave nobody to ask, else `ok`. An instance that left the set and finishes what it has is missed by nobody.
fn state(snapshot: &Snapshot) -> &'static str {
    let mut instances = snapshot.instances.iter();
    if instances.all(|instance| instance.leaving || instance.reasons.has(Reason::Drained)) {
        return "empty";
    }
    let mut there = snapshot.instances.iter().filter(|instance| !instance.leaving);
    let open = |state: Option<breaker::State>| state == Some(breaker::State::Open);
    let nobody =
        |one: &InstanceSnapshot| !one.reasons.may_be_asked(snapshot.panic) || open(one.breaker);
    if open(snapshot.breaker) || there.all(nobody) {
        return "degraded";
    }
    if snapshot.panic || snapshot.instances.iter().any(|instance| instance.held) {
        return "degraded";
    }
    match snapshot.source {
        Source::Stale { .. } | Source::Snapshot { .. } => "degraded",
        Source::Static | Source::Pending | Source::Unheard { .. } | Source::Live => "ok",
    }
}

pub(super) fn instance(config: &ServiceConfig, instance: &InstanceSnapshot) -> Value {
    json!({
        "address": instance.endpoint.address.to_string(),
        "scheme": instance.endpoint.scheme.as_str(),
        "weight": instance.endpoint.weight,
        "zone": instance.endpoint.zone,
        "state": instance_state(instance),
        "health": health(config, instance),
        "health_error": instance.checked.as_ref().and_then(|checked| checked.error.as_ref()),
        "health_checked": instance.checked.as_ref().map(|checked| rfc3339(checked.at)),
        "breaker": breaker_state(instance.breaker),
        "drained_until": instance.drained_until.map(rfc3339),
        "ejected_until": instance.ejected_until.map(rfc3339),
        "in_flight": instance.in_flight,
        "requests": instance.requests,
        "failures": instance.failures,
        "connections": {
            "active": instance.active_connections,
            "idle": instance.idle_connections,
        },
    })
}

fn breaker_state(state: Option<breaker::State>) -> &'static str {
    state.map_or("off", breaker::State::as_str)
}

/// The words for what an instance is good for now.
pub(super) const STATES: [&str; 7] =
    ["ready", "unhealthy", "ejected", "open", "draining", "slow_start", "held"];

/// One of [`STATES`]: what speaks against it the most.
pub(super) fn instance_state(instance: &InstanceSnapshot) -> &'static str {
    let has = |reason| instance.reasons.has(reason);
    if instance.leaving || has(Reason::Drained) {
        "draining"
    } else if has(Reason::Unchecked) || has(Reason::Down) {
        "unhealthy"
    } else if has(Reason::Ejected) {
        "ejected"
    } else if has(Reason::Open) || has(Reason::HalfOpen) {
        "open"
    } else if instance.held {
        "held"
    } else if has(Reason::Ramping) {
        "slow_start"
    } else {
        "ready"
    }
}

fn health(config: &ServiceConfig, instance: &InstanceSnapshot) -> &'static str {
    match (config.health.is_some(), instance.reasons) {
        (false, _) => "off",
        (true, reasons) if reasons.has(Reason::Unchecked) => "unknown",
        (true, reasons) if reasons.has(Reason::Down) => "down",
        (true, _) => "up",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::config::model::{Endpoint, HostPort, Scheme};
    use crate::forward::health::Tally;
    use crate::forward::standing::Reasons;

    fn config() -> ServiceConfig {
        ServiceConfig {
            name: "consul/orders".into(),
            found: Found::Written(Vec::new()),
            ..ServiceConfig::default()
        }
    }

    fn one_instance(leaving: bool) -> InstanceSnapshot {
        InstanceSnapshot {
            endpoint: Endpoint {
                scheme: Scheme::Http,
                address: HostPort { host: "::1".into(), port: 8080 },
                weight: 3,
                zone: Some("a".into()),
            },
            in_flight: 1,
            requests: 10,
            failures: 2,
            active_connections: 1,
            idle_connections: 4,
            leaving,
            held: false,
            reasons: Reasons::default(),
            breaker: None,
            checked: None,
            drained_until: None,
            ejected_until: None,
        }
    }

    fn snapshot(source: Source, instances: Vec<InstanceSnapshot>) -> Snapshot {
        Snapshot {
            source,
            panic: false,
            ejections: [0, 0],
            ejections_overflow: 0,
            breaker: Some(breaker::State::HalfOpen),
            instances,
            attempts: vec![("ok", 8), ("connect", 2)],
            checks: Tally::default().counts(),
        }
    }

    #[test]
    fn a_stale_service_shows_all_that_is_known() {
        let source = Source::Stale {
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            reason: "connection refused".into(),
        };
        let snapshot = snapshot(source, vec![one_instance(false)]);
        assert_eq!(
            shown(&config(), Some("consul"), &snapshot),
            json!({
                "name": "consul/orders",
                "registry": "consul",
                "balance": "round_robin",
                "breaker": "half_open",
                "state": "degraded",
                "panic": false,
                "source": "stale",
                "stale_since": "1970-01-01T00:00:01.000Z",
                "last_error": "connection refused",
                "in_flight": 1,
                "requests": 10,
                "failures": 2,
                "attempts": {"ok": 8, "connect": 2},
                "instances": [{
                    "address": "[::1]:8080",
                    "scheme": "http",
                    "weight": 3,
                    "zone": "a",
                    "state": "ready",
                    "health": "off",
                    "health_error": null,
                    "health_checked": null,
                    "breaker": "off",
                    "drained_until": null,
                    "ejected_until": null,
                    "in_flight": 1,
                    "requests": 10,
                    "failures": 2,
                    "connections": {"active": 1, "idle": 4},
                }],
            })
        );
    }

    #[test]
    fn a_written_service_has_null_for_what_only_a_registry_has() {
        let shown = shown(&config(), None, &snapshot(Source::Static, vec![one_instance(false)]));
        assert_eq!(shown["registry"], Value::Null);
        assert_eq!(shown["stale_since"], Value::Null);
        assert_eq!(shown["last_error"], Value::Null);
        assert_eq!(shown["source"], "static");
        assert_eq!(shown["state"], "ok");
    }

    #[test]
    fn only_draining_instances_or_none_leave_a_service_empty() {
        let of = |instances| state(&snapshot(Source::Live, instances));
        assert_eq!(of(vec![]), "empty");
        assert_eq!(of(vec![one_instance(true)]), "empty");
        assert_eq!(of(vec![one_instance(true), one_instance(false)]), "ok");
    }
}
