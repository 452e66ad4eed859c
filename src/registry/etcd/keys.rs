//! Keys of the prefix: `<prefix><service>/<anything>`.

/// The part of the keys that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(String);

impl Prefix {
    /// A prefix that ends in a letter or a digit gets the slash that was meant: `/services` is no beginning of
    /// `/services2/…`.
    pub(super) fn new(written: &str) -> Self {
        let slash = if written.ends_with(|c: char| c.is_alphanumeric()) { "/" } else { "" };
        Self(format!("{written}{slash}"))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// From where and to where its keys are, as `key` and `range_end` of a request (etcd's `api.RangeRequest`).
    pub(super) fn range(&self) -> (Vec<u8>, Vec<u8>) {
        if self.0.is_empty() {
            // "If both key and range_end are \0, then the range request returns all keys."
            return (vec![0], vec![0]);
        }
        let first = self.0.clone().into_bytes();
        let mut end = first.clone();
        // No byte of UTF-8 is 255, so the last one has a next one.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        (first, end)
    }

    /// A key whose reading needs the rights that reading all of them needs.
    pub(super) fn probe(&self) -> Vec<u8> {
        if self.0.is_empty() { vec![0] } else { self.0.clone().into_bytes() }
    }

    /// The key of an instance.
    pub(super) fn key(&self, service: &str, id: &str) -> Vec<u8> {
        format!("{}{service}/{id}", self.0).into_bytes()
    }

    /// Service and rest of a key. The error says what is wrong with it.
    pub(super) fn split<'a>(&self, key: &'a [u8]) -> Result<(&'a str, &'a str), &'static str> {
        let text = std::str::from_utf8(key).map_err(|_| "the key is no text")?;
        let rest = text.strip_prefix(self.0.as_str()).ok_or("the key is not of the prefix")?;
        match rest.split_once('/') {
            Some(("", _)) => Err("the key names no service"),
            Some((_, "")) | None => Err("the key names a service and no instance"),
            Some(split) => Ok(split),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_the_prefix_does() {
        let prefix = Prefix::new("/services/");
        assert_eq!(prefix.range(), (b"/services/".to_vec(), b"/services0".to_vec()));
        assert_eq!(Prefix::new("").range(), (vec![0], vec![0]));
        assert_eq!(Prefix::new("svc-ü").range().1.last(), Some(&b'0'));
    }

    #[test]
    fn a_slash_is_added_where_one_was_meant() {
        for (written, used) in
            [("/services", "/services/"), ("/services/", "/services/"), ("svc-", "svc-"), ("", "")]
        {
            assert_eq!(Prefix::new(written).text(), used);
        }
    }

    #[test]
    fn a_key_names_a_service_and_something() {
        let prefix = Prefix::new("/services/");
        assert_eq!(prefix.split(&prefix.key("a", "b/c")), Ok(("a", "b/c")));
        for wrong in ["/services/a", "/services/a/", "/services//b", "/services/", "/other/a/b"] {
            assert!(prefix.split(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(prefix.split(b"/services/\xff/a").is_err());
    }
}
