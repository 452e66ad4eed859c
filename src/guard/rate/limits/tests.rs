use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Method, Request};

use super::super::gcra::Wish;
use super::super::{Counting, Store};
use super::*;
use crate::config::model::{Rate, RateKey};
use crate::exchange::{Caller, Client};

/// So many an hour.
fn limit(count: u64, keys: &[RateKey]) -> RateConfig {
    RateConfig {
        rate: Rate { count, per: Duration::from_secs(3600) },
        burst: count,
        keys: keys.to_vec(),
        mode: RateMode::Reject,
        store: None,
    }
}

fn limits(configs: &[RateConfig], shared: &Shared, before: Option<&Limits>) -> Limits {
    Limits::new(&configs.iter().collect::<Vec<_>>(), "all", shared, before)
}

fn exchange() -> Exchange {
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 9)), 0, 80, false);
    Exchange::begin(&client, Method::GET, HeaderValue::from_static("0"))
}

async fn admit(limits: &Limits, desks: &Desks, exchange: &mut Exchange) -> Result<(), Refusal> {
    let asked = Request::new(()).into_parts().0;
    limits.admit(desks, &asked, exchange).await
}

/// Limit, remaining, reset.
fn said(exchange: &Exchange) -> Vec<&str> {
    exchange.marks.iter().map(|(_, value)| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn an_equal_limit_goes_on_and_a_changed_one_begins_anew() {
    let (shared, desks) = (Shared::default(), Desks::default());
    let (three, five) = (limit(3, &[RateKey::Route]), limit(5, &[RateKey::ClientIp]));
    let first = limits(&[three.clone(), five.clone()], &shared, None);
    admit(&first, &desks, &mut exchange()).await.unwrap();
    // In another order, and each only once.
    let next = limits(&[five.clone(), three.clone(), three.clone()], &shared, Some(&first));
    drop(first);
    let mut asked = exchange();
    admit(&next, &desks, &mut asked).await.unwrap();
    assert_eq!(said(&asked)[..2], ["3", "1"]);
    assert_eq!(next.keys(), 3);
    let changed = RateConfig { burst: 4, ..three };
    let next = limits(&[changed, five], &shared, Some(&next));
    let mut asked = exchange();
    admit(&next, &desks, &mut asked).await.unwrap();
    assert_eq!(said(&asked)[..2], ["5", "2"]);
}

#[tokio::test]
async fn limits_by_caller_and_others_speak_as_one() {
    let (shared, desks) = (Shared::default(), Desks::default());
    let by_route = limits(&[limit(3, &[RateKey::Route])], &shared, None);
    let by_caller = limits(&[limit(2, &[RateKey::Claim("sub".into())])], &shared, None);
    let both = async |name: &str| {
        let mut asked = exchange();
        let claims = vec![("sub".into(), name.into())];
        let (auth, headers) = ("a".into(), Vec::new());
        let caller = Caller { name: name.into(), auth, claims, headers, strip: None };
        let first = admit(&by_route, &desks, &mut asked).await;
        asked.caller = Some(Rc::new(caller));
        let second = admit(&by_caller, &desks, &mut asked).await;
        (first.and(second), said(&asked)[..2].join(" of "), asked.hints.len())
    };
    assert_eq!(both("ann").await, (Ok(()), "2 of 1".into(), 0));
    assert_eq!(both("ben").await, (Ok(()), "3 of 1".into(), 0));
    assert_eq!(both("ann").await, (Ok(()), "3 of 0".into(), 0));
    let refused = both("cat").await;
    assert_eq!(refused.0, Err(Refusal::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_several_waits_for_the_last_and_who_is_refused_frees_its_turn() {
    let header = || RateKey::Header(http::HeaderName::from_static("x-user"));
    let mode = RateMode::Delay { max_wait: Duration::from_secs(36_000), max_queue: 9 };
    let per_route = RateConfig { burst: 1, mode, ..limit(1, &[RateKey::Route]) };
    let faster = RateConfig { burst: 1, mode, ..limit(2, &[RateKey::Route]) };
    let per_user = limit(2, &[header()]);
    let (shared, desks) = (Shared::default(), Desks::default());
    let limits = limits(&[per_route, faster, per_user], &shared, None);
    let began = tokio::time::Instant::now();
    let ask = async |user: &'static str| {
        let asked = Request::builder().header("x-user", user).body(()).unwrap().into_parts().0;
        let admitted = limits.admit(&desks, &asked, &mut exchange()).await;
        // Only the timers are led. The limits look at the real time, which goes on by less than a minute.
        (admitted.is_ok(), began.elapsed().as_secs().div_ceil(60))
    };
    assert_eq!(ask("ann").await, (true, 0));
    assert_eq!(ask("ann").await, (true, 60));
    for _ in 0..5 {
        assert_eq!(ask("ann").await, (false, 60));
    }
    assert_eq!(ask("ben").await, (true, 120));
}

/// A store that says what it is told to.
#[derive(Debug, Default)]
struct Saying;

#[derive(Debug, Default)]
struct Mouth {
    says: Cell<Option<Counted>>,
    keys: RefCell<Vec<String>>,
    /// When it is not told what to say: how many turns are taken, one a second and one at once.
    turns: Cell<u64>,
}

impl Store for Saying {
    fn counter(self: Arc<Self>) -> Rc<dyn Counter> {
        Rc::new(Mouth::default())
    }
}

impl Counter for Mouth {
    fn take(&self, key: &str, wish: Wish) -> Counting {
        self.keys.borrow_mut().push(key.to_owned());
        let turn = Duration::from_secs(self.turns.get());
        let take = Take { wait: turn, remaining: 0, reset: turn };
        if self.says.get().is_none() && wish.granted(take) {
            self.turns.set(self.turns.get() + 1);
        }
        Box::pin(std::future::ready(self.says.get().unwrap_or(Counted::Taken(take))))
    }

    fn give_back(&self, key: &str, _wish: Wish) {
        assert!(self.keys.borrow().iter().any(|known| known == key));
        self.turns.set(self.turns.get() - 1);
    }
}

#[tokio::test]
async fn what_a_store_says_counts_and_its_failure_does_as_it_is_told() {
    let shared = Shared {
        stores: vec![("others".into(), Arc::new(Saying)), ("redis".into(), Arc::new(Saying))],
        ..Shared::default()
    };
    let mouth = Rc::new(Mouth::default());
    let desks = Desks {
        counters: vec![Rc::new(Mouth::default()), Rc::clone(&mouth) as _],
        ..Desks::default()
    };
    let there = RateConfig { store: Some("redis".into()), ..limit(2, &[RateKey::ClientIp]) };
    let here = limit(9, &[RateKey::Route]);
    let limits = limits(&[there, here], &shared, None);
    let ask = async |says| {
        mouth.says.set(Some(says));
        let mut asked = exchange();
        let admitted = admit(&limits, &desks, &mut asked).await.is_ok();
        let after = asked.hints.iter().map(|(_, value)| value.to_str().unwrap().to_owned());
        let (after, said) = (after.collect::<String>(), said(&asked).join(" "));
        (admitted, said, after)
    };
    let take = |wait, remaining| {
        let wait = Duration::from_secs(wait);
        Counted::Taken(Take { wait, remaining, reset: Duration::from_millis(1500) })
    };
    assert_eq!(ask(take(0, 1)).await, (true, "2 1 2".into(), String::new()));
    assert_eq!(ask(take(7, 0)).await, (false, "2 0 2".into(), "7".into()));
    assert_eq!(ask(Counted::Deny).await, (false, "2 0 1".into(), "1".into()));
    assert_eq!(ask(Counted::Allow).await, (true, "2 2 0".into(), String::new()));
    assert_eq!(ask(Counted::Local).await.1[..4], *"2 1 ");
    assert_eq!(ask(Counted::Local).await.1[..4], *"2 0 ");
    assert!(!ask(Counted::Local).await.0);
    // What it refused was given back here: of nine, only those let in are gone.
    assert_eq!(ask(take(0, 9)).await.1[..4], *"9 4 ");
    let keys = mouth.keys.borrow();
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert!(keys[0].starts_with("all: 2/h by client_ip burst 2 #0:"), "{}", keys[0]);
}

#[tokio::test(start_paused = true)]
async fn who_may_wait_for_a_store_gets_the_next_turn_that_nobody_has() {
    let shared = Shared { stores: vec![("redis".into(), Arc::new(Saying))], ..Shared::default() };
    let mouth = Rc::new(Mouth::default());
    let desks = Desks { counters: vec![Rc::clone(&mouth) as _], ..Desks::default() };
    let mode = RateMode::Delay { max_wait: Duration::from_secs(300), max_queue: 2 };
    let config = RateConfig { store: Some("redis".into()), mode, ..limit(2, &[RateKey::Route]) };
    let limits = limits(&[config], &shared, None);
    mouth.turns.set(120);
    let began = tokio::time::Instant::now();
    let ask = async || {
        let mut asked = exchange();
        let admitted = admit(&limits, &desks, &mut asked).await.is_ok();
        (admitted, began.elapsed().as_secs().div_ceil(60), mouth.keys.borrow().len())
    };
    let after = async |so_long| {
        mouth.turns.set(so_long);
        ask().await
    };
    let (first, second, third) = tokio::join!(ask(), after(240), after(1));
    assert_eq!((first.0, first.1, second.0, second.1), (true, 2, true, 4));
    // Two wait already, so the third is asked for once only.
    assert_eq!(third, (false, 0, 5));
    // A wait that is too long takes no turn, and the place of who was refused is not left twice.
    assert!(!after(301).await.0);
    assert_eq!((mouth.turns.get(), mouth.keys.borrow().len()), (301, 7));
    assert!(after(0).await.0);
    assert_eq!(mouth.keys.borrow().len(), 8);
}

#[tokio::test]
async fn what_was_taken_in_a_store_is_given_back_when_another_limit_refuses() {
    let shared = Shared {
        stores: vec![("one".into(), Arc::new(Saying)), ("other".into(), Arc::new(Saying))],
        ..Shared::default()
    };
    let (one, other) = (Rc::new(Mouth::default()), Rc::new(Mouth::default()));
    let desks =
        Desks { counters: vec![Rc::clone(&one) as _, Rc::clone(&other) as _], ..Desks::default() };
    let kept =
        |store: &str| RateConfig { store: Some(store.into()), ..limit(9, &[RateKey::Route]) };
    let mode = RateMode::Delay { max_wait: Duration::from_secs(300), max_queue: 2 };
    // Whoever may wait is asked last, so that a turn to come is nobody's who is refused.
    let waits = RateConfig { mode, ..kept("other") };
    let limits = limits(&[waits, kept("one"), kept("other")], &shared, None);
    other.turns.set(1);
    for _ in 0..3 {
        assert!(admit(&limits, &desks, &mut exchange()).await.is_err());
        assert_eq!((one.turns.get(), other.turns.get()), (0, 1));
    }
    other.says.set(Some(Counted::Allow));
    assert!(admit(&limits, &desks, &mut exchange()).await.is_ok());
    assert_eq!(one.turns.get(), 1);
}
