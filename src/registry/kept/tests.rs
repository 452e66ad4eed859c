//! What followers say of a registry that is led by hand.

use std::net::TcpListener;

use tokio::sync::watch;

use super::*;
use crate::config::model::{Endpoint, HostPort, Lookup, Scheme, Share};
use crate::registry::{Found, Names};

/// A registry that says what it is told to.
struct Led {
    found: watch::Sender<Arc<Found>>,
    names: watch::Sender<Arc<Names>>,
}

impl Led {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            found: watch::Sender::new(Arc::new(Found::pending())),
            names: watch::Sender::new(Arc::new(Names::pending())),
        })
    }

    fn names(&self, names: &[&str]) {
        let ports: Vec<u16> = names.iter().filter_map(|name| name.parse().ok()).collect();
        self.says(&ports);
        let services = names.iter().map(|name| (*name).to_owned()).collect();
        self.names.send_replace(Arc::new(Names { services, state: State::Live }));
    }

    fn says(&self, ports: &[u16]) {
        self.found
            .send_replace(Arc::new(Found::live(ports.iter().map(|p| endpoint(*p)).collect())));
    }

    fn fails(&self, why: &str) {
        self.found.send_modify(|found| {
            if let Some(stale) = found.staled(why) {
                *found = Arc::new(stale);
            }
        });
        self.names.send_modify(|names| {
            if let Some(state) = names.state.staled(why) {
                *names = Arc::new(Names { services: Arc::clone(&names.services), state });
            }
        });
    }
}

impl Registry for Led {
    fn watch(&self, _query: Query) -> watch::Receiver<Arc<Found>> {
        self.found.subscribe()
    }

    fn catalog(&self, _query: CatalogQuery) -> Option<watch::Receiver<Arc<Names>>> {
        Some(self.names.subscribe())
    }

    fn register(&self, _registration: Registration) -> Option<Registered> {
        None
    }

    fn status(&self) -> Status {
        let health = match self.found.borrow().state {
            State::Live => Health::Ok,
            State::Stale { .. } => Health::Stale,
            State::Pending | State::Unheard { .. } | State::Snapshot { .. } => Health::Connecting,
        };
        Status { health, ..Status::default() }
    }
}

fn endpoint(port: u16) -> Endpoint {
    let address = HostPort { host: "127.0.0.1".into(), port };
    Endpoint { scheme: Scheme::Http, address, weight: 1, zone: None }
}

fn query() -> Query {
    Query { service: "s".into(), tags: Vec::new(), passing_only: true, lookup: Lookup::Srv }
}

const HOLD: Duration = Duration::from_secs(2);

fn policy() -> Policy {
    let guard = LossGuard { hold: HOLD, ..LossGuard::default() };
    Policy { loss_guard: Some(guard), stale: StaleConfig::default() }
}

fn aged(age: Duration) -> Policy {
    Policy { stale: StaleConfig { max_age: Some(age) }, ..policy() }
}

fn ports(found: &Found) -> Vec<u16> {
    found.endpoints.iter().map(|endpoint| endpoint.address.port).collect()
}

fn held(found: &Found) -> Vec<u16> {
    found.held.iter().map(|address| address.port).collect()
}

/// The next set within some seconds.
async fn next(follower: &mut Follower) -> Arc<Found> {
    let found = tokio::time::timeout(Duration::from_secs(10), follower.next()).await;
    found.expect("in time").expect("the registry lives")
}

/// Ports on which somebody listens, in order, and those who do.
fn listening(count: usize) -> (Vec<u16>, Vec<TcpListener>) {
    let mut sockets: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    sockets.sort_by_key(|socket| socket.local_addr().unwrap().port());
    (sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect(), sockets)
}

#[tokio::test]
async fn what_vanishes_in_bulk_stays_when_it_answers_and_goes_when_it_does_not_or_is_confirmed() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut follower = kept.follow(query(), policy());
    assert_eq!(next(&mut follower).await.state, State::Pending);
    let (ports_, mut sockets) = listening(5);
    led.says(&ports_);
    assert_eq!(ports(&*next(&mut follower).await), ports_);
    // Two of them are really gone.
    sockets.drain(..2);
    let start = Instant::now();
    led.says(&ports_[4..]);
    let first = next(&mut follower).await;
    assert_eq!((ports(&first), held(&first)), (ports_.clone(), ports_[..4].to_vec()));
    assert_eq!(first.state, State::Live);
    let mut last = first;
    while held(&last).len() > 2 {
        last = next(&mut follower).await;
    }
    assert_eq!((ports(&last), held(&last)), (ports_[2..].to_vec(), ports_[2..4].to_vec()));
    assert!(start.elapsed() < HOLD);
    led.says(&[ports_[2], ports_[4]]);
    assert_eq!(held(&*next(&mut follower).await), [ports_[3]], "named again");
    let after = next(&mut follower).await;
    assert_eq!((ports(&after), held(&after)), (vec![ports_[2], ports_[4]], vec![]));
    assert!(start.elapsed() >= HOLD, "confirmed for the whole hold");
}

