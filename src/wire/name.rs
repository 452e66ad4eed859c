//! Names of headers as receivers may take them.

use http::HeaderName;

/// Whether two names differ by nothing but signs: what reads headers as environment variables (`HTTP_X_USER`, RFC 3875
/// section 4.1.18) cannot tell them apart.
pub fn alike(one: &HeaderName, other: &HeaderName) -> bool {
    let (one, other) = (one.as_str(), other.as_str());
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).all(|(one, other)| {
            one == other || !(one.is_ascii_alphanumeric() || other.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_when_only_signs_differ() {
        let name = HeaderName::from_static;
        for other in ["x-user", "x_user", "x.user", "x~user"] {
            assert!(alike(&name("x-user"), &name(other)), "{other}");
        }
        for other in ["x-users", "xuser", "x-use", "y-user", "x0user", "x--user"] {
            assert!(!alike(&name("x-user"), &name(other)), "{other}");
        }
    }
}
