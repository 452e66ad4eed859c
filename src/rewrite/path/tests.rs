//! Strip, template, and what a client might try with them.

use proptest::prelude::*;

use super::*;

fn segments(text: &str) -> Vec<Segment> {
    let segment = |text: &str| match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        Some(name) => Segment::Capture(name.to_owned()),
        None => Segment::Literal(text.to_owned()),
    };
    text.split('/').skip(1).map(segment).collect()
}

fn pattern(text: &str) -> PathPattern {
    match (text.strip_prefix('~'), text.strip_suffix("/*")) {
        (Some(regex), _) => PathPattern::Regex(regex.to_owned()),
        (None, Some(prefix)) => PathPattern::Prefix(segments(prefix)),
        (None, None) => PathPattern::Exact(segments(text)),
    }
}

/// The new target, and the prefix behind a space if there is one; what came when it stays.
fn rewritten(rewrite: &PathRewrite, path: &str, target: &str) -> String {
    let rewrite = Path::new(rewrite, &[pattern(path)]).unwrap();
    match rewrite.request(0, &target.parse().unwrap()) {
        None => target.to_owned(),
        Some(Rewritten { uri, prefix: None }) => uri.to_string(),
        Some(Rewritten { uri, prefix: Some(prefix) }) => {
            format!("{uri} {}", prefix.to_str().unwrap())
        }
    }
}

fn template(template: &str, path: &str, target: &str) -> String {
    rewritten(&PathRewrite::Template(template.to_owned()), path, target)
}

#[test]
fn strip_prefix_cuts_whole_segments_and_says_which() {
    for (path, target, wanted) in [
        ("/orders/*", "/orders/x?q=1", "/x?q=1 /orders"),
        ("/orders/*", "/orders", "/ /orders"),
        ("/orders/*", "/orders?q", "/?q /orders"),
        ("/orders/*", "/orders/", "/ /orders"),
        ("/orders/*", "/%6frders/a%2Fb/", "/a%2Fb/ /orders"),
        ("/orders/*", "/orders//evil.example/x", "/evil.example/x /orders"),
        ("/a/b/*", "/a/b/c//d", "/c//d /a/b"),
        ("/{tenant}/api/*", "/acme/api/x", "/x /acme/api"),
        ("/ü/*", "/%c3%bc/x", "/x /%C3%BC"),
        ("/orders", "/orders?q", "/?q /orders"),
        ("/*", "/x", "/x"),
        ("/", "/", "/"),
        ("~^/x", "/x/y", "/x/y"),
    ] {
        assert_eq!(rewritten(&PathRewrite::StripPrefix, path, target), wanted, "{path} {target}");
    }
}

#[test]
fn keep_changes_nothing() {
    let keep = Path::new(&PathRewrite::Keep, &[pattern("/orders/*")]).unwrap();
    assert_eq!(keep.request(0, &Uri::from_static("/orders//x")), None);
}

#[test]
fn each_path_of_a_route_has_its_own_rewrite() {
    let paths = [pattern("/a/*"), pattern("/b/c/*")];
    let strip = Path::new(&PathRewrite::StripPrefix, &paths).unwrap();
    assert_eq!(strip.request(0, &Uri::from_static("/a/c/x")).unwrap().uri, "/c/x");
    assert_eq!(strip.request(1, &Uri::from_static("/b/c/x")).unwrap().uri, "/x");
}

#[test]
fn an_absolute_target_becomes_a_path() {
    let target = "http://shop.example.com/orders/x?q";
    assert_eq!(rewritten(&PathRewrite::StripPrefix, "/orders/*", target), "/x?q /orders");
}

