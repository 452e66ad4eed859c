//! What must not allocate, does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frontgate::assemble::{self, Parts, World};
use frontgate::config;
use frontgate::exchange::{Client, Ending, Exchange, Fate};
use frontgate::listen::{self, Share, Traffic};
use frontgate::observe::RouteNumbers;
use frontgate::refusal::Refusal;
use http::{HeaderValue, Method};

#[test]
fn a_warm_count_allocates_nothing() {
    let _alone = alone();
    let numbers = RouteNumbers::new(1);
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 1)), 0, 8080, false);
    let mut exchange = Exchange::begin(&client, Method::POST, HeaderValue::from_static("0123"));
    exchange.refusal = Some(Refusal::Upstream);
    exchange.retries.fill(1);
    let ending = |status| Ending { status, fate: Fate::Answered, took: Duration::from_millis(3) };
    let count = || {
        for status in 200..230 {
            numbers.began(0);
            numbers.ended(0, &exchange, ending(status));
        }
    };
    let cold = allocations(count);
    assert!(cold > 1, "the first round makes the part and its blocks, counted {cold}");
    assert_eq!(allocations(count), 0);
}

/// Requests that are counted; enough that one allocation for many requests shows as a fraction.
const REQUESTS: u64 = 2_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nserver: s\r\ndate: d\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello";

/// A GET like the one before costs a share of a block of ids and no more: 0.03. The bound leaves room for what the
/// control plane does meanwhile.
#[test]
fn a_warm_get_allocates_almost_nothing() {
    let each = of_a_warm_get("");
    assert!(each <= 0.5, "{each} allocations for each request");
}

/// With limits there is one more: the list of what the answer says of them.
#[test]
fn a_warm_get_of_a_limited_route_allocates_once() {
    let each = of_a_warm_get(
        "rate_limit = [{ rate = \"9000/s\" },\n\
         { rate = \"9000/s\", key = [\"client_ip\", \"host\", \"header:user-agent\"] }]\n",
    );
    assert!(each <= 1.5, "{each} allocations for each request");
}

/// Allocations for each warm GET of a route with these keys.
fn of_a_warm_get(route: &str) -> f64 {
    let _alone = alone();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in backend.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || while exchange(&mut connection, ANSWER).is_some() {});
        }
    });
    let running = serve(&format!(
        "workers = 1\nadmin = false\n[listen.web]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nservice = \"up\"\n{route}\
         [service.up]\nendpoints = [\"http://{address}\"]\n"
    ));
    let mut client = TcpStream::connect(running.address).unwrap();
    let mut get = || {
        client
            .write_all(b"GET /small HTTP/1.1\r\nhost: h\r\nuser-agent: u\r\naccept: */*\r\n\r\n")
            .unwrap();
        read(&mut client).unwrap()
    };
    for _ in 0..100 {
        get();
    }
    let before = EVERYWHERE.load(Relaxed);
    for _ in 0..REQUESTS {
        get();
    }
    (EVERYWHERE.load(Relaxed) - before) as f64 / REQUESTS as f64
}

/// A gateway within this process, so that its allocations are counted; it ends with the process.
struct Running {
    address: SocketAddr,
    _control: tokio::runtime::Runtime,
}

fn serve(config: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frontgate.toml");
    std::fs::write(&path, config).unwrap();
    let config = config::load(&path, &assemble::KINDS).unwrap().config;
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = control.enter();
    let bound = listen::bind(0, &config.listeners[0], 1).unwrap();
    let address = bound.listener.address;
    let world = World::new(config, Parts::default(), vec![("web".into(), address)]).unwrap();
    let share = Share {
        table: world.table.subscribe(),
        phase: world.phase.subscribe(),
        traffic: Arc::new(Traffic::new(Arc::clone(&world.connections), 1)),
        grace: Duration::from_secs(1),
    };
    let world = Arc::new(world);
    std::mem::forget(world.follow());
    std::mem::forget(listen::start(vec![bound], &share).unwrap());
    std::mem::forget(world);
    Running { address, _control: control }
}

/// Reads a message without a body of its own length, or with five bytes of it, and answers.
fn exchange(stream: &mut TcpStream, answer: &[u8]) -> Option<()> {
    read(stream)?;
    stream.write_all(answer).ok()
}

/// Reads until nothing is missing: the end of a head, and the body of an answer.
fn read(stream: &mut TcpStream) -> Option<()> {
    let mut buffer = [0; 2048];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]) {
            Ok(count @ 1..) => filled += count,
            Ok(0) | Err(_) => return None,
        }
        let end: &[u8] = if buffer.starts_with(b"HTTP") { b"\r\n\r\nhello" } else { b"\r\n\r\n" };
        if buffer[..filled].ends_with(end) {
            return Some(());
        }
    }
}

/// Tests of this file count for the whole process, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

static EVERYWHERE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts can be written in no other way")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        EVERYWHERE.fetch_add(1, Relaxed);
        // A thread that ends has no count any more.
        ALLOCATIONS.try_with(|count| count.set(count.get() + 1)).ok();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl Fn()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}
