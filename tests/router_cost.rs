//! Finding a route allocates nothing, and costs the same among 1,000 routes as with one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use frontgate::config::model::{Condition, HostPattern, PathPattern, Segment};
use frontgate::router::{Ask, Entry, Outcome, Router};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts this thread's allocations.
struct Counting;

#[expect(unsafe_code, reason = "only a global allocator sees every allocation")]
// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more.
        ALLOCATIONS.try_with(|count| count.set(count.get() + 1)).ok();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What tells the routes of a router apart.
#[derive(Clone, Copy, Debug)]
enum By {
    Path,
    Host,
    Wildcard,
}

impl By {
    /// The route with this number.
    fn entry(self, number: usize) -> Entry<usize> {
        let literal = |text: String| Segment::Literal(text);
        let name = format!("service-{number:04}");
        let (hosts, first) = match self {
            Self::Path => (Vec::new(), name),
            Self::Host => (vec![HostPattern::Exact(format!("{name}.example.com"))], "api".into()),
            Self::Wildcard => {
                (vec![HostPattern::Suffix(format!(".{name}.example.com"))], "api".into())
            }
        };
        Entry {
            hosts,
            paths: vec![PathPattern::Prefix(vec![literal(first), Segment::Capture("id".into())])],
            methods: vec![Method::GET],
            headers: vec![(HeaderName::from_static("x-canary"), Condition::Present)],
            query: vec![("v".to_owned(), Condition::Equals("a b".to_owned()))],
            listen: vec![0],
            priority: 0,
            target: number,
        }
    }

    /// A host and a path for that route.
    fn request(self, number: usize) -> (String, String) {
        let name = format!("service-{number:04}");
        match self {
            Self::Path => ("Shop.example.com:80".into(), format!("/{name}/7/lines")),
            Self::Host => (format!("{name}.Example.com:80"), "/api/7/lines".into()),
            Self::Wildcard => (format!("shop.{name}.Example.com:80"), "/api/7/lines".into()),
        }
    }
}

struct Bench {
    router: Router<usize>,
    requests: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Bench {
    fn new(by: By, routes: usize) -> Self {
        let (router, conflicts) = Router::build((0..routes).map(|at| by.entry(at)).collect());
        assert_eq!(conflicts, []);
        let name = HeaderName::from_static("x-canary");
        Self {
            router,
            requests: (0..routes).map(|at| by.request(at)).collect(),
            headers: [(name, HeaderValue::from_static("1"))].into_iter().collect(),
        }
    }

    fn find(&self, host: &str, path: &str) -> Outcome<'_, usize> {
        self.router.find(&Ask {
            host,
            path,
            query: Some("w=1&v=a%20b"),
            method: &Method::HEAD,
            headers: &self.headers,
            listener: 0,
        })
    }

    /// As many lookups as there are requests in the largest bench.
    fn round(&self) -> Duration {
        let began = Instant::now();
        for (host, path) in self.requests.iter().cycle().take(ROUTES) {
            black_box(self.find(black_box(host), black_box(path)));
        }
        began.elapsed()
    }
}

const ROUTES: usize = 1000;

#[test]
fn finding_a_route_allocates_nothing() {
    for by in [By::Path, By::Host, By::Wildcard] {
        let bench = Bench::new(by, ROUTES);
        for (number, (host, path)) in bench.requests.iter().enumerate() {
            let before = ALLOCATIONS.get();
            let found = bench.find(host, path);
            let missed = bench.find("h", "/nothing/here");
            assert_eq!(ALLOCATIONS.get() - before, 0, "{by:?} {host} {path}");
            assert!(matches!(found, Outcome::Found { target, path: 0 } if *target == number));
            assert_eq!(missed, Outcome::None);
        }
    }
}

#[test]
fn a_thousand_routes_cost_as_much_as_one() {
    for by in [By::Path, By::Host, By::Wildcard] {
        let (one, many) = (Bench::new(by, 1), Bench::new(by, ROUTES));
        // Alternating, so that a busy machine slows both; the median, so that a pause counts for nothing.
        let mut ratios: Vec<f64> = (0..61)
            .map(|_| (one.round(), many.round()))
            .map(|(o, m)| m.div_duration_f64(o))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        // One by one it would be hundreds of times as much; what is left is that more of it is not in the cache.
        assert!(ratio < 3.0, "1,000 routes by {by:?} cost {ratio:.2} times one");
    }
}
