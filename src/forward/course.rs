//! The way of one exchange from instance to instance: where it goes next, and when.

use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use smallvec::SmallVec;

use super::local::{Local, Tried, Unpicked, Wish};
use super::picked::Picked;
use crate::config::model::{ROUTE_TIMEOUT, RetryConfig};
use crate::exchange::Suppressed;

/// Attempts that a line of the log tells of.
const TOLD: usize = 5;

/// Where an exchange goes.
#[derive(Debug)]
pub(super) struct Course<'a> {
    pub(super) local: &'a Local,
    /// When the whole exchange is over.
    pub(super) due: Option<Instant>,
    /// Of the request's key, where the service has one.
    hash: Option<u64>,
    /// Boxed, as few exchanges have any: it would make each larger.
    past: Option<Box<Past>>,
}

/// What it remembers of its attempts.
#[derive(Debug, Default)]
struct Past {
    tried: Tried,
    /// There is none left that was not tried.
    round: bool,
    /// Instances that asked to be left alone, and until when.
    bound: SmallVec<[(u64, Instant); 1]>,
    /// Instances that did not answer when they were asked last.
    silent: SmallVec<[u64; 2]>,
    failed: Vec<String>,
}

/// What the next attempt depends on beside the instance that was tried last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// The instance.
    pub(super) id: u64,
    /// It answered, and so may another that has the same trouble behind it.
    pub(super) answered: bool,
    /// When it said that it may be asked again.
    pub(super) until: Option<Instant>,
}

/// The next attempt.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// At once, and there.
    Now(Picked<'a>),
    /// After a pause; where is asked again then ([`Course::rested`]).
    After(Duration),
}

impl<'a> Course<'a> {
    /// Without an attempt yet.
    pub(super) fn new(local: &'a Local, due: Option<Instant>, hash: Option<u64>) -> Self {
        Self { local, due, hash, past: None }
    }

    /// The instance for the first attempt: the one that the client was at before, where clients stay.
    pub(super) fn first(&self, headers: &HeaderMap, now: Instant) -> Result<Picked<'a>, Unpicked> {
        let wish = Wish { tried: &Tried::default(), hash: self.hash, now };
        self.local.stay(headers, &wish).map_or_else(|| self.local.pick(&wish), Ok)
    }

    /// The next attempt after so many, or what forbids it. One that is made at once is taken from the budget.
    pub(super) fn next(
        &mut self,
        last: Last,
        (config, attempts): (&RetryConfig, u32),
        now: Instant,
    ) -> Result<Next<'a>, Suppressed> {
        let past = self.past.get_or_insert_default();
        past.add(last, now);
        let picked = past.pick((self.local, self.hash, Some(last.id)), last, (self.due, now));
        let (picked, ready) = picked.map_err(suppressed)?;
        // An instance that did not answer, or asked to be left alone, says nothing of one that was not tried yet.
        let at_once = !past.round && (!last.answered || last.until.is_some());
        let backoff = if at_once { Duration::ZERO } else { backoff(config, attempts) };
        self.made(picked, (ready, backoff), now)
    }

    /// The same once the pause is over, when everything may be different.
    pub(super) fn rested(&mut self, last: Last, now: Instant) -> Result<Next<'a>, Suppressed> {
        let past = self.past.get_or_insert_default();
        let picked = past.pick((self.local, self.hash, Some(last.id)), last, (self.due, now));
        let (picked, ready) = picked.map_err(suppressed)?;
        self.made(picked, (ready, Duration::ZERO), now)
    }

    /// Another instance in place of one that has no room, which is no attempt: it has cost nobody anything. None when
    /// there is none, or so many had no room that the next will not have any either.
    pub(super) fn elsewhere(&mut self, full: u64, now: Instant) -> Option<Picked<'a>> {
        let past = self.past.get_or_insert_default();
        past.tried.add(full).then(|| look((self.local, self.hash, None), &past.tried, now).ok())?
    }

    /// Now or later, as far as time and budget allow.
    fn made(
        &self,
        picked: Picked<'a>,
        (ready, backoff): (Instant, Duration),
        now: Instant,
    ) -> Result<Next<'a>, Suppressed> {
        // Both: those who were all told the same time to come again do not come together.
        let pause = ready.saturating_duration_since(now) + backoff;
        let by = if self.due.is_some() { ready + backoff } else { ready };
        if !fits(by, (self.due, now)) {
            return Err(Suppressed::Timeout);
        }
        if !pause.is_zero() {
            // Who waits holds nobody's place, nor a retry of the budget.
            return Ok(Next::After(pause));
        }
        if self.local.service.budget.as_ref().is_some_and(|budget| !budget.take(now)) {
            return Err(Suppressed::Budget);
        }
        Ok(Next::Now(picked))
    }

    /// Remembers for the log how an attempt ended.
    pub(super) fn note(&mut self, name: &str, how: impl std::fmt::Display) {
        let failed = &mut self.past.get_or_insert_default().failed;
        // The last one is what the client is told.
        failed.truncate(TOLD - 1);
        failed.push(format!("{name}: {how}"));
    }

    /// What a refusal's line says of them.
    pub(super) fn told(&self, suppressed: Option<Suppressed>, spent: Option<u32>) -> String {
        let past = self.past.as_ref();
        let mut told = past.map(|past| past.failed.join("; ")).unwrap_or_default();
        if let Some(suppressed) = suppressed {
            told.push_str("; not sent again: ");
            told.push_str(suppressed.label());
        } else if let Some(attempts) = spent {
            told.push_str("; not sent again: attempts = ");
            told.push_str(&attempts.to_string());
        }
        told
    }
}

