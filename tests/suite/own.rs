//! The gateway registers itself.

use std::time::Duration;

use super::front::{Setting, seen};
use super::support::real::Real;
use super::support::{ports, wait};
use super::{SOON, or_skip};

/// Bound on a registration that was lost being made again: Eureka has a heartbeat each ten seconds.
const AGAIN: Duration = Duration::from_secs(45);

pub(crate) async fn registers_itself<R: Real>() {
    if !R::REGISTERS {
        return;
    }
    let mut real = or_skip!(R::start().await);
    // Registering delays nothing: it is done while the registry is away.
    let port = ports::free(1)[0];
    let tables = format!(
        "[register.self]\nregistry = \"it\"\nname = \"edge\"\naddress = \"127.0.0.1:{port}\"\ntags = [\"a\"]"
    );
    let setting = Setting::before(&real).tables(&tables);
    real.kill();
    let mut front = setting.start().await;
    assert_eq!(front.gateway.admin("/healthz").await.status(), 200);
    real.restart().await;
    let address = format!("127.0.0.1:{port}");
    let is = async |real: &R, expected: &[String], within: Duration| {
        wait::until(&format!("edge is {expected:?}"), within, async || {
            (real.listed("edge").await == expected).then_some(())
        })
        .await;
    };
    is(&real, std::slice::from_ref(&address), seen::<R>()).await;
    // Taken away by somebody, or forgotten: made again.
    real.take("edge", address.parse().expect("an address")).await;
    wait::until("the loss is noticed", AGAIN, async || {
        let lost = front.gateway.metric("frontgate_registry_events_total", &["kind=\"lost\""]);
        (lost.await >= 1.0).then_some(())
    })
    .await;
    is(&real, std::slice::from_ref(&address), AGAIN).await;
    real.restart_empty().await;
    is(&real, &[address], AGAIN).await;
    front.gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(front.gateway.exit(SOON).await, Some(0));
    is(&real, &[], SOON).await;
}
