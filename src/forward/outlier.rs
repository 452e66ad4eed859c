//! Leaves out, for a while, an instance that fails while others do not.
//!
//! What a worker sees goes into atomics of the instance; the failure that is one too many ejects it there and then.
//! What only time changes is done by [`settle`]. However many at once want to eject or to return an instance, one of
//! them does: it moves the instance's `until` through [`MOVING`].

mod rates;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant, SystemTime};

use super::instance::Instance;
use super::service::Service;
use super::standing::Reason;
use super::verdict::Verdict;
use crate::config::model::OutlierConfig;
use crate::config::units::show_share;
use crate::wire::clock;
use crate::wire::h1::outbound::End;

/// `until` of an instance that is not ejected.
const IN: u64 = 0;
/// `until` while somebody ejects or returns it.
const MOVING: u64 = 1;
/// Ejections differ by up to so much of their time either way, so that those that went together come back one by one.
const JITTER: f64 = 0.1;

/// One instance's record, on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Record {
    /// Without a success between them, over all workers.
    failures: AtomicU32,
    /// When the ejection ends, as [`clock::nanos`] counts.
    until: AtomicU64,
    /// The same, in milliseconds since the Unix epoch, to be shown.
    until_shown: AtomicU64,
    /// When the ejection began.
    since: AtomicU64,
    /// When the last one ended.
    back: AtomicU64,
    /// Ejections in a row.
    ejections: AtomicU32,
    /// Of each worker; empty unless success rates are compared.
    tallies: Box<[rates::Tally]>,
}

/// A service's ejections.
#[derive(Debug, Default)]
pub struct Ejections {
    /// Instances that are ejected now, or about to be.
    out: AtomicUsize,
    /// So many may be.
    most: AtomicUsize,
    /// So far, by cause.
    counts: [AtomicU64; Cause::ALL.len()],
    /// Failures that would have ejected their instance, had not so many been out.
    overflow: AtomicU64,
    /// When that was last said; 0 is never.
    overflow_said: AtomicU64,
    /// When success rates were last compared; 0 is never.
    compared: AtomicU64,
}

/// Why an instance is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It failed several times in a row.
    Consecutive,
    /// It fails far more often than the others.
    SuccessRate,
}

impl Cause {
    /// Every cause, in the order of its counters.
    pub const ALL: [Self; 2] = [Self::Consecutive, Self::SuccessRate];

    /// As metrics and the log say it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::SuccessRate => "success_rate",
        }
    }
}

impl Record {
    /// With nothing on it, for so many workers.
    pub fn new(config: Option<&OutlierConfig>, workers: usize) -> Self {
        let compared = config.is_some_and(|config| config.success_rate);
        let tallies = if compared { workers } else { 0 };
        Self {
            failures: AtomicU32::new(0),
            until: AtomicU64::new(IN),
            until_shown: AtomicU64::new(0),
            since: AtomicU64::new(0),
            back: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            tallies: (0..tallies).map(|_| rates::Tally::default()).collect(),
        }
    }

    /// Until when its instance is ejected.
    pub fn until(&self) -> Option<SystemTime> {
        let shown = Duration::from_millis(self.until_shown.load(Relaxed));
        (self.until.load(Relaxed) > MOVING).then(|| SystemTime::UNIX_EPOCH + shown)
    }

    fn count(&self, worker: usize, verdict: Verdict) {
        if let Some(tally) = self.tallies.get(worker) {
            tally.count(verdict);
        }
    }

    /// How many ejections in a row one that begins now is: each interval since the last one takes one off.
    fn again(&self, config: &OutlierConfig, now: Instant) -> u32 {
        let rested = now.saturating_duration_since(clock::at(self.back.load(Relaxed)));
        let intervals = rested.as_nanos() / config.interval.as_nanos().max(1);
        let forgiven = u32::try_from(intervals).unwrap_or(u32::MAX);
        let count = self.ejections.load(Relaxed).saturating_sub(forgiven).saturating_add(1);
        self.ejections.store(count, Relaxed);
        count
    }
}

