//! Forms of targets, and the tricks that paths are used for.

use frontgate::wire::h1::Malformed::{
    Connect, DotSegment, Host, TargetCharacter, TargetEscape, TargetForm, TargetTooLong,
};

use super::{Case, bad, passes, play, refused};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n")
}

/// A target that arrives as it was sent.
macro_rules! kept {
    ($($target:literal)*) => {
        [$(passes(get($target), concat!("GET ", $target, " HTTP/1.1\nhost: h"))),*]
    };
}

fn forms() -> Vec<Case> {
    let mut cases: Vec<_> = [
        "a", "*", "h:80", "h", "?a", "%2f", "./", "ftp://h/", "ws://h/", "http:h", "http:/h",
        "http", "**", "*/",
    ]
    .map(|target| bad(get(target), TargetForm))
    .into();
    cases.extend(
        [
            "http://u@h/",
            "http://u:p@h/",
            "http://@h/",
            "http:///x",
            "http://",
            "https://?x",
            "http://h:x/",
            "http://h,g/",
        ]
        .map(|target| bad(get(target), Host)),
    );
    let options = |target: &str| format!("OPTIONS {target} HTTP/1.1\r\nhost: h\r\n\r\n");
    cases.extend([
        bad(get("http://h#x"), TargetCharacter),
        bad(get("http://h/../x"), DotSegment),
        refused(
            "CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n",
            405,
            "method_not_allowed",
            Connect,
        ),
        refused("CONNECT / HTTP/1.1\r\nhost: h\r\n\r\n", 405, "method_not_allowed", Connect),
        refused("CONNECT h:443 HTTP/1.0\r\n\r\n", 405, "method_not_allowed", Connect),
        bad("POST * HTTP/1.1\r\nhost: h\r\n\r\n", TargetForm),
        bad("options * HTTP/1.1\r\nhost: h\r\n\r\n", TargetForm),
        bad("OPTIONS *?x HTTP/1.1\r\nhost: h\r\n\r\n", TargetForm),
        // The server as a whole (RFC 9110 section 9.3.7) is what a route for everything takes.
        passes(options("*"), "OPTIONS * HTTP/1.1\nhost: h"),
        passes(options("/"), "OPTIONS / HTTP/1.1\nhost: h"),
        // RFC 9112 section 3.2.4: a server as a whole, asked through a proxy.
        passes(options("http://g"), "OPTIONS * HTTP/1.1\nhost: g"),
        passes(options("http://g/"), "OPTIONS / HTTP/1.1\nhost: g"),
        passes(options("http://g?x"), "OPTIONS /?x HTTP/1.1\nhost: g"),
        passes(get("http://g/a?b"), "GET /a?b HTTP/1.1\nhost: g"),
        passes(get("http://g"), "GET / HTTP/1.1\nhost: g"),
        passes(get("http://g?b"), "GET /?b HTTP/1.1\nhost: g"),
        passes(get("HTTP://G:81/"), "GET / HTTP/1.1\nhost: G:81"),
        passes(get("https://[::1]:443/x"), "GET /x HTTP/1.1\nhost: [::1]:443"),
        passes("GET http://g/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\nhost: g").closing(),
    ]);
    cases
}

/// Dot segments, in every spelling that some server undoes.
const DOTS: &str = "/. /.. /./ /../ /a/. /a/.. /a/../b /a/./b /a//../b /a/%2e /a/%2E%2e/b /%2e%2e/a /a/.%2e /a/%2E. \
    /a%2f..%2fb /a/..%2fb /a%2F.. /a%2f%2e%2e%2Fb /..;x/b /a/..;/b /a/..%3bx/b /a/.;a=b/c /a/..?b /..%5cb /a%5c..%5Cb \
    /a/%2e%2e%5cb";

/// Escapes that are none, or NUL.
const ESCAPES: &str =
    "/% /%4 /%zz /%4g /%g4 /%%41 /%-1 /%u0041 /a?% /a?b=%0 /%00 /a%00.png /?a=%00 /a%";

/// Characters that have to be escaped.
const CHARACTERS: &str = "/a#b /# /a?b#c /a\\b /\\..\\b /a?b\\c /\u{e9} /a?\u{20ac} /\u{ff0e}\u{ff0e}/ /\x7f /a\x01b /< /> /a`b /?\" /?<a>";

fn paths() -> Vec<Case> {
    let each = |targets: &str, rule| -> Vec<Case> {
        targets.split(' ').map(|target| bad(get(target), rule)).collect()
    };
    let long = "/".to_owned() + &"a".repeat(8191);
    let too_long = |sent: String| refused(sent, 414, "target_too_long", TargetTooLong);
    [
        each(DOTS, DotSegment),
        each(ESCAPES, TargetEscape),
        each(CHARACTERS, TargetCharacter),
        vec![
            too_long(get(&(long.clone() + "a"))),
            too_long(get(&long.repeat(3))),
            // No end of a line is waited for.
            too_long(format!("GET {}", long.repeat(2))),
        ],
    ]
    .concat()
}

/// What is no trick, or none of ours to undo.
fn kept_paths() -> Vec<Case> {
    kept![
        "/" "//" "//a//b//" "/a//b" "/..." "/.a" "/a." "/a../b" "/a/..b" "/a.b/.c/..d" "/;" "/a;b=c/d;e" "/;.." "/a;/b"
        "/a%2fb" "/a%2Fb%2f" "/a%3fb" "/a%23b" "/a%5cb" "/a%20b" "/a+b" "/%41" "/%7e" "/%E2%82%AC" "/%ff" "/%0a%0d"
        // Undone once and no more: what is escaped twice is a name with a percent sign.
        "/%2500" "/%252e%252e/a" "/a%252fb"
        // Not UTF-8, so no dots and no slashes either.
        "/%c0%ae%c0%ae/a" "/%c0%afa"
        "/?" "/a?b?c" "/?/../" "/?a=/./b" "/a?%2e%2e%2f" "/?a[]=1&b={}" "/a?b|c^d`{}" "/a\"b\"" "/{a}^[b]" "/:80" "/@h" "/http://g/" "/a|b" "/!$&'()*,=~"
    ]
    .into()
}

pub(super) fn cases() -> Vec<Case> {
    [forms(), paths(), kept_paths()].concat()
}

#[tokio::test]
async fn a_target_arrives_as_it_was_sent_or_not_at_all() {
    play(&cases()).await;
}
