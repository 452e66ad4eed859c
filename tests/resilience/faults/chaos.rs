//! Everything at once: instances break and mend at random under load, and no client notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use super::cell::shown;
use super::clients::{Clients, Method, Plan};
use super::dead_one::MENDABLE;
use super::fault::{Failing, Fault};
use super::from_environment;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wait;

const INSTANCES: usize = 6;
/// No more than may be out at a time, and one less than attempts.
const BROKEN: usize = 2;
const CLIENTS: usize = 8;
const LASTING: Duration = Duration::from_secs(10);
/// Bound on what needs some checks and a slow start.
const RECOVERY: Duration = Duration::from_secs(10);
/// Longer than all attempts of one exchange take: none may live from one breakage into the next and meet three.
const WELL: Duration = Duration::from_secs(2);

const ROUTE: &str = "retry = { attempts = 3, per_try_timeout = \"600ms\", on = [\"connect\", \"reset\", \"timeout\", \"5xx\"] }";
const SERVICE: &str = "balance = \"least_request\"\n\
    breaker = { kind = \"consecutive\", failures = 5, open = \"500ms\" }\n\
    outlier = { consecutive = 5, eject = \"500ms\", max_eject = \"1s\" }\n\
    health = { path = \"/healthz\", interval = \"300ms\", unhealthy_interval = \"100ms\", timeout = \"300ms\", healthy = 2, unhealthy = 2 }\n\
    slow_start = \"500ms\"";

/// Once every instance takes its share.
async fn ready(gateway: &Gateway, backends: &[Failing]) -> Option<()> {
    let ready = |one: &Value| one["state"] == "ready" && one["breaker"] == "closed";
    shown(gateway, backends).await.iter().all(ready).then_some(())
}

#[tokio::test]
async fn whatever_breaks_two_of_six_no_get_fails_and_all_come_back() {
    let seed = from_environment("FAULT_SEED", 7);
    let mut random = Rng::with_seed(seed);
    let mut backends = Vec::new();
    for _ in 0..INSTANCES {
        backends.push(Failing::new().await);
    }
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let setup = Setup::to(&addresses).top("workers = 2").route(ROUTE).service(SERVICE);
    let gateway = setup.start().await;
    wait::until("all are checked", RECOVERY, async || ready(&gateway, &backends).await).await;
    let pause = Duration::from_millis(4);
    let (method, next) = (Method::Get, Arc::default());
    let plan = Plan { server: gateway.web(), method, clients: CLIENTS, pause, next };
    let mut load = Clients::start(&plan);
    let (begun, mut history) = (Instant::now(), Vec::new());
    while begun.elapsed() < LASTING {
        random.shuffle(&mut backends);
        let broken = 1 + random.usize(..BROKEN);
        for backend in &backends[..broken] {
            let fault = MENDABLE[random.usize(..MENDABLE.len())];
            backend.fail(fault).await;
            history.push((backend.address.port(), fault));
        }
        tokio::time::sleep(Duration::from_millis(random.u64(200..900))).await;
        for backend in &backends[..broken] {
            backend.fail(Fault::Well).await;
        }
        tokio::time::sleep(WELL).await;
    }
    wait::until("all are ready again", RECOVERY, async || ready(&gateway, &backends).await).await;
    let tally = load.end().await;
    println!("seed {seed}: {} after {history:?}", tally.line());
    assert!(tally.failed.is_empty(), "seed {seed}: {} after {history:?}", tally.line());
    // Nothing is left behind.
    gateway.metric_is("frontgate_in_flight", &[], 0.0).await;
    wait::until("no instance has an exchange", RECOVERY, async || {
        let all = shown(&gateway, &backends).await;
        all.iter().all(|one| one["in_flight"] == 0).then_some(())
    })
    .await;
    let kept = gateway.metric("frontgate_upstream_connections", &[]).await;
    assert!(kept <= (INSTANCES * CLIENTS) as f64, "{kept} connections of {CLIENTS} clients");
}