impl Ejections {
    /// How many of so many instances may be out: the share rounded down, but one of two or more always.
    pub(super) fn allow(&self, config: Option<&OutlierConfig>, instances: usize) {
        let most = match (config, instances) {
            (None, _) | (_, 0 | 1) => 0,
            (Some(config), _) => {
                let share = instances as u128 * u128::from(config.max_share.hundredths()) / 10_000;
                usize::try_from(share).unwrap_or(usize::MAX).max(1)
            }
        };
        self.most.store(most, SeqCst);
    }

    /// So far, by cause.
    pub fn counts(&self) -> [u64; Cause::ALL.len()] {
        Cause::ALL.map(|cause| self.counts[cause as usize].load(Relaxed))
    }

    /// Failures so far that ejected nobody as `max_share` were out.
    pub fn overflow(&self) -> u64 {
        self.overflow.load(Relaxed)
    }

    /// Counts one of those; whether it is the first in a while, which somebody should hear of.
    fn overflows(&self, pause: Duration, now: Instant) -> bool {
        self.overflow.fetch_add(1, Relaxed);
        let said = self.overflow_said.load(Relaxed);
        let due = said == 0 || now.saturating_duration_since(clock::at(said)) >= pause;
        let mark = clock::nanos(now).max(1);
        due && self.overflow_said.compare_exchange(said, mark, Relaxed, Relaxed).is_ok()
    }

    fn reserve(&self) -> bool {
        let most = self.most.load(SeqCst);
        self.out.fetch_update(SeqCst, SeqCst, |out| (out < most).then_some(out + 1)).is_ok()
    }
}

/// An attempt at an instance ended, or its answer's body did.
pub fn told(
    service: &Service,
    instance: &Instance,
    worker: usize,
    (verdict, now): (Verdict, Instant),
) {
    let Some(config) = &service.config.outlier else { return };
    let record = &instance.record;
    record.count(worker, verdict);
    match verdict {
        Verdict::Neutral => {}
        // The usual case writes nothing that another worker reads.
        Verdict::Good if record.failures.load(Relaxed) == 0 => {}
        Verdict::Good => record.failures.store(0, Relaxed),
        Verdict::Failed => {
            let failures = record.failures.fetch_add(1, Relaxed).saturating_add(1);
            if failures >= config.consecutive {
                eject(service, instance, Cause::Consecutive, now);
            }
        }
    }
}

/// An answer with a status that says this has ended like that. A bad status was told with its head.
pub fn ended(service: &Service, instance: &Instance, worker: usize, (said, end): (Verdict, End)) {
    let verdict = match (said, end) {
        (Verdict::Good, End::Complete) => Verdict::Good,
        (Verdict::Good, End::Broken) => Verdict::Failed,
        (Verdict::Good, End::Abandoned) | (Verdict::Failed | Verdict::Neutral, _) => return,
    };
    told(service, instance, worker, (verdict, clock::now()));
}

/// Takes an instance out, unless it is out or too many others are.
fn eject(service: &Service, instance: &Instance, cause: Cause, now: Instant) -> bool {
    let (record, ejections) = (&instance.record, &service.ejections);
    let Some(config) = &service.config.outlier else { return false };
    if record.until.compare_exchange(IN, MOVING, SeqCst, SeqCst).is_err() {
        return false;
    }
    if !ejections.reserve() {
        record.until.store(IN, SeqCst);
        overflow(service, config, instance, now);
        return false;
    }
    let ejections_in_a_row = record.again(config, now);
    let lasts = lasting(config, ejections_in_a_row, fastrand::f64());
    let shown =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + lasts;
    record.until_shown.store(u64::try_from(shown.as_millis()).unwrap_or(u64::MAX), Relaxed);
    record.since.store(clock::nanos(now), Relaxed);
    instance.standing.set(Reason::Ejected, true);
    record.until.store(clock::nanos(now + lasts).max(MOVING + 1), SeqCst);
    ejections.counts[cause as usize].fetch_add(1, Relaxed);
    // It may have left its set meanwhile: either this sees that, or `forget` sees the ejection.
    if instance.gone.load(SeqCst) {
        release(service, instance, now);
        return true;
    }
    let (name, reason) = (&service.config.name, cause.label());
    // Nobody reads nanoseconds.
    let lasts = lasts - Duration::from_nanos((lasts.subsec_nanos() % 1_000_000).into());
    tracing::warn!(service = %name, instance = %instance.place, reason, ejections_in_a_row, ?lasts, "ejected");
    service.stir();
    true
}

