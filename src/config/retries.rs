//! `retry` of a route, and lists of statuses.

use std::ops::RangeInclusive;

use http::Method;

use super::model::{RetryConfig, RetryOn, Statuses};
use super::problem::suggest;
use super::table::{Policy, Table};

/// More attempts than this are a slip of the hand.
const MOST_ATTEMPTS: usize = 100;

pub(super) fn retry(table: &mut Table<'_>) -> RetryConfig {
    let default = RetryConfig::default();
    let mut retry = match table.policy("retry") {
        Policy::Off => return RetryConfig { attempts: 1, ..default },
        Policy::On => return default,
        Policy::Written(retry) => retry,
    };
    let attempts = retry.count("attempts", 1).unwrap_or(default.attempts as usize);
    if attempts > MOST_ATTEMPTS {
        let message = format!("`retry.attempts` must be at most {MOST_ATTEMPTS}");
        retry.problem("attempts", message, "the first counts: 3 are two more");
    }
    RetryConfig {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        per_try_timeout: retry.duration("per_try_timeout").filter(|bound| !bound.is_zero()),
        on: on(&mut retry).unwrap_or(default.on),
        backoff: retry.duration("backoff").unwrap_or(default.backoff),
        max_backoff: retry.duration("max_backoff").unwrap_or(default.max_backoff),
        methods: methods(&mut retry).unwrap_or(default.methods),
        replay_bytes: retry.size("replay_bytes").unwrap_or(default.replay_bytes),
        idempotency_key: retry.flag("idempotency_key").unwrap_or(default.idempotency_key),
    }
}

fn on(retry: &mut Table<'_>) -> Option<RetryOn> {
    let place = retry.find("on")?.place.clone();
    let mut on = RetryOn::default();
    for word in retry.words("on")? {
        match word.as_str() {
            "connect" => on.connect = true,
            "reset" => on.reset = true,
            "timeout" => on.timeout = true,
            status => match statuses(status) {
                Some(range) => on.statuses.0.push(range),
                None => {
                    let hint = suggest(status, ["connect", "reset", "timeout", "503", "5xx"]);
                    retry.problem_at(&place, format!("`retry.on` cannot be `{status}`"), hint);
                }
            },
        }
    }
    Some(on)
}

/// `503`, `5xx` or `500-504`.
pub(super) fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| digits && (100..=599).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let first: u16 = number(&format!("{class}00"))?;
        return Some(first..=first + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

/// A list of them.
pub(super) fn status_list(table: &mut Table<'_>, key: &str) -> Option<Statuses> {
    let place = table.find(key)?.place.clone();
    let mut list = Statuses::default();
    for word in table.words(key)? {
        match statuses(&word) {
            Some(range) => list.0.push(range),
            None => {
                let message = format!("{word:?} is no status");
                table.problem_at(&place, message, "like \"200\", \"200-299\" or \"2xx\"");
            }
        }
    }
    if list.0.is_empty() {
        table.problem_at(&place, format!("`{}` names no status", table.full(key)), None);
    }
    Some(list)
}

fn methods(retry: &mut Table<'_>) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for (text, place) in retry.spots("methods")? {
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                methods.push(method);
            }
            _ => {
                let hint = format!("\"{}\"", text.to_ascii_uppercase());
                retry.problem_at(&place, format!("{text:?} is no method"), hint);
            }
        }
    }
    Some(methods)
}
