//! Everything a server said: applications, their instances, and the sum by which both sides see whether they agree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::decode::{Listed, text};
use crate::registry::board::Contents;
use crate::registry::value::Entry;

/// Cheap to clone: what does not change is shared.
#[derive(Clone, Default)]
pub(super) struct Apps {
    /// By the name of the service, in lower case.
    services: HashMap<String, Arc<BTreeMap<String, Instance>>>,
}

/// An instance by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// As the server counts it.
    pub(super) status: Status,
    /// None when nothing can be sent there.
    pub(super) entry: Option<Entry>,
    /// Whether its status, overridden or not, lets anything be sent there.
    pub(super) serves: bool,
}

/// What an instance says of itself. In the order of the names, in which the sum lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Down,
    OutOfService,
    Starting,
    /// Also what no version of Eureka knows, which it reads like this as well.
    Unknown,
    Up,
}

impl Status {
    pub(super) fn read(value: &Value) -> Self {
        match text(value).map(str::to_ascii_uppercase).as_deref() {
            Some("UP") => Self::Up,
            Some("DOWN") => Self::Down,
            Some("STARTING") => Self::Starting,
            Some("OUT_OF_SERVICE") => Self::OutOfService,
            _ => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Starting => "STARTING",
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
        }
    }

    /// Whether anything may be sent there at all, with `passing_only` or without.
    pub(super) fn may_serve(self) -> bool {
        matches!(self, Self::Up | Self::Starting | Self::Unknown)
    }
}

impl Apps {
    /// What a full answer says. What it has in common with `before` is shared with it.
    pub(super) fn new(listed: Vec<Listed>, before: &Self) -> Self {
        let mut apps = Self::default();
        apps.apply(listed);
        for (service, instances) in &mut apps.services {
            if let Some(same) = before.services.get(service).filter(|known| *known == instances) {
                *instances = Arc::clone(same);
            }
        }
        apps
    }

    /// Takes in what an answer lists. Applied a second time it changes nothing.
    pub(super) fn apply(&mut self, listed: Vec<Listed>) {
        for Listed { service, id, gone, instance } in listed {
            let known = self.services.get(&service).and_then(|instances| instances.get(&id));
            if gone && known.is_some() {
                self.remove(&service, &id);
            } else if !gone && known != Some(&instance) {
                Arc::make_mut(self.services.entry(service).or_default()).insert(id, instance);
            }
        }
    }

    fn remove(&mut self, service: &str, id: &str) {
        let Some(instances) = self.services.get_mut(service) else { return };
        Arc::make_mut(instances).remove(id);
        if instances.is_empty() {
            self.services.remove(service);
        }
    }

    /// Services that are not the same in both.
    pub(super) fn differing(&self, other: &Self) -> Vec<String> {
        let names: HashSet<_> = self.services.keys().chain(other.services.keys()).collect();
        let same = |name: &str| match (self.services.get(name), other.services.get(name)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (_, _) => false,
        };
        names.into_iter().filter(|name| !same(name)).cloned().collect()
    }

    /// Instances of any status.
    pub(super) fn count(&self) -> usize {
        self.services.values().map(|instances| instances.len()).sum()
    }

    /// `DOWN_1_UP_3_`, as a server computes `apps__hashcode`.
    pub(super) fn hash(&self) -> String {
        let mut counts = BTreeMap::new();
        for instance in self.services.values().flat_map(|instances| instances.values()) {
            *counts.entry(instance.status).or_insert(0_usize) += 1;
        }
        counts.iter().map(|(status, count)| format!("{}_{count}_", status.name())).collect()
    }

    fn instances<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a Instance> + use<'a> {
        let instances = self.services.get(&service.to_lowercase());
        instances.into_iter().flat_map(|instances| instances.values())
    }
}

