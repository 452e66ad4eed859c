//! The contract's section "Matching", rule by rule, and against a plain reading of it.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::config::model::Segment;

mod agreement;

/// A route as written: `"GET|POST shop.example.com,*.a.com /orders/*,~^/x"`; `*` for any method or host.
fn entry(line: &str) -> Entry<String> {
    let [methods, hosts, paths] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let list = |text: &str, by| match text {
        "*" => Vec::new(),
        _ => text.split(by).map(str::to_owned).collect(),
    };
    Entry {
        hosts: list(hosts, ',').iter().map(|host| host_pattern(host)).collect(),
        paths: list(paths, ',').iter().map(|path| path_pattern(path)).collect(),
        methods: list(methods, '|').iter().map(|method| method.parse().unwrap()).collect(),
        headers: Vec::new(),
        query: Vec::new(),
        listen: Vec::new(),
        priority: 0,
        target: line.to_owned(),
    }
}

fn host_pattern(text: &str) -> HostPattern {
    match text.strip_prefix('*') {
        Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
        None => HostPattern::Exact(text.to_owned()),
    }
}

fn path_pattern(text: &str) -> PathPattern {
    let segments = |text: &str| -> Vec<Segment> {
        let segment = |text: &str| match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(name) => Segment::Capture(name.to_owned()),
            None => Segment::Literal(text.to_owned()),
        };
        text.split('/').skip(1).map(segment).collect()
    };
    match (text.strip_prefix('~'), text.strip_suffix("/*")) {
        (Some(regex), _) => PathPattern::Regex(regex.to_owned()),
        (None, Some(prefix)) => PathPattern::Prefix(segments(prefix)),
        (None, None) => PathPattern::Exact(segments(text)),
    }
}

fn router(lines: &[&str]) -> Router<String> {
    Router::build(lines.iter().map(|line| entry(line)).collect()).0
}

/// Asks `"GET host/path?query"` without headers on listener 0; answers the entry's line, `405 Allow`, or `404`.
fn ask(router: &Router<String>, request: &str) -> String {
    ask_with(router, request, &HeaderMap::new(), 0)
}

fn ask_with(
    router: &Router<String>,
    request: &str,
    headers: &HeaderMap,
    listener: usize,
) -> String {
    let (method, target) = request.split_once(' ').unwrap();
    let (host, target) = target.split_at(target.find('/').unwrap());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let method: Method = method.parse().unwrap();
    match router.find(&Ask { host, path, query, method: &method, headers, listener }) {
        Outcome::Found { target, .. } => target.clone(),
        Outcome::WrongMethod(allow) => format!("405 {allow}"),
        Outcome::None => "404".to_owned(),
    }
}

/// Each line of `lines` is a route, each pair a request and the route (by its index, none is 404) that it finds.
fn check(lines: &[&str], requests: &[(&str, Option<usize>)]) {
    let router = router(lines);
    for (request, wanted) in requests {
        let wanted = wanted.map_or("404", |at| lines[at]);
        assert_eq!(ask(&router, request), wanted, "{request} among {lines:?}");
    }
}

#[test]
fn a_prefix_matches_at_segment_boundaries_only() {
    check(
        &["* * /orders/*"],
        &[
            ("GET h/orders", Some(0)),
            ("GET h/orders/", Some(0)),
            ("GET h/orders/1/2", Some(0)),
            ("GET h/orders//", Some(0)),
            ("GET h/ordersX", None),
            ("GET h/order", None),
            ("GET h/", None),
            ("GET h/Orders", None),
            ("GET h//orders", None),
        ],
    );
}

#[test]
fn an_exact_path_matches_nothing_longer() {
    check(
        &["* * /orders", "* * /"],
        &[
            ("GET h/orders", Some(0)),
            ("GET h/orders/", None),
            ("GET h/orders/1", None),
            ("GET h/", Some(1)),
            ("GET h//", None),
        ],
    );
    check(&["* * /*"], &[("GET h/", Some(0)), ("GET h/a/b", Some(0)), ("GET h//", Some(0))]);
}

