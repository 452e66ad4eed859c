//! Checks while the set of instances changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use frontgate::config::model::{
    Endpoint, HealthCheck, HealthConfig, HostPort, Scheme, ServiceConfig, Statuses,
};
use frontgate::forward::service::Source;
use frontgate::forward::standing::Reason;
use frontgate::forward::{Service, tend};

use super::{BAD, SOON};
use crate::support::backend::{Answering, Backend, OK};
use crate::support::wait;

/// A service that is tended; asks again after an hour.
fn tended() -> (Arc<Service>, tokio::task::JoinHandle<()>) {
    let hour = Duration::from_secs(3600);
    let status = Statuses(vec![200..=299]);
    let health = HealthConfig {
        check: HealthCheck::Http { path: "/healthz".into(), status, host: None },
        interval: hour,
        unhealthy_interval: hour,
        timeout: SOON,
        healthy: 2,
        unhealthy: 3,
    };
    let config = ServiceConfig { health: Some(health), ..ServiceConfig::default() };
    let service = Arc::new(Service::new(Arc::new(config), 1));
    let tending = tokio::spawn(tend(Arc::clone(&service)));
    (service, tending)
}

fn update(service: &Service, instances: &[SocketAddr], weight: u32) {
    let endpoints: Vec<_> = instances
        .iter()
        .map(|address| Endpoint {
            scheme: Scheme::Http,
            address: HostPort { host: address.ip().to_string(), port: address.port() },
            weight,
            zone: None,
        })
        .collect();
    service.update(&endpoints, &[], Source::Live);
}

/// Waits until the instances that are there are up, down or not checked, in the order of the set.
async fn become_so(service: &Service, expected: &str) {
    wait::until(expected, SOON, async || {
        let now: String = service.set().instances.iter().map(|one| word(&one.standing)).collect();
        (now == expected).then_some(())
    })
    .await;
}

fn word(standing: &frontgate::forward::standing::Standing) -> char {
    match (standing.has(Reason::Unchecked), standing.has(Reason::Down)) {
        (true, _) => '?',
        (false, true) => 'd',
        (false, false) => 'u',
    }
}

#[tokio::test]
async fn what_is_known_of_an_instance_outlives_an_update_and_a_new_one_is_asked_at_once() {
    let (well, ill, new) =
        (Answering::with(OK).await, Answering::with(BAD).await, Answering::with(OK).await);
    let (service, _tending) = tended();
    update(&service, &[well.address, ill.address], 1);
    become_so(&service, "ud").await;
    let version = service.version();
    update(&service, &[well.address, ill.address, new.address], 2);
    become_so(&service, "udu").await;
    assert!(service.version() > version + 1, "the workers were not told");
    assert_eq!((well.count(), ill.count(), new.count()), (1, 1, 1));
}

#[tokio::test]
async fn the_check_of_an_instance_that_left_ends_and_one_that_comes_back_is_new() {
    let backend = Backend::new().await;
    let (service, tending) = tended();
    update(&service, &[backend.address], 1);
    let (mut peer, _) = backend.request().await;
    update(&service, &[], 1);
    // Nobody waits for the answer any more.
    peer.closed().await;
    update(&service, &[backend.address], 1);
    let (mut peer, _) = backend.request().await;
    peer.send(OK).await;
    become_so(&service, "u").await;
    let instance = Arc::clone(&service.set().instances[0]);
    let busy = instance.counters(0).begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(busy, 0);
    update(&service, &[], 1);
    wait::until("it is as if never checked", SOON, async || {
        (word(&instance.standing) == '?').then_some(())
    })
    .await;
    // It had not finished, so it is the same instance that comes back.
    update(&service, &[backend.address], 1);
    assert_eq!(service.set().instances[0].id, instance.id);
    let (mut peer, _) = backend.request().await;
    peer.send(BAD).await;
    become_so(&service, "d").await;
    let (last, error) = (instance.checks.last(), Some("status 500".to_owned()));
    assert_eq!(last.map(|checked| checked.error), Some(error));
    tending.abort();
}

#[tokio::test]
async fn checks_end_with_what_tends_the_service() {
    let backend = Backend::new().await;
    let (service, tending) = tended();
    update(&service, &[backend.address], 1);
    let (mut peer, _) = backend.request().await;
    tending.abort();
    peer.closed().await;
    assert_eq!(word(&service.set().instances[0].standing), '?');
}
