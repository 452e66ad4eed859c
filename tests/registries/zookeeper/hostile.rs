//! What a real server cannot be made to say: from a raw socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use frontgate::registry::zookeeper::{Settings, Zookeeper};
use frontgate::registry::{Health, Registry, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::wait;
use super::super::{SOON, live, query};

const PING: i32 = 11;
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 12;
const ADD_WATCH: i32 = 106;

/// What to do about a request: its number, what it asks.
type Answer = fn(i32, i32) -> Option<Vec<u8>>;

struct Liar {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Liar {
    /// Opens sessions as a server does, answers pings, and answers the rest so; closes where there is no answer.
    async fn by(answer: Answer) -> Self {
        Self::serving(move |stream| async move { converse(stream, answer).await }).await
    }

    async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, connections }
    }

    fn registry(&self) -> Zookeeper {
        Zookeeper::new(&Settings::new("test", &self.address)).expect("good settings")
    }

    /// How many connections are made in a while, and how the registry is then.
    async fn meets(&self, registry: &Zookeeper) -> (usize, Health, Option<String>) {
        let found: Vec<_> = (0..20).map(|n| registry.watch(query(&format!("s{n}")))).collect();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(found.iter().all(|found| found.borrow().endpoints.is_empty()));
        let status = registry.status();
        let error = status.last_error.map(|(_, error)| error);
        (self.connections.load(SeqCst), status.health, error)
    }
}

async fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_i32().await.ok()?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("a short one");
    [&length.to_be_bytes(), body].concat()
}

/// An answer to a request: number, transaction, error and what follows.
fn answer(number: i32, error: i32, body: &[u8]) -> Vec<u8> {
    let head = [&number.to_be_bytes()[..], &7i64.to_be_bytes(), &error.to_be_bytes()].concat();
    framed(&[&head, body].concat())
}

async fn converse(mut stream: TcpStream, lie: Answer) -> Option<()> {
    frame(&mut stream).await?;
    let session =
        [&0i32.to_be_bytes()[..], &10_000i32.to_be_bytes(), &77i64.to_be_bytes()].concat();
    let password = [&16i32.to_be_bytes()[..], &[1; 16], &[0]].concat();
    stream.write_all(&framed(&[session, password].concat())).await.ok()?;
    loop {
        let request = frame(&mut stream).await?;
        let number = i32::from_be_bytes(request.get(..4)?.try_into().ok()?);
        let asks = i32::from_be_bytes(request.get(4..8)?.try_into().ok()?);
        let bytes = if asks == PING { answer(-2, 0, &[]) } else { lie(number, asks)? };
        stream.write_all(&bytes).await.ok()?;
    }
}

#[tokio::test]
async fn who_is_no_zookeeper_is_asked_less_than_once_a_second() {
    let silent = Liar::serving(|mut stream| async move {
        stream.read_to_end(&mut Vec::new()).await.ok().map(|_| ())
    })
    .await;
    let web = Liar::serving(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok()
    })
    .await;
    let negative = Liar::serving(|mut stream| async move {
        stream.write_all(&(-5i32).to_be_bytes()).await.ok()?;
        tokio::time::sleep(SOON).await;
        Some(())
    })
    .await;
    for liar in [silent, web, negative] {
        let registry = liar.registry();
        let (connections, health, error) = liar.meets(&registry).await;
        eprintln!("{connections} connections in 10 s");
        assert!((1..=10).contains(&connections), "{connections} connections in 10 s");
        assert_eq!(health, Health::Connecting);
        assert_eq!(error, Some(format!("no ZooKeeper answers at {}", liar.address)));
    }
}

#[tokio::test]
async fn a_session_that_leads_to_nothing_is_not_opened_again_and_again() {
    // Closes at the first question; answers another question; answers less than was asked for.
    let lies: [Answer; 3] = [
        |_, _| None,
        |number, _| Some(answer(number + 1000, 0, &[])),
        |number, asks| match asks {
            ADD_WATCH => Some(answer(number, 0, &[])),
            _ => Some(answer(number, 0, &[0, 0, 0, 9, 0, 0])),
        },
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        let liar = Liar::by(lie).await;
        let registry = liar.registry();
        let (connections, health, error) = liar.meets(&registry).await;
        eprintln!("lie {n}: {connections} connections in 10 s, {error:?}");
        // Two for each session that breaks; the first ones follow sooner than those after.
        assert!((1..=12).contains(&connections), "lie {n}: {connections} connections in 10 s");
        assert!(matches!(health, Health::Connecting | Health::Failed), "{health:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_said_so() {
    let liar = Liar::by(|number, asks| match asks {
        // As 3.5 does about what it does not know.
        ADD_WATCH => Some(answer(number, -6, &[])),
        _ => None,
    })
    .await;
    let registry = liar.registry();
    let (connections, health, error) = liar.meets(&registry).await;
    assert!((1..=10).contains(&connections), "{connections} connections in 10 s");
    assert_eq!(health, Health::Failed);
    let expected = "the server is older than ZooKeeper 3.6 and cannot tell what changes";
    assert_eq!(error.as_deref(), Some(expected));
}

#[tokio::test]
async fn events_about_nothing_of_ours_and_data_that_is_none_harm_nobody() {
    let children = || {
        let names = ["good", "odd"].map(|name| framed(name.as_bytes()));
        [&2i32.to_be_bytes()[..], &names.concat(), &[0; 68]].concat()
    };
    static CHILDREN: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    CHILDREN.get_or_init(children);
    let liar = Liar::by(|number, asks| {
        let event = |kind: i32, path: &str| {
            let body = [&kind.to_be_bytes()[..], &3i32.to_be_bytes(), &framed(path.as_bytes())];
            answer(-1, 0, &body.concat())
        };
        let events = ["", "/", "//", "/services", "/services//", "/services/s/", "/elsewhere/x"];
        let events: Vec<u8> =
            events.iter().flat_map(|path| (1..=4).flat_map(|kind| event(kind, path))).collect();
        Some(match asks {
            ADD_WATCH => answer(number, 0, &[]),
            GET_CHILDREN => [answer(number, 0, CHILDREN.get()?), events].concat(),
            GET_DATA => answer(number, 0, &[framed(b"10.0.0.1:1"), vec![0; 68]].concat()),
            _ => answer(number, -6, &[]),
        })
    })
    .await;
    let registry = liar.registry();
    let mut found = registry.watch(query("s"));
    live(&mut found, &["10.0.0.1:1"], SOON).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(found.borrow().state, State::Live);
    wait::until("well", SOON, async || (registry.status().health == Health::Ok).then_some(()))
        .await;
    assert_eq!(liar.connections.load(SeqCst), 1);
}