#[tokio::test]
async fn a_registry_that_comes_back_empty_is_not_believed_at_once_however_few_there_were() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut follower = kept.follow(query(), policy());
    let (alive, _sockets) = listening(1);
    led.says(&alive);
    assert_eq!(ports(&*next(&mut follower).await), alive);
    led.fails("gone");
    assert!(matches!(next(&mut follower).await.state, State::Stale { .. }));
    led.says(&[]);
    let back = next(&mut follower).await;
    assert_eq!((ports(&back), held(&back), &back.state), (alive.clone(), alive, &State::Live));
    assert_eq!(ports(&*next(&mut follower).await), [0u16; 0], "confirmed");
    led.says(&[1]);
    assert_eq!(ports(&*next(&mut follower).await), [1]);
    led.says(&[]);
    assert_eq!(ports(&*next(&mut follower).await), [0u16; 0], "one of one, and no outage");
}

#[tokio::test]
async fn a_snapshot_serves_when_the_registry_fails_or_is_silent_and_gives_way_to_its_first_answer()
{
    let folder = tempfile::tempdir().unwrap();
    snapshot_of(folder.path(), &[1, 2]).await;
    for fails in [true, false] {
        let led = Led::new();
        let store = Store::open(folder.path(), "r");
        let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
        let mut follower = kept.follow(query(), policy());
        let tag = CatalogQuery { tag: None };
        let mut names = kept.catalog(tag, policy()).expect("it has one");
        assert_eq!(next(&mut follower).await.state, State::Pending, "nothing is known yet");
        assert_eq!(kept.status().health, Health::Connecting);
        let start = Instant::now();
        if fails {
            led.fails("connection refused");
        }
        let past = next(&mut follower).await;
        assert_eq!(ports(&past), [1, 2]);
        let State::Snapshot { reason, since } = &past.state else { panic!("{past:?}") };
        assert_eq!(reason == "connection refused", fails, "{reason}");
        assert!(since.elapsed().unwrap() < Duration::from_secs(60));
        assert_eq!(start.elapsed() >= GRACE, !fails);
        assert_eq!(kept.status().health, Health::Snapshot);
        assert_eq!((kept.status().services, kept.status().instances), (1, 2));
        while names.next().await.expect("it lives").services.len() != 2 {}
        led.names(&["1", "2", "3"]);
        let live = next(&mut follower).await;
        assert_eq!((ports(&live), &live.state), (vec![1, 2, 3], &State::Live));
        while names.next().await.expect("it lives").services.len() != 3 {}
        // As a crash: nothing is closed, so the file keeps what the first process wrote.
    }
}

