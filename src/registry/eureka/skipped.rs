//! What was left out of answers, so that it is said once and a flood of it is not a flood of lines.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::decode::MOST;
use crate::registry::ledger::Account;

/// Lines for one answer.
const LINES: usize = 20;

#[derive(Default)]
pub(super) struct Skipped {
    said: HashSet<u64>,
    hasher: RandomState,
}

impl Skipped {
    /// What a full answer left out; what it did not is news the next time.
    pub(super) fn all(&mut self, account: &Account, reasons: Vec<String>) {
        let now = reasons.iter().map(|reason| self.hasher.hash_one(reason)).collect();
        self.more(account, reasons);
        self.said = now;
    }

    /// What a delta left out.
    pub(super) fn more(&mut self, account: &Account, reasons: Vec<String>) {
        let mut lines = 0;
        for reason in reasons {
            let is_news = self.said.len() < MOST && self.said.insert(self.hasher.hash_one(&reason));
            lines += usize::from(is_news);
            if is_news && lines <= LINES {
                account.skipped(&reason);
            }
        }
        if lines > LINES {
            account.skipped(&format!("and {} more like these", lines - LINES));
        }
    }
}
