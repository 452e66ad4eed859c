//! `/metrics`: every number there is, as Prometheus text.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Admin;
use super::answer::Refused;
use super::services::{STATES, instance_state};
use crate::assemble::World;
use crate::config::model::Found;
use crate::exchange::{RetryReason, Suppressed};
use crate::forward::outlier::Cause;
use crate::forward::service::{Snapshot, Source};
use crate::gateway::Table;
use crate::observe::metric::{
    ATTEMPTS, BREAKER_STATE, BUILD_INFO, CHECKS, CONNECTIONS, DURATION, EJECTIONS,
    EJECTIONS_OVERFLOW, IN_FLIGHT, INSTANCES, PANIC, RATE_LIMIT_KEYS, RATE_LIMIT_OVERFLOW,
    REFUSALS, REGISTRY_AGE, REGISTRY_UP, REQUESTS, RETRIES, RETRIES_SUPPRESSED,
    UPSTREAM_CONNECTIONS,
};
use crate::observe::{self, CONTENT_TYPE, Page, RouteNumbers, Totals};
use crate::refusal::Refusal;
use crate::registry::Health;

/// Labels of what belongs to no route or no service.
const NONE: &str = "-";

/// The whole page, made on a thread that may take its time.
pub(super) async fn page(State(admin): State<Admin>) -> Result<impl IntoResponse, Refused> {
    // Held by the thread, not by the request: a client that leaves does not make room for another page.
    let permit = admin.pages.clone().acquire_owned().await.map_err(|_| Refused::Slow)?;
    let made = tokio::task::spawn_blocking(move || {
        let page = whole(&admin.world, &admin.control);
        drop(permit);
        page
    });
    let text = made.await.map_err(|_| Refused::Slow)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

fn whole(world: &World, control: &observe::Handle) -> String {
    let table = world.table.borrow().clone();
    let mut page = Page::default();
    exchanges(&mut page, &Numbers::of(&table));
    limits(&mut page, &table);
    connections(&mut page, world);
    services(&mut page, world, &table);
    registries(&mut page, world);
    page.family(&BUILD_INFO).sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    observe::write_process(&mut page);
    page.append(control);
    page.into_text()
}

/// The numbers of a table's routes under their labels, which a catalog's routes share.
#[derive(Default)]
struct Numbers<'a> {
    by_route: BTreeMap<&'a str, Totals>,
    by_service: BTreeMap<(&'a str, &'a str), Totals>,
}

impl<'a> Numbers<'a> {
    fn of(table: &'a Table) -> Self {
        let mut numbers = Self::default();
        numbers.add(NONE, NONE, &table.unrouted);
        for route in &table.routes {
            let service = table.services.get(route.service);
            let service = service.map_or(NONE, |service| service.config.name.as_str());
            numbers.add(&route.label, service, &route.numbers);
        }
        numbers
    }

    fn add(&mut self, route: &'a str, service: &'a str, numbers: &RouteNumbers) {
        self.by_route.entry(route).or_default().add(numbers);
        self.by_service.entry((route, service)).or_default().add(numbers);
    }
}

fn exchanges(page: &mut Page, numbers: &Numbers<'_>) {
    let mut family = page.family(&REQUESTS);
    for ((route, service), totals) in &numbers.by_service {
        for ended in totals.ended() {
            let labels = [
                ("route", *route),
                ("service", *service),
                ("method", ended.method),
                ("status", &ended.status.to_string()),
                ("fate", ended.fate.label()),
            ];
            family.sample(&labels, ended.count);
        }
    }
    let mut family = page.family(&DURATION);
    for ((route, service), totals) in &numbers.by_service {
        if totals.durations.count() > 0 {
            family.histogram(&[("route", *route), ("service", *service)], &totals.durations);
        }
    }
    let mut family = page.family(&IN_FLIGHT);
    for (route, totals) in &numbers.by_route {
        family.sample(&[("route", *route)], totals.in_flight);
    }
    let mut family = page.family(&REFUSALS);
    for (route, totals) in &numbers.by_route {
        for (code, count) in counted(&Refusal::CODES, &totals.refusals) {
            family.sample(&[("route", *route), ("code", *code)], count);
        }
    }
    let mut family = page.family(&RETRIES);
    for (route, totals) in &numbers.by_route {
        for (reason, count) in counted(&RetryReason::ALL, &totals.retries) {
            family.sample(&[("route", *route), ("reason", reason.label())], count);
        }
    }
    let mut family = page.family(&RETRIES_SUPPRESSED);
    for (route, totals) in &numbers.by_route {
        for (reason, count) in counted(&Suppressed::ALL, &totals.suppressed) {
            family.sample(&[("route", *route), ("reason", reason.label())], count);
        }
    }
}

/// What was counted at all: 10,000 routes times every code would be a page of zeros.
fn counted<'a, T>(of: &'a [T], counts: &'a [u64]) -> impl Iterator<Item = (&'a T, u64)> {
    of.iter().zip(counts.iter().copied()).filter(|(_, count)| *count > 0)
}