/// What a process leaves whose registry named these.
async fn snapshot_of(folder: &std::path::Path, ports: &[u16]) {
    let led = Led::new();
    let store = Store::open(folder, "r");
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
    let mut follower = kept.follow(query(), policy());
    let mut names = kept.catalog(CatalogQuery { tag: None }, policy()).expect("it has one");
    led.names(
        &ports
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    next(&mut follower).await;
    names.next().await;
    kept.close().await;
    // Those who follow end before the process does, which is no reason to forget.
    drop((follower, names));
    kept.close().await;
}

#[tokio::test]
async fn a_snapshot_that_is_too_old_serves_nobody_and_one_that_becomes_so_ends() {
    let folder = tempfile::tempdir().unwrap();
    snapshot_of(folder.path(), &[1]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let follow = |age: Duration| {
        let led = Led::new();
        let store = Store::open(folder.path(), "r");
        let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
        led.fails("gone");
        kept.follow(query(), aged(age))
    };
    let mut old = follow(Duration::from_millis(10));
    assert!(matches!(next(&mut old).await.state, State::Unheard { .. }));
    let mut ageing = follow(Duration::from_secs(2));
    let first = next(&mut ageing).await;
    assert!(matches!(first.state, State::Snapshot { .. }) && ports(&first) == [1], "{first:?}");
    let last = next(&mut ageing).await;
    assert!(matches!(last.state, State::Unheard { .. }) && last.endpoints.is_empty(), "{last:?}");
}

#[tokio::test]
async fn a_stale_set_serves_for_ever_or_for_as_long_as_it_may() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut follower = kept.follow(query(), aged(Duration::from_millis(500)));
    let mut for_ever = kept.follow(query(), policy());
    led.says(&[1]);
    next(&mut follower).await;
    led.fails("gone");
    let stale = next(&mut follower).await;
    assert_eq!(ports(&stale), [1]);
    let over = next(&mut follower).await;
    let State::Stale { reason, .. } = &over.state else { panic!("{over:?}") };
    assert!(over.endpoints.is_empty() && reason.contains("stale.max_age"), "{reason}");
    assert_eq!(ports(&*next(&mut for_ever).await), [1]);
    led.says(&[1]);
    assert_eq!(ports(&*next(&mut follower).await), [1], "and back");
}

#[tokio::test]
async fn without_a_guard_every_answer_is_believed() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let (alive, _sockets) = listening(9);
    let mut off = kept.follow(query(), Policy { loss_guard: None, ..policy() });
    let strict = LossGuard { max_removed: Share::new(0).unwrap(), ..LossGuard::default() };
    let mut strict = kept.follow(query(), Policy { loss_guard: Some(strict), ..policy() });
    led.says(&alive);
    next(&mut off).await;
    next(&mut strict).await;
    led.says(&alive[1..]);
    assert_eq!(ports(&*next(&mut off).await), alive[1..]);
    assert_eq!(held(&*next(&mut strict).await), alive[..1]);
}

#[tokio::test]
async fn a_first_answer_without_anything_does_not_wipe_out_what_an_earlier_run_found() {
    let folder = tempfile::tempdir().unwrap();
    let (alive, _sockets) = listening(1);
    snapshot_of(folder.path(), &alive).await;
    let led = Led::new();
    let store = Store::open(folder.path(), "r");
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
    let mut follower = kept.follow(query(), policy());
    let mut names = kept.catalog(CatalogQuery { tag: None }, policy()).expect("it has one");
    let mut off = kept.follow(query(), Policy { loss_guard: None, ..policy() });
    // Both were started anew together, and the registry remembers nothing.
    led.names(&[]);
    let first = next(&mut follower).await;
    assert_eq!((ports(&first), held(&first), &first.state), (alive.clone(), alive, &State::Live));
    assert_eq!(names.next().await.expect("it lives").services.len(), 1);
    assert_eq!(ports(&*next(&mut off).await), [0u16; 0], "without a guard it is believed");
    assert_eq!(ports(&*next(&mut follower).await), [0u16; 0], "confirmed");
    assert_eq!(names.next().await.expect("it lives").services.len(), 0);
}

#[tokio::test]
async fn what_was_too_old_to_serve_is_not_held_when_the_registry_comes_back_without_it() {
    let (alive, _sockets) = listening(2);
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut follower = kept.follow(query(), aged(Duration::ZERO));
    led.says(&alive);
    assert_eq!(ports(&*next(&mut follower).await), alive);
    led.fails("gone");
    assert_eq!(ports(&*next(&mut follower).await), [0u16; 0], "`stale = false`");
    led.says(&[]);
    let back = next(&mut follower).await;
    assert_eq!((ports(&back), &back.state), (vec![], &State::Live));
    led.says(&alive);
    assert_eq!(ports(&*next(&mut follower).await), alive);
}

#[tokio::test]
async fn who_begins_to_follow_what_is_stale_already_keeps_to_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let led = Led::new();
    let store = Store::open(folder.path(), "r");
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
    let mut first = kept.follow(query(), policy());
    led.says(&[1]);
    next(&mut first).await;
    led.fails("gone");
    next(&mut first).await;
    let mut second = kept.follow(query(), aged(Duration::from_secs(1)));
    assert_eq!(ports(&*next(&mut second).await), [1]);
    assert_eq!(ports(&*next(&mut second).await), [0u16; 0], "too old by now");
}

