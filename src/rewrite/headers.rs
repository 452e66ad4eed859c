//! The operator's changes to headers.

use http::HeaderMap;

use crate::config::model::HeaderEdits;

/// Applies them in the order remove, set, add.
pub fn apply(edits: &HeaderEdits, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn edits_remove_then_set_then_add() {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        let edits = HeaderEdits {
            remove: vec![name("x-a"), name("x-b")],
            set: vec![(name("x-b"), value("set")), (name("x-c"), value("set"))],
            add: vec![(name("x-c"), value("added")), (name("x-d"), value("added"))],
        };
        let mut headers = HeaderMap::new();
        for sent in ["x-a", "x-b", "x-b", "x-c", "x-c", "x-d"] {
            headers.append(name(sent), value("sent"));
        }
        apply(&edits, &mut headers);
        let of = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert!(of("x-a").is_empty());
        assert_eq!(of("x-b"), ["set"]);
        assert_eq!(of("x-c"), ["set", "added"]);
        assert_eq!(of("x-d"), ["sent", "added"]);
    }
}