/// Of routes that have a limit.
fn limits(page: &mut Page, table: &Table) {
    let mut by_route = BTreeMap::<&str, (u64, u64)>::new();
    for route in &table.routes {
        for limits in [&route.guard.limits, &route.guard.caller_limits] {
            if !limits.is_empty() {
                let (keys, overflowed) = by_route.entry(&route.label).or_default();
                *keys += limits.keys();
                *overflowed += limits.overflowed();
            }
        }
    }
    let mut family = page.family(&RATE_LIMIT_KEYS);
    for (route, (keys, _)) in &by_route {
        family.sample(&[("route", *route)], *keys);
    }
    let mut family = page.family(&RATE_LIMIT_OVERFLOW);
    for (route, (_, overflowed)) in &by_route {
        family.sample(&[("route", *route)], *overflowed);
    }
}

fn connections(page: &mut Page, world: &World) {
    let mut family = page.family(&CONNECTIONS);
    for (listener, open) in world.config.listeners.iter().zip(&*world.connections) {
        family.sample(&[("listener", &listener.name)], open.load(Ordering::Relaxed));
    }
}

fn services(page: &mut Page, world: &World, table: &Table) {
    let snapshots: Vec<(&str, Snapshot)> = table
        .services
        .iter()
        .map(|service| (service.config.name.as_str(), service.snapshot()))
        .collect();
    let mut family = page.family(&ATTEMPTS);
    for (service, snapshot) in &snapshots {
        for (result, count) in &snapshot.attempts {
            family.sample(&[("service", *service), ("result", *result)], *count);
        }
    }
    let mut family = page.family(&UPSTREAM_CONNECTIONS);
    for (service, Snapshot { instances, .. }) in &snapshots {
        let active: u64 = instances.iter().map(|instance| instance.active_connections).sum();
        let idle: u64 = instances.iter().map(|instance| instance.idle_connections).sum();
        family.sample(&[("service", *service), ("state", "active")], active);
        family.sample(&[("service", *service), ("state", "idle")], idle);
    }
    let mut family = page.family(&INSTANCES);
    for (service, Snapshot { instances, .. }) in &snapshots {
        for state in STATES {
            let such = instances.iter().filter(|instance| instance_state(instance) == state);
            family.sample(&[("service", *service), ("state", state)], such.count());
        }
    }
    checks(page, table, &snapshots);
    breakers(page, &snapshots);
    let mut family = page.family(&PANIC);
    for (service, snapshot) in &snapshots {
        family.sample(&[("service", *service)], u8::from(snapshot.panic));
    }
    let mut family = page.family(&EJECTIONS);
    for (service, snapshot) in &snapshots {
        for (cause, count) in Cause::ALL.iter().zip(snapshot.ejections) {
            family.sample(&[("service", *service), ("reason", cause.label())], count);
        }
    }
    let mut family = page.family(&EJECTIONS_OVERFLOW);
    for (service, snapshot) in &snapshots {
        family.sample(&[("service", *service)], snapshot.ejections_overflow);
    }
    ages(page, world, table, &snapshots);
}

fn breakers(page: &mut Page, snapshots: &[(&str, Snapshot)]) {
    let mut family = page.family(&BREAKER_STATE);
    for (service, snapshot) in snapshots {
        if let Some(state) = snapshot.breaker {
            family.sample(&[("service", *service), ("instance", "*")], state.number());
        }
        for instance in &snapshot.instances {
            let Some(state) = instance.breaker else { continue };
            let address = instance.endpoint.address.to_string();
            family.sample(&[("service", *service), ("instance", &address)], state.number());
        }
    }
}

/// Of services that have checks.
fn checks(page: &mut Page, table: &Table, snapshots: &[(&str, Snapshot)]) {
    let mut family = page.family(&CHECKS);
    for (service, (name, snapshot)) in table.services.iter().zip(snapshots) {
        if service.config.health.is_some() {
            for (result, count) in snapshot.checks {
                family.sample(&[("service", *name), ("result", result)], count);
            }
        }
    }
}

fn ages(page: &mut Page, world: &World, table: &Table, snapshots: &[(&str, Snapshot)]) {
    let now = SystemTime::now();
    let mut family = page.family(&REGISTRY_AGE);
    for (service, (name, snapshot)) in table.services.iter().zip(snapshots) {
        let age = match &snapshot.source {
            Source::Static | Source::Pending | Source::Unheard { .. } => continue,
            Source::Live => 0.0,
            Source::Stale { since, .. } | Source::Snapshot { since, .. } => {
                now.duration_since(*since).unwrap_or_default().as_secs_f64()
            }
        };
        let Found::Registry { registry, .. } = &service.config.found else { continue };
        let Some(registry) = world.config.registries.get(*registry) else { continue };
        family.sample(&[("registry", &registry.name), ("service", *name)], age);
    }
}

fn registries(page: &mut Page, world: &World) {
    let mut family = page.family(&REGISTRY_UP);
    for (config, registry) in world.config.registries.iter().zip(&world.registries) {
        let up = u8::from(registry.status().health == Health::Ok);
        family.sample(&[("registry", &config.name)], up);
    }
}
