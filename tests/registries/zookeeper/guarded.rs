//! Nodes that only some may read.

use std::sync::Arc;
use std::time::Duration;

use frontgate::config::Secret;
use frontgate::config::model::HostPort;
use frontgate::registry::zookeeper::{Settings, Zookeeper as Registered};
use frontgate::registry::{CatalogQuery, Health, Liveness, Registration, Registry, State};
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};

use super::super::support::real::Real;
use super::super::support::wait;
use super::super::support::zookeeper::Zookeeper;
use super::super::{Found, SOON, live, or_skip, query};

fn registry(zoo: &Zookeeper, auth: Option<&str>) -> Registered {
    let mut settings = Settings::new("test", &zoo.server.address());
    settings.auth = auth.map(|auth| Secret::new(auth.to_owned()));
    Registered::new(&settings).expect("good settings")
}

fn registration() -> Registration {
    Registration {
        id: "edge-1".into(),
        name: "edge".into(),
        address: HostPort { host: "10.0.0.1".into(), port: 1 },
        tags: Vec::new(),
        check: Liveness::Heartbeat,
    }
}

fn is_unheard(found: &Arc<Found>) -> bool {
    matches!(found.state, State::Unheard { .. })
}

#[tokio::test]
async fn wrong_credentials_are_said_so_and_not_tried_in_a_hot_loop() {
    let zoo = or_skip!(Zookeeper::guarded().await);
    let services: Vec<_> = (0..50).map(|n| (format!("s{n}"), ([10, 0, 0, 1], 1).into())).collect();
    zoo.put_all(&services).await;
    live(&mut registry(&zoo, Some("test:secret")).watch(query("s1")), &["10.0.0.1:1"], SOON).await;

    for auth in [Some("test:wrong"), None] {
        let refused = registry(&zoo, auth);
        let mut found: Vec<_> = (0..50).map(|n| refused.watch(query(&format!("s{n}")))).collect();
        for found in &mut found {
            wait::seen(found, "refused", SOON, is_unheard).await;
        }
        let status = refused.status();
        assert_eq!((status.health, status.last_success), (Health::Failed, None));
        let (_, error) = status.last_error.expect("an error");
        assert_eq!(error, "/services/s0 may not be read with this `auth`, or without one");

        let packets = async || {
            let stat = zoo.server.four_letters("srvr").await.expect("an answer");
            let line = stat.lines().find_map(|line| line.strip_prefix("Received: "));
            line.and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        let before = packets().await;
        tokio::time::sleep(Duration::from_secs(12)).await;
        let asked = packets().await - before;
        eprintln!("{asked} packets in 12 s");
        assert!(asked <= 20, "{asked} packets in 12 s, pings included");
    }
}

#[tokio::test]
async fn credentials_that_were_replaced_are_read_again_when_the_old_ones_are_refused() {
    let zoo = or_skip!(Zookeeper::guarded().await);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    let mut settings = Settings::new("test", &zoo.server.address());
    settings.auth = Some(Secret::new("test:old".into()));
    settings.reread = Some(Arc::new(|| Some(Secret::new("test:secret\n".into()))));
    let registry = Registered::new(&settings).expect("good settings");
    live(&mut registry.watch(query("s")), &["10.0.0.1:1"], SOON).await;
    assert_eq!(registry.status().health, Health::Ok);
}

#[tokio::test]
async fn credentials_that_were_replaced_are_read_again_when_registering_is_refused() {
    let zoo = or_skip!(Zookeeper::start().await);
    let owner = zoo.server.client(Some("us:new")).await;
    let shared =
        [Acl::new(Permission::ALL, AuthId::authed()), Acl::new(Permission::READ, AuthId::anyone())];
    let shared = CreateMode::Persistent.with_acls(Acls::new(&shared));
    owner.mkdir("/services/edge", &shared).await.expect("made");
    let mut settings = Settings::new("test", &zoo.server.address());
    settings.auth = Some(Secret::new("us:old".into()));
    settings.reread = Some(Arc::new(|| Some(Secret::new("us:new\n".into()))));
    let registry = Registered::new(&settings).expect("good settings");
    let registered = registry.register(registration()).expect("one can register");
    live(&mut registry.watch(query("edge")), &["10.0.0.1:1"], SOON).await;
    registered.deregister().await;
}

#[tokio::test]
async fn a_service_that_may_not_be_read_does_not_lose_the_others_and_comes_when_it_may() {
    let zoo = or_skip!(Zookeeper::start().await);
    zoo.put("open", ([10, 0, 0, 1], 1).into()).await;
    let owner = zoo.server.client(Some("other:one")).await;
    let shut = CreateMode::Persistent.with_acls(Acls::creator_all());
    owner.mkdir("/services/shut", &shut).await.expect("made");
    owner.create("/services/shut/a", b"10.0.0.1:2", &shut).await.expect("made");
    // One node of several.
    owner.create("/services/open/b", b"10.0.0.1:3", &shut).await.expect("made");

    let registry = registry(&zoo, None);
    let (mut open, mut closed) = (registry.watch(query("open")), registry.watch(query("shut")));
    live(&mut open, &["10.0.0.1:1"], SOON).await;
    wait::seen(&mut closed, "refused", SOON, is_unheard).await;
    assert_eq!(registry.status().health, Health::Stale, "something of it is refused");
    zoo.put("open", ([10, 0, 0, 1], 4).into()).await;
    live(&mut open, &["10.0.0.1:1", "10.0.0.1:4"], SOON).await;

    // No watch tells of a permission: it is asked for now and then.
    let anyone = [Acl::new(Permission::ALL, AuthId::anyone())];
    for path in ["/services/shut/a", "/services/shut"] {
        owner.set_acl(path, &anyone, None).await.expect("opened");
    }
    live(&mut closed, &["10.0.0.1:2"], Duration::from_secs(15)).await;
    wait::until("all is well", SOON, async || {
        (registry.status().health == Health::Ok).then_some(())
    })
    .await;
}

#[tokio::test]
async fn names_that_may_not_be_read_are_said_so() {
    let zoo = or_skip!(Zookeeper::guarded().await);
    zoo.put("s", ([10, 0, 0, 1], 1).into()).await;
    let refused = registry(&zoo, None);
    assert_eq!(refused.status().health, Health::Connecting);
    wait::until("failed", SOON, async || (refused.status().health == Health::Failed).then_some(()))
        .await;
    let mut names = refused.catalog(CatalogQuery { tag: None }).expect("a catalog");
    let unheard = |n: &Arc<frontgate::registry::Names>| matches!(n.state, State::Unheard { .. });
    wait::seen(&mut names, "refused", SOON, unheard).await;
}

#[tokio::test]
async fn who_registers_with_credentials_shares_its_node_with_readers_alone() {
    let zoo = or_skip!(Zookeeper::start().await);
    let registry = registry(&zoo, Some("us:ours"));
    let registered = registry.register(registration()).expect("one can register");
    let mut found = self::registry(&zoo, None).watch(query("edge"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    let stranger = zoo.server.client(None).await;
    let refused = stranger.delete("/services/edge/edge-1-0000000000", None).await;
    assert_eq!(refused, Err(zookeeper_client::Error::NoAuth));

    let other = self::registry(&zoo, Some("them:theirs"));
    let in_vain = other.register(registration()).expect("it is tried");
    let (_, error) = wait::until("refused", SOON, async || other.status().last_error).await;
    assert_eq!(error, "/services/edge may not be written with this `auth`, or without one");
    in_vain.deregister().await;
    registered.deregister().await;
    live(&mut found, &[], SOON).await;
}
