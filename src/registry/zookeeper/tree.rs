//! What was read of the tree: for each service its nodes, and whether they could be read.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{Root, shown};
use crate::registry::board::{Contents, Doubt};
use crate::registry::value::Entry;

/// Services that are wanted and were read at least once.
#[derive(Default)]
pub(super) struct Tree {
    services: BTreeMap<String, Service>,
    /// Whether the names of all services were read; or why not.
    names: Names,
}

#[derive(Default)]
enum Names {
    #[default]
    Unread,
    Read,
    Refused(String),
}

#[derive(Default)]
struct Service {
    nodes: BTreeMap<String, Node>,
    /// Why its children could not be listed.
    refused: Option<String>,
}

/// An instance's node.
#[derive(Default)]
struct Node {
    entry: Option<Entry>,
    /// Why there is no entry, as the log was told.
    why: Option<String>,
    /// It may not be read.
    is_denied: bool,
}

/// What the server said when it was asked for something.
#[derive(Debug)]
pub(super) enum Said<T> {
    /// It is there.
    Is(T),
    /// There is no such node.
    Gone,
    /// It may not be read.
    Denied(String),
}

/// What a node holds, or why that is no instance.
pub(super) type Written = Result<Entry, String>;

/// What one round of reading found.
#[derive(Default)]
pub(super) struct News {
    /// Whether the names of all services can be read; none when they were not asked for.
    pub(super) names: Option<Said<()>>,
    /// Nobody asks for them any more.
    pub(super) forget_names: bool,
    /// Services whose children were listed.
    pub(super) listed: BTreeMap<String, Said<BTreeSet<String>>>,
    /// Nodes of services that were read, or were told to be gone.
    pub(super) nodes: Vec<(String, String, Said<Written>)>,
}

/// What is known after a round.
#[derive(Default)]
pub(super) struct Taken {
    /// Nodes that cannot be used, each once while it does not change.
    pub(super) unusable: Vec<String>,
    /// Services that may not be read, with the reason; an empty name stands for the root.
    pub(super) refused: BTreeMap<String, String>,
    /// Whether anything could be read that was asked for, if anything was.
    pub(super) is_readable: bool,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_none()
            && !self.forget_names
            && self.listed.is_empty()
            && self.nodes.is_empty()
    }

    /// Services that it is about.
    pub(super) fn services(&self) -> Vec<String> {
        let nodes = self.nodes.iter().map(|(service, ..)| service);
        let services: BTreeSet<&String> = self.listed.keys().chain(nodes).collect();
        services.into_iter().cloned().collect()
    }
}

impl Tree {
    /// Takes note of what was read, and forgets services that are not wanted.
    pub(super) fn take(&mut self, news: News, root: &Root, wanted: &BTreeSet<String>) -> Taken {
        self.services.retain(|name, _| wanted.contains(name));
        if news.forget_names {
            self.names = Names::Unread;
        }
        match news.names {
            Some(Said::Is(()) | Said::Gone) => self.names = Names::Read,
            Some(Said::Denied(why)) => self.names = Names::Refused(why),
            None => {}
        }
        for (name, said) in news.listed {
            let service = self.services.entry(name).or_default();
            service.refused = None;
            match said {
                Said::Is(children) => service.nodes.retain(|node, _| children.contains(node)),
                Said::Gone => service.nodes.clear(),
                Said::Denied(why) => service.refused = Some(why),
            }
        }
        let mut unusable = Vec::new();
        for (name, node, said) in news.nodes {
            let Some(service) = self.services.get_mut(&name) else { continue };
            if let Some(why) = service.put(&node, said) {
                unusable.push(format!("{}: {why}", shown(&root.instance(&name, &node))));
            }
        }
        let (refused, is_readable) = (self.refused(), self.is_readable());
        Taken { unusable, refused, is_readable }
    }

    fn refused(&self) -> BTreeMap<String, String> {
        let refused =
            |(name, service): (&String, &Service)| Some((name.clone(), service.refusal()?));
        let mut all: BTreeMap<_, _> = self.services.iter().filter_map(refused).collect();
        if let Names::Refused(why) = &self.names {
            all.insert(String::new(), why.clone());
        }
        all
    }

    fn is_readable(&self) -> bool {
        matches!(self.names, Names::Read) || self.services.values().any(|s| s.refusal().is_none())
    }
}

impl Service {
    /// What the log should hear of it.
    fn put(&mut self, name: &str, said: Said<Written>) -> Option<String> {
        if matches!(said, Said::Gone) {
            self.nodes.remove(name);
            return None;
        }
        let node = self.nodes.entry(name.to_owned()).or_default();
        let before = node.why.take();
        node.is_denied = matches!(said, Said::Denied(_));
        match said {
            Said::Is(Ok(entry)) => node.entry = Some(entry),
            Said::Is(Err(why)) => (node.entry, node.why) = (None, Some(why)),
            // What was read of it before stays.
            Said::Denied(why) => node.why = Some(why),
            Said::Gone => {}
        }
        node.why.clone().filter(|why| before.as_ref() != Some(why))
    }

