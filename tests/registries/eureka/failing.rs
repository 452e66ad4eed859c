//! What is believed while servers are away, hang, forget, or say no.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use frontgate::config::Secret;
use frontgate::registry::{Health, Registry as _, State};

use super::super::support::eureka::{PASSWORD, USER};
use super::super::support::real::Real as _;
use super::super::support::wait;
use super::super::{addresses, live, or_skip, query, stale};
use super::{Eureka, Registry, SEEN, at, registry, settings, without_server};

/// Bound on a server that hangs being noticed: it has eight seconds to answer.
const HUNG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_server_that_is_gone_or_hangs_leaves_the_last_set_and_its_return_is_noticed() {
    let (registry, port) = without_server();
    let mut found = registry.watch(query("s"));
    wait::until("the first failure", SEEN, async || registry.status().last_error).await;
    assert!(matches!(found.borrow().state, State::Unheard { .. }), "nothing was heard");
    let status = registry.status();
    assert_eq!((status.health, status.last_success), (Health::Connecting, None));

    let mut server = or_skip!(Eureka::start_on(port, &[]).await);
    live(&mut found, &[], SEEN).await;
    server.put("s", at(1)).await;
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    assert_eq!(registry.status().health, Health::Ok);

    server.kill();
    let set = stale(&mut found, SEEN).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    let State::Stale { reason, .. } = &set.state else { panic!("{set:?}") };
    assert!(reason.contains("cannot connect") && reason.contains(&server.url()), "{reason}");
    assert_eq!(registry.status().health, Health::Stale);
    server.restart().await;
    let back = Instant::now();
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    eprintln!("live {:?} after the server's return", back.elapsed());

    server.freeze();
    let set = stale(&mut found, HUNG).await;
    assert_eq!(addresses(&set), ["10.0.0.1:1"]);
    server.thaw();
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    server.put("s", at(2)).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SEEN).await;
}

#[tokio::test]
async fn another_server_is_asked_when_one_is_gone_and_kept_while_it_works() {
    let (first, second) = tokio::join!(Eureka::start(), Eureka::start());
    let (mut first, mut second) = (or_skip!(first), or_skip!(second));
    // They do not know each other, so that one sees who was asked.
    first.put("s", at(1)).await;
    second.put("s", at(2)).await;
    let registry = Registry::new(&settings(&[&first, &second])).expect("good settings");
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    first.kill();
    live(&mut found, &["10.0.0.1:2"], SEEN).await;
    assert_eq!(registry.status().health, Health::Ok);
    first.restart().await;
    second.put("s", at(3)).await;
    live(&mut found, &["10.0.0.1:2", "10.0.0.1:3"], SEEN).await;
    second.kill();
    live(&mut found, &["10.0.0.1:1"], SEEN).await;
    first.kill();
    let set = stale(&mut found, SEEN).await;
    let named = |url: String| set.state != State::Live && format!("{:?}", set.state).contains(&url);
    wait::until("both are blamed", SEEN, async || {
        let why = registry.status().last_error.map(|(_, why)| why)?;
        [&first, &second].iter().all(|server| why.contains(&server.url())).then_some(())
    })
    .await;
    assert!(named(first.url()), "{set:?}");
}

#[tokio::test]
async fn a_password_is_shown_refused_and_read_again() {
    let server = or_skip!(Eureka::guarded().await);
    server.put("s", at(1)).await;
    let with = |change: &dyn Fn(&mut frontgate::registry::eureka::Settings)| {
        let mut settings = settings(&[&server]);
        change(&mut settings);
        Registry::new(&settings).expect("good settings")
    };
    let url = format!("http://{USER}:se%40me%2F1@{}/eureka", server.address());
    let in_url = with(&|settings| settings.urls = vec![url.clone()]);
    live(&mut in_url.watch(query("s")), &["10.0.0.1:1"], SEEN).await;
    let user = |settings: &mut frontgate::registry::eureka::Settings, password: &str| {
        settings.username = Some(USER.into());
        settings.password = Some(Secret::new(password.into()));
    };
    let apart = with(&|settings| user(settings, PASSWORD));
    live(&mut apart.watch(query("s")), &["10.0.0.1:1"], SEEN).await;

    let asked = Arc::new(AtomicUsize::new(0));
    let replaced = with(&|settings| {
        user(settings, "old");
        let asked = Arc::clone(&asked);
        settings.reread = Some(Arc::new(move || {
            asked.fetch_add(1, Ordering::Relaxed);
            Some(Secret::new(format!("{PASSWORD}\n")))
        }));
    });
    live(&mut replaced.watch(query("s")), &["10.0.0.1:1"], SEEN).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(replaced.status().last_error.is_none(), "the second try was good");

    let (wrong, none) = (with(&|settings| user(settings, "wrong")), with(&|_| {}));
    for (registry, hint) in
        [(wrong, "change them in `urls`"), (none, "wants a user and a password")]
    {
        let mut found = registry.watch(query("s"));
        let unheard = |found: &Arc<_>| {
            matches!(AsRef::<super::super::Found>::as_ref(found).state, State::Unheard { .. })
        };
        wait::seen(&mut found, "refused", SEEN, unheard).await;
        let status = registry.status();
        let (_, why) = status.last_error.expect("a failure");
        assert!(why.contains("answers 401") && why.contains(hint), "{why}");
        assert!(!why.contains("wrong"), "{why}");
        assert_eq!((status.health, status.last_success), (Health::Failed, None));
    }
}

#[tokio::test]
async fn a_server_with_its_stock_caches_is_half_a_minute_behind_and_no_further() {
    let server = or_skip!(Eureka::start_with(&["--stock"]).await);
    let registry = registry(&server);
    let mut found = registry.watch(query("s"));
    live(&mut found, &[], SEEN).await;
    server.put("s", at(1)).await;
    server.put("s", at(2)).await;
    let start = Instant::now();
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], Duration::from_secs(45)).await;
    eprintln!("found {:?} after it was registered", start.elapsed());
    assert_eq!(registry.status().health, Health::Ok);
}
