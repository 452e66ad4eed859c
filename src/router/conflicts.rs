//! Entries that can never be told apart or never be reached. Certain cases only: a reachable entry is never reported.

use std::collections::HashMap;

use http::Method;

use super::Entry;
use super::hosts::plain_pattern;
use super::paths::exact_segments;
use crate::config::model::{Condition, HostPattern, PathPattern, Segment};
use crate::config::pattern::canonical;

/// What is wrong with entries, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// They take the same requests, so the second takes none.
    Ambiguous {
        /// The one that takes them.
        first: usize,
        /// The one that never does.
        second: usize,
    },
    /// Every request it could take goes to a better one.
    Unreachable {
        /// The one that is never reached.
        entry: usize,
        /// The one that takes its requests, or the first of those that do.
        by: usize,
    },
    /// A regular expression that cannot be used.
    Regex {
        /// Whose it is.
        entry: usize,
        /// One line.
        message: String,
    },
}

/// A path whose captures have lost their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Shape {
    Exact(Vec<Option<Vec<u8>>>),
    Prefix(Vec<Option<Vec<u8>>>),
    Regex(String),
}

type Place = (i64, Option<HostPattern>, Shape);

/// Everything certain about the usable entries, by the later one's index.
pub(super) fn conflicts<T>(entries: &[Entry<T>], usable: &[bool]) -> Vec<Conflict> {
    let mut claims: Vec<(Place, usize)> = Vec::new();
    for (at, entry) in entries.iter().enumerate().filter(|(at, _)| usable[*at]) {
        for host in entry.any_of_hosts() {
            for path in &entry.paths {
                claims.push(((entry.priority, host.map(plain_pattern), Shape::of(path)), at));
            }
        }
    }
    let mut places = HashMap::<&Place, Vec<usize>>::new();
    for (place, at) in &claims {
        places.entry(place).or_default().push(*at);
    }
    let mut by_priority: Vec<&(Place, usize)> = claims.iter().collect();
    by_priority.sort_by_key(|((priority, ..), _)| std::cmp::Reverse(*priority));
    let mut by_start = HashMap::<_, Vec<_>>::new();
    for claim in by_priority {
        by_start.entry(claim.0.2.start()).or_default().push(claim);
    }
    let ground = Ground { entries, places, by_start };

    let mut found = Vec::new();
    for (at, claims) in claims.chunk_by(|one, other| one.1 == other.1).map(|c| (c[0].1, c)) {
        let covers: Option<Vec<(usize, bool)>> =
            claims.iter().map(|(place, _)| ground.cover(place, at)).collect();
        let Some(covers) = covers else { continue };
        let Some(&(by, _)) = covers.first() else { continue };
        found.push(if covers.iter().all(|cover| *cover == (by, true)) {
            Conflict::Ambiguous { first: by, second: at }
        } else {
            Conflict::Unreachable { entry: at, by }
        });
    }
    found
}

struct Ground<'a, T> {
    entries: &'a [Entry<T>],
    places: HashMap<&'a Place, Vec<usize>>,
    /// By first literal segment, none for what takes any; each list has the highest priority first.
    by_start: HashMap<Option<&'a [u8]>, Vec<&'a (Place, usize)>>,
}

impl<T> Ground<'_, T> {
    /// An entry that takes every request that `at` could take at this place, and whether only their order decides.
    fn cover(&self, place: &Place, at: usize) -> Option<(usize, bool)> {
        let entry = &self.entries[at];
        let (priority, host, shape) = place;
        let same_start = shape.start().and_then(|start| self.by_start.get(&Some(start)));
        let lists = self.by_start.get(&None).into_iter().chain(same_start);
        let better =
            lists.flat_map(|list| list.iter().take_while(|((above, ..), _)| above > priority));
        for ((_, above_host, above_shape), above) in better {
            if above_shape.covers(shape)
                && host_covers(above_host.as_ref(), host.as_ref())
                && implied(&self.entries[*above], entry)
            {
                return Some((*above, false));
            }
        }
        // A regular expression comes after everything else, so also after `/*`.
        if let Shape::Regex(_) = shape {
            let everything = (*priority, host.clone(), Shape::Prefix(Vec::new()));
            let others = self.places.get(&everything).into_iter().flatten();
            if let Some(other) = others.copied().find(|o| implied(&self.entries[*o], entry)) {
                return Some((other, false));
            }
        }
        let order = |at: usize| match shape {
            Shape::Regex(_) => (std::cmp::Reverse(0), at),
            Shape::Exact(_) | Shape::Prefix(_) => {
                (std::cmp::Reverse(self.entries[at].conditions()), at)
            }
        };
        let others = self.places.get(place).into_iter().flatten().copied();
        others
            .filter(|other| order(*other) < order(at))
            .find(|other| implied(&self.entries[*other], entry))
            .map(|other| (other, implied(entry, &self.entries[other])))
    }
}

