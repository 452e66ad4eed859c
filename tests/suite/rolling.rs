//! Every instance of a service is replaced under load, one by one, and no request is lost.

use std::time::Duration;

use super::front::{GRACE, Setting, addresses, backend, backends, orders, seen};
use super::or_skip;
use super::support::real::Real;
use super::support::wait;

const INSTANCES: usize = 20;
/// What an instance goes on serving after it was taken out, beside what the registry takes to tell.
const DRAIN: Duration = Duration::from_millis(500);

pub(crate) async fn all_are_replaced<R: Real>() {
    replaced::<R>(8).await;
}

/// With so many clients, each of which asks fifty times a second.
pub(crate) async fn replaced<R: Real>(clients: usize) {
    let real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    let mut all = backends(INSTANCES).await;
    real.put_all(&orders(&all)).await;
    front.has(&addresses(&all), seen::<R>()).await;
    let load = front.load(clients).await;
    for _ in 0..INSTANCES {
        let new = backend().await;
        real.put("orders", new.address()).await;
        let old = all.remove(0);
        real.take("orders", old.address()).await;
        all.push(new);
        let gone = old.address().to_string();
        // An instance leaves when it is no longer sent to; how long that takes is its registry's.
        wait::until("the gateway has heard", seen::<R>(), async || {
            front.instances().await.iter().all(|(address, _)| *address != gone).then_some(())
        })
        .await;
        old.leave();
        tokio::time::sleep(DRAIN).await;
        old.stop(GRACE).await;
    }
    front.has(&addresses(&all), seen::<R>()).await;
    let right = load.end().await.faultless();
    eprintln!("{}: {right} requests while all were replaced, none lost", R::KIND);
}
