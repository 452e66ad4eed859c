//! Takes instances out by hand, and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::service::Service;
use super::standing::Reason;
use crate::config::model::HostPort;

impl Service {
    /// Sends nothing new to the instances at this place: for so long, or until they are restored. How many there are.
    pub fn drain(&self, place: &HostPort, lasts: Option<Duration>, now: Instant) -> usize {
        self.at(place, |instance| instance.standing.drain(lasts, now))
    }

    /// Ends that.
    pub fn restore(&self, place: &HostPort) -> usize {
        self.at(place, |instance| {
            instance.standing.set(Reason::Drained, false);
        })
    }

    fn at(&self, place: &HostPort, change: impl Fn(&Instance)) -> usize {
        let set = self.set();
        let there = set.instances.iter().filter(|instance| instance.place == *place);
        let count = there.inspect(|instance| change(instance)).count();
        if count > 0 {
            self.stir();
        }
        count
    }
}

/// Takes back those whose time is over. Whether anything changed, and when to look again.
pub(super) fn settle(
    service: &Service,
    instances: &[Arc<Instance>],
    now: Instant,
) -> (bool, Option<Instant>) {
    let (mut changed, mut next) = (false, None);
    for instance in instances {
        if instance.standing.end_drain(now) {
            changed = true;
            tracing::info!(service = %service.config.name, instance = %instance.place, "its drain is over");
        }
        next = next.into_iter().chain(instance.standing.drain_ends()).min();
    }
    (changed, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Endpoint, Scheme, ServiceConfig};
    use crate::forward::service::Source;

    const MINUTE: Duration = Duration::from_mins(1);

    fn endpoints(ports: &[u16]) -> Vec<Endpoint> {
        let endpoint = |port: &u16| {
            let address = HostPort { host: "::1".into(), port: *port };
            Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
        };
        ports.iter().map(endpoint).collect()
    }

    #[test]
    fn a_drained_instance_stays_out_over_updates_until_its_time_is_over_or_it_is_restored() {
        let service = Service::new(Arc::new(ServiceConfig::default()), 1);
        service.update(&endpoints(&[1, 2]), &[], Source::Static);
        let [one, two] = &*endpoints(&[1, 2]) else { panic!("two") };
        let now = Instant::now();
        let drained = || {
            let out = |instance: &Arc<Instance>| instance.standing.has(Reason::Drained);
            service.set().instances.iter().map(out).collect::<Vec<_>>()
        };
        assert_eq!(service.drain(&one.address, Some(10 * MINUTE), now), 1);
        assert_eq!(service.drain(&two.address, None, now), 1);
        let nowhere = HostPort { host: "::1".into(), port: 3 };
        let version = service.version();
        assert_eq!(service.drain(&nowhere, None, now), 0);
        assert_eq!(service.version(), version, "which tells nobody");
        service.update(&endpoints(&[1, 2, 3]), &[], Source::Static);
        assert_eq!(service.settle(now + 9 * MINUTE), Some(now + 10 * MINUTE));
        assert_eq!(drained(), [true, true, false]);
        assert!(service.snapshot().instances[0].drained_until.is_some());
        assert_eq!(service.snapshot().instances[1].drained_until, None, "for good");
        assert_eq!(service.settle(now + 10 * MINUTE), None);
        assert_eq!(drained(), [false, true, false]);
        assert_eq!(service.snapshot().instances[0].drained_until, None);
        // Asked again, the newest word counts.
        service.drain(&one.address, Some(MINUTE), now);
        service.drain(&one.address, None, now);
        assert_eq!(service.settle(now + 10 * MINUTE), None);
        assert_eq!(drained(), [true, true, false]);
        assert_eq!((service.restore(&one.address), service.restore(&two.address)), (1, 1));
        assert_eq!(drained(), [false, false, false]);
        // What comes anew is another instance.
        service.drain(&two.address, None, now);
        service.update(&endpoints(&[1]), &[], Source::Static);
        service.update(&endpoints(&[1]), &[], Source::Static);
        service.update(&endpoints(&[1, 2]), &[], Source::Static);
        assert_eq!(drained(), [false, false]);
        // Also at once, when what it had is still remembered.
        service.drain(&two.address, None, now);
        service.update(&endpoints(&[1]), &[], Source::Static);
        service.update(&endpoints(&[1, 2]), &[], Source::Static);
        assert_eq!(drained(), [false, false]);
    }
}
