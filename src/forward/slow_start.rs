//! Lets the share of an instance that is new or back rise to its whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::service::Service;
use super::standing::{Reason, Reasons};
use crate::wire::clock;

/// A whole share.
pub const WHOLE: u32 = 1_000;
/// What it begins with: with less, an instance that only its first requests make fast would never become so.
const FIRST: u32 = 100;

/// Where one instance's slow start stands.
#[derive(Debug, Default)]
pub struct Ramp {
    /// When it began, as [`clock::nanos`] counts.
    since: AtomicU64,
    /// It is not taking its share, and was or shall be: it has its slow start before it.
    away: AtomicBool,
}

impl Ramp {
    /// The share that is let through now, of [`WHOLE`].
    pub fn share(&self, lasts: Duration, now: Instant) -> u32 {
        share(clock::at(self.since.load(Relaxed)), lasts, now)
    }

    /// Its instance joins others.
    pub(super) fn join(&self) {
        self.away.store(true, Relaxed);
    }
}

/// What of a share is let through when it rises since then for so long: linear, of [`WHOLE`].
pub fn share(since: Instant, lasts: Duration, now: Instant) -> u32 {
    let gone = now.saturating_duration_since(since);
    if gone >= lasts {
        return WHOLE;
    }
    let part = gone.as_nanos() * u128::from(WHOLE - FIRST) / lasts.as_nanos().max(1);
    FIRST + u32::try_from(part).unwrap_or(WHOLE - FIRST)
}

/// Begins and ends the slow starts that are due, once what else speaks against the instances is settled. Whether
/// anything changed, and when to look again.
pub(super) fn settle(
    service: &Service,
    instances: &[Arc<Instance>],
    now: Instant,
) -> (bool, Option<Instant>) {
    let lasts = service.config.slow_start;
    if lasts.is_zero() {
        return (false, None);
    }
    let (mut changed, mut next) = (false, None);
    for instance in instances {
        let (standing, ramp) = (&instance.standing, &instance.ramp);
        let reasons = standing.reasons();
        if is_away(reasons) {
            ramp.away.store(true, Relaxed);
        } else if !reasons.has(Reason::Unchecked) && ramp.away.swap(false, Relaxed) {
            ramp.since.store(clock::nanos(now), Relaxed);
            changed |= standing.set(Reason::Ramping, true);
        }
        if standing.has(Reason::Ramping) {
            let end = clock::at(ramp.since.load(Relaxed)) + lasts;
            if end <= now {
                changed |= standing.set(Reason::Ramping, false);
            } else {
                next = next.into_iter().chain([end]).min();
            }
        }
    }
    (changed, next)
}

/// Whether it was taken out, so that it comes back slowly. An open breaker has a ramp of its own.
fn is_away(reasons: Reasons) -> bool {
    [Reason::Down, Reason::Ejected, Reason::Drained].iter().any(|reason| reasons.has(*reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Endpoint, HostPort, Scheme, ServiceConfig};
    use crate::forward::service::Source;

    const SECOND: Duration = Duration::from_secs(1);

    fn update(service: &Service, ports: std::ops::RangeInclusive<u16>) {
        let endpoint = |port| {
            let address = HostPort { host: "127.0.0.1".into(), port };
            Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
        };
        let endpoints: Vec<_> = ports.map(endpoint).collect();
        service.update(&endpoints, &[], Source::Static);
    }

    fn ramping(service: &Service) -> Vec<bool> {
        let set = service.set();
        set.instances.iter().map(|one| one.standing.has(Reason::Ramping)).collect()
    }

    #[test]
    fn a_share_rises_from_a_tenth_to_all() {
        let begin = Instant::now();
        let at = |tenths: u32| share(begin, 10 * SECOND, begin + tenths * SECOND);
        assert_eq!([at(0), at(1), at(5), at(9), at(10), at(99)], [100, 190, 550, 910, 1000, 1000]);
        assert_eq!(share(begin + SECOND, SECOND, begin), 100, "a clock that is a little behind");
        assert_eq!(share(begin, Duration::ZERO, begin), 1000);
    }

    #[test]
    fn who_joins_others_or_comes_back_begins_slowly_and_the_first_ones_do_not() {
        let config = ServiceConfig { slow_start: 10 * SECOND, ..ServiceConfig::default() };
        let service = Service::new(Arc::new(config), 1);
        let now = Instant::now();
        update(&service, 1..=2);
        assert_eq!((service.settle(now), ramping(&service)), (None, vec![false, false]));
        update(&service, 1..=3);
        assert_eq!(service.settle(now), Some(now + 10 * SECOND));
        assert_eq!(ramping(&service), [false, false, true]);
        let first = Arc::clone(&service.set().instances[0]);
        service.drain(&first.place, None, now);
        service.settle(now + SECOND);
        service.restore(&first.place);
        assert_eq!(service.settle(now + 2 * SECOND), Some(now + 10 * SECOND));
        assert_eq!(ramping(&service), [true, false, true]);
        assert_eq!(first.ramp.share(10 * SECOND, now + 7 * SECOND), 550);
        assert_eq!(service.settle(now + 10 * SECOND), Some(now + 12 * SECOND));
        assert_eq!(ramping(&service), [true, false, false]);
        assert_eq!(service.settle(now + 12 * SECOND), None);
        assert_eq!(ramping(&service), [false; 3]);
    }

    #[test]
    fn who_is_not_checked_yet_begins_when_it_is_found_to_be_up() {
        let config = ServiceConfig { slow_start: 10 * SECOND, ..ServiceConfig::default() };
        let service = Service::new(Arc::new(config), 1);
        let now = Instant::now();
        update(&service, 1..=1);
        update(&service, 1..=2);
        let (first, new) = (&service.set().instances[0], &service.set().instances[1]);
        first.standing.set(Reason::Unchecked, true);
        new.standing.set(Reason::Unchecked, true);
        assert_eq!((service.settle(now), ramping(&service)), (None, vec![false, false]));
        first.standing.set(Reason::Unchecked, false);
        new.standing.set(Reason::Unchecked, false);
        assert_eq!(service.settle(now + SECOND), Some(now + 11 * SECOND));
        assert_eq!(ramping(&service), [false, true]);
    }
}
