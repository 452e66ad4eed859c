//! Users with the hashes of their passwords, from a config or a file as htpasswd writes it.

use std::collections::HashMap;
use std::sync::Arc;

use super::hashes::{Cost, Hash};

/// Users by name.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<Box<str>, Arc<Hash>>,
    /// One of the cost that most users' have: what is tried for a name that nobody has.
    usual: Option<Arc<Hash>>,
}

/// A line of a file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// From 1 on.
    pub line: usize,
    /// Tells nothing of what stands there.
    pub reason: String,
}

impl Users {
    /// Of names that differ.
    pub fn new(users: impl IntoIterator<Item = (Box<str>, Hash)>) -> Self {
        let users = users.into_iter().map(|(name, hash)| (name, Arc::new(hash)));
        let by_name: HashMap<_, _> = users.collect();
        let mut counts: HashMap<Cost, usize> = HashMap::new();
        for hash in by_name.values() {
            *counts.entry(hash.cost()).or_default() += 1;
        }
        let most = counts.values().max().copied();
        // Where several are as usual, any will do.
        let usual = by_name.values().find(|hash| counts.get(&hash.cost()).copied() == most);
        Self { usual: usual.cloned(), by_name }
    }

    /// Of a file's lines `name:hash`. What follows another colon, blank lines and those that begin with `#` are nothing;
    /// of two lines for one name the first counts, as with Apache. Lines that cannot be used are left out.
    pub fn of_file(bytes: &[u8]) -> (Self, Vec<Skipped>) {
        let mut users = HashMap::new();
        let mut skipped = Vec::new();
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let read = user(line).and_then(|(name, hash)| {
                let twice = users.contains_key(name);
                if twice {
                    Err("an earlier line has this name".to_owned())
                } else {
                    Ok((name, hash))
                }
            });
            match read {
                Ok((name, hash)) => drop(users.insert(Box::<str>::from(name), hash)),
                Err(reason) => skipped.push(Skipped { line: at + 1, reason }),
            }
        }
        (Self::new(users), skipped)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// The hash to try, and whether there is a user of that name at all. None when there is no user.
    pub fn hash(&self, name: &str) -> Option<(&Arc<Hash>, bool)> {
        match self.by_name.get(name) {
            Some(hash) => Some((hash, true)),
            None => Some((self.usual.as_ref()?, false)),
        }
    }
}

fn user(line: &[u8]) -> Result<(&str, Hash), String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8".to_owned())?;
    let (name, rest) = line.split_once(':').ok_or("there is no colon in it")?;
    check_name(name)?;
    let hash = rest.split(':').next().unwrap_or_default();
    let hash =
        Hash::parse(hash).map_err(|unfit| format!("what follows the name {}", unfit.reason()))?;
    Ok((name, hash))
}

/// What a client can send as a name (RFC 7617 section 2).
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.trim() != name {
        // A header's value ends before it: the upstream would be told of somebody else.
        return Err("a blank cannot stand at either end of a name");
    }
    if name.contains(':') {
        return Err("a colon cannot stand in a name");
    }
    if name.chars().any(char::is_control) {
        Err("a control sign cannot stand in a name")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    const APR1: &str = "$apr1$saltsalt$Q17bmANhIA7pctgRGqF/S0";

    #[test]
    fn a_file_is_read_line_by_line_and_bad_ones_are_left_out() {
        let text = format!(
            "# users\r\n\r\nalice:{SHA}\r\n  \nbob:{APR1}:Bob, second floor\nplain:secret\nnobody\n:{SHA}\n\
             alice:{APR1}\nbro\u{7}ken:{SHA}\ncarol:$2b$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\ndora:{SHA}"
        );
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(b"\neve\xff:x\n");
        let (users, skipped) = Users::of_file(&bytes);
        assert_eq!(users.count(), 3);
        assert!(users.hash("bob").is_some_and(|(hash, known)| known && hash.text() == APR1));
        assert!(users.hash("alice").is_some_and(|(hash, known)| known && hash.text() == SHA));
        let lines: Vec<_> = skipped.iter().map(|skipped| skipped.line).collect();
        assert_eq!(lines, [6, 7, 8, 9, 10, 11, 13]);
        assert!(skipped.iter().all(|skipped| !skipped.reason.contains("secret")), "{skipped:?}");
        assert!(skipped[0].reason.contains("no hash"), "{skipped:?}");
        assert!(skipped[5].reason.contains("cost 16"), "{skipped:?}");
    }

    #[test]
    fn nobody_is_told_apart_by_blanks() {
        for bad in [" alice", "alice ", "alice\u{a0}", " ", "", "a:b", "a\u{7f}"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("alice smith").is_ok());
    }

    #[test]
    fn who_nobody_is_costs_what_most_users_cost() {
        let (users, _) = Users::of_file(format!("a:{APR1}\nb:{SHA}\nc:{SHA}\n").as_bytes());
        assert!(
            users.hash("nobody").is_some_and(|(hash, known)| !known && hash.cost() == Cost::Sha1)
        );
        assert!(Users::of_file(b"").0.hash("nobody").is_none());
    }
}
