//! A wrong token or password: said clearly, and not asked again and again.

use std::time::Duration;

use super::front::{Setting, backend, seen};
use super::support::real::Real;
use super::support::relay::Relay;
use super::support::wait;
use super::{SOON, or_skip};

/// How long requests are counted, and the burst that the first tries may be.
const COUNTED: Duration = Duration::from_secs(20);
const FIRST_TRIES: usize = 8;
const SERVICES: usize = 50;

pub(crate) async fn wrong_credentials<R: Real>() {
    let real = or_skip!(R::guarded().await);
    let backend = backend().await;
    let names = (0..SERVICES).map(|n| format!("s{n}")).chain(["orders".to_owned()]);
    let all: Vec<_> = names.map(|name| (name, backend.address())).collect();
    real.put_all(&all).await;
    let front = Setting::before(&real).start().await;
    front.answers("/orders/healthz", &backend.address().to_string(), seen::<R>()).await;

    let relay = Relay::to(real.port()).await;
    let keys = real.wrong_keys(relay.port());
    let services = all.iter().map(|(name, _)| (name.clone(), real.service_keys(name)));
    let front = Setting::with_keys(&real, keys).services(services.collect()).start().await;
    front.registry_is("failed", SOON).await;
    tokio::time::sleep(COUNTED).await;
    let asked = relay.asked();
    eprintln!("{}: {asked} questions of {SERVICES} services in {COUNTED:?}", R::KIND);
    assert!(asked <= FIRST_TRIES + COUNTED.as_secs() as usize, "asked {asked} times");
    assert!(!front.is_ready().await);
    let shown = front.shown("/registries").await;
    let error = &shown["registries"][0]["last_error"]["message"];
    let error = error.as_str().expect("what is wrong").to_owned();
    let said = wait::until("a line about it", SOON, async || {
        let said = front.gateway.said();
        let lines: Vec<String> = said.into_iter().filter(|line| line.contains("WARN")).collect();
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    assert!(said.len() <= 3, "once, not again and again: {said:#?}");
    assert!(
        said.iter().any(|line| line.contains(&error)
            || line.contains("401")
            || line.contains("403")
            || line.to_lowercase().contains("auth")),
        "{error}\n{said:#?}"
    );
}
