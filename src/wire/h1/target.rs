//! Request targets and hosts: only what every parser reads alike (RFC 9112 section 3.2, RFC 3986).

use bytes::Bytes;
use http::{Method, Uri};

use super::Malformed;

/// Reads a target into a path with its query, and the authority it brought along (absolute form).
pub fn read(method: &Method, target: &Bytes) -> Result<(Uri, Option<Bytes>), Malformed> {
    match target.first() {
        Some(b'/') => Ok((origin(target)?, None)),
        Some(b'*') if target.len() == 1 && method == Method::OPTIONS => Ok((uri(target)?, None)),
        Some(_) => absolute(method, target),
        None => Err(Malformed::RequestLine),
    }
}

fn origin(target: &Bytes) -> Result<Uri, Malformed> {
    characters(target)?;
    segments(&target[..memchr::memchr(b'?', target).unwrap_or(target.len())])?;
    uri(target)
}

fn uri(target: &Bytes) -> Result<Uri, Malformed> {
    // It holds no more, even where the operator's limit is higher.
    let long = target.len() >= usize::from(u16::MAX);
    let rule = if long { Malformed::TargetTooLong } else { Malformed::TargetCharacter };
    Uri::from_maybe_shared(target.clone()).map_err(|_| rule)
}

fn absolute(method: &Method, target: &Bytes) -> Result<(Uri, Option<Bytes>), Malformed> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let start = scheme.ok_or(Malformed::TargetForm)?.len();
    let rest = &target[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority = target.slice(start..start + end.unwrap_or(rest.len()));
    host(&authority)?;
    let path = target.slice(start + authority.len()..);
    let uri = match path.first() {
        // The server as a whole, asked through a proxy (RFC 9112 section 3.2.4).
        None if method == Method::OPTIONS => Uri::from_static("*"),
        None => Uri::from_static("/"),
        Some(b'/') => origin(&path)?,
        Some(_) => origin(&Bytes::from([b"/", &path[..]].concat()))?,
    };
    Ok((uri, Some(authority)))
}

/// Refuses characters and escapes that readers disagree on, anywhere in the target.
fn characters(target: &[u8]) -> Result<(), Malformed> {
    // One pass that the compiler can make wide; the slow one runs only where it found something.
    let plain = target.iter().fold(true, |plain, byte| {
        plain
            & ((*byte > b' ')
                & (*byte < 0x7f)
                & (*byte != b'#')
                & (*byte != b'\\')
                & (*byte != b'%'))
    });
    if plain {
        return Ok(());
    }
    let mut rest = target;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => match after {
                [b'0', b'0', ..] => return Err(Malformed::TargetEscape),
                [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
                _ => return Err(Malformed::TargetEscape),
            },
            b'#' | b'\\' | 0..=b' ' | 0x7f.. => return Err(Malformed::TargetCharacter),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses `.` and `..` as segments: plain, encoded, with path parameters, and beside an encoded slash or an encoded
/// backslash, which some servers take for a slash.
fn segments(path: &[u8]) -> Result<(), Malformed> {
    let mut rest = path;
    // Most paths hold no dot at all, plain or encoded.
    if memchr::memchr2(b'.', b'%', path).is_none() {
        return Ok(());
    }
    while !rest.is_empty() {
        let (mut dots, mut other) = (0, false);
        let mut parameters = false;
        loop {
            let (byte, length) = decoded(rest);
            rest = &rest[length..];
            match byte {
                None | Some(b'/' | b'\\') => break,
                Some(b';') => parameters = true,
                Some(_) if parameters => {}
                Some(b'.') => dots += 1,
                Some(_) => other = true,
            }
        }
        if !other && (dots == 1 || dots == 2) {
            return Err(Malformed::DotSegment);
        }
    }
    Ok(())
}

/// The first byte of `rest` with its escape undone, and how many bytes it took.
fn decoded(rest: &[u8]) -> (Option<u8>, usize) {
    match rest {
        [] => (None, 0),
        [b'%', high, low, ..] => {
            let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
            (u8::try_from(digit(*high) * 16 + digit(*low)).ok(), 3)
        }
        [byte, ..] => (Some(*byte), 1),
    }
}

/// Checks `uri-host [ ":" port ]` (RFC 9110 section 7.2), without user information, not empty.
pub fn host(host: &[u8]) -> Result<(), Malformed> {
    let text = std::str::from_utf8(host).map_err(|_| Malformed::Host)?;
    let (name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return Err(Malformed::Host),
        Some(Some((address, port))) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| Malformed::Host)?;
            match (port, port.strip_prefix(':')) {
                ("", _) => return Ok(()),
                (_, Some(port)) => ("v6", port),
                (_, None) => return Err(Malformed::Host),
            }
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, port),
            None => (text, ""),
        },
    };
    let named = !name.is_empty() && name.bytes().all(host_byte);
    let ported = port.is_empty()
        || (port.len() <= 5
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok());
    if named && ported { Ok(()) } else { Err(Malformed::Host) }
}

