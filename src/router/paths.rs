//! From a path to the entries that match it: a tree of segments, then regular expressions.

use super::Candidate;
use super::names::Names;
use crate::config::model::{PathPattern, Segment};
use crate::config::pattern::{Regex, canonical, canonical_path};

/// The paths under one host of one priority.
#[derive(Debug)]
pub(super) struct Paths {
    /// The first is the root.
    nodes: Vec<Node>,
    regexes: Vec<(Regex, Candidate)>,
}

/// Where a number of segments leads to.
#[derive(Debug, Default)]
struct Node {
    literals: Names,
    capture: Option<usize>,
    /// Patterns that end here.
    exact: Vec<Candidate>,
    /// Patterns that take whatever follows.
    prefix: Vec<Candidate>,
}

impl Default for Paths {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], regexes: Vec::new() }
    }
}

impl Paths {
    /// Offers what matches to `take`, best first, until it says that it took one. `path` is as sent.
    pub(super) fn offer(&self, path: &str, take: &mut impl FnMut(Candidate) -> bool) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            // The server as a whole (RFC 9110 section 9.3.7) is no path; what takes everything takes it.
            return path == "*" && self.nodes[0].prefix.iter().any(|candidate| take(*candidate));
        };
        if self.descend(0, Some(rest), take) {
            return true;
        }
        if self.regexes.is_empty() {
            return false;
        }
        let path = canonical_path(path);
        self.regexes
            .iter()
            .any(|(regex, candidate)| regex.is_match(path.as_bytes()) && take(*candidate))
    }

    /// `rest` is none behind the last segment. A node is reached on one way only, so none is visited twice.
    fn descend(
        &self,
        at: usize,
        rest: Option<&str>,
        take: &mut impl FnMut(Candidate) -> bool,
    ) -> bool {
        let node = &self.nodes[at];
        let Some(rest) = rest else {
            return node.exact.iter().chain(&node.prefix).any(|candidate| take(*candidate));
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = node.literals.find(&canonical(segment))
            && self.descend(child, rest, take)
        {
            return true;
        }
        if let Some(child) = node.capture
            && !segment.is_empty()
            && self.descend(child, rest, take)
        {
            return true;
        }
        node.prefix.iter().any(|candidate| take(*candidate))
    }

    /// Adds a pattern; for a regular expression its compiled form is given.
    pub(super) fn add(&mut self, path: &PathPattern, regex: Option<&Regex>, candidate: Candidate) {
        match (path, regex) {
            (PathPattern::Exact(segments), _) => {
                let at = self.node(exact_segments(segments));
                self.nodes[at].exact.push(candidate);
            }
            (PathPattern::Prefix(segments), _) => {
                let at = self.node(segments);
                self.nodes[at].prefix.push(candidate);
            }
            (PathPattern::Regex(_), Some(regex)) => self.regexes.push((regex.clone(), candidate)),
            (PathPattern::Regex(_), None) => {}
        }
    }

    fn node(&mut self, segments: &[Segment]) -> usize {
        segments.iter().fold(0, |at, segment| {
            let known = match segment {
                Segment::Literal(text) => self.nodes[at].literals.find(&canonical(text)),
                Segment::Capture(_) => self.nodes[at].capture,
            };
            known.unwrap_or_else(|| {
                let child = self.nodes.len();
                self.nodes.push(Node::default());
                match segment {
                    Segment::Literal(text) => {
                        self.nodes[at].literals.insert(canonical(text), child);
                    }
                    Segment::Capture(_) => self.nodes[at].capture = Some(child),
                }
                child
            })
        })
    }

    /// Brings every list of candidates into order.
    pub(super) fn sort(&mut self) {
        for node in &mut self.nodes {
            node.exact.sort_by_key(Candidate::order);
            node.prefix.sort_by_key(Candidate::order);
        }
        self.regexes.sort_by_key(|(_, candidate)| (candidate.entry, candidate.path));
    }
}

/// `/` has one segment, which is empty, however it was written down.
pub(super) fn exact_segments(segments: &[Segment]) -> &[Segment] {
    static ROOT: [Segment; 1] = [Segment::Literal(String::new())];
    if segments.is_empty() { &ROOT } else { segments }
}
