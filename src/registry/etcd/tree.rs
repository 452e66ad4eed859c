//! What the keys of the prefix hold: instances by service, and which keys hold none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::json::Pair;
use super::keys::Prefix;
use crate::registry::board::Contents;
use crate::registry::value::{self, Entry};

/// Keys in all.
pub(super) const KEYS: usize = 200_000;
/// Bytes of keys and values in all.
pub(super) const BYTES: usize = 64 << 20;
/// The longest value that is looked at; etcd takes 1.5 MiB.
const VALUE: usize = 64 << 10;

/// Instances by service and rest of their key.
#[derive(Default)]
pub(super) struct Tree {
    services: BTreeMap<String, BTreeMap<String, Instance>>,
    keys: usize,
    bytes: usize,
}

struct Instance {
    entry: Entry,
    /// Of its key and value.
    bytes: usize,
}

/// What a reading, or some changes, did to a tree.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Services that are another than before.
    pub(super) services: BTreeSet<String>,
    /// Keys that hold an instance now, or are gone.
    pub(super) good: Vec<Vec<u8>>,
    /// Keys that hold none, when they were written, and why.
    pub(super) bad: Vec<(Vec<u8>, i64, String)>,
    /// There was no room for all.
    pub(super) full: bool,
}

impl Tree {
    /// A key was written.
    pub(super) fn put(&mut self, prefix: &Prefix, pair: Pair, changes: &mut Changes) {
        let split = prefix.split(&pair.key);
        let (service, rest) = match split {
            Ok(split) => split,
            Err(why) => return changes.bad.push((pair.key, pair.mod_revision, why.to_owned())),
        };
        // The old value is gone, whatever the new one is.
        let was_there = self.remove(service, rest);
        let read = if pair.value.len() > VALUE {
            Err(format!("a value of {} bytes is no instance", pair.value.len()))
        } else {
            value::read(&pair.value)
        };
        let bytes = pair.key.len() + pair.value.len();
        let room = self.keys < KEYS && self.bytes + bytes <= BYTES;
        match read {
            Ok(entry) if room => {
                let instances = self.services.entry(service.to_owned()).or_default();
                instances.insert(rest.to_owned(), Instance { entry, bytes });
                (self.keys, self.bytes) = (self.keys + 1, self.bytes + bytes);
                changes.services.insert(service.to_owned());
                changes.good.push(pair.key);
            }
            Ok(_) => changes.full = true,
            Err(why) => {
                if was_there {
                    changes.services.insert(service.to_owned());
                }
                changes.bad.push((pair.key, pair.mod_revision, why));
            }
        }
    }

    /// A key is gone.
    pub(super) fn delete(&mut self, prefix: &Prefix, key: Vec<u8>, changes: &mut Changes) {
        if let Ok((service, rest)) = prefix.split(&key)
            && self.remove(service, rest)
        {
            changes.services.insert(service.to_owned());
        }
        changes.good.push(key);
    }

    /// Whether it was there.
    fn remove(&mut self, service: &str, rest: &str) -> bool {
        let Some(instances) = self.services.get_mut(service) else { return false };
        let Some(instance) = instances.remove(rest) else { return false };
        (self.keys, self.bytes) = (self.keys - 1, self.bytes - instance.bytes);
        if instances.is_empty() {
            self.services.remove(service);
        }
        true
    }
}

impl Contents for Tree {
    fn entries<'a>(&'a self, service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
        let instances = self.services.get(service);
        Box::new(instances.into_iter().flatten().map(|(_, instance)| &instance.entry))
    }

    fn services(&self) -> Vec<&str> {
        self.services.keys().map(String::as_str).collect()
    }
}

/// Keys that hold no instance and have been spoken of, so that each is spoken of once.
#[derive(Debug, Default)]
pub(super) struct Odd(HashMap<Vec<u8>, i64>);

/// How many are remembered.
const ODD: usize = 10_000;