impl Shape {
    fn of(path: &PathPattern) -> Self {
        let shape = |segments: &[Segment]| {
            let segments = segments.iter().map(|segment| match segment {
                Segment::Literal(text) => Some(canonical(text).collect()),
                Segment::Capture(_) => None,
            });
            segments.collect()
        };
        match path {
            PathPattern::Exact(segments) => Self::Exact(shape(exact_segments(segments))),
            PathPattern::Prefix(segments) => Self::Prefix(shape(segments)),
            PathPattern::Regex(source) => Self::Regex(source.clone()),
        }
    }

    /// The first segment, when it is a literal.
    fn start(&self) -> Option<&[u8]> {
        match self {
            Self::Exact(segments) | Self::Prefix(segments) => segments.first()?.as_deref(),
            Self::Regex(_) => None,
        }
    }

    /// Whether it matches every path that the other matches.
    fn covers(&self, other: &Self) -> bool {
        let segments = |ours: &[Option<Vec<u8>>], theirs: &[Option<Vec<u8>>]| {
            ours.iter().zip(theirs).all(|pair| match pair {
                (None, None) => true,
                (None, Some(literal)) => !literal.is_empty(),
                (Some(literal), other) => other.as_ref() == Some(literal),
            })
        };
        match (self, other) {
            (Self::Exact(ours), Self::Exact(theirs)) => {
                ours.len() == theirs.len() && segments(ours, theirs)
            }
            (Self::Prefix(ours), Self::Exact(theirs) | Self::Prefix(theirs)) => {
                ours.len() <= theirs.len() && segments(ours, theirs)
            }
            (Self::Prefix(ours), Self::Regex(_)) => ours.is_empty(),
            (Self::Regex(ours), Self::Regex(theirs)) => ours == theirs,
            (Self::Exact(_) | Self::Regex(_), _) => false,
        }
    }
}

fn host_covers(ours: Option<&HostPattern>, theirs: Option<&HostPattern>) -> bool {
    match (ours, theirs) {
        (None, _) => true,
        (Some(_), None) | (Some(HostPattern::Exact(_)), Some(HostPattern::Suffix(_))) => false,
        (Some(HostPattern::Exact(ours)), Some(HostPattern::Exact(theirs))) => ours == theirs,
        (Some(HostPattern::Suffix(ours)), Some(HostPattern::Suffix(theirs))) => {
            theirs.ends_with(ours)
        }
        (Some(HostPattern::Suffix(ours)), Some(HostPattern::Exact(theirs))) => {
            theirs.len() > ours.len() && theirs.ends_with(ours)
        }
    }
}

/// Whether every request that meets the conditions of `theirs` meets those of `ours`.
fn implied<T>(ours: &Entry<T>, theirs: &Entry<T>) -> bool {
    let takes = |method: &Method| {
        ours.methods.contains(method)
            || (*method == Method::HEAD && ours.methods.contains(&Method::GET))
    };
    let listens = |listener: &usize| ours.listen.contains(listener);
    let methods =
        ours.methods.is_empty() || (!theirs.methods.is_empty() && theirs.methods.iter().all(takes));
    let listen =
        ours.listen.is_empty() || (!theirs.listen.is_empty() && theirs.listen.iter().all(listens));
    methods && listen && met(&ours.headers, &theirs.headers) && met(&ours.query, &theirs.query)
}

fn met<N: PartialEq>(ours: &[(N, Condition)], theirs: &[(N, Condition)]) -> bool {
    ours.iter().all(|(name, wanted)| {
        theirs.iter().any(|(other, given)| {
            other == name
                && (given == wanted
                    || (*wanted == Condition::Present && *given != Condition::Absent))
        })
    })
}
