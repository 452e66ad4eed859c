//! What the upstream is told about a caller, which nobody else can tell it; and credentials it is not to see.

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};

use crate::exchange::{Caller, Spot};
use crate::wire::name::alike;

/// Takes out what a client says under the names of callers' headers, and the credentials where they are not to go on;
/// then tells what is known of the caller.
pub fn apply(names: &[HeaderName], caller: Option<&Caller>, parts: &mut Parts) {
    if !names.is_empty() {
        remove_claims(names, &mut parts.headers);
    }
    let Some(caller) = caller else { return };
    match &caller.strip {
        None => {}
        Some(Spot::Header(name)) => drop(parts.headers.remove(name)),
        Some(Spot::Cookie(name)) => cut_cookie(name, &mut parts.headers),
        Some(Spot::Query(name)) => cut_parameter(name, parts),
    }
    for (name, _) in &caller.headers {
        parts.headers.remove(name);
    }
    for (name, value) in &caller.headers {
        parts.headers.append(name.clone(), value.clone());
    }
}

/// Also the names that only look like these.
fn remove_claims(names: &[HeaderName], headers: &mut HeaderMap) {
    let is_claim = |name: &HeaderName| names.iter().any(|ours| alike(ours, name));
    // Removing invalidates the iterator. Names are few and the usual request has none, so it begins again.
    while let Some(name) = headers.keys().find(|name| is_claim(name)).cloned() {
        headers.remove(name);
    }
}

/// The rest stays byte for byte, each field where it was.
fn cut_cookie(name: &str, headers: &mut HeaderMap) {
    let of_name = |pair: &[u8]| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        pair[..end].trim_ascii() == name.as_bytes()
    };
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let rest = without(value.as_bytes(), b';', of_name)?;
            // A part of a value is one too.
            rest.map_or(Some(value.clone()), |rest| HeaderValue::try_from(rest).ok())
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// The rest stays byte for byte; a `?` before nothing goes too.
fn cut_parameter(name: &str, parts: &mut Parts) {
    let Some(query) = parts.uri.query() else { return };
    let of_name = |pair: &[u8]| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        decoded(&pair[..end]).eq(name.bytes())
    };
    let target = match without(query.as_bytes(), b'&', of_name) {
        Some(None) => return,
        Some(Some(rest)) => [parts.uri.path().as_bytes(), b"?", &rest].concat(),
        None => parts.uri.path().as_bytes().to_vec(),
    };
    // A part of a query is one too; were it not, the credentials would still be gone.
    parts.uri = PathAndQuery::try_from(target).map(Uri::from).unwrap_or_default();
}

/// A list without the members to go: none when nothing is left, `Some(None)` when all stays. A member goes with the
/// separator before it, the first with the one behind it and the blanks there.
fn without(list: &[u8], separator: u8, goes: impl Fn(&[u8]) -> bool) -> Option<Option<Vec<u8>>> {
    let members = || list.split(|byte| *byte == separator);
    if !members().any(&goes) {
        return Some(None);
    }
    let mut rest: Option<Vec<u8>> = None;
    for member in members().filter(|member| !goes(member)) {
        match &mut rest {
            None => rest = Some(member.trim_ascii_start().to_vec()),
            Some(rest) => {
                rest.push(separator);
                rest.extend_from_slice(member);
            }
        }
    }
    rest.map(Some)
}