    /// One node of many that may not be read is passed over; when it is all of them the service may not be read.
    fn refusal(&self) -> Option<String> {
        let all_denied = || {
            let (first, rest) = (self.nodes.values().next()?, self.nodes.values());
            rest.clone().all(|node| node.is_denied).then(|| first.why.clone())?
        };
        self.refused.clone().or_else(all_denied)
    }
}

impl Contents for Tree {
    fn entries<'a>(&'a self, service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
        let nodes = self.services.get(service).into_iter().flat_map(|one| one.nodes.values());
        Box::new(nodes.filter_map(|node| node.entry.as_ref()))
    }

    fn services(&self) -> Vec<&str> {
        let has_some = |service: &Service| service.nodes.values().any(|node| node.entry.is_some());
        let full = self.services.iter().filter(|(_, service)| has_some(service));
        full.map(|(name, _)| name.as_str()).collect()
    }

    fn doubt(&self, service: Option<&str>) -> Option<Doubt> {
        match (service, &self.names) {
            (Some(name), _) => match self.services.get(name) {
                Some(service) => service.refusal().map(Doubt::Refused),
                None => Some(Doubt::Unread),
            },
            (None, Names::Unread) => Some(Doubt::Unread),
            (None, Names::Refused(why)) => Some(Doubt::Refused(why.clone())),
            (None, Names::Read) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::value;

    fn wanted() -> BTreeSet<String> {
        ["a", "b"].map(String::from).into()
    }

    fn children(nodes: &[&str]) -> Said<BTreeSet<String>> {
        Said::Is(nodes.iter().map(|node| (*node).to_owned()).collect())
    }

    fn listed(service: &str, said: Said<BTreeSet<String>>) -> News {
        News { listed: [(service.to_owned(), said)].into(), ..News::default() }
    }

    fn with(mut news: News, node: &str, said: Said<Written>) -> News {
        news.nodes.push(("a".to_owned(), node.to_owned(), said));
        news
    }

    fn good(port: u16) -> Said<Written> {
        Said::Is(value::read(format!("10.0.0.1:{port}").as_bytes()))
    }

    fn take(tree: &mut Tree, news: News) -> Taken {
        tree.take(news, &Root::new("/s").unwrap(), &wanted())
    }

    #[test]
    fn what_is_wrong_with_a_node_is_said_once_until_it_changes() {
        let mut tree = Tree::default();
        let bad = |why: &str| Said::Is(Err(why.to_owned()));
        let news = with(listed("a", children(&["x", "y"])), "x", good(1));
        assert_eq!(take(&mut tree, with(news, "y", bad("one"))).unusable, ["/s/a/y: one"]);
        let again = take(&mut tree, with(News::default(), "y", bad("one")));
        assert_eq!(again.unusable, [""; 0]);
        let other = take(&mut tree, with(News::default(), "y", bad("two")));
        assert_eq!(other.unusable, ["/s/a/y: two"]);
        assert_eq!(tree.entries("a").count(), 1);
        take(&mut tree, with(News::default(), "y", good(2)));
        take(&mut tree, with(News::default(), "x", Said::Gone));
        assert_eq!(tree.entries("a").count(), 1);
    }

    #[test]
    fn a_service_that_may_not_be_read_keeps_what_was_known() {
        let mut tree = Tree::default();
        assert_eq!(tree.doubt(Some("a")), Some(Doubt::Unread));
        take(&mut tree, with(listed("a", children(&["x"])), "x", good(1)));
        assert_eq!(tree.doubt(Some("a")), None);
        let denied = || Said::Denied("no".to_owned());
        let taken = take(&mut tree, listed("a", Said::Denied("no".to_owned())));
        assert_eq!(taken.refused.into_iter().collect::<Vec<_>>(), [("a".into(), "no".into())]);
        assert!(!taken.is_readable);
        assert_eq!(tree.entries("a").count(), 1);
        // Its children are named again, but none of them can be read.
        let news = with(listed("a", children(&["x", "y"])), "x", denied());
        take(&mut tree, with(news, "y", denied()));
        assert_eq!(tree.doubt(Some("a")), Some(Doubt::Refused("no".into())));
        assert_eq!(tree.entries("a").count(), 1);
        // One can.
        take(&mut tree, with(News::default(), "y", good(2)));
        assert_eq!((tree.doubt(Some("a")), tree.entries("a").count()), (None, 2));
    }

    #[test]
    fn names_are_those_of_services_with_instances_and_forgotten_when_nobody_asks() {
        let mut tree = Tree::default();
        assert_eq!(tree.doubt(None), Some(Doubt::Unread));
        let mut news = with(listed("a", children(&["x"])), "x", good(1));
        news.listed.insert("b".to_owned(), Said::Gone);
        news.names = Some(Said::Is(()));
        take(&mut tree, news);
        assert_eq!((tree.doubt(None), Contents::services(&tree)), (None, vec!["a"]));
        take(&mut tree, News { forget_names: true, ..News::default() });
        assert_eq!(tree.doubt(None), Some(Doubt::Unread));
        tree.take(News::default(), &Root::new("/s").unwrap(), &BTreeSet::new());
        assert_eq!(tree.doubt(Some("a")), Some(Doubt::Unread), "nobody wants it");
    }
}