#[test]
fn a_template_is_filled_from_what_was_captured() {
    for (text, path, target, wanted) in [
        ("/v2/{rest}", "/orders/*", "/orders/x/y?q=1", "/v2/x/y?q=1"),
        ("/v2/{rest}", "/orders/*", "/orders", "/v2/"),
        ("/v2/{rest}", "/orders/*", "/orders//x", "/v2//x"),
        ("/v2/{rest}", "/orders", "/orders", "/v2/"),
        ("/u/{id}/{what}.html", "/{what}/{id}", "/orders/7", "/u/7/orders.html"),
        ("/{id}/{rest}", "/orders/{id}/*", "/orders/7/a/b", "/7/a/b"),
        ("/{rest}", "/{rest}/*", "/a/b", "/a"),
        ("/x/${1}", r"~^/orders/(\d+)$", "/orders/7?q", "/x/7?q"),
        ("/x/${id}-{id}-${0}", r"~(?P<id>\d+)", "/orders/7", "/x/7-7-7"),
        ("/x/${2}", "~^/(a)|(b)", "/a", "/x/"),
        ("/fixed", "/a/*", "/a/b?q", "/fixed?q"),
        ("fixed", "/a", "/a", "/fixed"),
        ("", "/a", "/a", "/"),
        ("/a b/é%41%", "/a", "/a", "/a%20b/%C3%A9%41%25"),
        ("/$x/$", "/a", "/a", "/$x/$"),
    ] {
        assert_eq!(template(text, path, target), wanted, "{text} {path} {target}");
    }
}

#[test]
fn a_capture_cannot_climb_nor_name_a_host_nor_make_an_escape() {
    for (text, path, target, wanted) in [
        ("/v2/${1}", "~^/f(.*)$", "/f../secret", "/v2/secret"),
        ("/v2/${1}", "~^/f(.*)$", "/f%2e%2E/secret", "/v2/secret"),
        ("/v2/${1}", "~^/f(.*)$", "/f..%2fsecret", "/v2"),
        ("/v2/.{rest}", "/a/*", "/a/.x", "/v2/..x"),
        ("/v2/.{rest}", "/a/*", "/a", "/v2"),
        ("/{rest}", "/a/*", "/a//evil.example", "/evil.example"),
        ("{rest}", "/a/*", "/a///evil.example", "/evil.example"),
        ("/${1}//x", "~^/f(.*)$", "/f..", "/x"),
        ("/${1}41", "~^/(%2).*$", "/%2Fx", "/%25241"),
        ("/${1}2e/x", "~^/(%).*$", "/%2Fx", "/%252e/x"),
        ("/${1}", "~^/(.*)$", "/a%2Fb", "/a%2Fb"),
        ("/v2/%2e{rest}", "/a/*", "/a", "/v2"),
        ("/v2/%2E{rest}/x", "/a/*", "/a/%2e", "/v2/x"),
        ("/%${1}", "~^/(.*)$", "/2e", "/%252e"),
    ] {
        assert_eq!(template(text, path, target), wanted, "{text} {path} {target}");
    }
}

#[test]
fn a_template_that_does_not_fit_its_path_is_refused() {
    for (text, path) in [
        ("/{id}", "/orders/{x}"),
        ("/${1}", "/orders/{x}"),
        ("/${2}", "~(a)"),
        ("/${name}", "~(a)"),
        ("/{rest}", "~(a)"),
        ("/{rest", "/orders/*"),
        ("/x?y={rest}", "/orders/*"),
        ("/x", "~("),
    ] {
        let error = Path::new(&PathRewrite::Template(text.to_owned()), &[pattern(path)]);
        assert!(error.is_err(), "{text} {path}");
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_always_a_safe_path(
        text in "(/|\\.|%|2|e|\\$\\{1\\}|\\$\\{2\\}| |é){0,8}",
        target in "/(/|\\.|%2e|%2F|%5c|a|%61){0,8}",
    ) {
        let path = pattern("~^(.{0,3})(.*)$");
        let rewrite = Path::new(&PathRewrite::Template(text), &[path]).unwrap();
        let sent = rewrite.request(0, &target.parse().unwrap()).unwrap().uri.to_string();
        prop_assert!(sent.starts_with('/') && !sent.starts_with("//"), "{}", sent);
        let lower = sent.to_ascii_lowercase();
        for (at, _) in lower.match_indices('%') {
            let digits = lower.get(at + 1..at + 3).unwrap_or_default();
            prop_assert!(u8::from_str_radix(digits, 16).is_ok_and(|byte| byte != 0), "{}", sent);
        }
        let decoded = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
        for segment in decoded.split('/') {
            prop_assert!(!matches!(segment, "." | ".."), "{}", sent);
        }
    }
}
