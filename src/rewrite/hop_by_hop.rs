//! Headers that are for one connection only (RFC 9110 §7.6.1), and framing, which the wire writes itself.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::upgrade;
use crate::refusal::CODE;
use crate::wire::list::members;

/// Takes them out of a request. `te: trailers` stays, since trailers pass, and so does an upgrade to a listed protocol.
pub fn request(headers: &mut HeaderMap, upgrades: &[String]) {
    let mut present = present(headers);
    // It means something in answers only.
    present[CODE_AT] = false;
    let offered = if present[UPGRADE_AT] { upgrade::offered(headers, upgrades) } else { None };
    let trailers = present[TE_AT] && takes_trailers(headers);
    remove(headers, present);
    // TE is for the next connection only, and must be named as that (RFC 9110 section 10.1.4).
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(offered) = offered {
        upgrade::put(headers, offered);
        if trailers {
            headers.insert(CONNECTION, HeaderValue::from_static("te, upgrade"));
        }
    }
}

/// Takes them out of an answer, and what would make it look like the gateway's own.
pub fn response(headers: &mut HeaderMap) {
    let present = present(headers);
    remove(headers, present);
}

/// Takes them out of a 101 that was asked for, but what it is about.
pub fn switched(headers: &mut HeaderMap) {
    let protocols = headers.get(UPGRADE).cloned();
    response(headers);
    if let Some(protocols) = protocols {
        upgrade::put(headers, protocols);
    }
}

fn present(headers: &HeaderMap) -> [bool; LISTED] {
    let mut present = [false; LISTED];
    for at in headers.keys().filter_map(|name| place(name.as_str())) {
        present[at] = true;
    }
    present
}

fn remove(headers: &mut HeaderMap, present: [bool; LISTED]) {
    if present[CONNECTION_AT] {
        named_by_connection(headers);
    }
    for (name, _) in NAMES.iter().zip(present).filter(|(_, present)| *present) {
        headers.remove(name);
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let mut codings = value.split(',').map(|coding| coding.split(';').next().unwrap_or(coding));
        codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    })
}

fn named_by_connection(headers: &mut HeaderMap) {
    let mut all = headers.get_all(CONNECTION).iter();
    if let (Some(only), None) = (all.next(), all.next())
        && only.to_str().is_ok_and(is_known)
    {
        return;
    }
    // The values are cloned because removing moves them; a clone shares its bytes.
    let mut values = headers.get_all(CONNECTION).iter().cloned();
    let (first, more) = (values.next(), values.collect::<Vec<_>>());
    for value in first.iter().chain(&more) {
        for token in members(value) {
            let Ok(token) = std::str::from_utf8(token) else { continue };
            if !is_known(token) && !is_protected(token) {
                headers.remove(token);
            }
        }
    }
}

/// What a `Connection` usually says, which needs no lookup.
fn is_known(token: &str) -> bool {
    ["keep-alive", "close", "te", "upgrade"].iter().any(|known| token.eq_ignore_ascii_case(known))
}

/// What a client must not be able to take from its request: it would change what the request means or who sent it.
fn is_protected(token: &str) -> bool {
    let forwarded = "x-forwarded-";
    token.get(..forwarded.len()).is_some_and(|start| start.eq_ignore_ascii_case(forwarded))
        || ["host", "authorization", "expect", "forwarded", "x-real-ip"]
            .iter()
            .any(|protected| token.eq_ignore_ascii_case(protected))
}

/// Where a name stands in [`NAMES`]. A match, because it is asked for every header there is.
fn place(name: &str) -> Option<usize> {
    Some(match name {
        "connection" => CONNECTION_AT,
        "content-length" => 1,
        "transfer-encoding" => 2,
        "te" => TE_AT,
        "trailer" => 4,
        "upgrade" => UPGRADE_AT,
        "proxy-authenticate" => 6,
        "proxy-authorization" => 7,
        "keep-alive" => 8,
        "proxy-connection" => 9,
        "http2-settings" => 10,
        "x-frontgate-code" => CODE_AT,
        _ => return None,
    })
}

const LISTED: usize = 12;
const CONNECTION_AT: usize = 0;
const TE_AT: usize = 3;
const UPGRADE_AT: usize = 5;
const CODE_AT: usize = 11;
static NAMES: [HeaderName; LISTED] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    CODE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        lines.iter().map(pair).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_name_has_its_place() {
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(place(name.as_str()), Some(at), "{name}");
        }
        assert_eq!(place("host"), None);
    }

    #[test]
    fn every_listed_name_goes_in_both_directions_but_the_code_only_in_answers() {
        let lines: Vec<_> = NAMES.iter().map(|name| (name.as_str(), "x")).collect();
        let mut headers = map(&lines);
        headers.insert("x-kept", HeaderValue::from_static("1"));
        let mut answer = headers.clone();
        request(&mut headers, &[]);
        response(&mut answer);
        assert_eq!(names(&headers), ["x-frontgate-code", "x-kept"]);
        assert_eq!(names(&answer), ["x-kept"]);
    }

    #[test]
    fn what_connection_names_goes_on_every_line_of_it() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-One ,,x-two"),
            ("connection", "\tX-Three\t, bad token, x-ab\u{e9}"),
            ("connection", "x-four"),
            ("x-one", "1"),
            ("x-two", "1"),
            ("x-two", "2"),
            ("x-three", "1"),
            ("x-four", "1"),
            ("x-five", "1"),
        ]);
        request(&mut headers, &[]);
        assert_eq!(names(&headers), ["x-five"]);
    }

    #[test]
    fn connection_cannot_take_who_and_where_from_a_request() {
        let kept = [
            ("authorization", "a"),
            ("expect", "100-continue"),
            ("forwarded", "for=1"),
            ("host", "h"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "h"),
            ("x-real-ip", "1.2.3.4"),
        ];
        let mut headers = map(&kept);
        let all =
            "Host, AUTHORIZATION, Expect, X-Forwarded-For, x-forwarded-host, forwarded, X-Real-IP";
        headers.insert(CONNECTION, HeaderValue::from_static(all));
        request(&mut headers, &[]);
        assert_eq!(headers, map(&kept));
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else() {
        for (sent, kept) in [
            ("trailers", true),
            ("gzip, Trailers;q=0.5", true),
            ("gzip", false),
            ("nottrailers", false),
        ] {
            let mut headers = map(&[("te", sent), ("connection", "te")]);
            request(&mut headers, &[]);
            let left: &[_] = if kept { &[("te", "trailers"), ("connection", "te")] } else { &[] };
            assert_eq!(headers, map(left), "{sent}");
            let mut answer = map(&[("te", sent)]);
            response(&mut answer);
            assert!(answer.is_empty());
        }
    }
}