impl Contents for Apps {
    fn entries<'a>(&'a self, service: &str) -> Box<dyn Iterator<Item = &'a Entry> + 'a> {
        let serving = self.instances(service).filter(|instance| instance.serves);
        Box::new(serving.filter_map(|instance| instance.entry.as_ref()))
    }

    fn services(&self) -> Vec<&str> {
        self.services.keys().map(String::as_str).collect()
    }

    /// Also by instances that are down just now: a service does not leave the catalog with its last `UP`.
    fn is_tagged(&self, service: &str, tags: &[String]) -> bool {
        let entries = self.instances(service).filter_map(|instance| instance.entry.as_ref());
        entries.into_iter().any(|entry| entry.is_tagged(tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::eureka::decode;

    fn listed(text: &str) -> Vec<Listed> {
        let text = format!(r#"{{"applications":{{"application":[{text}]}}}}"#);
        decode::answer(text.as_bytes()).unwrap().listed
    }

    fn instance(id: &str, status: &str, more: &str) -> String {
        format!(
            r#"{{"name":"ORDERS","instance":[{{"instanceId":"{id}","ipAddr":"10.0.0.1","port":80,"status":"{status}"{more}}}]}}"#
        )
    }

    #[test]
    fn the_sum_is_that_of_a_server() {
        let mut apps = Apps::default();
        assert_eq!(apps.hash(), "");
        for (id, status) in [("a", "UP"), ("b", "UP"), ("c", "DOWN"), ("d", "up"), ("e", "ODD")] {
            apps.apply(listed(&instance(id, status, "")));
        }
        apps.apply(listed(&instance("f", "OUT_OF_SERVICE", r#","overriddenStatus":"UP""#)));
        assert_eq!(apps.hash(), "DOWN_1_OUT_OF_SERVICE_1_UNKNOWN_1_UP_3_");
        assert_eq!(apps.count(), 6);
    }

    #[test]
    fn a_delta_adds_changes_and_removes_and_its_repetition_does_nothing() {
        let mut apps = Apps::default();
        apps.apply(listed(&instance("a", "UP", "")));
        let before = apps.clone();
        let delta = [instance("a", "DOWN", ""), instance("b", "UP", r#","actionType":"ADDED""#)];
        for _ in 0..2 {
            apps.apply(listed(&delta.join(",")));
            assert_eq!(apps.hash(), "DOWN_1_UP_1_");
        }
        assert_eq!(before.hash(), "UP_1_", "a clone is a value of its own");
        assert_eq!(apps.differing(&before), ["orders"]);
        let again = apps.clone();
        apps.apply(listed(&delta[0]));
        assert_eq!(apps.differing(&again), [""; 0]);
        for id in ["a", "b", "unknown"] {
            apps.apply(listed(&instance(id, "UP", r#","actionType":"DELETED""#)));
        }
        assert_eq!((apps.hash().as_str(), apps.services().len()), ("", 0));
        assert_eq!(apps.differing(&again), ["orders"]);
    }

    #[test]
    fn a_full_answer_shares_what_it_has_in_common() {
        let before = Apps::new(listed(&instance("a", "UP", "")), &Apps::default());
        let after = Apps::new(listed(&instance("a", "UP", "")), &before);
        assert!(Arc::ptr_eq(&before.services["orders"], &after.services["orders"]));
    }

    #[test]
    fn what_is_down_is_no_entry_but_keeps_its_service_in_the_catalog() {
        let tagged = r#","metadata":{"frontgate":"true"}"#;
        let mut apps = Apps::default();
        apps.apply(listed(&instance("a", "DOWN", tagged)));
        assert_eq!(apps.entries("Orders").count(), 0);
        assert!(apps.is_tagged("orders", &["frontgate".into()]));
        assert!(!apps.is_tagged("orders", &["other".into()]));
        for (status, up) in [("UP", true), ("STARTING", false), ("UNKNOWN", false)] {
            apps.apply(listed(&instance("a", status, tagged)));
            let ups: Vec<_> = apps.entries("ORDERS").map(|entry| entry.up).collect();
            assert_eq!(ups, [up], "{status}");
        }
    }
}
