//! `rewrite = "/v2/{rest}"`: a path made of literals and of what the route's path captured.

use std::borrow::Cow;

use super::path::split;
use crate::config::model::{PathPattern, Segment};
use crate::config::pattern::{Regex, canonical_path, escaped, hex_digits, is_pchar, regex};

/// A template, resolved against one path of its route.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    /// Where groups come from.
    regex: Option<Regex>,
}

#[derive(Debug)]
enum Piece {
    /// Ready to be sent.
    Literal(String),
    /// The segment at this place.
    Segment(usize),
    /// What follows as many segments, without its slash.
    Rest(usize),
    /// Of the regular expression.
    Group(usize),
}

impl Template {
    /// Fails with one line when it cannot be read or asks for what the path does not have.
    pub(super) fn new(template: &str, path: &PathPattern) -> Result<Self, String> {
        if template.contains(['?', '#']) {
            return Err("a rewrite is a path, so it cannot hold `?` or `#`".to_owned());
        }
        let regex = match path {
            PathPattern::Regex(source) => Some(regex(source)?),
            PathPattern::Exact(_) | PathPattern::Prefix(_) => None,
        };
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`{{` is not closed in `{template}`"));
            };
            let literal = before.strip_suffix('$').unwrap_or(before);
            pieces.push(Piece::Literal(sendable(literal).into_owned()));
            let piece = match &regex {
                Some(regex) => group(name, regex),
                None => captured(name, path),
            };
            pieces.push(piece.ok_or_else(|| format!("the path captures no `{name}`"))?);
            rest = after;
        }
        pieces.push(Piece::Literal(sendable(rest).into_owned()));
        Ok(Self { pieces, regex })
    }

    /// The path made for one that matched. It may hold dot segments still.
    pub(super) fn fill(&self, path: &str) -> String {
        let groups = self.regex.as_ref().map(|regex| {
            let path = canonical_path(path);
            let mut groups = regex.create_captures();
            regex.captures(path.as_bytes(), &mut groups);
            (path, groups)
        });
        let mut filled = String::with_capacity(path.len() * 2);
        for piece in &self.pieces {
            let text = match piece {
                Piece::Literal(text) => Cow::Borrowed(&**text),
                Piece::Segment(at) => {
                    let (_, rest) = split(path, *at);
                    let segment = rest.strip_prefix('/').unwrap_or(rest).split('/').next();
                    sendable(segment.unwrap_or_default())
                }
                Piece::Rest(at) => {
                    let (_, rest) = split(path, *at);
                    sendable(rest.strip_prefix('/').unwrap_or(rest))
                }
                Piece::Group(at) => {
                    let span = groups
                        .as_ref()
                        .and_then(|(path, groups)| path.get(groups.get_group(*at)?.range()));
                    sendable(span.unwrap_or_default())
                }
            };
            filled.push_str(&text);
        }
        filled
    }
}

fn captured(name: &str, path: &PathPattern) -> Option<Piece> {
    let (PathPattern::Exact(segments) | PathPattern::Prefix(segments)) = path else { return None };
    let mut names = segments.iter().map(|segment| match segment {
        Segment::Capture(name) => Some(name),
        Segment::Literal(_) => None,
    });
    match names.position(|capture| capture.is_some_and(|capture| capture == name)) {
        Some(at) => Some(Piece::Segment(at)),
        // Of an exact path nothing is left, so that `["/orders", "/orders/*"]` can share a template.
        None if name == "rest" => Some(Piece::Rest(segments.len())),
        None => None,
    }
}

fn group(name: &str, regex: &Regex) -> Option<Piece> {
    let info = regex.group_info();
    let first = regex_automata::PatternID::ZERO;
    let at = match name.parse() {
        Ok(number) => Some(number),
        Err(_) => info.to_index(first, name),
    };
    at.filter(|at| *at < info.group_len(first)).map(Piece::Group)
}

/// The text with everything escaped that a path cannot hold. An escape that was cut in two is no escape any more, or
/// what stands behind it would make it another one.
fn sendable(text: &str) -> Cow<'_, str> {
    let is_sendable = |at: usize, byte: u8| {
        is_pchar(byte)
            || byte == b'/'
            || byte == b'%' && escaped(&text.as_bytes()[at + 1..]).is_some_and(|byte| byte != 0)
    };
    if text.bytes().enumerate().all(|(at, byte)| is_sendable(at, byte)) {
        return Cow::Borrowed(text);
    }
    let mut sent = String::with_capacity(text.len() * 2);
    for (at, byte) in text.bytes().enumerate() {
        if is_sendable(at, byte) {
            sent.push(char::from(byte));
        } else {
            sent.push('%');
            sent.extend(hex_digits(byte).map(char::from));
        }
    }
    Cow::Owned(sent)
}