#[test]
fn the_root_is_found_however_it_is_written_down() {
    let mut root = entry("* * /");
    root.paths = vec![PathPattern::Exact(Vec::new())];
    let (router, _) = Router::build(vec![root]);
    assert_eq!(ask(&router, "GET h/"), "* * /");
    assert_eq!(ask(&router, "GET h//"), "404");
}

#[test]
fn a_capture_matches_one_segment_that_is_not_empty() {
    check(
        &["* * /orders/{id}", "* * /orders/{id}/lines"],
        &[
            ("GET h/orders/7", Some(0)),
            ("GET h/orders/", None),
            ("GET h/orders/7/", None),
            ("GET h/orders/7/lines", Some(1)),
            ("GET h/orders//lines", None),
        ],
    );
}

#[test]
fn paths_are_preferred_segment_by_segment() {
    check(
        &["* * /a/*", "* * /a/{x}", "* * /a/{x}/*", "* * /{y}/b", "* * /a/b", "* * /*", "* * ~^/z"],
        &[
            ("GET h/a/b", Some(4)),
            ("GET h/a/c", Some(1)),
            ("GET h/a/c/d", Some(2)),
            ("GET h/c/b", Some(3)),
            ("GET h/a", Some(0)),
            ("GET h/a/", Some(0)),
            ("GET h/z", Some(5)),
        ],
    );
    // A literal first segment is better, whatever follows.
    check(&["* * /{x}/b/c", "* * /a/*"], &[("GET h/a/b/c", Some(1)), ("GET h/b/b/c", Some(0))]);
}

#[test]
fn an_exact_path_is_better_than_the_prefix_that_also_takes_it() {
    check(&["* * /a/*", "* * /a"], &[("GET h/a", Some(1)), ("GET h/a/", Some(0))]);
}

#[test]
fn regexes_come_last_in_file_order_and_are_searched() {
    check(
        &[r"* * ~^/orders/\d+$", "* * ~orders", "* * /orders/7", "* x.com ~7"],
        &[
            ("GET h/orders/7", Some(2)),
            ("GET h/orders/8", Some(0)),
            ("GET h/my/orders/8", Some(1)),
            ("GET x.com/orders/7", Some(3)),
            ("GET h/x", None),
        ],
    );
}

#[test]
fn file_order_of_regexes_beats_the_number_of_conditions() {
    check(&["* * ~a", "GET * ~a"], &[("GET h/a", Some(0))]);
}

#[test]
fn hosts_are_exact_then_the_longest_wildcard_then_any() {
    check(
        &["* * /*", "* *.com /*", "* *.example.com /*", "* shop.example.com /*"],
        &[
            ("GET shop.example.com/", Some(3)),
            ("GET www.example.com/", Some(2)),
            ("GET a.b.example.com/", Some(2)),
            ("GET example.com/", Some(1)),
            ("GET notexample.com/", Some(1)),
            ("GET com/", Some(0)),
            ("GET /", Some(0)),
        ],
    );
}

#[test]
fn a_wildcard_does_not_take_the_apex() {
    check(
        &["* *.example.com /*"],
        &[
            ("GET example.com/", None),
            ("GET .example.com/", None),
            ("GET xexample.com/", None),
            ("GET x.example.com/", Some(0)),
        ],
    );
}

#[test]
fn case_port_and_final_dot_of_a_host_are_ignored() {
    check(
        &["* shop.example.com /*", "* *.Wild.com. /*", "* [2001:db8::A] /*", "* ::1 /*"],
        &[
            ("GET SHOP.Example.com/", Some(0)),
            ("GET shop.example.com:8080/", Some(0)),
            ("GET shop.example.com./", Some(0)),
            ("GET shop.example.com.:80/", Some(0)),
            ("GET a.WILD.com.:80/", Some(1)),
            ("GET [2001:DB8::a]:80/", Some(2)),
            ("GET [2001:db8::a]/", Some(2)),
            ("GET [::1]:80/", Some(3)),
            ("GET [0:0::0001]/", Some(3)),
        ],
    );
}

