//! What happens to a path before it is sent on.
//!
//! Whatever a client puts into a capture, the result is a path without dot segments that does not begin with `//`.

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use super::template::Template;
use crate::config::model::{PathPattern, PathRewrite, Segment};
use crate::config::pattern::canonical_path;

/// The path's rewrite of one route.
#[derive(Debug)]
pub struct Path {
    /// One for each of the route's paths.
    plans: Vec<Plan>,
}

/// A target and what was cut off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// In origin-form, with the query as it came.
    pub uri: Uri,
    /// The value of `x-forwarded-prefix`.
    pub prefix: Option<HeaderValue>,
}

#[derive(Debug)]
enum Plan {
    Keep,
    Strip {
        /// As many segments go.
        segments: usize,
        /// What they are; none when they hold a capture.
        prefix: Option<HeaderValue>,
    },
    Template(Template),
}

impl Path {
    /// Fails with a line about what the template asks for and a path does not have.
    pub fn new(rewrite: &PathRewrite, paths: &[PathPattern]) -> Result<Self, String> {
        let plans = paths.iter().map(|path| match rewrite {
            PathRewrite::Keep => Ok(Plan::Keep),
            PathRewrite::StripPrefix => Ok(Plan::strip(path)),
            PathRewrite::Template(template) => Template::new(template, path).map(Plan::Template),
        });
        Ok(Self { plans: plans.collect::<Result<_, _>>()? })
    }

    /// The new target of a request that was found by this one of the route's paths; none when it stays.
    pub fn request(&self, which_path: usize, uri: &Uri) -> Option<Rewritten> {
        let path = uri.path();
        if path == "*" {
            // It asks about the whole server, not about anything below a path (RFC 9110 section 9.3.7).
            return None;
        }
        let (target, prefix) = match self.plans.get(which_path)? {
            Plan::Keep => return None,
            Plan::Strip { segments, prefix } => {
                let (gone, rest) = split(path, *segments);
                let gone = prefix.clone().or_else(|| HeaderValue::from_str(gone).ok());
                (safe_target(rest, uri.query()), gone)
            }
            Plan::Template(template) => (safe_target(&template.fill(path), uri.query()), None),
        };
        // Only a target over 64 KiB is refused here, and the path as it came could be one the operator meant to hide.
        let uri = PathAndQuery::try_from(target).map(Uri::from).unwrap_or_default();
        Some(Rewritten { uri, prefix })
    }
}

impl Plan {
    /// An exact path goes whole; `/` and a regular expression have nothing to cut off.
    fn strip(path: &PathPattern) -> Self {
        let segments = match path {
            PathPattern::Exact(segments) | PathPattern::Prefix(segments) => &segments[..],
            PathPattern::Regex(_) => &[],
        };
        if segments.iter().all(|segment| *segment == Segment::Literal(String::new())) {
            return Self::Keep;
        }
        let literals = segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(format!("/{}", canonical_path(text))),
            Segment::Capture(_) => None,
        });
        let prefix = literals.collect::<Option<String>>();
        let prefix = prefix.and_then(|prefix| HeaderValue::try_from(prefix).ok());
        Self::Strip { segments: segments.len(), prefix }
    }
}

/// A path's first segments, and the rest with its slash.
pub(super) fn split(path: &str, segments: usize) -> (&str, &str) {
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    path.split_at(slashes.nth(segments).unwrap_or(path.len()))
}

/// The path with one slash in front and without dot segments, which are left out: what they would climb to is unknown.
fn safe_target(path: &str, query: Option<&str>) -> String {
    // Exactly as long as the usual result, because a longer one would be moved to become shared.
    let length = path.len().max(1) + query.map_or(0, |query| query.len() + 1);
    let mut target = String::with_capacity(length);
    let mut segments = path.trim_start_matches('/').split('/').peekable();
    while let Some(segment) = segments.next() {
        if has_dots(segment) {
            continue;
        }
        // A slash that a left out segment would have kept from the front is still not wanted there.
        if !(target.is_empty() && segment.is_empty() && segments.peek().is_some()) {
            target.push('/');
            target.push_str(segment);
        }
    }
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// Whether it is `.` or `..`, or would be behind an encoded slash, in any spelling.
fn has_dots(segment: &str) -> bool {
    if !segment.contains(['.', '%']) {
        return false;
    }
    let segment = canonical_path(segment);
    segment.split("%2F").flat_map(|part| part.split("%5C")).any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests;
