//! What must not allocate, does not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use frontgate::exchange::{Client, Ending, Exchange, Fate};
use frontgate::observe::RouteNumbers;
use frontgate::refusal::Refusal;
use http::{HeaderValue, Method};

#[test]
fn a_warm_count_allocates_nothing() {
    let numbers = RouteNumbers::new(1);
    let client = Client {
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        peer_value: HeaderValue::from_static("127.0.0.1"),
        trusted: false,
        listener: 0,
        port_value: HeaderValue::from_static("8080"),
        tls: false,
    };
    let mut exchange = Exchange::begin(&client, Method::POST, HeaderValue::from_static("0123"));
    exchange.refusal = Some(Refusal::Upstream);
    exchange.retries = [1; 3];
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

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts can be written in no other way")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
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
