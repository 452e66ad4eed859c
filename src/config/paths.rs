//! Written paths, hosts and path templates.

use super::model::{HostPattern, PathPattern, PathRewrite, Segment};
use super::pattern;

/// What is wrong and what to do about it.
type Wrong = (String, Option<String>);

/// `/orders`, `/orders/{id}`, `/orders/*`, `~^/orders/\d+$`.
pub(super) fn parse(text: &str) -> Result<PathPattern, Wrong> {
    if let Some(regex) = text.strip_prefix('~') {
        return match pattern::check_regex(regex) {
            Ok(()) => Ok(PathPattern::Regex(regex.to_owned())),
            Err(error) => Err((format!("this is not a regular expression: {error}"), None)),
        };
    }
    let Some(rest) = text.strip_prefix('/') else {
        let message = "a path begins with `/`, a regular expression with `~`".to_owned();
        return Err((message, Some(format!("\"/{text}\""))));
    };
    if rest == "*" {
        return Ok(PathPattern::Prefix(Vec::new()));
    }
    let (written, prefix) = match rest.strip_suffix("/*") {
        Some(written) => (written, true),
        None => (rest, false),
    };
    if written.is_empty() && !prefix {
        return Ok(PathPattern::Exact(Vec::new()));
    }
    let segments = written.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
    for (at, one) in segments.iter().enumerate() {
        if let Segment::Capture(name) = one
            && (segments[..at].contains(one) || name == REST)
        {
            let what = if name == REST { "is the part after a prefix" } else { "stands twice" };
            return Err((format!("`{{{name}}}` {what}"), Some("another name".to_owned())));
        }
    }
    Ok(if prefix { PathPattern::Prefix(segments) } else { PathPattern::Exact(segments) })
}

/// The capture that every prefix has.
const REST: &str = "rest";

fn segment(text: &str) -> Result<Segment, Wrong> {
    let wrong = |message: &str, hint: &str| Err((message.to_owned(), Some(hint.to_owned())));
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return wrong("the name in braces is of letters, digits and `_`", "like {id}");
        }
        return Ok(Segment::Capture(name.to_owned()));
    }
    if text.contains(['{', '}']) {
        return wrong("braces hold a whole segment", "like /orders/{id}, or a regex: ~^/a-(.*)$");
    }
    if text.contains('*') {
        return wrong("`*` stands only at the end, after `/`", "like /orders/*, or /orders/{id}");
    }
    if text.contains(['?', '#']) {
        return wrong("a path has neither `?` nor `#`", "`query` matches parameters");
    }
    let plain: String = pattern::canonical(text).map(char::from).collect();
    if plain == "." || plain == ".." {
        let message = "requests with dot segments are refused, so this path matches nothing";
        return Err((message.to_owned(), None));
    }
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if pattern::escaped(rest.as_bytes()).is_none() {
            return wrong("`%` is followed by two hexadecimal digits", "`%25` is a percent sign");
        }
    }
    if let Some(odd) =
        text.chars().find(|c| *c != '%' && !u8::try_from(*c).is_ok_and(pattern::is_pchar))
    {
        let mut bytes = [0; 4];
        let escaped: String =
            odd.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
        return Err((format!("a path holds no {odd:?} as itself"), Some(format!("`{escaped}`"))));
    }
    Ok(Segment::Literal(text.to_owned()))
}

/// `shop.example.com`, `*.example.com`, `127.0.0.1`, `[::1]`; case, port and final dot do not matter.
pub(super) fn host(text: &str) -> Result<HostPattern, Wrong> {
    let wrong = |message: &str, hint: &str| Err((message.to_owned(), Some(hint.to_owned())));
    let lower = text.to_ascii_lowercase();
    if let Some(inside) = lower.strip_prefix('[') {
        let address = inside.split_once(']').map(|(address, _)| address);
        return match address.and_then(|address| address.parse::<std::net::Ipv6Addr>().ok()) {
            Some(address) => Ok(HostPattern::Exact(format!("[{address}]"))),
            None => wrong("in brackets stands an IPv6 address", "like [::1]"),
        };
    }
    let name = match lower.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => lower.as_str(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name == "*" {
        return wrong("`*` is every host", "leave `hosts` out");
    }
    let (suffix, labels) = match name.strip_prefix("*.") {
        Some(labels) => (true, labels),
        None => (false, name),
    };
    if labels.contains('*') {
        return wrong("`*` stands only for the first labels", "like *.example.com");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !labels.split('.').all(label) {
        return wrong("this is not a host", "like shop.example.com, without scheme and path");
    }
    Ok(if suffix {
        HostPattern::Suffix(format!(".{labels}"))
    } else {
        HostPattern::Exact(labels.to_owned())
    })
}

/// Whether a template fits all of a route's paths.
pub(super) fn template(text: &str, paths: &[PathPattern]) -> Result<PathRewrite, Wrong> {
    let example = || Some("like \"/v2/{rest}\"".to_owned());
    if !text.starts_with('/') && !text.starts_with("{rest}") && !text.starts_with('$') {
        return Err(("a rewritten path begins with `/`".to_owned(), example()));
    }
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let dollar = rest[..at].ends_with('$');
        let opened = rest[at..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((name, after)) = opened else {
            return Err(("a brace is open or never was".to_owned(), example()));
        };
        for path in paths {
            capture(name, dollar, path)?;
        }
        rest = after;
    }
    let literal = text.replace(['{', '}', '$'], "");
    if let Some(odd) = literal
        .chars()
        .find(|c| *c != '/' && *c != '%' && !u8::try_from(*c).is_ok_and(pattern::is_pchar))
    {
        let hint = (odd == '?').then(|| "the query is sent on as it came".to_owned());
        return Err((format!("a rewritten path holds no {odd:?}"), hint));
    }
    Ok(PathRewrite::Template(text.to_owned()))
}

fn capture(name: &str, dollar: bool, path: &PathPattern) -> Result<(), Wrong> {
    let shown = if dollar { format!("${{{name}}}") } else { format!("{{{name}}}") };
    let missing = |what: &str, known: Vec<String>| {
        let hint = (!known.is_empty()).then(|| format!("it has {}", known.join(", ")));
        Err((format!("{what} has no {shown}"), hint))
    };
    match path {
        PathPattern::Regex(source) => {
            let Ok(regex) = pattern::regex(source) else { return Ok(()) };
            let groups = regex.captures_len() - 1;
            let named = || regex.group_info().all_names().filter_map(|(_, _, name)| name);
            let fits = match name.parse::<usize>() {
                Ok(number) => dollar && (1..=groups).contains(&number),
                Err(_) => named().any(|known| known == name),
            };
            let known = (1..=groups).map(|group| format!("${{{group}}}"));
            let known = known.chain(named().map(|name| format!("{{{name}}}"))).collect();
            if fits { Ok(()) } else { missing("the path's expression", known) }
        }
        PathPattern::Exact(segments) | PathPattern::Prefix(segments) => {
            let prefix = matches!(path, PathPattern::Prefix(_));
            let captures = segments.iter().filter_map(|segment| match segment {
                Segment::Capture(name) => Some(name.as_str()),
                Segment::Literal(_) => None,
            });
            let known: Vec<&str> = captures.chain(prefix.then_some(REST)).collect();
            if !dollar && known.contains(&name) {
                return Ok(());
            }
            missing("the path", known.into_iter().map(|name| format!("{{{name}}}")).collect())
        }
    }
}
