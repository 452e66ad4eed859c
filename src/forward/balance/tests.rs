use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::{Balancer, Turn};
use crate::config::model::{Endpoint, HostPort, Scheme, ServiceConfig};
use crate::forward::Service;
use crate::forward::instance::Instance;
use crate::forward::load::Load;
use crate::forward::pool::Slot;

/// Instances that take turns, as one of two workers sees them.
pub(super) struct Among {
    pub(super) slots: Vec<Rc<Slot>>,
    pub(super) now: Instant,
}

impl Among {
    pub(super) fn of(balance: &str, weights: &[u32]) -> Self {
        let config = ServiceConfig { balance: balance.to_owned(), ..ServiceConfig::default() };
        let service = Arc::new(Service::new(Arc::new(config), 2));
        let (kept, everywhere) = (Rc::default(), Rc::default());
        let slot = |(at, weight): (usize, &u32)| {
            let address = HostPort { host: format!("10.0.{}.{}", at / 250, at % 250), port: 80 };
            let endpoint = Endpoint { scheme: Scheme::Http, address, weight: *weight, zone: None };
            let instance = Arc::new(Instance::new(endpoint, &service.config, 2));
            let load = Load::new(&service.config, Rc::clone(&everywhere));
            Rc::new(Slot::new(instance, Arc::clone(&service), 0, Rc::clone(&kept), load))
        };
        Self { slots: weights.iter().enumerate().map(slot).collect(), now: Instant::now() }
    }

    pub(super) fn turn<'a>(
        &'a self,
        usable: &'a dyn Fn(usize) -> bool,
        hash: Option<u64>,
    ) -> Turn<'a> {
        Turn { among: &self.slots, usable, hash, now: self.now }
    }

    pub(super) fn pick(&self, balancer: &mut dyn Balancer) -> Option<usize> {
        balancer.pick(&self.turn(&|_| true, None))
    }

    pub(super) fn other(
        &self,
        balancer: &mut dyn Balancer,
        usable: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        balancer.other(&self.turn(usable, None))
    }
}

/// A pick, or another one after it, that goes by nothing but what is usable.
pub(super) fn take(
    balancer: &mut dyn Balancer,
    again: bool,
    usable: &dyn Fn(usize) -> bool,
) -> Option<usize> {
    let turn = Turn { among: &[], usable, hash: None, now: Instant::now() };
    if again { balancer.other(&turn) } else { balancer.pick(&turn) }
}

/// Takes many and compares how often each came with its share: Pearson's test. By chance the bound is passed less than
/// once in a hundred thousand runs; a share that is wrong by a few hundredths passes it by far.
pub(super) fn assert_shares(shares: &[f64], mut take: impl FnMut() -> usize) {
    const DRAWS: u32 = 20_000;
    let mut counts = vec![0.0; shares.len()];
    (0..DRAWS).for_each(|_| counts[take()] += 1.0);
    let mut chi_square = 0.0;
    for (share, count) in shares.iter().zip(&counts) {
        let expected = share * f64::from(DRAWS);
        if expected == 0.0 {
            assert_eq!(*count, 0.0, "{counts:?}");
        } else {
            chi_square += (count - expected) * (count - expected) / expected;
        }
    }
    let freedom = shares.iter().filter(|share| **share > 0.0).count() as f64 - 1.0;
    let bound = freedom + 8.0 * (2.0 * freedom).sqrt() + 8.0;
    assert!(chi_square <= bound, "chi-square {chi_square} of {freedom}: {counts:?} for {shares:?}");
}
