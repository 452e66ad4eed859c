//! A service's keys about instances that fail, and about which of them gets a request.

use std::time::Duration;

use http::HeaderName;

use super::check::{Scope, word};
use super::model::{
    BreakerConfig, BreakerScope, BudgetConfig, HashKey, HealthCheck, HealthConfig, OutlierConfig,
    ServiceConfig, Share, Statuses, StickyConfig, Trip, Window,
};
use super::problem::suggest;
use super::retries;
use super::table::{Policy, Table};

pub(super) fn read(table: &mut Table<'_>, scope: &Scope<'_>, service: &mut ServiceConfig) {
    service.hash_key = hash_key(table);
    service.sticky = sticky(table);
    service.zone = zone(table, scope);
    service.breaker = breaker(table);
    service.retry_budget = budget(table);
    service.outlier = outlier(table);
    service.health = health(table);
    if !table.is_off("slow_start") {
        service.slow_start = table.duration("slow_start").unwrap_or_default();
    }
    service.panic = match table.is_off("panic") {
        true => Share::NONE,
        false => table.share("panic").unwrap_or(Share::HALF),
    };
}

fn hash_key(table: &mut Table<'_>) -> Option<HashKey> {
    let (text, place) = table.spot("hash_key")?;
    let (what, of) = text.split_once(':').map_or((&*text, None), |(what, of)| (what, Some(of)));
    let key = match (what, of.filter(|of| !of.is_empty())) {
        ("client_ip", None) => Some(HashKey::ClientIp),
        ("path", None) => Some(HashKey::Path),
        ("claim", Some(name)) => Some(HashKey::Claim(name.to_owned())),
        ("cookie", Some(name)) if is_cookie(name) => Some(HashKey::Cookie(name.to_owned())),
        ("header", Some(name)) => HeaderName::from_bytes(name.as_bytes()).ok().map(HashKey::Header),
        _ => None,
    };
    if key.is_none() {
        let known = ["header:x-user", "cookie:session", "client_ip", "path", "claim:sub"];
        table.problem_at(&place, format!("{text:?} is no key to hash"), suggest(&text, known));
    }
    key
}

fn sticky(table: &mut Table<'_>) -> Option<StickyConfig> {
    if !table.has("sticky") {
        return None;
    }
    let mut sticky = match table.policy("sticky") {
        Policy::Off => return None,
        Policy::On => return Some(StickyConfig { cookie: STICKY.to_owned(), ttl: None }),
        Policy::Written(sticky) => sticky,
    };
    let cookie = sticky.spot("cookie").map(|(name, place)| {
        if !is_cookie(&name) {
            sticky.problem_at(&place, format!("{name:?} cannot be a cookie's name"), None);
        }
        name
    });
    let ttl = sticky.duration("ttl").filter(|ttl| !ttl.is_zero());
    Some(StickyConfig { cookie: cookie.unwrap_or_else(|| STICKY.to_owned()), ttl })
}

