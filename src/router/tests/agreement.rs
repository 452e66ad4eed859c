//! The tree agrees with a plain reading of the contract: sort everything that matches, take the first.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::*;
use super::{host_pattern, path_pattern};
use crate::config::model::Segment;

#[derive(Clone, Debug)]
struct Request {
    host: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
    listener: usize,
}

impl Request {
    fn ask(&self) -> Ask<'_> {
        Ask {
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
            listener: self.listener,
        }
    }
}

const HOSTS: [&str; 8] =
    ["a.com", "b.a.com", "c.b.a.com", "*.com", "*.a.com", "*.b.a.com", "[::1]", "B.a.com."];
const PATHS: [&str; 24] = [
    "/",
    "/*",
    "/a",
    "/a/",
    "/a/*",
    "/b",
    "/b/*",
    "/{x}",
    "/{x}/*",
    "/a/b",
    "/a/{x}",
    "/a/{y}/*",
    "/{x}/b",
    "/{x}/{y}",
    "/a/b/*",
    "/{x}/a/*",
    "/a/{x}/b",
    "/%61",
    "/a%2fb",
    "~^/a",
    "~b$",
    "~.*",
    "~^/a",
    r"~^/[ab]/\w+$",
];

fn conditions() -> impl Strategy<Value = Option<Condition>> {
    select(vec![
        None,
        None,
        None,
        Some(Condition::Equals("1".into())),
        Some(Condition::Equals("2".into())),
        Some(Condition::Matches("1|12".into())),
        Some(Condition::Present),
        Some(Condition::Absent),
    ])
}

fn entries() -> impl Strategy<Value = Vec<Entry<usize>>> {
    let hosts = prop_oneof![Just(Vec::new()), subsequence(HOSTS.to_vec(), 1..3)];
    let paths = subsequence(PATHS.to_vec(), 1..4);
    let methods = subsequence(vec![Method::GET, Method::POST, Method::HEAD], 0..3);
    let listen = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(vec![0, 1], 1..3)];
    let entry = (hosts, paths, methods, conditions(), conditions(), listen, 0..2_i64);
    let entry = entry.prop_map(|(hosts, paths, methods, header, query, listen, priority)| Entry {
        hosts: hosts.into_iter().map(host_pattern).collect(),
        paths: paths.into_iter().map(path_pattern).collect(),
        methods,
        headers: header.map(|it| (HeaderName::from_static("x-v"), it)).into_iter().collect(),
        query: query.map(|it| ("v".to_owned(), it)).into_iter().collect(),
        listen,
        priority,
        target: 0,
    });
    prop::collection::vec(entry, 1..12).prop_map(|mut entries| {
        entries.iter_mut().enumerate().for_each(|(at, entry)| entry.target = at);
        entries
    })
}

fn requests() -> impl Strategy<Value = Request> {
    let host = select(vec![
        "a.com",
        "A.com:80",
        "b.a.com.",
        "c.b.a.com",
        "x.com",
        "com",
        "[::1]:80",
        "x.b.a.com",
        "",
    ]);
    let segment = select(vec!["a", "b", "c", "", "%61", "a%2Fb", "%62"]);
    let path = prop::collection::vec(segment, 1..5).prop_map(|all| format!("/{}", all.join("/")));
    let query = select(vec![None, Some("v=1"), Some("v=%32"), Some("w=1&v=12&v"), Some("")]);
    let method = select(vec![Method::GET, Method::POST, Method::HEAD, Method::PUT]);
    let header = select(vec![None, Some("1"), Some("2"), Some("12")]);
    (host, path, query, method, header, 0..3_usize).prop_map(
        |(host, path, query, method, header, listener)| Request {
            host: host.to_owned(),
            path,
            query: query.map(str::to_owned),
            method,
            headers: header
                .map(|value| (HeaderName::from_static("x-v"), HeaderValue::from_static(value)))
                .into_iter()
                .collect(),
            listener,
        },
    )
}

/// Smaller is better; none does not match.
type Rank = (Reverse<i64>, (u8, Reverse<usize>), PathRank, Reverse<usize>, usize, usize);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    /// By segment: literal 0, capture 1, end 2, `/*` 3.
    Segments(Vec<u8>),
    Regex(usize, usize),
}

fn host_rank(pattern: &HostPattern, host: &str) -> Option<(u8, Reverse<usize>)> {
    let host = host.to_ascii_lowercase();
    let host = match host.split_once(']') {
        Some((address, _)) => format!("{address}]"),
        None => host.split(':').next().unwrap_or_default().trim_end_matches('.').to_owned(),
    };
    match pattern {
        HostPattern::Exact(name) => {
            let name = name.to_ascii_lowercase();
            (name.trim_end_matches('.') == host).then_some((0, Reverse(0)))
        }
        HostPattern::Suffix(suffix) => (host.ends_with(suffix) && host.len() > suffix.len())
            .then_some((1, Reverse(suffix.len()))),
    }
}

fn plain(text: &str) -> String {
    text.replace("%61", "a").replace("%62", "b").replace("%2f", "%2F")
}

