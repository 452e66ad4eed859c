//! Reads a Rust file as far as the rules need: tokens, paths and functions, without comments, text and tests.

use std::ops::Range;

/// One file of the tree.
pub(crate) struct Source {
    /// Relative to `src`.
    pub(crate) path: String,
    /// As written.
    pub(crate) text: String,
    /// Lines without those of its tests.
    pub(crate) lines: usize,
    tokens: Vec<Token>,
}

struct Token {
    /// A word, or one character, or `::`, `->`, `=>`.
    text: String,
    line: usize,
}

/// A path with its braces expanded, such as `std::rc::Rc`.
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

/// A function with a name.
pub(crate) struct Function {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) parameters: usize,
    /// Of its body, without blank and comment lines, as clippy counts.
    pub(crate) lines: usize,
    /// Whether a trait says what its parameters are.
    pub(crate) dictated: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = tokens(&without_comments_and_text(text));
        let mut lines = text.lines().count();
        while let Some(range) = tested(&tokens) {
            lines -= tokens[range.end - 1].line - tokens[range.start].line + 1;
            tokens.drain(range);
        }
        Self { path: path.to_owned(), text: text.to_owned(), lines, tokens }
    }

    /// Whether the whole file is tests.
    pub(crate) fn is_tests(&self) -> bool {
        self.path == "tests.rs" || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The folder or file directly under `src`.
    pub(crate) fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super` lead from this file to the crate's root.
    pub(crate) fn depth(&self) -> usize {
        let levels = self.path.split('/').count();
        if self.path.ends_with("mod.rs") { levels - 1 } else { levels }
    }

    /// Every path in the code, also of one word.
    pub(crate) fn mentions(&self) -> Vec<Mention> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let behind = at.checked_sub(1).map_or("", |before| self.tokens[before].text.as_str());
            if is_word(&self.tokens[at].text) && behind != "." {
                at = self.expand(at, &mut Vec::new(), &mut found);
            } else {
                at += 1;
            }
        }
        found
    }

    /// Reads the path that begins at a token; answers where it ends.
    fn expand(&self, mut at: usize, before: &mut Vec<String>, found: &mut Vec<Mention>) -> usize {
        let kept = before.len();
        let line = self.tokens[at].line;
        loop {
            if self.at(at) == "{" {
                at += 1;
                while at < self.tokens.len() && self.at(at) != "}" {
                    at = if self.at(at) == "," { at + 1 } else { self.expand(at, before, found) };
                }
                at += 1;
                break;
            }
            before.push(self.at(at).to_owned());
            at += 1;
            let next = self.at(at + 1);
            if self.at(at) != "::" || !(is_word(next) || next == "{" || next == "*") {
                found.push(Mention { line, path: before.clone() });
                break;
            }
            at += 1;
        }
        before.truncate(kept);
        at
    }

    /// Every function that has a name.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let foreign = self.trait_impls();
        let named = |at: &usize| self.at(*at) == "fn" && is_word(self.at(*at + 1));
        let function = |at| Function {
            dictated: foreign.iter().any(|range| range.contains(&at)),
            ..self.function(at)
        };
        (0..self.tokens.len()).filter(named).map(function).collect()
    }

    /// Where the bodies of `impl … for … { … }` stand.
    fn trait_impls(&self) -> Vec<Range<usize>> {
        let body = |at: usize| {
            let open = (at..self.tokens.len()).find(|at| ["{", ";"].contains(&self.at(*at)))?;
            let of_trait = (at..open).any(|at| self.at(at) == "for" && self.at(at + 1) != "<");
            of_trait.then(|| open..self.closing(open))
        };
        (0..self.tokens.len()).filter(|at| self.at(*at) == "impl").filter_map(body).collect()
    }

    fn function(&self, at: usize) -> Function {
        let (line, name) = (self.tokens[at].line, self.at(at + 1).to_owned());
        let open = if self.at(at + 2) == "<" { self.closing(at + 2) + 1 } else { at + 2 };
        let close = self.closing(open);
        let (mut parameters, mut empty, mut inside) = (0, true, open + 1);
        while inside < close {
            match self.at(inside) {
                "," => (parameters, empty) = (parameters + 1, true),
                "(" | "[" | "{" | "<" => (inside, empty) = (self.closing(inside), false),
                _ => empty = false,
            }
            inside += 1;
        }
        let mut body = close + 1;
        while body < self.tokens.len() && self.at(body) != "{" && self.at(body) != ";" {
            body = if "([<".contains(self.at(body)) { self.closing(body) + 1 } else { body + 1 };
        }
        let lines =
            if self.at(body) == "{" { self.lines_between(body, self.closing(body)) } else { 0 };
        let parameters = parameters + usize::from(!empty);
        Function { line, name, parameters, lines, dictated: false }
    }

    /// Lines with code that are neither the opening's nor the closing's.
    fn lines_between(&self, open: usize, close: usize) -> usize {
        let (first, last) = (self.tokens[open].line, self.tokens[close].line);
        let mut lines: Vec<_> = self.tokens[open..close].iter().map(|token| token.line).collect();
        lines.dedup();
        lines.into_iter().filter(|line| *line != first && *line != last).count()
    }

    /// Modules declared in the file, with their lines.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (usize, &str)> {
        let named = |at: &usize| self.at(*at) == "mod" && is_word(self.at(*at + 1));
        (0..self.tokens.len())
            .filter(named)
            .map(|at| (self.tokens[at].line, self.tokens[at + 1].text.as_str()))
    }

    fn at(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text.as_str())
    }

    /// Where the bracket that stands at `open` is closed.
    fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }
}

/// Where the bracket that stands at `open` is closed; the last token when it never is.
fn closing(tokens: &[Token], open: usize) -> usize {
    let (opens, closes) = match tokens[open].text.as_str() {
        "(" => ("(", ")"),
        "[" => ("[", "]"),
        "<" => ("<", ">"),
        _ => ("{", "}"),
    };
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += usize::from(token.text == opens);
        depth -= usize::from(token.text == closes);
        if depth == 0 {
            return at;
        }
    }
    tokens.len() - 1
}

/// The first item that only tests see, from its attribute to its end.
fn tested(tokens: &[Token]) -> Option<Range<usize>> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let start = (0..tokens.len()).find(|&at| {
        let inner = if is(at + 4, "all") { at + 6 } else { at + 4 };
        is(at, "#") && is(at + 1, "[") && is(at + 2, "cfg") && is(inner, "test")
    })?;
    let mut end = closing(tokens, start + 1) + 1;
    while end < tokens.len() && !is(end, "{") && !is(end, ";") {
        end = if is(end, "(") || is(end, "[") { closing(tokens, end) + 1 } else { end + 1 };
    }
    // A list of names in braces is not the end of a `use`.
    if is(end, "{") {
        end = closing(tokens, end);
        end += usize::from(is(end + 1, ";"));
    }
    Some(start..(end + 1).min(tokens.len()))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let pair = ["::", "->", "=>"].iter().any(|pair| rest.starts_with(pair));
            let length = if word > 0 { word } else { 1 + usize::from(pair) };
            let length = if first.is_ascii() { length } else { length.max(first.len_utf8()) };
            found.push(Token { text: rest[..length].to_owned(), line: index + 1 });
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// The same lines, with comments and the insides of text and character literals gone.
fn without_comments_and_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let gone = blank_length(rest, code.chars().next_back());
        if gone > 0 {
            code.extend(rest[..gone].chars().filter(|c| *c == '\n'));
            // What stood here parts what stands around it.
            code.push(' ');
            rest = &rest[gone..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How many bytes of comment, text or character literal stand here.
fn blank_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if rest.starts_with('\'') {
        let mut inside = rest.chars().skip(1);
        let literal = inside.next() == Some('\\') || inside.next() == Some('\'');
        return if literal { quoted_length(rest, '\'') } else { 0 };
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() && c != 'b' && c != 'c');
    let hashes =
        rest.strip_prefix('r').map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    if !in_word && rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let from = 2 + hashes;
        return rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len());
    }
    0
}

fn comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}
