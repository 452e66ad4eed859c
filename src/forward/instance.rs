//! One place a service answers at: what all workers share of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::health;
use super::outlier;
use super::service::InstanceSnapshot;
use super::slow_start;
use super::standing::{Reason, Standing};
use crate::config::model::{BreakerScope, Endpoint, HostPort, Scheme, ServiceConfig};

/// An instance. Lives as long as an update of its set names it, and then until its last exchange ends.
#[derive(Debug)]
pub struct Instance {
    /// Tells it from every other of this process.
    pub id: u64,
    /// Tells it from every other of its service, in any process: what hashing goes by.
    pub digest: u128,
    /// How to speak to it.
    pub scheme: Scheme,
    /// Where it is, as written or found. What has another place is another instance; all else may change.
    pub place: HostPort,
    /// Share of the traffic.
    pub weight: AtomicU32,
    zone: Mutex<Option<String>>,
    /// Its registry no longer names it, and is not believed yet.
    pub held: AtomicBool,
    /// Its address, unless it must be looked up.
    pub address: Option<SocketAddr>,
    /// `host:port`, for routes that do not keep the client's Host.
    pub authority: HeaderValue,
    /// No update names it any more.
    pub gone: AtomicBool,
    /// What speaks against it.
    pub standing: Standing,
    /// Its own breaker.
    pub breaker: Option<Breaker>,
    /// What its checks said.
    pub checks: health::Record,
    /// Where its slow start stands.
    pub ramp: slow_start::Ramp,
    /// What ejection goes by.
    pub record: outlier::Record,
    /// Open connections of all workers.
    pub open: AtomicUsize,
    /// Exchanges of all workers that wait for a connection.
    pub waiting: AtomicUsize,
    /// Told once per connection that ends while somebody waits.
    pub freed: Notify,
    workers: Box<[Counters]>,
}

/// One worker's counters, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Attempts begun.
    pub begun: AtomicU64,
    /// Attempts over.
    pub over: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Kept connections now.
    pub idle: AtomicU64,
}

impl Instance {
    /// With nothing on it, for so many workers.
    pub fn new(endpoint: Endpoint, service: &ServiceConfig, workers: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Endpoint { scheme, address: place, weight, zone } = endpoint;
        let address = place.host.parse::<IpAddr>().ok();
        let authority = HeaderValue::try_from(place.to_string());
        let breaker = service.breaker.filter(|breaker| breaker.scope == BreakerScope::Instance);
        let standing = Standing::default();
        standing.set(Reason::Unchecked, service.health.is_some());
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            digest: digest_of(&service.name, scheme, &place),
            address: address.map(|ip| SocketAddr::new(ip, place.port)),
            // A registry's host may be anything; one that cannot stand in a header is sent without its name.
            authority: authority.unwrap_or(HeaderValue::from_static("")),
            scheme,
            place,
            weight: AtomicU32::new(weight),
            zone: Mutex::new(zone),
            held: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            standing,
            breaker: breaker.map(|breaker| Breaker::new(breaker, workers)),
            checks: health::Record::default(),
            ramp: slow_start::Ramp::default(),
            record: outlier::Record::new(service.outlier.as_ref(), workers),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            workers: (0..workers).map(|_| Counters::default()).collect(),
        }
    }

    /// What makes it this instance and no other.
    pub fn key(&self) -> (Scheme, &HostPort) {
        (self.scheme, &self.place)
    }

    /// Takes over what may change of it; whether anything did that its share of the traffic depends on.
    pub fn renew(&self, endpoint: &Endpoint) -> bool {
        let mut zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = *zone != endpoint.zone;
        zone.clone_from(&endpoint.zone);
        drop(zone);
        let was_gone = self.gone.swap(false, Relaxed);
        self.weight.swap(endpoint.weight, Relaxed) != endpoint.weight || was_gone || moved
    }

    /// Whether it stands there. Takes a lock: once per worker and change, not for each request.
    pub fn is_in(&self, zone: &str) -> bool {
        let own = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_deref() == Some(zone)
    }

    /// One worker's counters.
    pub fn counters(&self, worker: usize) -> &Counters {
        &self.workers[worker]
    }

    fn sum(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| counter(worker).load(Relaxed)).sum()
    }

    /// Connections that workers keep now. Ordered against their `waiting`: who keeps one more looks at that next.
    pub fn idle(&self) -> usize {
        let all = self.workers.iter().map(|worker| worker.idle.load(SeqCst));
        usize::try_from(all.sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// Exchanges now.
    pub fn in_flight(&self) -> u64 {
        // An attempt may end on its worker between the two sums.
        let over = self.sum(|worker| &worker.over);
        self.sum(|worker| &worker.begun).saturating_sub(over)
    }

    /// As it is now.
    pub fn snapshot(&self) -> InstanceSnapshot {
        let idle = self.sum(|worker| &worker.idle);
        InstanceSnapshot {
            endpoint: Endpoint {
                scheme: self.scheme,
                address: self.place.clone(),
                weight: self.weight.load(Relaxed),
                zone: self.zone.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            },
            in_flight: self.in_flight(),
            requests: self.sum(|worker| &worker.begun),
            failures: self.sum(|worker| &worker.failed),
            active_connections: (self.open.load(Relaxed) as u64).saturating_sub(idle),
            idle_connections: idle,
            leaving: self.gone.load(Relaxed),
            held: self.held.load(Relaxed),
            reasons: self.standing.reasons(),
            breaker: self.breaker.as_ref().map(Breaker::state),
            checked: self.checks.last(),
            drained_until: self.standing.drained_until(),
            ejected_until: self.record.until(),
        }
    }
}

/// The first 128 bits of the SHA-256 of the service's name, a zero byte and the instance's URL.
fn digest_of(service: &str, scheme: Scheme, place: &HostPort) -> u128 {
    let text = format!("{service}\0{}://{place}", scheme.as_str());
    let all = digest(&SHA256, text.as_bytes());
    all.as_ref().iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}