fn path_rank(pattern: &PathPattern, path: &str, at: (usize, usize)) -> Option<PathRank> {
    let path = plain(path);
    let sent: Vec<&str> = path[1..].split('/').collect();
    let (segments, end) = match pattern {
        PathPattern::Regex(source) => {
            return regex_met(source, &path).then_some(PathRank::Regex(at.0, at.1));
        }
        PathPattern::Exact(segments) => (segments, 2),
        PathPattern::Prefix(segments) => (segments, 3),
    };
    if sent.len() < segments.len() || (end == 2 && sent.len() != segments.len()) {
        return None;
    }
    let mut rank = Vec::new();
    for (segment, sent) in segments.iter().zip(sent) {
        match segment {
            Segment::Literal(text) if plain(text) == sent => rank.push(0),
            Segment::Capture(_) if !sent.is_empty() => rank.push(1),
            Segment::Literal(_) | Segment::Capture(_) => return None,
        }
    }
    rank.push(end);
    Some(PathRank::Segments(rank))
}

fn regex_met(source: &str, path: &str) -> bool {
    match source {
        "^/a" => path.starts_with("/a"),
        "b$" => path.ends_with('b'),
        ".*" => true,
        _ => ["/a/", "/b/"]
            .iter()
            .any(|it| path.strip_prefix(it).is_some_and(|rest| matches!(rest, "a" | "b" | "c"))),
    }
}

fn condition_met(condition: &Condition, values: &[&str]) -> bool {
    values.iter().any(|value| match condition {
        Condition::Equals(wanted) => value == wanted,
        Condition::Matches(_) => matches!(*value, "1" | "12"),
        Condition::Present => true,
        Condition::Absent => false,
    }) || (*condition == Condition::Absent && values.is_empty())
}

fn method_met(entry: &Entry<usize>, method: &Method) -> bool {
    let implied = *method == Method::HEAD && entry.methods.contains(&Method::GET);
    entry.methods.is_empty() || entry.methods.contains(method) || implied
}

fn others_met(entry: &Entry<usize>, request: &Request) -> bool {
    let headers: Vec<&str> =
        request.headers.values().map(|value| value.to_str().unwrap()).collect();
    let query: &[&str] = match request.query.as_deref() {
        Some("v=1") => &["1"],
        Some("v=%32") => &["2"],
        Some("w=1&v=12&v") => &["12", ""],
        _ => &[],
    };
    (entry.listen.is_empty() || entry.listen.contains(&request.listener))
        && entry.headers.iter().all(|(_, condition)| condition_met(condition, &headers))
        && entry.query.iter().all(|(_, condition)| condition_met(condition, query))
}

/// Every match, best first.
fn ranked(entries: &[Entry<usize>], request: &Request) -> Vec<Rank> {
    let mut ranked: Vec<Rank> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let hosts = entry.hosts.iter().map(|host| host_rank(host, &request.host));
        let any = entry.hosts.is_empty().then_some(Some((2, Reverse(0))));
        let count = usize::from(!entry.methods.is_empty())
            + usize::from(!entry.listen.is_empty())
            + entry.headers.len()
            + entry.query.len();
        for host in hosts.chain(any).flatten() {
            for (which, path) in entry.paths.iter().enumerate() {
                if let Some(path) = path_rank(path, &request.path, (at, which)) {
                    ranked.push((Reverse(entry.priority), host, path, Reverse(count), at, which));
                }
            }
        }
    }
    ranked.sort();
    ranked
}

fn allowed(entries: &[Entry<usize>], ranked: &[Rank], request: &Request) -> Vec<Method> {
    let mut methods = Vec::new();
    for (.., at, _) in ranked.iter().filter(|(.., at, _)| others_met(&entries[*at], request)) {
        for method in &entries[*at].methods {
            methods.push(method.clone());
            methods.extend((*method == Method::GET).then_some(Method::HEAD));
        }
    }
    let mut once = Vec::new();
    methods.into_iter().for_each(|it| once.extend((!once.contains(&it)).then_some(it)));
    once
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn find_agrees_with_sorting_every_match(
        entries in entries(),
        requests in prop::collection::vec(requests(), 30),
    ) {
        let (router, _) = Router::build(entries.clone());
        for request in &requests {
            let ranked = ranked(&entries, request);
            let best = ranked.iter().find(|(.., at, _)| {
                others_met(&entries[*at], request) && method_met(&entries[*at], &request.method)
            });
            let allowed = allowed(&entries, &ranked, request);
            match router.find(&request.ask()) {
                Outcome::Found { target, path } => {
                    prop_assert_eq!(Some((*target, path)), best.map(|(.., at, path)| (*at, *path)));
                }
                Outcome::WrongMethod(allow) => {
                    prop_assert_eq!(best, None);
                    prop_assert_eq!(allow.methods(), allowed);
                }
                Outcome::None => {
                    prop_assert_eq!(best, None);
                    prop_assert!(allowed.is_empty());
                }
            }
        }
    }

    #[test]
    fn an_entry_reported_as_unreachable_is_never_found(
        entries in entries(),
        requests in prop::collection::vec(requests(), 120),
    ) {
        let (router, conflicts) = Router::build(entries);
        for conflict in conflicts {
            let (Conflict::Ambiguous { second: lost, .. } | Conflict::Unreachable { entry: lost, .. }) =
                conflict
            else {
                prop_assert!(false, "{:?}", conflict);
                continue;
            };
            for request in &requests {
                let found = router.find(&request.ask());
                let is_lost = matches!(found, Outcome::Found { target, .. } if *target == lost);
                prop_assert!(!is_lost, "{} is found by {:?}", lost, request);
            }
        }
    }
}
