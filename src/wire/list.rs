//! Fields that hold a comma-separated list (RFC 9110 section 5.6.1).

use http::HeaderValue;

/// The members of a field's value, without the blanks around them; empty ones too. Byte by byte: one that is no text
/// must not hide its neighbours.
pub fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_between_commas_and_without_blanks() {
        for (value, expected) in [
            (&b"close"[..], &[&b"close"[..]][..]),
            (b" a ,\tb\t,c d", &[b"a", b"b", b"c d"]),
            (b"a,,", &[b"a", b"", b""]),
            (b"", &[b""]),
            (b"\xff, upgrade", &[b"\xff", b"upgrade"]),
        ] {
            let value = HeaderValue::from_bytes(value).unwrap();
            assert_eq!(members(&value).collect::<Vec<_>>(), expected, "{value:?}");
        }
    }
}
