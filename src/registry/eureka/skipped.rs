//! What was left out of answers, so that it is said once and a flood of it is not a flood of lines.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::decode::MOST;

/// Lines for one answer.
const LINES: usize = 20;

/// Reasons that were said.
#[derive(Default)]
pub(super) struct Skipped {
    said: HashSet<u64>,
    hasher: RandomState,
}

impl Skipped {
    /// Lines for what a full answer left out; what it did not is news the next time.
    pub(super) fn all(&mut self, reasons: Vec<String>) -> Vec<String> {
        let now = reasons.iter().map(|reason| self.hasher.hash_one(reason)).collect();
        let lines = self.more(reasons);
        self.said = now;
        lines
    }

    /// Lines for what a delta left out.
    pub(super) fn more(&mut self, mut reasons: Vec<String>) -> Vec<String> {
        reasons.retain(|reason| {
            self.said.len() < MOST && self.said.insert(self.hasher.hash_one(reason))
        });
        let news = reasons.len();
        reasons.truncate(LINES);
        if news > LINES {
            reasons.push(format!("and {} more like these", news - LINES));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(reasons: &[&str]) -> Vec<String> {
        reasons.iter().map(|&reason| reason.to_owned()).collect()
    }

    #[test]
    fn a_reason_is_said_once_while_it_lasts() {
        let mut skipped = Skipped::default();
        assert_eq!(skipped.all(some(&["a", "b", "a"])), ["a", "b"]);
        assert_eq!(skipped.more(some(&["b", "c"])), ["c"]);
        assert_eq!(skipped.all(some(&["b", "c"])), [""; 0]);
        assert_eq!(skipped.all(some(&["a", "c"])), ["a"], "it was gone and is back");
    }

    #[test]
    fn a_flood_is_a_few_lines() {
        let flood = (0..10 * MOST).map(|n| n.to_string()).collect();
        let mut skipped = Skipped::default();
        let lines = skipped.more(flood);
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[LINES], format!("and {} more like these", MOST - LINES));
        assert_eq!(skipped.said.len(), MOST);
    }
}