#[test]
fn a_host_of_any_length_and_alphabet_is_safe_to_ask() {
    let router = router(&["* *.b /*", "* *.bbb.b /*", "* b /*"]);
    for host in ["ü.b", "üü", "ü.bbb.b", "[", "[]", ":", ".", "..", "[::1", &"a.".repeat(5000)]
    {
        ask(&router, &format!("GET {host}/"));
    }
    assert_eq!(ask(&router, "GET ü.bbb.b/"), "* *.bbb.b /*");
}

#[test]
fn a_host_beats_a_path_and_a_priority_beats_a_host() {
    let mut first = entry("* * /deep/er/*");
    first.priority = 1;
    let lines = ["* * /deep/*", "* shop.com /*"];
    let mut entries: Vec<_> = lines.iter().map(|line| entry(line)).collect();
    entries.push(first);
    let (router, _) = Router::build(entries);
    assert_eq!(ask(&router, "GET shop.com/deep/x"), lines[1]);
    assert_eq!(ask(&router, "GET shop.com/deep/er"), "* * /deep/er/*");
    assert_eq!(ask(&router, "GET other/deep/x"), lines[0]);
}

#[test]
fn get_includes_head_and_methods_have_a_case() {
    check(&["GET * /a"], &[("GET h/a", Some(0)), ("HEAD h/a", Some(0))]);
    let router = router(&["GET * /a", "HEAD * /b"]);
    assert_eq!(ask(&router, "get h/a"), "405 GET, HEAD");
    assert_eq!(ask(&router, "GET h/b"), "405 HEAD");
}

#[test]
fn a_wrong_method_is_answered_with_every_method_that_would_do() {
    let router = router(&["GET * /a", "POST|GET * /*", "DELETE h /a", "PUT x /a", "PATCH * /b"]);
    assert_eq!(ask(&router, "OPTIONS h/a"), "405 DELETE, GET, HEAD, POST");
    assert_eq!(ask(&router, "POST h/a"), "POST|GET * /*");
    assert_eq!(ask(&router, "OPTIONS y/c"), "405 POST, GET, HEAD");
}

#[test]
fn an_unmet_condition_is_not_a_wrong_method() {
    let mut canary = entry("GET * /a");
    canary.headers.push((HeaderName::from_static("x-canary"), Condition::Present));
    let (router, _) = Router::build(vec![canary]);
    assert_eq!(ask(&router, "POST h/a"), "404");
}

#[test]
fn the_next_best_is_tried_when_conditions_fail() {
    let mut conditional = entry("* shop.com /a/b");
    conditional.query.push(("v".to_owned(), Condition::Equals("2".to_owned())));
    let lines = ["* shop.com /a/*", "* * /*"];
    let (router, _) = Router::build(vec![conditional, entry(lines[0]), entry(lines[1])]);
    assert_eq!(ask(&router, "GET shop.com/a/b?v=2"), "* shop.com /a/b");
    assert_eq!(ask(&router, "GET shop.com/a/b"), lines[0]);
    assert_eq!(ask(&router, "GET shop.com/c"), lines[1]);
}

#[test]
fn more_conditions_are_better_and_then_file_order() {
    let mut listening = entry("GET * /a");
    listening.listen = vec![1];
    listening.target = "both".to_owned();
    let (router, _) = Router::build(vec![entry("* * /a"), entry("GET * /a"), listening]);
    assert_eq!(ask_with(&router, "GET h/a", &HeaderMap::new(), 1), "both");
    assert_eq!(ask_with(&router, "GET h/a", &HeaderMap::new(), 0), "GET * /a");
    assert_eq!(ask_with(&router, "POST h/a", &HeaderMap::new(), 1), "* * /a");
    check(&["GET|PUT * /a", "GET|POST * /a"], &[("GET h/a", Some(0)), ("POST h/a", Some(1))]);
}

