//! Ten thousand instances in one service, and a thousand services.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::front::{Front, Setting, backend, seen};
use super::or_skip;
use super::support::real::Real;
use super::support::wait;

/// Bound on reading all of them, on a machine that is busy with other things.
const FOUND: Duration = Duration::from_secs(60);

pub(crate) async fn ten_thousand_instances<R: Real>() {
    let real = or_skip!(R::start().await);
    let some: Vec<(String, SocketAddr)> =
        (0..R::MOST_INSTANCES).map(|n| ("orders".to_owned(), address(n))).collect();
    real.put_all(&some).await;
    let start = Instant::now();
    let front = Setting::before(&real).start().await;
    let count = async |expected: usize| {
        wait::until(&format!("{expected} instances"), FOUND + seen::<R>(), async || {
            let found = &front.shown("/registries").await["registries"][0]["instances"];
            (found.as_u64() == Some(expected as u64)).then_some(())
        })
        .await;
    };
    count(some.len()).await;
    eprintln!("{}: {} instances found in {:?}", R::KIND, some.len(), start.elapsed());
    let one = backend().await;
    let start = Instant::now();
    real.put("orders", one.address()).await;
    count(some.len() + 1).await;
    eprintln!("{}: one more in {:?}", R::KIND, start.elapsed());
    real.take_all(&some[..10]).await;
    count(some.len() - 9).await;
    eprintln!("{}: {} KiB", R::KIND, front.gateway.memory("VmRSS"));
}

fn name(number: usize) -> String {
    format!("service-{number:04}")
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([127, 1, (number >> 8) as u8, number as u8], 9))
}

/// A gateway before a thousand services, all of them found.
pub(crate) async fn a_thousand<R: Real>(real: &R) -> Front {
    let all: Vec<_> = (0..1000).map(|n| (name(n), address(n))).collect();
    real.put_all(&all).await;
    let services = (0..1000).map(|n| (name(n), real.service_keys(&name(n)))).collect();
    let start = Instant::now();
    let front = Setting::before(real).services(services).start().await;
    wait::until("all are found", FOUND + seen::<R>(), async || {
        let shown = &front.shown("/registries").await["registries"][0];
        let whole = shown["services"] == 1000 && shown["instances"] == 1000;
        (whole && shown["state"] == "ok").then_some(())
    })
    .await;
    eprintln!("{}: 1000 services found in {:?}", R::KIND, start.elapsed());
    front
}

pub(crate) async fn a_thousand_services<R: Real>() {
    let real = or_skip!(R::start().await);
    let front = a_thousand(&real).await;
    let one = backend().await;
    for n in [0, 500, 999] {
        let start = Instant::now();
        real.take(&name(n), address(n)).await;
        real.put(&name(n), one.address()).await;
        let path = format!("/{}/healthz", name(n));
        front.answers(&path, &one.address().to_string(), seen::<R>()).await;
        eprintln!("{}: a change of one of them in {:?}", R::KIND, start.elapsed());
    }
    eprintln!("{}: {} KiB", R::KIND, front.gateway.memory("VmRSS"));
}
