//! How often passwords are tried, and what is remembered of that.

use std::net::SocketAddr;

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::config::{Problems, Section};
use crate::exchange::Client;
use crate::guard::auth::{self, FromTable, Scheme, Setting};

/// Both of "secret".
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
const BCRYPT: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

fn scheme(users: &str) -> Arc<Basic> {
    let info = auth::INFOS.iter().find(|info| info.name == "basic").unwrap();
    let text = format!("kind = 'basic'\nusers = {{ {users} }}\nforward.sub = 'x-user'");
    let section = Section::from_toml("auth.staff", info, &text).unwrap();
    let mut problems = Problems::new();
    let setting = Setting { name: "staff", state: None };
    let scheme = Basic::from_table(setting, &mut section.read(&mut problems));
    assert!(problems.is_empty(), "{problems}");
    Arc::new(scheme.unwrap())
}

fn started(users: &str) -> Arc<Basic> {
    let scheme = scheme(users);
    scheme.start();
    scheme
}

fn exchange() -> Exchange {
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false);
    let mut exchange = Exchange::begin(&client, Method::GET, HeaderValue::from_static("id"));
    exchange.began = Instant::now();
    exchange
}

fn begin(desk: &BasicDesk, name: &str, password: &str) -> Verdict {
    let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let request = http::Request::get("/").header(AUTHORIZATION, value);
    desk.check(&request.body(()).unwrap().into_parts().0, &exchange())
}

async fn check(desk: &BasicDesk, name: &str, password: &str) -> Result<Rc<Caller>, Denied> {
    match begin(desk, name, password) {
        Verdict::In(caller) => Ok(caller),
        Verdict::Out(denied) => Err(denied),
        Verdict::Ask(asking) => asking.await,
    }
}

