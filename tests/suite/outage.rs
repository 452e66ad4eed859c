//! The registry goes away, hangs, comes back, or is not there at the start.

use std::time::{Duration, Instant};

use super::front::{Setting, addresses, backend, backends, orders, seen};
use super::support::real::Real;
use super::{SOON, or_skip};

/// How long a registry is away.
const AWAY: Duration = Duration::from_secs(30);
/// Bound on a registry that is back being believed again.
const RECOVERED: Duration = Duration::from_secs(5);

pub(crate) async fn restarted<R: Real>() {
    let mut real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    let all = backends(2).await;
    real.put_all(&orders(&all)).await;
    front.has(&addresses(&all), seen::<R>()).await;
    let load = front.load(2).await;
    load.goes_on(20).await;
    real.restart().await;
    front.registry_is("ok", RECOVERED + seen::<R>()).await;
    load.goes_on(20).await;
    load.end().await.faultless();
    let new = backend().await;
    real.put_all(&orders(&all)).await;
    real.put("orders", new.address()).await;
    front.answers("/orders/healthz", &new.address().to_string(), seen::<R>()).await;
}

pub(crate) async fn killed_for_thirty_seconds<R: Real>() {
    let mut real = or_skip!(R::start().await);
    away(&mut real, R::kill, async |real| real.restart().await).await;
}

pub(crate) async fn frozen_for_thirty_seconds<R: Real>() {
    let mut real = or_skip!(R::start().await);
    away(&mut real, |real| real.freeze(), async |real| real.thaw()).await;
}

async fn away<R: Real>(real: &mut R, go: impl FnOnce(&mut R), back: impl AsyncFnOnce(&mut R)) {
    let front = Setting::before(real).start().await;
    let all = backends(3).await;
    real.put_all(&orders(&all)).await;
    front.has(&addresses(&all), seen::<R>()).await;
    let load = front.load(4).await;
    load.goes_on(20).await;
    let start = Instant::now();
    go(real);
    front.source_is("stale", seen::<R>()).await;
    eprintln!("{}: stale after {:?}", R::KIND, start.elapsed());
    front.registry_is("stale", SOON).await;
    let shown = front.shown("/services/orders").await;
    assert!(shown["stale_since"].is_string() && shown["last_error"].is_string(), "{shown}");
    assert_eq!(shown["state"], "degraded");
    assert!(front.is_ready().await, "the last good sets serve");
    tokio::time::sleep(AWAY.saturating_sub(start.elapsed())).await;
    let age = front.gateway.metric("frontgate_registry_age_seconds", &[]).await;
    assert!((10.0..90.0).contains(&age), "the age is {age} s");
    let up = front.gateway.metric("frontgate_registry_up", &[]).await;
    assert!(up < 0.5, "it is down");
    assert_eq!(front.instances().await.len(), 3);
    back(real).await;
    let returned = Instant::now();
    // What does not outlive the server registers itself again, as those who keep themselves alive do.
    real.put_all(&orders(&all)).await;
    front.registry_is("ok", seen::<R>()).await;
    front.source_is("live", seen::<R>()).await;
    let recovered = returned.elapsed();
    eprintln!("{}: live {recovered:?} after its return", R::KIND);
    load.goes_on(20).await;
    let right = load.end().await.faultless();
    eprintln!("{}: {right} requests, none failed", R::KIND);
    assert!(recovered < RECOVERED + R::SEEN, "{recovered:?}");
}

pub(crate) async fn down_at_the_start<R: Real>() {
    let mut real = or_skip!(R::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = "[catalog.all]\nregistry = \"it\"\npath = \"/all/{service}/*\"";
    let tables = if R::CATALOG { catalog } else { "" };
    let setting = Setting::before(&real).state(folder.path()).tables(tables);
    let all = backends(2).await;
    real.put_all(&orders(&all)).await;
    let mut front = setting.start().await;
    front.has(&addresses(&all), seen::<R>()).await;
    front.gateway.signal(rustix::process::Signal::TERM);
    front.gateway.exit(SOON).await;

    real.kill();
    let mut front = setting.start().await;
    front.has(&addresses(&all), SOON).await;
    front.source_is("snapshot", SOON).await;
    front.registry_is("snapshot", SOON).await;
    front.becomes_ready().await;
    let load = front.load(2).await;
    load.goes_on(20).await;
    if R::CATALOG {
        super::support::wait::until("routed by its name", SOON, async || {
            (front.get("/all/orders/healthz").await.status == 200).then_some(())
        })
        .await;
    }
    real.restart().await;
    real.put_all(&orders(&all)).await;
    front.source_is("live", RECOVERED + seen::<R>()).await;
    load.goes_on(20).await;
    load.end().await.faultless();
    // Ended hard: what was written before must do.
    front.gateway.signal(rustix::process::Signal::KILL);
    front.gateway.exit(SOON).await;

    real.kill();
    let files = std::fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("one"));
    for file in files {
        let mut bytes = std::fs::read(file.path()).expect("a snapshot");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(file.path(), bytes).expect("writable");
    }
    let front = setting.start().await;
    front.answers("/orders/healthz", "503", SOON).await;
    assert!(!front.is_ready().await, "a damaged file is no snapshot");
    let said = front.gateway.said().join("\n");
    assert!(said.contains("its checksum does not fit"), "{said}");
}