/// Whether this can be a cookie's name: a token (RFC 6265 section 4.1.1), as a header's is.
fn is_cookie(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// The cookie when `sticky` does not name one.
const STICKY: &str = "fg_instance";

fn zone(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<String> {
    if table.is_off("zone") {
        return None;
    }
    let (text, place) = table.spot("zone")?;
    if text != "prefer" {
        let hint = "\"prefer\": `zone` at the top of the main file says where the gateway stands";
        table.problem_at(&place, format!("`zone` of a service cannot be `{text}`"), hint);
    } else if scope.zone.is_none() {
        let hint = "write zone = \"…\" at the top of the main file";
        table.problem_at(&place, "no zone to prefer: where the gateway stands is not known", hint);
    }
    scope.zone.clone()
}

fn budget(table: &mut Table<'_>) -> Option<BudgetConfig> {
    let default = BudgetConfig::default();
    match table.policy("retry_budget") {
        Policy::Off => None,
        Policy::On => Some(default),
        Policy::Written(mut budget) => Some(BudgetConfig {
            share: budget.share("share").unwrap_or(default.share),
            floor: budget.rate("floor", 0).unwrap_or(default.floor),
        }),
    }
}

fn breaker(table: &mut Table<'_>) -> Option<BreakerConfig> {
    if !table.has("breaker") {
        return None;
    }
    let (policy, kind) = table.policy_of_kind("breaker", Trip::NAMES[0]);
    let mut table = match policy {
        Policy::Off => return None,
        Policy::On => {
            return Some(BreakerConfig {
                trip: Trip::Ratio(Window::default()),
                open: Duration::from_secs(10),
                probes: 1,
                ramp: Duration::ZERO,
                scope: BreakerScope::Instance,
            });
        }
        Policy::Written(table) => table,
    };
    let (trip, open) = trip(&mut table, &kind)?;
    let open = more_than_nothing(&mut table, "open", Duration::from_secs(open));
    Some(BreakerConfig {
        trip,
        open,
        probes: count(&mut table, "probes", 1),
        ramp: table.duration("ramp").unwrap_or_default(),
        scope: word(&mut table, "scope", &BreakerScope::NAMES).unwrap_or_default(),
    })
}

/// When it opens, and for how many seconds when nothing is written.
fn trip(table: &mut Table<'_>, kind: &str) -> Option<(Trip, u64)> {
    let foreign: &[&str] = match kind {
        "consecutive" => &["min_requests", "window", "max_concurrent", "timeout"],
        "ratio" => &["max_concurrent", "timeout"],
        _ => &[],
    };
    reject(table, foreign, &format!("a breaker of the kind `{kind}`"));
    match kind {
        "consecutive" => Some((Trip::Consecutive { failures: count(table, "failures", 6) }, 60)),
        "ratio" => Some((Trip::Ratio(window(table)), 10)),
        "hystrix" => {
            let window = window(table);
            let max_concurrent = count(table, "max_concurrent", 10);
            let timeout = more_than_nothing(table, "timeout", Duration::from_secs(1));
            Some((Trip::Hystrix { window, max_concurrent, timeout }, 5))
        }
        other => {
            let hint = suggest(other, Trip::NAMES);
            table.problem("kind", format!("no breaker is of the kind `{other}`"), hint);
            None
        }
    }
}

fn window(table: &mut Table<'_>) -> Window {
    let default = Window::default();
    let failures = table.share("failures").unwrap_or(default.failures);
    if failures == Share::NONE {
        table.problem("failures", "`breaker.failures` must be more than 0%", None);
    }
    Window {
        failures,
        min_requests: count(table, "min_requests", default.min_requests),
        window: more_than_nothing(table, "window", default.window),
    }
}

fn outlier(table: &mut Table<'_>) -> Option<OutlierConfig> {
    let default = OutlierConfig::default();
    let mut table = match table.policy("outlier") {
        Policy::Off => return None,
        Policy::On => return Some(default),
        Policy::Written(table) => table,
    };
    Some(OutlierConfig {
        consecutive: count(&mut table, "consecutive", default.consecutive),
        success_rate: table.flag("success_rate").unwrap_or(default.success_rate),
        interval: more_than_nothing(&mut table, "interval", default.interval),
        eject: more_than_nothing(&mut table, "eject", default.eject),
        max_eject: more_than_nothing(&mut table, "max_eject", default.max_eject),
        max_share: table.share("max_share").unwrap_or(default.max_share),
    })
}

fn health(table: &mut Table<'_>) -> Option<HealthConfig> {
    if !table.has("health") {
        return None;
    }
    let (policy, kind) = table.policy_of_kind("health", HealthCheck::NAMES[0]);
    let mut table = match policy {
        Policy::Off => return None,
        Policy::On => return Some(checked_by(HealthCheck::http("/healthz".to_owned()))),
        Policy::Written(table) => table,
    };
    let default = checked_by(health_check(&mut table, &kind)?);
    Some(HealthConfig {
        interval: more_than_nothing(&mut table, "interval", default.interval),
        unhealthy_interval: more_than_nothing(
            &mut table,
            "unhealthy_interval",
            default.unhealthy_interval,
        ),
        timeout: more_than_nothing(&mut table, "timeout", default.timeout),
        healthy: count(&mut table, "healthy", default.healthy),
        unhealthy: count(&mut table, "unhealthy", default.unhealthy),
        check: default.check,
    })
}

fn checked_by(check: HealthCheck) -> HealthConfig {
    HealthConfig {
        check,
        interval: HealthConfig::INTERVAL,
        unhealthy_interval: HealthConfig::UNHEALTHY_INTERVAL,
        timeout: HealthConfig::TIMEOUT,
        healthy: HealthConfig::HEALTHY,
        unhealthy: HealthConfig::UNHEALTHY,
    }
}

fn health_check(table: &mut Table<'_>, kind: &str) -> Option<HealthCheck> {
    let foreign: &[&str] = match kind {
        "http" => &["service"],
        "tcp" => &["path", "status", "host", "service"],
        _ => &["path", "status", "host"],
    };
    reject(table, foreign, &format!("a check of the kind `{kind}`"));
    match kind {
        "http" => Some(http(table)),
        "tcp" => Some(HealthCheck::Tcp),
        "grpc" => Some(HealthCheck::Grpc { service: table.text("service").unwrap_or_default() }),
        other => {
            let hint = suggest(other, HealthCheck::NAMES);
            table.problem("kind", format!("no check is of the kind `{other}`"), hint);
            None
        }
    }
}

fn http(table: &mut Table<'_>) -> HealthCheck {
    let path = table.spot("path").map(|(path, place)| {
        // It is sent as it stands, and a target is ASCII (RFC 3986 section 2).
        let sendable = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let parsed = path.parse::<http::uri::PathAndQuery>();
        if !path.starts_with('/') || !sendable || parsed.is_err() {
            table.problem_at(
                &place,
                format!("{path:?} is no path to ask for"),
                "like \"/healthz\"",
            );
        }
        path
    });
    let mut check = HealthCheck::http(path.unwrap_or_else(|| "/healthz".to_owned()));
    if let HealthCheck::Http { status, host, .. } = &mut check {
        if let Some(written) = retries::status_list(table, "status") {
            *status = written;
        }
        if let Some((name, place)) = table.spot("host") {
            // Without user information (RFC 9110 section 7.2).
            if name.parse::<http::uri::Authority>().is_err() || name.contains('@') {
                table.problem_at(&place, format!("{name:?} cannot be a Host"), None);
            }
            *host = Some(name);
        }
    }
    check
}

impl HealthCheck {
    /// A GET of a path, any 2xx of which is good.
    fn http(path: String) -> Self {
        Self::Http { path, status: Statuses(vec![200..=299]), host: None }
    }
}

/// A whole number from 1 on.
fn count(table: &mut Table<'_>, key: &str, usual: u32) -> u32 {
    let Some(count) = table.count(key, 1) else { return usual };
    u32::try_from(count).unwrap_or_else(|_| {
        table.problem(key, format!("`{}` is too large", table.full(key)), None);
        usual
    })
}

fn more_than_nothing(table: &mut Table<'_>, key: &str, usual: Duration) -> Duration {
    let written = table.duration(key);
    if written.is_some_and(|duration| duration.is_zero()) {
        let message = format!("`{}` must be more than 0s", table.full(key));
        table.problem(key, message, None);
    }
    written.unwrap_or(usual)
}

/// Reports keys of other kinds.
fn reject(table: &mut Table<'_>, foreign: &[&str], to: &str) {
    for key in foreign {
        if table.has(key) {
            table.problem(key, format!("`{key}` means nothing to {to}"), None);
        }
    }
}
