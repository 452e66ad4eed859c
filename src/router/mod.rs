//! From a request to what it is for: host, path, condition. Knows nothing of gateways.
//!
//! Priorities, then a map of hosts, then a tree of segments, then the few candidates that share a place. Finding
//! allocates nothing and locks nothing, unless a regular expression meets an escape or the Host is an IPv6 address.

mod conditions;
mod conflicts;
mod hosts;
mod names;
mod paths;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use self::conditions::{Conditions, Verdict};
pub use self::conflicts::Conflict;
use self::hosts::Hosts;
use crate::config::model::{Condition, HostPattern, PathPattern};
pub use crate::config::pattern::check_regex;
use crate::config::pattern::{Regex, regex};

/// Which requests are for which target.
#[derive(Debug)]
pub struct Router<T> {
    targets: Vec<Target<T>>,
    /// Highest priority first.
    levels: Vec<Hosts>,
}

/// One target and the requests it takes.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// Any of them; empty means any host.
    pub hosts: Vec<HostPattern>,
    /// Any of them.
    pub paths: Vec<PathPattern>,
    /// Any of them, `GET` includes `HEAD`; empty means any method.
    pub methods: Vec<Method>,
    /// All must hold, each on any of the values.
    pub headers: Vec<(HeaderName, Condition)>,
    /// All must hold, each on any of the decoded values.
    pub query: Vec<(String, Condition)>,
    /// Any of these listeners; empty means every one.
    pub listen: Vec<usize>,
    /// Higher first.
    pub priority: i64,
    /// What [`Router::find`] returns.
    pub target: T,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The Host as sent: case, port and final dot do not matter.
    pub host: &'a str,
    /// As sent, beginning with `/`; any other finds nothing.
    pub path: &'a str,
    /// As sent, without the `?`.
    pub query: Option<&'a str>,
    /// As sent.
    pub method: &'a Method,
    /// All of them.
    pub headers: &'a HeaderMap,
    /// Index of the listener.
    pub listener: usize,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a, T> {
    /// This target.
    Found {
        /// The entry's target.
        target: &'a T,
        /// Which of the entry's paths matched.
        path: usize,
    },
    /// There are targets, for other methods.
    WrongMethod(Allow),
    /// Nothing.
    None,
}

/// The methods that would have found a target, each once, in the order of the entries' preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    methods: Vec<Method>,
}

/// An entry's path at its place in a tree.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    entry: usize,
    path: usize,
    conditions: usize,
}

#[derive(Debug)]
struct Target<T> {
    target: T,
    conditions: Conditions,
}

impl<T> Router<T> {
    /// The router, and what is wrong with the entries, by their indices. An entry whose regular expression cannot be
    /// used takes no request.
    pub fn build(entries: Vec<Entry<T>>) -> (Self, Vec<Conflict>) {
        let mut problems = Vec::new();
        let mut levels = BTreeMap::<_, (Hosts, HashMap<_, _>)>::new();
        let mut usable = Vec::with_capacity(entries.len());
        let mut conditions = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let compiled = compile(entry);
            usable.push(compiled.is_ok());
            match compiled {
                Ok((compiled, regexes)) => {
                    let (hosts, known) = levels.entry(Reverse(entry.priority)).or_default();
                    insert(hosts, known, (at, entry), &regexes);
                    conditions.push(compiled);
                }
                Err(message) => {
                    problems.push(Conflict::Regex { entry: at, message });
                    conditions.push(Conditions::default());
                }
            }
        }
        problems.extend(conflicts::conflicts(&entries, &usable));
        let mut levels: Vec<Hosts> = levels.into_values().map(|(hosts, _)| hosts).collect();
        levels.iter_mut().for_each(Hosts::sort);
        let targets = entries.into_iter().zip(conditions);
        let targets = targets
            .map(|(entry, conditions)| Target { target: entry.target, conditions })
            .collect();
        (Self { targets, levels }, problems)
    }

    /// The best target whose conditions the request meets.
    pub fn find(&self, ask: &Ask<'_>) -> Outcome<'_, T> {
        let mut found = None;
        let mut wrong_method = false;
        self.offer(ask, |candidate| {
            match self.targets[candidate.entry].conditions.verdict(ask) {
                Verdict::Met => found = Some(candidate),
                Verdict::WrongMethod => wrong_method = true,
                Verdict::Unmet => {}
            }
            found.is_some()
        });
        match found {
            Some(Candidate { entry, path, .. }) => {
                Outcome::Found { target: &self.targets[entry].target, path }
            }
            None if wrong_method => Outcome::WrongMethod(self.allow(ask)),
            None => Outcome::None,
        }
    }

    fn allow(&self, ask: &Ask<'_>) -> Allow {
        let mut allow = Allow::default();
        self.offer(ask, |candidate| {
            let conditions = &self.targets[candidate.entry].conditions;
            if conditions.verdict(ask) == Verdict::WrongMethod {
                conditions.methods.iter().for_each(|method| allow.add(method));
            }
            false
        });
        allow
    }

    /// Offers every candidate whose host and path match, best first, until `take` says that it took one.
    fn offer(&self, ask: &Ask<'_>, mut take: impl FnMut(Candidate) -> bool) {
        let host = hosts::plain(ask.host);
        self.levels.iter().any(|hosts| hosts.offer(&host, ask.path, &mut take));
    }
}

type Compiled = (Conditions, Vec<Option<Regex>>);

fn compile<T>(entry: &Entry<T>) -> Result<Compiled, String> {
    let regexes = entry.paths.iter().map(|path| match path {
        PathPattern::Regex(source) => regex(source).map(Some),
        PathPattern::Exact(_) | PathPattern::Prefix(_) => Ok(None),
    });
    Ok((Conditions::new(entry)?, regexes.collect::<Result<_, _>>()?))
}

fn insert<T>(
    hosts: &mut Hosts,
    known: &mut HashMap<Option<HostPattern>, usize>,
    (at, entry): (usize, &Entry<T>),
    regexes: &[Option<Regex>],
) {
    for host in entry.any_of_hosts() {
        let paths = hosts.paths(host, known);
        for (path, (pattern, regex)) in entry.paths.iter().zip(regexes).enumerate() {
            let candidate = Candidate { entry: at, path, conditions: entry.conditions() };
            paths.add(pattern, regex.as_ref(), candidate);
        }
    }
}

impl<T> Entry<T> {
    /// None stands for any host.
    fn any_of_hosts(&self) -> impl Iterator<Item = Option<&HostPattern>> {
        let any = self.hosts.is_empty().then_some(None);
        any.into_iter().chain(self.hosts.iter().map(Some))
    }

    /// How many conditions it has: a list of alternatives is one.
    fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty())
            + usize::from(!self.listen.is_empty())
            + self.headers.len()
            + self.query.len()
    }
}

impl Candidate {
    /// Among those of one place: more conditions first, then as written.
    fn order(&self) -> (Reverse<usize>, usize, usize) {
        (Reverse(self.conditions), self.entry, self.path)
    }
}

impl Allow {
    /// Each once.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The value of `Allow`.
    pub fn value(&self) -> HeaderValue {
        let text = self.to_string();
        // A method is a token (RFC 9110 §9.1), and tokens are visible.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    fn add(&mut self, method: &Method) {
        if !self.methods.contains(method) {
            self.methods.push(method.clone());
        }
        if *method == Method::GET {
            self.add(&Method::HEAD);
        }
    }
}

impl Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, method) in self.methods.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            f.write_str(method.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