fn reason(denied: Result<Rc<Caller>, Denied>) -> String {
    match denied {
        Err(Denied::Bad { reason, .. } | Denied::Busy { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_good_password_is_tried_once_and_a_wrong_one_each_time() {
    let scheme = started(&format!("alice = '{SHA}', bob = '{BCRYPT}'"));
    let desk = BasicDesk::new(Arc::clone(&scheme));
    let caller = check(&desk, "alice", "secret").await.unwrap();
    assert_eq!((&*caller.name, &*caller.auth), ("alice", "staff"));
    assert_eq!((caller.claim("sub"), &caller.strip), (Some("alice"), &None));
    assert_eq!(caller.headers, [("x-user".parse().unwrap(), HeaderValue::from_static("alice"))]);
    for _ in 0..3 {
        assert!(matches!(begin(&desk, "alice", "secret"), Verdict::In(known) if known == caller));
    }
    assert_eq!(scheme.hashing.begun(), 1);
    for (name, password) in [("alice", "Secret"), ("alice", ""), ("bob", "x"), ("eve", "secret")] {
        for _ in 0..2 {
            let before = scheme.hashing.begun();
            reason(check(&desk, name, password).await);
            assert_eq!(scheme.hashing.begun(), before + 1, "{name}");
        }
    }
    // What was good for one is not for another, who has the same password, nor for another worker.
    assert!(matches!(begin(&desk, "bob", "secret"), Verdict::Ask(_)));
    let other = BasicDesk::new(scheme);
    assert!(matches!(begin(&other, "alice", "secret"), Verdict::Ask(_)));
    assert!(desk.state.tries.borrow().is_empty());
}

#[tokio::test]
async fn all_who_bring_the_same_wait_for_one_try() {
    let scheme = started(&format!("alice = '{BCRYPT}'"));
    let desk = BasicDesk::new(Arc::clone(&scheme));
    let asking: Vec<_> = (0..200).map(|_| begin(&desk, "alice", "secret")).collect();
    for verdict in asking {
        let Verdict::Ask(asking) = verdict else { panic!("remembered too early") };
        assert_eq!(&*asking.await.unwrap().name, "alice");
    }
    assert_eq!(scheme.hashing.begun(), 1);
    assert!(desk.state.tries.borrow().is_empty());
}

#[tokio::test]
async fn one_too_many_is_refused_and_who_leaves_makes_room() {
    let scheme = started(&format!("alice = '{BCRYPT}'"));
    let desk = BasicDesk::new(Arc::clone(&scheme));
    let mut asking = Vec::new();
    let mut refused = 0;
    // None is begun meanwhile, because nothing is awaited.
    for at in 0..300 {
        match begin(&desk, "alice", &format!("guess{at}")) {
            Verdict::Ask(one) => asking.push(one),
            Verdict::Out(Denied::Busy { .. }) => refused += 1,
            Verdict::In(_) | Verdict::Out(_) => panic!("{at}"),
        }
    }
    assert!((64..=68).contains(&asking.len()), "{}", asking.len());
    assert_eq!(refused + asking.len(), 300);
    assert_eq!(desk.state.tries.borrow().len(), asking.len());
    assert!(reason(check(&desk, "alice", "secret").await).contains("too many"));
    drop(asking);
    assert!(desk.state.tries.borrow().is_empty());
    let last = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match check(&desk, "alice", "secret").await {
                Ok(caller) => return caller,
                Err(Denied::Busy { .. }) => tokio::task::yield_now().await,
                Err(denied) => panic!("{denied:?}"),
            }
        }
    });
    assert_eq!(&*last.await.unwrap().name, "alice");
    assert!(scheme.hashing.begun() <= 5, "{}", scheme.hashing.begun());
}

#[tokio::test]
async fn what_was_good_is_forgotten_when_the_users_change() {
    let scheme = started(&format!("alice = '{BCRYPT}'"));
    let desk = BasicDesk::new(Arc::clone(&scheme));
    check(&desk, "alice", "secret").await.unwrap();
    let file = |text: &str| Arc::new(Users::of_file(text.as_bytes()).0);
    scheme.book.send_replace(file(&format!("alice:{SHA}")));
    assert!(matches!(begin(&desk, "alice", "secret"), Verdict::Ask(_)));
    check(&desk, "alice", "secret").await.unwrap();
    assert_eq!(scheme.hashing.begun(), 2);
    // A change while a request waits counts for it too.
    let Verdict::Ask(other) = begin(&desk, "alice", "other") else { panic!() };
    drop(other);
    scheme.book.send_replace(file(&format!("alice:{BCRYPT}")));
    let Verdict::Ask(waits) = begin(&desk, "alice", "secret") else { panic!() };
    scheme.book.send_replace(file(&format!("alice:{SHA}")));
    assert!(reason(waits.await).contains("just changed"));
    let Verdict::Ask(waits) = begin(&desk, "alice", "secret") else { panic!() };
    scheme.book.send_replace(file(&format!("alice:{SHA}\nbob:{SHA}")));
    assert_eq!(&*waits.await.unwrap().name, "alice");
    scheme.book.send_replace(file(""));
    assert!(reason(check(&desk, "alice", "secret").await).contains("no users"));
}

#[test]
fn what_is_remembered_is_bounded_in_number_and_time() {
    let caller = |name: &str| {
        Rc::new(Caller {
            name: name.into(),
            auth: "staff".into(),
            claims: Vec::new(),
            headers: Vec::new(),
            strip: None,
        })
    };
    let (mut good, begin) = (Good::default(), Instant::now());
    let proof = |at: usize| {
        let mut proof = Proof::default();
        proof[..8].copy_from_slice(&at.to_le_bytes());
        proof
    };
    for at in 0..MOST + 10 {
        let now = begin + Duration::from_millis(at as u64);
        good.remember(proof(at), &caller("a"), now);
        good.remember(proof(at), &caller("a"), now);
    }
    assert_eq!((good.callers.len(), good.until.len()), (MOST, MOST));
    assert!(good.find(&proof(9), begin).is_none() && good.find(&proof(10), begin).is_some());
    let late = begin + LIFE + Duration::from_millis(20);
    assert!(good.find(&proof(20), late).is_none() && good.find(&proof(21), late).is_some());
    assert!(good.find(&proof(MOST), late + LIFE).is_none());
    assert_eq!((good.callers.len(), good.until.len()), (0, 0));
}

#[tokio::test]
async fn before_the_control_plane_has_begun_nobody_comes_in() {
    let scheme = scheme(&format!("alice = '{SHA}'"));
    reason(check(&BasicDesk::new(scheme), "alice", "secret").await);
}

proptest! {
    #[test]
    fn no_header_makes_it_panic_and_what_is_read_is_what_was_written(
        raw in prop::collection::vec(prop_oneof![32_u8..127, 128_u8..=255], 0..80),
        name in "[^:\\p{Cc}]{1,12}",
        password in "\\P{Cc}{0,24}",
    ) {
        let value = HeaderValue::from_bytes(&raw).unwrap();
        let written = HeaderValue::try_from(
            format!("bAsIc {}", STANDARD.encode(format!("{name}:{password}")))).unwrap();
        for (value, good) in [(value, false), (written, true)] {
            let asked = http::Request::get("/").header(AUTHORIZATION, value).body(()).unwrap();
            let mut digits = [0; DIGITS];
            let read = credentials(&asked.into_parts().0, &mut digits);
            prop_assert!(!good || read == Ok(Some((&*name, &*password))), "{read:?}");
        }
    }
}
