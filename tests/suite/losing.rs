//! What vanishes in bulk is not believed at once.

use std::time::{Duration, Instant};

use super::front::{GRACE, Setting, addresses, backends, orders, seen};
use super::support::real::Real;
use super::support::wait;
use super::{SOON, or_skip};

/// How long the registry must confirm, in these tests.
const HOLD: Duration = Duration::from_secs(12);

pub(crate) async fn a_sudden_loss_is_held<R: Real>() {
    let mut real = or_skip!(R::start().await);
    let policy = format!("loss_guard = {{ hold = \"{}s\" }}", HOLD.as_secs());
    let front = Setting::before(&real).policy(&policy).start().await;
    let mut all = backends(6).await;
    real.put_all(&orders(&all)).await;
    front.has(&addresses(&all), seen::<R>()).await;

    let dead = all.remove(5);
    dead.stop(GRACE).await;
    // Five of six in one step, whatever steps the server knows: while nobody can look.
    front.gateway.signal(rustix::process::Signal::STOP);
    let mut gone = orders(&all[1..]);
    gone.push(("orders".to_owned(), dead_address(&real, &all).await));
    real.take_all(&gone).await;
    wait::until("the server has forgotten them", SOON, async || {
        (real.listed("orders").await == [all[0].address().to_string()]).then_some(())
    })
    .await;
    front.gateway.signal(rustix::process::Signal::CONT);
    let start = Instant::now();
    wait::until("four are held", seen::<R>(), async || {
        let instances = front.instances().await;
        let held = instances.iter().filter(|(_, state)| state == "held").count();
        (held == 4 && instances.len() == 5).then_some(())
    })
    .await;
    let load = front.load(2).await;
    load.goes_on(40).await;
    let tally = load.end().await;
    tally.faultless();
    assert_eq!(tally.right.len(), 5, "those that are held answer: {:?}", tally.right);
    let held = front.gateway.metric("frontgate_instances", &["state=\"held\""]).await;
    assert!((held - 4.0).abs() < 0.1, "{held}");
    assert_eq!(front.shown("/services/orders").await["state"], "degraded");
    front.has(&[all[0].address()], HOLD + seen::<R>()).await;
    assert!(start.elapsed() > HOLD / 2, "held for {:?} only", start.elapsed());
    let said = front.gateway.said().join("\n");
    assert!(said.contains("many instances vanished at once"), "{said}");
    real.kill();
}

/// The one that the server still lists though nobody listens there any more.
async fn dead_address<R: Real>(
    real: &R,
    alive: &[frontgate::demo::Backend],
) -> std::net::SocketAddr {
    let alive: Vec<String> = addresses(alive).iter().map(ToString::to_string).collect();
    let listed = real.listed("orders").await;
    let dead = listed.iter().find(|address| !alive.contains(address)).expect("the one that died");
    dead.parse().expect("an address")
}

pub(crate) async fn a_registry_that_comes_back_empty_is_not_believed<R: Real>() {
    let mut real = or_skip!(R::start().await);
    let policy = format!("loss_guard = {{ hold = \"{}s\" }}", HOLD.as_secs());
    let front = Setting::before(&real).policy(&policy).start().await;
    let all = backends(2).await;
    real.put_all(&orders(&all)).await;
    front.has(&addresses(&all), seen::<R>()).await;
    let load = front.load(2).await;
    load.goes_on(20).await;
    real.kill();
    front.source_is("stale", seen::<R>()).await;
    real.restart_empty().await;
    wait::until("both are held", seen::<R>(), async || {
        let instances = front.instances().await;
        (instances.len() == 2 && instances.iter().all(|(_, state)| state == "held")).then_some(())
    })
    .await;
    front.registry_is("ok", seen::<R>()).await;
    // One comes again by itself, the other is gone for good.
    real.put("orders", all[0].address()).await;
    load.goes_on(40).await;
    load.end().await.faultless();
    front.has(&[all[0].address()], HOLD + seen::<R>()).await;
    assert_eq!(front.instances().await[0].1, "ready");
}

pub(crate) async fn a_name_outlasts_the_loss_of_its_instances<R: Real>() {
    if !R::CATALOG {
        return;
    }
    let real = or_skip!(R::start().await);
    let catalog = format!(
        "[catalog.all]\nregistry = \"it\"\npath = \"/all/{{service}}/*\"\n\
         [defaults.service]\nloss_guard = {{ hold = \"{}s\" }}",
        HOLD.as_secs()
    );
    let front = Setting::before(&real).services(Vec::new()).tables(&catalog).start().await;
    let (all, other) = (backends(4).await, super::front::backend().await);
    real.put_all(&orders(&all)).await;
    real.put("other", other.address()).await;
    front.answers("/all/other/healthz", &other.address().to_string(), seen::<R>()).await;
    wait::until("four instances", seen::<R>(), async || {
        let shown = front.shown("/services/it%2Forders").await;
        (shown["instances"].as_array()?.len() == 4).then_some(())
    })
    .await;
    front.gateway.signal(rustix::process::Signal::STOP);
    real.take_all(&orders(&all)).await;
    wait::until("the server has forgotten them", SOON, async || {
        real.listed("orders").await.is_empty().then_some(())
    })
    .await;
    front.gateway.signal(rustix::process::Signal::CONT);
    let start = Instant::now();
    wait::until("four are held", seen::<R>(), async || {
        let shown = front.shown("/services/it%2Forders").await;
        let held = shown["instances"].as_array()?.iter().filter(|one| one["state"] == "held");
        (held.count() == 4).then_some(())
    })
    .await;
    while start.elapsed() < HOLD / 2 {
        assert_eq!(front.get("/all/orders/healthz").await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait::until("confirmed", HOLD + seen::<R>(), async || {
        (front.get("/all/orders/healthz").await.status != 200).then_some(())
    })
    .await;
    assert_eq!(front.get("/all/other/healthz").await.status, 200);
}
