//! etcd that ends, hangs, forgets, loses its leader, or does not want us.

use std::time::{Duration, Instant};

use frontgate::config::Secret;
use frontgate::registry::etcd::{Etcd as Found, Settings};
use frontgate::registry::{Health, Registry, State};
use serde_json::json;

use super::registry;
use crate::support::etcd::Etcd;
use crate::support::real::Real;
use crate::support::{ports, wait};
use crate::{SOON, addresses, live, or_skip, query, stale};

/// Bound on a member that hangs, or has no leader, being noticed.
const NOTICED: Duration = Duration::from_secs(10);
/// Bound on a member that is there again being asked: the longest pause, an election, and a busy machine.
const BACK: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_last_set_stays_while_etcd_is_gone_and_is_live_again_when_it_is_back() {
    let mut member = or_skip!(Etcd::solo().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    for _ in 0..2 {
        member.kill();
        let kept = stale(&mut found, SOON).await;
        assert_eq!(addresses(&kept), ["10.0.0.1:1"]);
        wait::until("it is said", SOON, async || {
            (registry.status().health == Health::Stale).then_some(())
        })
        .await;
        member.restart().await;
        live(&mut found, &["10.0.0.1:1"], BACK).await;
        assert_eq!(registry.status().health, Health::Ok);
    }
    member.write("s/2", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn a_member_that_hangs_is_noticed_although_its_watch_is_silent() {
    let member = or_skip!(Etcd::solo().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    member.freeze();
    let start = Instant::now();
    let kept = stale(&mut found, NOTICED).await;
    eprintln!("noticed after {:?}", start.elapsed());
    assert_eq!(addresses(&kept), ["10.0.0.1:1"]);
    member.thaw();
    live(&mut found, &["10.0.0.1:1"], BACK).await;
    member.write("s/2", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn etcd_that_comes_back_empty_is_believed_after_it_was_stale() {
    let mut member = or_skip!(Etcd::solo().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    member.kill();
    stale(&mut found, SOON).await;
    member.restart_empty().await;
    live(&mut found, &[], BACK).await;
    member.write("s/2", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn etcd_that_is_not_there_yet_is_found_when_it_comes() {
    let mut member = or_skip!(Etcd::solo().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    member.kill();
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    wait::seen(&mut found, "unheard", SOON, |f| matches!(f.state, State::Unheard { .. })).await;
    assert_eq!(registry.status().health, Health::Connecting);
    member.restart().await;
    live(&mut found, &["10.0.0.1:1"], BACK).await;
}

fn all(members: &[Etcd]) -> Found {
    let mut settings = Settings::new("test", "");
    settings.endpoints = members.iter().map(Etcd::url).collect();
    Found::new(&settings).expect("good settings")
}

#[tokio::test]
async fn another_member_is_asked_when_one_ends_or_hangs() {
    let mut members = or_skip!(Etcd::three().await);
    members[0].write("s/1", b"10.0.0.1:1", None).await;
    let registry = all(&members);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    let asked = |member: &Etcd| ports::connections_to(std::process::id(), member.port());
    assert_eq!(asked(&members[1]) + asked(&members[2]), 0, "it stays with the one that works");

    members[0].kill();
    let start = Instant::now();
    members[1].write_when_led("s/2", b"10.0.0.1:2").await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], BACK).await;
    eprintln!("a change is seen {:?} after the member's end", start.elapsed());
    assert_eq!(registry.status().health, Health::Ok);
    members[0].restart().await;

    let at = if asked(&members[1]) > 0 { 1 } else { 2 };
    members[at].freeze();
    let other = &members[3 - at];
    let start = Instant::now();
    other.write_when_led("s/3", b"10.0.0.1:3").await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"], BACK).await;
    eprintln!("a change is seen {:?} after another one hung", start.elapsed());
    members[at].thaw();
}

#[tokio::test]
async fn a_member_that_has_lost_its_leader_is_not_believed_to_be_up_to_date() {
    let mut members = or_skip!(Etcd::three().await);
    members[0].write("s/1", b"10.0.0.1:1", None).await;
    let registry = all(&members[..1]);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    members[1].kill();
    members[2].kill();
    let start = Instant::now();
    let kept = stale(&mut found, NOTICED).await;
    eprintln!("noticed after {:?}: {:?}", start.elapsed(), kept.state);
    assert_eq!(addresses(&kept), ["10.0.0.1:1"]);
    // Alone it cannot come up: two at once.
    let (one, two) = members.split_at_mut(2);
    tokio::join!(one[1].restart(), two[0].restart());
    live(&mut found, &["10.0.0.1:1"], BACK).await;
    members[1].write("s/2", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

/// A registry with a user, whose password may be read again.
fn as_user(member: &Etcd, user: &str, password: &str) -> Settings {
    let mut settings = Settings::new("test", &member.url());
    settings.user = Some((user.into(), Secret::new(password.into())));
    settings
}

async fn refused(settings: &Settings, why: &str) -> Found {
    let registry = Found::new(settings).expect("good settings");
    let found = registry.watch(query("s"));
    let (_, error) = wait::until("a failure", SOON, async || registry.status().last_error).await;
    assert!(error.contains(why), "{error}");
    assert_eq!(registry.status().health, Health::Failed, "{error}");
    assert!(matches!(found.borrow().state, State::Unheard { .. }));
    registry
}

#[tokio::test]
async fn who_asks_is_told_and_a_token_that_is_no_longer_good_is_made_anew() {
    let member = or_skip!(Etcd::guarded().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    let registry = registry(&member);
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    // Every token ends with this.
    member.tell("/v3/auth/disable", &json!({})).await;
    let mut open = member;
    open.guarded = false;
    open.tell("/v3/auth/enable", &json!({})).await;
    open.guarded = true;
    found.mark_unchanged();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!found.has_changed().expect("it lives"), "{:?}", found.borrow().state);
    let status = registry.status();
    assert_eq!((status.health, status.last_error), (Health::Ok, None));
    open.write("s/2", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], SOON).await;
}

#[tokio::test]
async fn who_has_a_password_is_let_in_where_nobody_asks_and_when_somebody_begins_to() {
    let mut member = or_skip!(Etcd::solo().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    let registry = Found::new(&as_user(&member, "root", "sesame")).expect("good settings");
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    member.guard().await;
    member.restart().await;
    member.write("s/2", b"10.0.0.1:2", None).await;
    live(&mut found, &["10.0.0.1:1", "10.0.0.1:2"], BACK).await;
}

#[tokio::test]
async fn a_wrong_password_is_a_failure_until_its_file_holds_the_right_one() {
    let member = or_skip!(Etcd::guarded().await);
    member.write("s/1", b"10.0.0.1:1", None).await;
    refused(&as_user(&member, "nobody", "sesame"), "check `username` and `password`").await;
    refused(&Settings::new("test", &member.url()), "set `username` and `password`").await;
    let file = std::sync::Arc::new(std::sync::Mutex::new("wrong"));
    let mut settings = as_user(&member, "root", "wrong");
    let read = std::sync::Arc::clone(&file);
    settings.reread = Some(std::sync::Arc::new(move || {
        Some(Secret::new((*read.lock().expect("no panic")).into()))
    }));
    let registry = refused(&settings, "check `username` and `password`").await;
    let mut found = registry.watch(query("s"));
    *file.lock().expect("no panic") = "sesame\n";
    live(&mut found, &["10.0.0.1:1"], BACK).await;
    assert_eq!(registry.status().health, Health::Ok);
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_are_missing() {
    let member = or_skip!(Etcd::guarded().await);
    // A password may begin and end with a blank.
    member.tell("/v3/auth/user/add", &json!({ "name": "u", "password": " p " })).await;
    refused(&as_user(&member, "u", " p "), "give the user a role that may read").await;
}

#[tokio::test]
async fn an_interface_that_is_off_is_said_to_be_off() {
    let member = or_skip!(Etcd::with(&["--enable-grpc-gateway=false"]).await);
    refused(&Settings::new("test", &member.url()), "--enable-grpc-gateway").await;
}