impl Odd {
    /// Takes note of changes; returns what is news. `whole` when they are all there is.
    pub(super) fn note(&mut self, changes: &mut Changes, whole: bool) -> Vec<String> {
        let known = if whole { std::mem::take(&mut self.0) } else { HashMap::new() };
        for key in &changes.good {
            self.0.remove(key);
        }
        let mut news = Vec::new();
        for (key, revision, why) in changes.bad.drain(..) {
            let shown = String::from_utf8_lossy(&key[..key.len().min(200)]);
            let is_known = known.get(&key) == Some(&revision);
            if !is_known {
                news.push(format!("{}: {why}", shown.escape_default()));
            }
            if self.0.len() < ODD {
                self.0.insert(key, revision);
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str, mod_revision: i64) -> Pair {
        Pair { key: key.into(), value: value.into(), mod_revision }
    }

    fn ports(tree: &Tree, service: &str) -> Vec<u16> {
        tree.entries(service).map(|entry| entry.endpoint.address.port).collect()
    }

    #[test]
    fn a_key_that_becomes_garbage_loses_its_instance_and_is_spoken_of_once() {
        let (prefix, mut tree, mut odd) = (Prefix::new("/s/"), Tree::default(), Odd::default());
        let put = |tree: &mut Tree, odd: &mut Odd, value: &str, revision| {
            let mut changes = Changes::default();
            tree.put(&prefix, pair("/s/a/1", value, revision), &mut changes);
            let changed = changes.services.contains("a");
            (changed, odd.note(&mut changes, false).len())
        };
        assert_eq!(put(&mut tree, &mut odd, "10.0.0.1:1", 1), (true, 0));
        assert_eq!(ports(&tree, "a"), [1]);
        assert_eq!(put(&mut tree, &mut odd, "nonsense", 2), (true, 1));
        assert_eq!(ports(&tree, "a"), [0u16; 0]);
        assert_eq!((tree.services(), tree.keys, tree.bytes), (vec![], 0, 0));
        assert_eq!(put(&mut tree, &mut odd, "nonsense", 3), (false, 1));

        let mut again = Changes::default();
        Tree::default().put(&prefix, pair("/s/a/1", "nonsense", 3), &mut again);
        assert!(odd.note(&mut again, true).is_empty(), "the same garbage is no news");
        let mut again = Changes::default();
        Tree::default().put(&prefix, pair("/s/a/1", "nonsense", 4), &mut again);
        assert_eq!(odd.note(&mut again, true).len(), 1);
    }

    #[test]
    fn a_key_that_goes_takes_its_instance_along() {
        let (prefix, mut tree, mut changes) =
            (Prefix::new("/s/"), Tree::default(), Changes::default());
        tree.put(&prefix, pair("/s/a/1", "10.0.0.1:1", 1), &mut changes);
        tree.put(&prefix, pair("/s/a/2", "10.0.0.1:2", 2), &mut changes);
        tree.put(&prefix, pair("/s/b/1", "10.0.0.1:3", 3), &mut changes);
        let mut changes = Changes::default();
        tree.delete(&prefix, b"/s/a/1".to_vec(), &mut changes);
        tree.delete(&prefix, b"/s/c/1".to_vec(), &mut changes);
        tree.delete(&prefix, b"elsewhere".to_vec(), &mut changes);
        assert_eq!(changes.services.into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!((ports(&tree, "a"), tree.services()), (vec![2], vec!["a", "b"]));
    }

    #[test]
    fn what_is_too_much_is_not_taken() {
        let (prefix, mut tree, mut changes) =
            (Prefix::new("/s/"), Tree::default(), Changes::default());
        tree.put(&prefix, pair("/s/a/1", &"x".repeat(VALUE + 1), 1), &mut changes);
        assert!(changes.bad[0].2.contains("65537 bytes"), "{changes:?}");
        tree.bytes = BYTES;
        tree.put(&prefix, pair("/s/a/1", "10.0.0.1:1", 1), &mut changes);
        assert!(changes.full && tree.services.is_empty());
    }
}