#[test]
fn header_conditions_hold_on_any_value() {
    let condition = |text: &str| match text {
        "present" => Condition::Present,
        "absent" => Condition::Absent,
        _ => match text.strip_prefix('~') {
            Some(regex) => Condition::Matches(regex.to_owned()),
            None => Condition::Equals(text.to_owned()),
        },
    };
    for (wanted, values, met) in [
        ("yes", &["yes"][..], true),
        ("yes", &["no", "yes"], true),
        ("yes", &["Yes"], false),
        ("yes", &["yes, no"], false),
        ("yes", &[], false),
        ("~a|ab", &["ab"], true),
        ("~a|ab", &["abc"], false),
        ("~a|ab", &["x", "a"], true),
        ("~.*", &[], false),
        ("present", &[""], true),
        ("present", &[], false),
        ("absent", &[], true),
        ("absent", &[""], false),
    ] {
        let mut route = entry("* * /*");
        let name = HeaderName::from_static("x-canary");
        route.headers.push((name.clone(), condition(wanted)));
        let (router, _) = Router::build(vec![route]);
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        let found = ask_with(&router, "GET h/", &headers, 0) != "404";
        assert_eq!(found, met, "{wanted} of {values:?}");
    }
}

#[test]
fn query_conditions_hold_on_decoded_names_and_values() {
    for (name, condition, query, met) in [
        ("v", Condition::Equals("2".into()), "v=2", true),
        ("v", Condition::Equals("2".into()), "a=1&v=%32", true),
        ("v", Condition::Equals("2".into()), "%76=2", true),
        ("v", Condition::Equals("2".into()), "v=1&v=2", true),
        ("v", Condition::Equals("2".into()), "v=22", false),
        ("v", Condition::Equals("a b".into()), "v=a+b", true),
        ("v", Condition::Equals("a+b".into()), "v=a%2Bb", true),
        ("v", Condition::Equals(String::new()), "v", true),
        ("v", Condition::Equals(String::new()), "v=", true),
        ("v", Condition::Equals("é".into()), "v=%C3%A9", true),
        ("v", Condition::Matches("a b|é".into()), "v=a%20b", true),
        ("v", Condition::Matches("a b|é".into()), "v=%C3%A9", true),
        ("v", Condition::Matches("a".into()), "v=ab", false),
        ("v", Condition::Present, "w=1&v", true),
        ("v", Condition::Present, "w=v", false),
        ("v", Condition::Absent, "w=v", true),
        ("v", Condition::Absent, "v", false),
        ("", Condition::Present, "&", false),
    ] {
        let mut route = entry("* * /*");
        route.query.push((name.to_owned(), condition.clone()));
        let (router, _) = Router::build(vec![route]);
        let found = ask(&router, &format!("GET h/?{query}")) != "404";
        assert_eq!(found, met, "{name} {condition:?} of {query}");
    }
}

#[test]
fn spelling_a_path_otherwise_finds_the_same_route() {
    check(
        &["* * /orders/*", "* * /a%2Fb", "* * /ü", "* * ~^/secret$", "* * /@me"],
        &[
            ("GET h/%6frders", Some(0)),
            ("GET h/%6Frders/1", Some(0)),
            ("GET h/orders%2F1", None),
            ("GET h/a%2fb", Some(1)),
            ("GET h/a/b", None),
            ("GET h/%c3%bc", Some(2)),
            ("GET h/%73ecret", Some(3)),
            ("GET h/%40me", Some(4)),
            ("GET h/%256frders", None),
        ],
    );
}

