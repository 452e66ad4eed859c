//! Which protocols a request may ask to switch to (RFC 9110 section 7.8).

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};

use crate::wire::list::members;

/// HTTP/2 over this connection would take every request on it past the gateway (RFC 9113 section 3.1 gave it up).
const NEVER: &str = "h2c";

/// What is left of a request's Upgrade when only listed protocols (names in lower case) may pass, in any version.
pub(super) fn offered(headers: &HeaderMap, listed: &[String]) -> Option<HeaderValue> {
    let mut options = headers.get_all(CONNECTION).iter().flat_map(members);
    let is_said = options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    if !is_said {
        return None;
    }
    let may_pass = |protocol: &&str| {
        let (name, version) = protocol.split_once('/').unwrap_or((protocol, "-"));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        !is(NEVER) && listed.iter().any(|known| is(known)) && is_version(version)
    };
    let protocols = headers.get_all(UPGRADE).iter().flat_map(members);
    let protocols = protocols.filter_map(|protocol| std::str::from_utf8(protocol).ok());
    let offers: Vec<&str> = protocols.filter(may_pass).collect();
    if offers.is_empty() { None } else { HeaderValue::try_from(offers.join(", ")).ok() }
}

/// Tells both sides that the connection speaks another protocol from here on.
pub(super) fn put(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocols);
}

/// A token, as every name of a header is one.
fn is_version(version: &str) -> bool {
    http::HeaderName::from_bytes(version.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_protocols_pass_and_only_when_connection_says_so() {
        let listed = ["websocket".to_owned(), "chat".to_owned(), "h2c".to_owned()];
        for (connection, upgrades, passed) in [
            ("upgrade", &["websocket"][..], Some("websocket")),
            ("keep-alive, UPGRADE", &["WebSocket"], Some("WebSocket")),
            ("upgrade", &["spdy/3, websocket/13 ,h2c", "chat"], Some("websocket/13, chat")),
            ("upgrade", &["websocket/", "chat/a b", "websocket/1/2"], None),
            ("upgrade", &["h2c"], None),
            ("upgrade", &["H2C/1, spdy"], None),
            ("upgrade", &[""], None),
            ("keep-alive", &["websocket"], None),
            ("x-upgrade", &["websocket"], None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            for upgrade in upgrades {
                headers.append(UPGRADE, HeaderValue::from_static(upgrade));
            }
            let got = offered(&headers, &listed);
            let got = got.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(got, passed, "{connection}: {upgrades:?}");
            assert!(offered(&headers, &[]).is_none());
        }
    }
}