/// A failing instance stays in as others are out. Who sees its failures wants to know why, and not with each of them.
fn overflow(service: &Service, config: &OutlierConfig, instance: &Instance, now: Instant) {
    // The only instance never goes.
    if service.ejections.most.load(SeqCst) > 0 && service.ejections.overflows(config.interval, now)
    {
        let (name, out) = (&service.config.name, service.ejections.out.load(SeqCst));
        tracing::warn!(service = %name, instance = %instance.place, out, max_share = %show_share(config.max_share), "not ejected: as many as may be are out");
    }
}

/// How long an ejection lasts that is the nth in a row. `chance` is from 0 to 1.
fn lasting(config: &OutlierConfig, ejections_in_a_row: u32, chance: f64) -> Duration {
    let whole = config.eject.saturating_mul(ejections_in_a_row).min(config.max_eject);
    let jitter = 1.0 + JITTER * (2.0 * chance - 1.0);
    whole.mul_f64(jitter).min(config.max_eject)
}

/// Takes an instance back in, with a fresh record; whether it was out.
fn release(service: &Service, instance: &Instance, now: Instant) -> bool {
    let record = &instance.record;
    let out = |until: u64| (until > MOVING).then_some(MOVING);
    if record.until.fetch_update(SeqCst, SeqCst, out).is_err() {
        return false;
    }
    record.failures.store(0, Relaxed);
    record.tallies.iter().for_each(|tally| _ = tally.take());
    record.back.store(clock::nanos(now), Relaxed);
    instance.standing.set(Reason::Ejected, false);
    service.ejections.out.fetch_sub(1, SeqCst);
    record.until.store(IN, SeqCst);
    true
}

/// An instance has left its set, and says so: another may be ejected in its stead.
pub(super) fn forget(service: &Service, instance: &Instance) {
    release(service, instance, Instant::now());
}

/// Takes back those whose time is over, and the oldest of those that are too many for what is left of the set; compares
/// success rates. Whether anything changed, and when to look again.
pub(super) fn settle(
    service: &Service,
    instances: &[Arc<Instance>],
    now: Instant,
) -> (bool, Option<Instant>) {
    let Some(config) = &service.config.outlier else { return (false, None) };
    let compare = rates::compare(service, config, instances, now);
    let ejections = &service.ejections;
    if ejections.out.load(SeqCst) == 0 {
        return (false, compare);
    }
    let mut out: Vec<_> =
        instances.iter().filter(|one| one.record.until.load(SeqCst) > MOVING).collect();
    out.sort_unstable_by_key(|one| one.record.since.load(Relaxed));
    let mut excess = ejections.out.load(SeqCst).saturating_sub(ejections.most.load(SeqCst));
    let (mut changed, mut next) = (false, compare);
    for instance in out {
        let until = clock::at(instance.record.until.load(SeqCst));
        if until > now && excess == 0 {
            next = next.into_iter().chain([until]).min();
        } else if release(service, instance, now) {
            excess = excess.saturating_sub(1);
            changed = true;
            tracing::info!(service = %service.config.name, instance = %instance.place, "back from its ejection");
        }
    }
    (changed, next)
}