#[test]
fn the_path_that_matched_is_told() {
    let (router, _) = Router::build(vec![entry("* * /a,/b/*,~^/c")]);
    for (path, wanted) in [("/a", 0), ("/b/x", 1), ("/c", 2)] {
        let found = router.find(&Ask {
            host: "h",
            path,
            query: None,
            method: &Method::GET,
            headers: &HeaderMap::new(),
            listener: 0,
        });
        assert!(
            matches!(found, Outcome::Found { path, .. } if path == wanted),
            "{path}: {found:?}"
        );
    }
}

#[test]
fn what_is_no_path_finds_nothing() {
    let router = router(&["* * /*", "* * ~.*"]);
    let headers = HeaderMap::new();
    for path in ["", "a", "**", "*/"] {
        let ask = Ask {
            host: "h",
            path,
            query: None,
            method: &Method::GET,
            headers: &headers,
            listener: 0,
        };
        assert_eq!(router.find(&ask), Outcome::None);
    }
}

fn conflicts(lines: &[&str]) -> Vec<Conflict> {
    Router::build(lines.iter().map(|line| entry(line)).collect()).1
}

#[test]
fn entries_that_cannot_be_told_apart_are_reported() {
    let ambiguous = |first, second| vec![Conflict::Ambiguous { first, second }];
    assert_eq!(conflicts(&["* * /a", "* * /b", "* * /a"]), ambiguous(0, 2));
    assert_eq!(conflicts(&["* * /{a}/*", "* * /{b}/*"]), ambiguous(0, 1));
    assert_eq!(conflicts(&["* a.com /*", "* A.com. /*"]), ambiguous(0, 1));
    assert_eq!(conflicts(&["GET * /a", "GET * /%61"]), ambiguous(0, 1));
    assert_eq!(conflicts(&["GET|POST * /a", "POST|GET * /a"]), ambiguous(0, 1));
    assert_eq!(conflicts(&["* * ~a", "* * ~a"]), ambiguous(0, 1));
    assert_eq!(conflicts(&["* * /a,/b", "* * /b"]), ambiguous(0, 1));
}

#[test]
fn entries_that_are_never_reached_are_reported() {
    let unreachable = |entry, by| vec![Conflict::Unreachable { entry, by }];
    assert_eq!(conflicts(&["GET|POST * /a", "POST * /a"]), unreachable(1, 0));
    assert_eq!(conflicts(&["* * /a", "* * /b", "* * /a,/b"]), unreachable(2, 0));
    assert_eq!(conflicts(&["* * ~a", "* * /*"]), unreachable(0, 1));
    assert_eq!(conflicts(&["* * ~a", "GET * ~a"]), unreachable(1, 0));
    let above = |line: &str| Entry { priority: 1, ..entry(line) };
    for (better, worse) in [
        ("* * /*", "GET a.com /a/b"),
        ("* *.a.com /{x}/*", "* *.b.a.com /a/{y}"),
        ("GET * /a/*", "HEAD * /a"),
    ] {
        let (_, found) = Router::build(vec![entry(worse), above(better)]);
        assert_eq!(found, unreachable(0, 1), "{worse} under {better}");
    }
}

#[test]
fn reachable_entries_are_not_reported() {
    for lines in [
        &["* * /a", "GET * /a"][..],
        &["GET * /a", "POST * /a"],
        &["GET * /a", "* * /a"],
        &["* * /*", "* * /a", "* * /{x}"],
        &["* * /a,/b", "* * /b,/c"],
        &["* a.com /*", "* * ~a"],
        &["* * /a/*", "* * /a"],
        &["* * /a/{x}", "* * /a/{x}/*"],
        &["GET * ~a", "* * ~a"],
        &["* *.a.com /*", "* a.com /*", "* * /*"],
    ] {
        assert_eq!(conflicts(lines), [], "{lines:?}");
    }
    let above = |line: &str| Entry { priority: 1, ..entry(line) };
    for (better, worse) in [
        ("* *.a.com /*", "* a.com /*"),
        ("GET * /*", "* * /*"),
        ("* * /a/{x}", "* * /a/*"),
        ("* * /{x}/*", "* * /*"),
        ("* * /{x}", "* * /"),
    ] {
        let (_, found) = Router::build(vec![entry(worse), above(better)]);
        assert_eq!(found, [], "{worse} under {better}");
    }
}

