//! What may be written and is hardly meant: warnings, once everything is read.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::model::{
    BreakerConfig, Config, HashKey, RateConfig, RateKey, RouteConfig, ServiceConfig, Trip,
};
use super::problem::Problems;
use super::services::Services;
use super::source::Place;
use super::tree::Entry;

/// Of all routes and services; `places` are the routes', `written` the services' own tables.
pub(super) fn doubts(
    config: &Config,
    (places, written): (&[Place], &[&Entry]),
    services: &Services,
    warnings: &mut Problems,
) {
    let (mut retry, mut bounds) = (None, HashSet::new());
    for (route, place) in config.routes.iter().zip(places) {
        by_claim(route, services.get(&route.service), place, warnings);
        let Some(service) = services.get(&route.service) else { continue };
        // Once for those that inherit it.
        if retry != Some(&route.retry) {
            retries(route, service, place, warnings);
            retry = Some(&route.retry);
        }
        if bounds.insert((&service.name, route.timeout)) {
            breaker(route, service, place, warnings);
        }
    }
    let mut cookies = HashMap::new();
    for entry in written {
        let Some(service) = services.get(&entry.key) else { continue };
        cookie(service, &entry.place, &mut cookies, warnings);
        budget(service, &entry.place, warnings);
    }
}

/// What goes by a claim where nobody's are known.
fn by_claim(
    route: &RouteConfig,
    service: Option<&ServiceConfig>,
    place: &Place,
    warnings: &mut Problems,
) {
    if !route.guard.auth.is_empty() {
        return;
    }
    let limits = |rate: &RateConfig| rate.keys.iter().any(|key| matches!(key, RateKey::Claim(_)));
    if route.guard.rates.iter().any(limits) {
        let message = format!("route {:?} has a limit by a claim and no `auth`", route.name);
        let hint = "nobody's claims are known there: the client's address is counted";
        warnings.push(place, message, hint);
    }
    let key = service.and_then(|service| service.hash_key.as_ref());
    if matches!(key, Some(HashKey::Claim(_))) {
        let message = format!("route {:?} spreads by a claim and has no `auth`", route.name);
        let hint = "nobody's claims are known there: `auth`, or another `hash_key`";
        warnings.push(place, message, hint);
    }
}

/// What of `retry` can never act, or acts otherwise than it reads.
fn retries(route: &RouteConfig, service: &ServiceConfig, place: &Place, warnings: &mut Problems) {
    let (retry, name) = (&route.retry, &route.name);
    if retry.attempts < 2 {
        return;
    }
    let bounded = service.breaker.as_ref().is_some_and(|breaker| bound(breaker).is_some());
    match retry.per_try_timeout {
        None if retry.on.timeout && !bounded => {
            let message =
                format!("route {name:?} tries again after a timeout that it does not have");
            warnings.push(place, message, "per_try_timeout = \"1s\"");
        }
        // The others end before their time, and leave some for another.
        Some(bound) if retry.on.timeout && !route.timeout.is_zero() && bound >= route.timeout => {
            let message = format!("route {name:?} leaves no time for a second try");
            warnings.push(place, message, "per_try_timeout shorter than timeout");
        }
        None | Some(_) => {}
    }
    if retry.backoff > retry.max_backoff {
        let message = format!("route {name:?} never pauses for as long as its backoff");
        warnings.push(place, message, "max_backoff at least as long as backoff");
    }
}

/// A breaker's timeout that the route's is always before.
fn breaker(route: &RouteConfig, service: &ServiceConfig, place: &Place, warnings: &mut Problems) {
    let Some(bound) = service.breaker.as_ref().and_then(bound) else { return };
    if !route.timeout.is_zero() && bound >= route.timeout {
        let message = format!(
            "route {:?} ends before the breaker of `{}` times anything out",
            route.name, service.name
        );
        warnings.push(place, message, "breaker.timeout shorter than the route's timeout");
    }
}

fn bound(breaker: &BreakerConfig) -> Option<Duration> {
    match breaker.trip {
        Trip::Hystrix { timeout, .. } => Some(timeout),
        Trip::Consecutive { .. } | Trip::Ratio(_) => None,
    }
}

/// What lets through less than one retry in the ten seconds that it is about lets through none.
fn budget(service: &ServiceConfig, place: &Place, warnings: &mut Problems) {
    let Some(budget) = &service.retry_budget else { return };
    let floor = budget.floor;
    if budget.share.hundredths() == 0 && floor.count.saturating_mul(10) < floor.per.as_secs() {
        let message = format!("the retry budget of `{}` lets nothing through", service.name);
        warnings.push(place, message, "a floor of at least \"6/m\", or a share");
    }
}

/// Two services that name their instances in one cookie: a browser of both forgets the one's with the other's.
fn cookie<'a>(
    service: &'a ServiceConfig,
    place: &Place,
    seen: &mut HashMap<&'a str, &'a str>,
    warnings: &mut Problems,
) {
    let Some(sticky) = &service.sticky else { return };
    let first = *seen.entry(&sticky.cookie).or_insert(&service.name);
    if first != service.name {
        let message = format!(
            "`{first}` and `{}` keep clients by the same cookie, {:?}: on one host each overwrites the other's",
            service.name, sticky.cookie
        );
        warnings.push(place, message, "sticky = { cookie = … } with a name for each");
    }
}