/// `reg-name` of RFC 3986: unreserved, sub-delims. A comma is left out: it would join two hosts in one. So are escapes:
/// who decodes them sees another host than who does not, and many take none.
fn host_byte(byte: u8) -> bool {
    const BYTES: [bool; 256] = {
        let mut bytes = [false; 256];
        let named = b"-._~!$&'()*+;=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut at = 0;
        while at < named.len() {
            bytes[named[at] as usize] = true;
            at += 1;
        }
        bytes
    };
    BYTES[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Result<String, Malformed> {
        let (uri, authority) = read(&Method::GET, &Bytes::copy_from_slice(target.as_bytes()))?;
        let authority = authority.map(|a| String::from_utf8(a.to_vec()).unwrap() + " ");
        Ok(authority.unwrap_or_default() + &uri.to_string())
    }

    #[test]
    fn takes_what_every_parser_reads_alike() {
        for (target, same) in [
            ("/", "/"),
            ("/a/b?c=d/../e", "/a/b?c=d/../e"),
            ("/a//b", "/a//b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/...", "/..."),
            ("/a.b/.c/..d", "/a.b/.c/..d"),
            ("/%E2%82%AC", "/%E2%82%AC"),
            ("/a;b=c", "/a;b=c"),
            ("http://a.example", "a.example /"),
            ("HTTP://a.example:81/x?y", "a.example:81 /x?y"),
            ("https://[::1]?y", "[::1] /?y"),
        ] {
            assert_eq!(get(target).as_deref(), Ok(same), "{target}");
        }
        let star = Bytes::from_static(b"*");
        assert!(read(&Method::OPTIONS, &star).is_ok());
        assert_eq!(read(&Method::GET, &star).unwrap_err(), Malformed::TargetForm);
        let long = format!("/{}", "a".repeat(65_533));
        assert!(get(&long).is_ok());
        assert_eq!(get(&(long + "a")), Err(Malformed::TargetTooLong));
        let whole = Bytes::from_static(b"http://a");
        assert_eq!(read(&Method::OPTIONS, &whole).unwrap().0, "*");
        assert_eq!(read(&Method::GET, &whole).unwrap().0, "/");
    }

    #[test]
    fn refuses_what_could_be_read_two_ways() {
        use Malformed::{DotSegment, Host, TargetCharacter, TargetEscape, TargetForm};
        for (target, rule) in [
            ("/a#b", TargetCharacter),
            ("/a\\b", TargetCharacter),
            ("/é", TargetCharacter),
            ("/a\u{7f}", TargetCharacter),
            ("/a%", TargetEscape),
            ("/a%4", TargetEscape),
            ("/a%zz", TargetEscape),
            ("/?a=%00", TargetEscape),
            ("/.", DotSegment),
            ("/..", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/a/.%2e", DotSegment),
            ("/a%2f..%2fb", DotSegment),
            ("/a/..;x=y/b", DotSegment),
            ("/a/..%3bx/b", DotSegment),
            ("/a%5c..%5Cb", DotSegment),
            ("a/b", TargetForm),
            ("ftp://a/b", TargetForm),
            ("http:/a", TargetForm),
            ("http://user@a/b", Host),
            ("http:///b", Host),
            ("http://a/../b", DotSegment),
            ("http://a#b", TargetCharacter),
        ] {
            assert_eq!(get(target), Err(rule), "{target}");
        }
    }

    #[test]
    fn checks_hosts_by_their_grammar() {
        for good in ["a", "a.b:80", "127.0.0.1:65535", "[::1]", "[fe80::1]:8080", "a:", "xn--a.b"] {
            assert_eq!(host(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a:99999", "a b", "a/b", "u@a", "[::1", "[::1]x", "::1", "a,b",
            "a%zz", "é", "%61", "a%2Fb",
        ] {
            assert_eq!(host(bad.as_bytes()), Err(Malformed::Host), "{bad}");
        }
    }
}
