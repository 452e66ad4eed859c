//! Instances come, go, die, and stand beside what is none.

use std::time::Duration;

use super::front::{Setting, backend, backends, orders, seen};
use super::or_skip;
use super::support::real::Real;

pub(crate) async fn comes_and_goes<R: Real>() {
    let real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    let (first, second) = (backend().await, backend().await);
    front.answers("/orders/healthz", "503", seen::<R>()).await;
    real.put("orders", first.address()).await;
    front.answers("/orders/healthz", &first.address().to_string(), seen::<R>()).await;
    real.put("orders", second.address()).await;
    front.answers("/orders/healthz", &second.address().to_string(), seen::<R>()).await;
    real.take("orders", first.address()).await;
    front.has(&[second.address()], seen::<R>()).await;
    for _ in 0..4 {
        let answer = front.get("/orders/healthz").await;
        assert_eq!(answer.instance(), second.address().to_string());
    }
    real.take("orders", second.address()).await;
    front.answers("/orders/healthz", "503", seen::<R>()).await;
}

pub(crate) async fn dies_without_a_word<R: Real>() {
    let Some(gone) = R::GONE else { return };
    let real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    let (stays, dies) = (backend().await, backend().await);
    real.put("orders", stays.address()).await;
    real.put_dying("orders", dies.address()).await;
    front.has(&[stays.address(), dies.address()], seen::<R>()).await;
    front.has(&[stays.address()], gone + seen::<R>()).await;
}

pub(crate) async fn unknown_then_appears<R: Real>() {
    let real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    front.registry_is("ok", seen::<R>()).await;
    let answer = front.get("/orders/healthz").await;
    assert_eq!((answer.status, answer.header("x-frontgate-code")), (503, "no_instance"));
    // A registry that answers that there is nothing has answered.
    front.becomes_ready().await;
    let backend = backend().await;
    real.put("orders", backend.address()).await;
    front.answers("/orders/healthz", &backend.address().to_string(), seen::<R>()).await;
}

pub(crate) async fn garbage_beside_good<R: Real>() {
    let real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    let good = backends(2).await;
    real.put("orders", good[0].address()).await;
    real.put_garbage("orders").await;
    real.put("orders", good[1].address()).await;
    let addresses: Vec<_> = orders(&good).into_iter().map(|(_, address)| address).collect();
    front.has(&addresses, seen::<R>()).await;
    front.registry_is("ok", seen::<R>()).await;
    let skipped = front.gateway.metric("frontgate_registry_events_total", &["kind=\"skipped\""]);
    assert!(skipped.await >= 1.0, "what was left out is counted");
}

pub(crate) async fn is_routed_by_name_while_it_is_there<R: Real>() {
    if !R::CATALOG {
        return;
    }
    let real = or_skip!(R::start().await);
    let catalogs = "[catalog.all]\nregistry = \"it\"\npath = \"/all/{service}/*\"\n\
        [catalog.tagged]\nregistry = \"it\"\npath = \"/tagged/{service}/*\"\ntag = \"frontgate\"";
    let front = Setting::before(&real).services(Vec::new()).tables(catalogs).start().await;
    let (plain, tagged) = (backend().await, backend().await);
    front.answers("/all/plain/healthz", "404", seen::<R>()).await;
    real.put("plain", plain.address()).await;
    real.put_tagged("opted", tagged.address()).await;
    front.answers("/all/plain/healthz", &plain.address().to_string(), seen::<R>()).await;
    front.answers("/all/opted/healthz", &tagged.address().to_string(), seen::<R>()).await;
    front.answers("/tagged/opted/healthz", &tagged.address().to_string(), seen::<R>()).await;
    assert_eq!(front.get("/tagged/plain/healthz").await.status, 404);
    real.take("plain", plain.address()).await;
    // Where a service's own entry outlives its instances there is a route, and nobody behind it.
    super::support::wait::until(
        "plain is gone",
        seen::<R>() + Duration::from_secs(2),
        async || {
            let status = front.get("/all/plain/healthz").await.status;
            (status == 404 || status == 503).then_some(())
        },
    )
    .await;
    front.answers("/tagged/opted/healthz", &tagged.address().to_string(), seen::<R>()).await;
}
