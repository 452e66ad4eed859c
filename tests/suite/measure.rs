//! What is measured, not held: run by hand in release, as docs/registries.md says.

use std::time::{Duration, Instant};

use super::front::{Setting, backend, seen};
use super::support::real::Real;
use super::{many, or_skip, rolling};

const TIMES: usize = 50;
/// How long an idle gateway is watched.
const IDLE: Duration = Duration::from_secs(60);
/// Clients that make some 2,000 requests a second.
const CLIENTS: usize = 40;

/// From the call that registers to the first answer of the instance.
pub(crate) async fn delay<R: Real>() {
    let real = or_skip!(R::start().await);
    let front = Setting::before(&real).start().await;
    let backend = backend().await;
    front.registry_is("ok", seen::<R>()).await;
    let mut delays = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        real.put("orders", backend.address()).await;
        front.answers("/orders/healthz", &backend.address().to_string(), seen::<R>()).await;
        delays.push(start.elapsed());
        real.take("orders", backend.address()).await;
        front.answers("/orders/healthz", "503", seen::<R>()).await;
        // At no fixed phase of whatever is polled.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..400))).await;
    }
    delays.sort();
    eprintln!(
        "{}: registered to routed, {TIMES} times: median {:?}, 90 % {:?}, worst {:?}",
        R::KIND,
        delays[TIMES / 2],
        delays[TIMES * 9 / 10],
        delays[TIMES - 1]
    );
}

/// Processor and memory of a gateway that watches a thousand services and does nothing else.
pub(crate) async fn idle<R: Real>() {
    let real = or_skip!(R::start().await);
    let front = many::a_thousand::<R>(&real).await;
    // What starting has cost is not idling.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = processor(front.gateway.pid());
    tokio::time::sleep(IDLE).await;
    let spent = processor(front.gateway.pid()) - before;
    let share = spent.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let memory = front.gateway.memory("VmRSS") / 1024;
    eprintln!("{}: 1000 services idle for {IDLE:?}: {share:.2} % of a core, {memory} MiB", R::KIND);
}

/// All instances replaced under 2,000 requests a second.
pub(crate) async fn rolling<R: Real>() {
    rolling::replaced::<R>(CLIENTS).await;
}

/// What a process has used of processors.
fn processor(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // Its name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).expect("ticks");
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis((ticks() + ticks()) * 10)
}
