//! Where credentials stand in a request: as an operator writes it, and what a request has there.

use std::borrow::Cow;

use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::exchange::Spot;

/// What a place may look like, for a problem's hint.
pub const LIKE: &str =
    "like \"header:authorization\", \"cookie:session\" or \"query:access_token\"";

/// A place as written: `header:x`, `cookie:x` or `query:x`.
pub fn parse(text: &str) -> Option<Spot> {
    let (what, name) = text.split_once(':')?;
    let is_token = !name.is_empty() && name.bytes().all(|byte| TOKEN.contains(&byte));
    match what {
        "header" => HeaderName::from_bytes(name.as_bytes()).ok().map(Spot::Header),
        "cookie" => is_token.then(|| Spot::Cookie(name.into())),
        "query" => (!name.is_empty()).then(|| Spot::Query(name.into())),
        _ => None,
    }
}

/// What stands there, without its encoding; none for nothing or an empty text. What stands there twice, or cannot be
/// read in one way only, is not picked from: the error is one line for the client.
pub fn find<'a>(spot: &Spot, asked: &'a Parts) -> Result<Option<Cow<'a, str>>, &'static str> {
    let found = match spot {
        Spot::Header(name) => header(&asked.headers, name)?.map(Cow::Borrowed),
        Spot::Cookie(name) => cookie(&asked.headers, name)?.map(Cow::Borrowed),
        Spot::Query(name) => query(asked.uri.query().unwrap_or_default(), name)?,
    };
    Ok(found.filter(|text| !text.is_empty()))
}

/// A token of RFC 9110 section 5.6.2, which is what a cookie's name is (RFC 6265 section 4.1.1).
const TOKEN: &[u8] =
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, &'static str> {
    let mut all = headers.get_all(name).iter();
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err("the credentials' header came more than once");
    }
    let text = value.to_str().map_err(|_| "the credentials' header is not visible ASCII")?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

/// A cookie in any of the fields: HTTP/2 may split them (RFC 9113 section 8.2.3).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, &'static str> {
    let mut found = None;
    for field in headers.get_all(COOKIE) {
        for pair in field.as_bytes().split(|byte| *byte == b';') {
            let Some(value) = value_of(pair.trim_ascii(), name) else { continue };
            let value = std::str::from_utf8(value).map_err(|_| "the cookie is not text")?;
            if found.replace(value).is_some() {
                return Err("the cookie came more than once");
            }
        }
    }
    Ok(found)
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = pair.strip_prefix(name.as_bytes())?.trim_ascii_start();
    Some(rest.strip_prefix(b"=")?.trim_ascii_start())
}

/// A parameter, encoded as a form is (WHATWG URL section 5.1). Its name may be encoded too: whoever reads the query
/// behind us would find it.
fn query<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, &'static str> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key).is_none_or(|key| key != name) {
            continue;
        }
        let value = decoded(value).ok_or("the parameter's encoding is not good")?;
        if found.replace(value).is_some() {
            return Err("the parameter came more than once");
        }
    }
    Ok(found)
}

/// None for a broken escape, and for one that makes no text.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'+' => plain.push(b' '),
            b'%' => {
                let (digits, behind) = behind.split_at_checked(2)?;
                plain.push(hex(digits[0])? << 4 | hex(digits[1])?);
                rest = behind;
            }
            other => plain.push(*other),
        }
    }
    String::from_utf8(plain).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(target: &str, fields: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_place_is_written_as_what_and_name() {
        let header = Spot::Header(HeaderName::from_static("x-api-key"));
        assert_eq!(parse("header:X-Api-Key"), Some(header));
        assert_eq!(parse("cookie:session"), Some(Spot::Cookie("session".into())));
        assert_eq!(parse("query:access_token"), Some(Spot::Query("access_token".into())));
        for bad in ["", "header", "header:", "header:a b", "cookie:", "cookie:a=b", "cookie:a;b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for bad in ["query:", "body:x", "Header:x", ":x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_header_is_taken_once_and_only_as_text() {
        let spot = parse("header:authorization").unwrap();
        let find = |fields: &[(&str, &[u8])]| {
            find(&spot, &asked("/", fields)).map(|found| found.map(Cow::into_owned))
        };
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&[("authorization", b"")]), Ok(None));
        assert_eq!(find(&[("authorization", b"Bearer x ")]), Ok(Some("Bearer x".into())));
        assert!(find(&[("authorization", b"a"), ("Authorization", b"a")]).is_err());
        assert!(find(&[("authorization", b""), ("authorization", b"a")]).is_err());
        assert!(find(&[("authorization", b"\xff")]).is_err());
    }

    #[test]
    fn a_cookie_is_found_in_any_field_and_never_chosen_among_two() {
        let spot = parse("cookie:s").unwrap();
        let find = |fields: &[&[u8]]| {
            let fields: Vec<_> = fields.iter().map(|value| ("cookie", *value)).collect();
            find(&spot, &asked("/", &fields)).map(|found| found.map(Cow::into_owned))
        };
        assert_eq!(find(&[b"a=b; s=x.y; c=d"]), Ok(Some("x.y".into())));
        assert_eq!(find(&[b"a=b", b"s=x"]), Ok(Some("x".into())));
        assert_eq!(find(&[b"s = x"]), Ok(Some("x".into())));
        assert_eq!(find(&[b"S=x; ss=y; as=z; s"]), Ok(None));
        assert_eq!(find(&[b"s=; a=b"]), Ok(None));
        assert_eq!(find(&[b"a=\xff; s=x"]), Ok(Some("x".into())));
        for twice in [&[&b"s=x; s=x"[..]][..], &[b"s=x", b"s=y"], &[b"s=; s=y"], &[b"s=\xff"]] {
            assert!(find(twice).is_err(), "{twice:?}");
        }
    }

    #[test]
    fn a_parameter_is_decoded_and_found_under_an_encoded_name() {
        let spot = parse("query:access_token").unwrap();
        let find =
            |target: &str| find(&spot, &asked(target, &[])).map(|found| found.map(Cow::into_owned));
        assert_eq!(find("/"), Ok(None));
        assert_eq!(find("/?access_token"), Ok(None));
        assert_eq!(find("/?a=b&access_token=x.y"), Ok(Some("x.y".into())));
        assert_eq!(find("/?acc%65ss_token=a%2Bb+c%3d"), Ok(Some("a+b c=".into())));
        assert_eq!(find("/?%zz=1&Access_token=2&access_token=x"), Ok(Some("x".into())));
        for bad in ["access_token=a&access_token=a", "access_token=a&acc%65ss_token=b"] {
            assert!(find(&format!("/?{bad}")).is_err(), "{bad}");
        }
        for bad in ["a%2", "%", "%zz", "%ff", "%+1"] {
            assert!(find(&format!("/?access_token={bad}")).is_err(), "{bad}");
        }
        let plain = asked("/?access_token=x", &[]);
        assert!(matches!(super::find(&spot, &plain), Ok(Some(Cow::Borrowed("x")))));
    }
}
