//! Targets and hosts: what is accepted has one reading, and reading it again changes nothing.

#![no_main]

use bytes::Bytes;
use frontgate::wire::h1::target;
use http::uri::Authority;
use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;

const METHODS: [Method; 2] = [Method::GET, Method::OPTIONS];

fuzz_target!(|data: &[u8]| {
    for method in &METHODS {
        let written = Bytes::copy_from_slice(data);
        let Ok((uri, authority)) = target::read(method, &written) else { continue };
        let text = uri.to_string();
        if let Some(authority) = &authority {
            assert_eq!(target::host(authority), Ok(()), "its authority is a host");
            agrees_with_uri(method, data, &uri);
        } else {
            assert_eq!(text.as_bytes(), data, "origin form stays as it is");
        }
        if text == "*" {
            assert_eq!(*method, Method::OPTIONS);
            continue;
        }
        has_one_reading(&text);
        let again = target::read(method, &Bytes::from(text.clone()));
        assert_eq!(again.map(|(uri, _)| uri.to_string()), Ok(text), "read again");
    }
    if target::host(data).is_ok() {
        names_one_host(data);
    }
});

/// The `http` crate reads the same path from an absolute target.
fn agrees_with_uri(method: &Method, written: &[u8], ours: &Uri) {
    let theirs = Uri::try_from(written).expect("it takes what we take");
    if ours == "*" {
        // The server as a whole, which only OPTIONS can ask for (RFC 9112 section 3.2.4).
        assert_eq!((method, theirs.query()), (&Method::OPTIONS, None));
        assert!(!written.ends_with(b"/"), "it has no path");
        return;
    }
    assert_eq!((ours.path(), ours.query()), (theirs.path(), theirs.query()));
}

/// Visible ASCII, and no segment that a server could resolve to another path, however often it decodes once.
fn has_one_reading(target: &str) {
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!target.contains(['#', '\\']));
    let path = target.split('?').next().unwrap_or_default();
    let decoded = decoded(path.as_bytes());
    assert!(!decoded.contains(&0), "an encoded NUL");
    for segment in decoded.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "a dot segment in {target}");
    }
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = after.split_at_checked(2).expect("two digits");
            let digits = std::str::from_utf8(digits).expect("digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    bytes
}

/// The `http` crate finds the same host and port, and nothing else is in there.
fn names_one_host(host: &[u8]) {
    let text = std::str::from_utf8(host).expect("ASCII");
    assert!(!text.contains(['@', '/', '?', '#', ',', ' ']) && !text.is_empty());
    let theirs = Authority::try_from(host).expect("it takes what we take");
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (text, None),
    };
    assert_eq!((theirs.host(), theirs.port_u16()), (name, port));
}
