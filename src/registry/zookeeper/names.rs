//! Names of nodes: what may be one, and what a path below the root is about.

/// The node whose children are services; absolute, without a final slash, so `/` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root(String);

/// What a path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The root, or nothing of ours.
    Elsewhere,
    /// A service's node.
    Service(&'a str),
    /// An instance's node.
    Instance(&'a str, &'a str),
}

impl Root {
    /// `/services`, `/a/b`, `/`.
    pub(super) fn new(path: &str) -> Result<Self, String> {
        let bare = path.strip_suffix('/').unwrap_or(path);
        if bare.is_empty() && path == "/" {
            return Ok(Self(String::new()));
        }
        let names = bare.strip_prefix('/').ok_or_else(|| format!("`{path}` does not begin with /"));
        if names?.split('/').all(is_name) {
            Ok(Self(bare.to_owned()))
        } else {
            Err(format!("`{path}` is no path of nodes"))
        }
    }

    /// The same root below another path.
    pub(super) fn under(&self, path: &str) -> Result<Self, String> {
        let Self(above) = Self::new(path)?;
        Ok(Self(above + &self.0))
    }

    /// As the server knows it.
    pub(super) fn path(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// The node of a service.
    pub(super) fn service(&self, service: &str) -> String {
        format!("{}/{service}", self.0)
    }

    /// The node of an instance.
    pub(super) fn instance(&self, service: &str, node: &str) -> String {
        format!("{}/{service}/{node}", self.0)
    }

    /// What a path is about.
    pub(super) fn place<'a>(&self, path: &'a str) -> Place<'a> {
        let names = path.strip_prefix(self.0.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let names = names.unwrap_or_default();
        match names.split_once('/') {
            None if is_name(names) => Place::Service(names),
            Some((service, node)) if is_name(service) && is_name(node) => {
                Place::Instance(service, node)
            }
            None | Some(_) => Place::Elsewhere,
        }
    }
}

/// Whether a node may have this name (ZooKeeper Programmer's Guide, "The ZooKeeper Data Model").
pub(super) fn is_name(name: &str) -> bool {
    let forbidden = |c: char| matches!(c, '/' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    !matches!(name, "" | "." | "..") && name.len() <= 1024 && !name.contains(forbidden)
}

/// A path for a log line or a message.
pub(super) fn shown(path: &str) -> String {
    path.chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_a_path_of_nodes() {
        for (written, path) in [("/services", "/services"), ("/a/b/", "/a/b"), ("/", "/")] {
            assert_eq!(Root::new(written).unwrap().path(), path);
        }
        for written in ["", "services", "//", "/a//b", "/a/../b", "/.", "/a\u{1}"] {
            assert!(Root::new(written).is_err(), "{written:?} was taken");
        }
        let below = Root::new("/services").unwrap().under("/app").unwrap();
        assert_eq!((below.path(), below.service("a")), ("/app/services", "/app/services/a".into()));
        assert_eq!(Root::new("/").unwrap().service("a"), "/a");
    }

    #[test]
    fn a_path_is_about_a_service_or_an_instance_or_nothing() {
        let root = Root::new("/s").unwrap();
        for (path, place) in [
            ("/s", Place::Elsewhere),
            ("/s/", Place::Elsewhere),
            ("/sa/b", Place::Elsewhere),
            ("/s/a", Place::Service("a")),
            ("/s/a/b", Place::Instance("a", "b")),
            ("/s/a/b/c", Place::Elsewhere),
            ("/s/a/", Place::Elsewhere),
            ("/s//b", Place::Elsewhere),
            ("", Place::Elsewhere),
        ] {
            assert_eq!(root.place(path), place, "{path}");
        }
        assert_eq!(Root::new("/").unwrap().place("/a"), Place::Service("a"));
        assert_eq!(Root::new("/").unwrap().place("/a/b"), Place::Instance("a", "b"));
    }
}