/// What a form's reader makes of a name (URL standard, `application/x-www-form-urlencoded`).
fn decoded(name: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *name.get(at)?;
        let digit = |at| name.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (byte, length) = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).ok()?, 3),
            (b'+', ..) => (b' ', 1),
            _ => (byte, 1),
        };
        at += length;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, lines: &[(&str, &str)]) -> Parts {
        let request = http::Request::get(target);
        let request =
            lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn caller(strip: Option<Spot>) -> Caller {
        Caller {
            name: "alice".into(),
            auth: "staff".into(),
            claims: Vec::new(),
            headers: vec![(HeaderName::from_static("x-user"), HeaderValue::from_static("alice"))],
            strip,
        }
    }

    const NAMES: [HeaderName; 2] =
        [HeaderName::from_static("x-user"), HeaderName::from_static("x_mail")];

    #[test]
    fn what_a_client_says_of_itself_is_not_heard_under_any_spelling() {
        let forged = [
            ("x-user", "root"),
            ("X-USER", "root"),
            ("x_user", "root"),
            ("x.user", "root"),
            ("X_User", "root"),
            ("x-mail", "root"),
            ("x_mail", "root"),
            ("x-users", "kept"),
            ("xuser", "kept"),
        ];
        for caller in [None, Some(caller(None))] {
            let mut parts = parts("/", &forged);
            apply(&NAMES, caller.as_ref(), &mut parts);
            let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            let told = caller.is_some();
            assert_eq!(names.contains(&"x-user"), told, "{names:?}");
            assert_eq!(parts.headers.get("x-user").is_some_and(|value| value == "alice"), told);
            assert_eq!(
                names.iter().filter(|name| **name != "x-user").collect::<Vec<_>>(),
                [&"x-users", &"xuser"]
            );
        }
    }

    #[test]
    fn a_header_that_held_the_credentials_goes_and_may_tell_the_name() {
        let lines = [("x-user", "the-key"), ("x-other", "1")];
        let mut parts = parts("/", &lines);
        let spot = Spot::Header(HeaderName::from_static("x-user"));
        apply(&[], Some(&caller(Some(spot))), &mut parts);
        assert_eq!(parts.headers.get_all("x-user").iter().collect::<Vec<_>>(), ["alice"]);
        assert_eq!(parts.headers["x-other"], "1");
    }

    #[test]
    fn one_cookie_is_cut_out_and_the_rest_stays() {
        for (cookies, kept) in [
            (&["session=secret"][..], &[][..]),
            (&["session=secret; a=1"], &["a=1"]),
            (&["a=1; session=secret"], &["a=1"]),
            (&["a=1;session=secret ; b=\"2\";c"], &["a=1; b=\"2\";c"]),
            (&["session=secret; session=again; a=1"], &["a=1"]),
            (&["a=1;; b=2"], &["a=1;; b=2"]),
            (&["sessions=1; Session=2; a=session"], &["sessions=1; Session=2; a=session"]),
            (&["a=1", "session=secret", "b=2; session=x"], &["a=1", "b=2"]),
            (&[" session = secret ;a=b=c"], &["a=b=c"]),
        ] {
            let lines: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            let mut parts = parts("/", &lines);
            apply(&[], Some(&caller(Some(Spot::Cookie("session".into())))), &mut parts);
            assert_eq!(
                parts.headers.get_all(COOKIE).iter().collect::<Vec<_>>(),
                kept,
                "{cookies:?}"
            );
        }
    }

    #[test]
    fn one_parameter_is_cut_out_and_the_rest_stays() {
        for (target, kept) in [
            ("/a?key=secret", "/a"),
            ("/a?key=secret&b=%20+c", "/a?b=%20+c"),
            ("/a?b=1&key=secret&c=2", "/a?b=1&c=2"),
            ("/a?b=1&key=secret", "/a?b=1"),
            ("/a?b=1&k%65y=secret&key", "/a?b=1"),
            ("/a?b=1&&c=key&Key=2&keys=3", "/a?b=1&&c=key&Key=2&keys=3"),
            ("/a?", "/a?"),
            ("/a", "/a"),
            ("/a?%zz=1&%6=2&key=3", "/a?%zz=1&%6=2"),
        ] {
            let mut parts = parts(target, &[]);
            apply(&[], Some(&caller(Some(Spot::Query("key".into())))), &mut parts);
            assert_eq!(parts.uri.to_string(), kept, "{target}");
        }
    }
}
