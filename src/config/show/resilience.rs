//! What is done about instances that fail, in the words of the file.

use serde_json::{Value, json};

use super::name_of;
use crate::config::model::{
    BreakerConfig, BreakerScope, HealthCheck, HealthConfig, OutlierConfig, RetryConfig,
    ServiceConfig, Share, Statuses, Trip,
};
use crate::config::units::{show_duration, show_rate, show_share, show_size};

/// A route's retries.
pub(super) fn retry(retry: &RetryConfig) -> Value {
    let words =
        [("connect", retry.on.connect), ("reset", retry.on.reset), ("timeout", retry.on.timeout)];
    let words = words.into_iter().filter(|(_, on)| *on).map(|(word, _)| word.to_owned());
    json!({
        "attempts": retry.attempts,
        "per_try_timeout": retry.per_try_timeout.map(show_duration),
        "on": words.chain(statuses(&retry.on.statuses)).collect::<Vec<_>>(),
        "backoff": show_duration(retry.backoff),
        "max_backoff": show_duration(retry.max_backoff),
        "methods": retry.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "replay_bytes": show_size(retry.replay_bytes),
        "idempotency_key": retry.idempotency_key,
    })
}

fn statuses(statuses: &Statuses) -> impl Iterator<Item = String> {
    statuses.0.iter().map(|range| match (*range.start(), *range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) if first % 100 == 0 && last == first + 99 => format!("{}xx", first / 100),
        (first, last) => format!("{first}-{last}"),
    })
}

/// A service's policies: what is off is `false`.
pub(super) fn service(shown: &mut Value, service: &ServiceConfig) {
    let off = || Value::Bool(false);
    shown["hash_key"] = service.hash_key.as_ref().map(ToString::to_string).into();
    shown["sticky"] = service.sticky.as_ref().map_or_else(
        off,
        |sticky| json!({"cookie": sticky.cookie, "ttl": sticky.ttl.map(show_duration)}),
    );
    shown["zone"] = if service.zone.is_some() { "prefer".into() } else { off() };
    shown["breaker"] = service.breaker.as_ref().map_or_else(off, breaker);
    shown["retry_budget"] = service.retry_budget.map_or_else(
        off,
        |budget| json!({"share": show_share(budget.share), "floor": show_rate(budget.floor)}),
    );
    shown["outlier"] = service.outlier.as_ref().map_or_else(off, outlier);
    shown["health"] = service.health.as_ref().map_or_else(off, health);
    shown["slow_start"] =
        if service.slow_start.is_zero() { off() } else { show_duration(service.slow_start).into() };
    shown["panic"] =
        if service.panic == Share::NONE { off() } else { show_share(service.panic).into() };
}

fn breaker(breaker: &BreakerConfig) -> Value {
    let mut shown = json!({
        "kind": breaker.trip.name(),
        "open": show_duration(breaker.open),
        "probes": breaker.probes,
        "ramp": show_duration(breaker.ramp),
        "scope": name_of(breaker.scope, &BreakerScope::NAMES),
    });
    let window = match breaker.trip {
        Trip::Consecutive { failures } => {
            shown["failures"] = failures.into();
            return shown;
        }
        Trip::Ratio(window) => window,
        Trip::Hystrix { window, max_concurrent, timeout } => {
            shown["max_concurrent"] = max_concurrent.into();
            shown["timeout"] = show_duration(timeout).into();
            window
        }
    };
    shown["failures"] = show_share(window.failures).into();
    shown["min_requests"] = window.min_requests.into();
    shown["window"] = show_duration(window.window).into();
    shown
}

fn outlier(outlier: &OutlierConfig) -> Value {
    json!({
        "consecutive": outlier.consecutive,
        "success_rate": outlier.success_rate,
        "interval": show_duration(outlier.interval),
        "eject": show_duration(outlier.eject),
        "max_eject": show_duration(outlier.max_eject),
        "max_share": show_share(outlier.max_share),
    })
}

fn health(health: &HealthConfig) -> Value {
    let mut shown = json!({
        "kind": health.check.name(),
        "interval": show_duration(health.interval),
        "unhealthy_interval": show_duration(health.unhealthy_interval),
        "timeout": show_duration(health.timeout),
        "healthy": health.healthy,
        "unhealthy": health.unhealthy,
    });
    match &health.check {
        HealthCheck::Http { path, status, host } => {
            shown["path"] = path.as_str().into();
            shown["status"] = statuses(status).collect();
            shown["host"] = host.as_deref().into();
        }
        HealthCheck::Tcp => {}
        HealthCheck::Grpc { service } => shown["service"] = service.as_str().into(),
    }
    shown
}