#[test]
fn conditions_on_values_decide_what_is_reached() {
    let equals = |value: &str| Some(Condition::Equals(value.to_owned()));
    let present = Some(Condition::Present);
    let absent = Some(Condition::Absent);
    for (better, worse, reached) in [
        (None, equals("1"), false),
        (present.clone(), equals("1"), false),
        (present.clone(), present.clone(), false),
        (present.clone(), absent.clone(), true),
        (present.clone(), None, true),
        (absent, present.clone(), true),
        (equals("1"), equals("2"), true),
        (equals("1"), present, true),
        (equals("1"), equals("1"), false),
    ] {
        for in_query in [false, true] {
            let with = |condition: &Option<Condition>, priority| {
                let mut entry = Entry { priority, ..entry("* * /a") };
                let condition = condition.clone().into_iter();
                if in_query {
                    entry.query = condition.map(|it| ("v".to_owned(), it)).collect();
                } else {
                    let name = HeaderName::from_static("x-v");
                    entry.headers = condition.map(|it| (name.clone(), it)).collect();
                }
                entry
            };
            let (_, found) = Router::build(vec![with(&worse, 0), with(&better, 1)]);
            assert_eq!(found.is_empty(), reached, "{worse:?} under {better:?}: {found:?}");
        }
    }
}

#[test]
fn listeners_decide_what_is_reached() {
    for (better, worse, reached) in [
        (&[][..], &[0][..], false),
        (&[0, 1], &[1], false),
        (&[0], &[0, 1], true),
        (&[0], &[], true),
        (&[0], &[1], true),
    ] {
        let with = |listen: &[usize], priority| Entry {
            listen: listen.to_vec(),
            priority,
            ..entry("* * /a")
        };
        let (_, found) = Router::build(vec![with(worse, 0), with(better, 1)]);
        assert_eq!(found.is_empty(), reached, "{worse:?} under {better:?}: {found:?}");
    }
}

#[test]
fn ten_thousand_entries_under_a_thousand_are_checked_at_once() {
    let number = |at: usize, priority| Entry { priority, ..entry(&format!("* * /service-{at}/*")) };
    let written = (0..1000).map(|at| number(at, 0));
    let entries = written.chain((0..10_000).map(|at| number(at, i64::MIN))).collect();
    let began = std::time::Instant::now();
    let (_, found) = Router::build(entries);
    assert_eq!(found.len(), 1000);
    // One by one it would be ten million comparisons.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_bad_regex_is_reported_and_its_entry_takes_nothing() {
    let (router, found) = Router::build(vec![entry("* * /a,~(")]);
    assert!(matches!(&found[..], [Conflict::Regex { entry: 0, .. }]), "{found:?}");
    assert_eq!(ask(&router, "GET h/a"), "404");
    assert!(check_regex("(").is_err());
}

#[test]
fn the_server_as_a_whole_is_what_takes_everything() {
    let star = |lines: &[&str]| {
        let headers = HeaderMap::new();
        let ask = Ask {
            host: "a",
            path: "*",
            query: None,
            method: &Method::OPTIONS,
            headers: &headers,
            listener: 0,
        };
        matches!(router(lines).find(&ask), Outcome::Found { .. })
    };
    assert!(star(&["* * /a/*", "* * /*"]));
    for line in ["* * /", "* * /a/*", "* * /{x}", "* * /{x}/*", "* * ~.*", "* b /*", "GET * /*"] {
        assert!(!star(&[line]), "{line}");
    }
}