impl Past {
    /// How the last attempt ended.
    fn add(&mut self, last: Last, now: Instant) {
        self.tried.add(last.id);
        self.bound.retain(|(id, _)| *id != last.id);
        // Who may be asked again at once has asked for nothing.
        let until = last.until.filter(|until| *until > now);
        self.bound.extend(until.map(|until| (last.id, until)));
        self.silent.retain(|id| *id != last.id);
        if !last.answered {
            self.silent.push(last.id);
        }
    }

    /// The next instance and when it may be asked: one that was not tried, or whose time to be left alone is over, while
    /// there is one; then another that has answered. Then whom it is worth to wait for is waited for, rather than that
    /// another is asked which did not answer a moment ago; else not the one that failed last while there is another.
    fn pick<'a>(
        &mut self,
        among: Among<'a>,
        last: Last,
        (due, now): (Option<Instant>, Instant),
    ) -> Result<(Picked<'a>, Instant), Unpicked> {
        let tried = &mut self.tried;
        self.bound.retain(|(id, until)| {
            let bound = *until > now;
            if !bound {
                tried.forget(*id);
            }
            bound
        });
        match look(among, tried, now) {
            Err(Unpicked::AllTried) => self.round = true,
            picked => return picked.map(|picked| (picked, now)),
        }
        let kept = || self.bound.iter().map(|(id, _)| *id);
        let silent = || self.silent.iter().copied();
        tried.restart(kept().chain(silent()).chain([last.id]));
        match look(among, tried, now) {
            Err(Unpicked::AllTried) => {}
            picked => return picked.map(|picked| (picked, now)),
        }
        let mut waited_for = self.bound.clone();
        waited_for.sort_unstable_by_key(|(_, until)| *until);
        let is_bound = kept().any(|id| id == last.id);
        for (soonest, until) in &waited_for {
            if !is_bound && (last.answered || !fits(*until, (due, now))) {
                break;
            }
            tried.restart(kept().chain(silent()).chain([last.id]).filter(|id| id != soonest));
            // Meanwhile it may have been taken out.
            if let Ok(picked) = look(among, tried, now) {
                return Ok((picked, *until));
            }
        }
        for kept_out in [Some(last.id), None] {
            tried.restart(kept().chain(kept_out));
            match look(among, tried, now) {
                Err(Unpicked::AllTried) => {}
                picked => return picked.map(|picked| (picked, now)),
            }
        }
        let (soonest, until) = waited_for.first().ok_or(Unpicked::NoInstance)?;
        tried.restart(kept().filter(|id| id != soonest));
        look(among, tried, now).map(|picked| (picked, *until))
    }
}

/// Whether there is time enough to wait until then. Without a bound of the route's own, that of other routes.
fn fits(until: Instant, (due, now): (Option<Instant>, Instant)) -> bool {
    due.map_or_else(|| until <= now + ROUTE_TIMEOUT, |due| until < due)
}

/// What there being no instance for an attempt says of why there is none.
fn suppressed(unpicked: Unpicked) -> Suppressed {
    match unpicked {
        Unpicked::Open { .. } | Unpicked::Full => Suppressed::Breaker,
        Unpicked::NoInstance | Unpicked::AllTried => Suppressed::NoInstance,
    }
}

/// What is picked of: the key's hash, and who has room even if it seems full, as the answer at hand gives it back.
type Among<'a> = (&'a Local, Option<u64>, Option<u64>);

/// One that was not tried and has room, for all one can tell.
fn look<'a>(
    (local, hash, spare): Among<'a>,
    tried: &Tried,
    now: Instant,
) -> Result<Picked<'a>, Unpicked> {
    let mut picked = local.pick(&Wish { tried, hash, now })?;
    let mut passed = None;
    while Some(picked.slot.instance.id) != spare && !picked.slot.has_room() {
        let passed = passed.get_or_insert_with(|| tried.clone());
        if !passed.add(picked.slot.instance.id) {
            return Err(Unpicked::AllTried);
        }
        picked = local.pick(&Wish { tried: passed, hash, now })?;
    }
    Ok(picked)
}

/// Drawn from nothing to the bound, so that those who were let down together do not come back together.
fn backoff(config: &RetryConfig, attempts: u32) -> Duration {
    most_backoff(config, attempts).mul_f64(fastrand::f64())
}

/// The longest pause after so many attempts.
fn most_backoff(config: &RetryConfig, attempts: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
    config.backoff.saturating_mul(doubled).min(config.max_backoff)
}

/// When an answer says that it may be asked for again (RFC 9110 section 10.2.3): after so many seconds, or then.
pub(super) fn retry_after(headers: &HeaderMap, now: Instant, date: SystemTime) -> Option<Instant> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits into a number is as far off as anything.
        const FAR: u32 = 1 << 30;
        return now.checked_add(Duration::from_secs(text.parse().unwrap_or(FAR).min(FAR).into()));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    now.checked_add(at.duration_since(date).unwrap_or_default())
}

#[cfg(test)]
mod tests;