#[tokio::test]
async fn a_registry_is_whole_once_every_set_was_heard_of_and_stays_so() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut follower = kept.follow(query(), policy());
    let mut names = kept.catalog(CatalogQuery { tag: None }, policy()).expect("it has one");
    assert_eq!(kept.awaited(), 0, "of a registry that says nothing, nothing is awaited");
    led.says(&[1]);
    assert_eq!(kept.awaited(), 2, "told, and not yet taken over");
    next(&mut follower).await;
    assert_eq!(kept.awaited(), 1, "one of two");
    led.names(&["1"]);
    names.next().await;
    assert_eq!(kept.awaited(), 0);
    let _late = kept.follow(query(), policy());
    assert_eq!(kept.awaited(), 0, "a service that comes later makes nobody wait");
}

#[tokio::test]
async fn thousands_that_are_dead_go_in_a_few_sets() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut follower = kept.follow(query(), policy());
    let many = (0..3000u32).map(|n| {
        let [_, _, high, low] = n.to_be_bytes();
        let address = HostPort { host: format!("127.9.{high}.{low}"), port: 9 };
        Endpoint { address, ..endpoint(9) }
    });
    led.found.send_replace(Arc::new(Found::live(many.collect())));
    while next(&mut follower).await.endpoints.is_empty() {}
    led.says(&[]);
    let mut sets = 0;
    while !next(&mut follower).await.endpoints.is_empty() {
        sets += 1;
    }
    assert!(sets < 100, "{sets} sets");
}

#[tokio::test]
async fn a_name_stays_while_its_instances_are_held_and_goes_with_the_last_of_them() {
    let led = Led::new();
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, None);
    let mut names = kept.catalog(CatalogQuery { tag: None }, policy()).expect("it has one");
    let mut follower = kept.follow(query(), policy());
    let (alive, _sockets) = listening(5);
    led.says(&alive);
    let tell = |services: &[&str]| {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        led.names.send_replace(Arc::new(Names { services, state: State::Live }));
    };
    tell(&["a", "b", "c", "s"]);
    while next(&mut follower).await.endpoints.len() != 5 {}
    while names.next().await.expect("it lives").services.len() != 4 {}
    // One name of four, so no loss of names in bulk; but all of its instances at once.
    let start = Instant::now();
    tell(&["a", "b", "c"]);
    led.says(&[]);
    assert_eq!(held(&*next(&mut follower).await).len(), 5);
    let follow = tokio::spawn(async move {
        while !next(&mut follower).await.endpoints.is_empty() {}
        // A follower lives as long as its service's name.
        follower
    });
    let list = names.next().await.expect("it lives");
    assert_eq!((list.services.len(), start.elapsed() >= HOLD), (3, true), "{list:?}");
    drop(follow.await.expect("no panic"));

    // A name without instances goes at once.
    tell(&["a", "b"]);
    assert_eq!(names.next().await.expect("it lives").services.len(), 2);
}

#[tokio::test]
async fn a_gateway_that_was_restarted_goes_on_from_what_it_knew_a_moment_ago() {
    let folder = tempfile::tempdir().unwrap();
    let (alive, _sockets) = listening(6);
    snapshot_of(folder.path(), &alive).await;
    let led = Led::new();
    let store = Store::open(folder.path(), "r");
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
    let mut follower = kept.follow(query(), policy());
    led.says(&alive[..1]);
    let first = next(&mut follower).await;
    assert_eq!((ports(&first), held(&first)), (alive.clone(), alive[1..].to_vec()));
}

#[tokio::test]
async fn whoever_comes_when_the_registry_is_known_to_be_away_is_not_kept_waiting() {
    let folder = tempfile::tempdir().unwrap();
    snapshot_of(folder.path(), &[1, 2]).await;
    let led = Led::new();
    let store = Store::open(folder.path(), "r");
    let kept = Kept::new("r", Arc::clone(&led) as Arc<dyn Registry>, Some(store));
    let mut names = kept.catalog(CatalogQuery { tag: None }, policy()).expect("it has one");
    assert_eq!(names.next().await.expect("it lives").state, State::Pending);
    let start = Instant::now();
    let mut follower = kept.follow(query(), policy());
    // Only the service's question has failed; the catalog's waits for its turn.
    led.found.send_modify(|found| *found = Arc::new(found.staled("refused").expect("it was not")));
    while !matches!(next(&mut follower).await.state, State::Snapshot { .. }) {}
    let list = names.next().await.expect("it lives");
    assert!(matches!(list.state, State::Snapshot { .. }), "{list:?}");
    assert!(start.elapsed() < GRACE);
}
