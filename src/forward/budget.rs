//! How many requests of a service may be sent again, over all workers and without a lock.

mod recent;
mod requests;

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use recent::{Recent, WINDOW};
use requests::Requests;

use crate::config::model::BudgetConfig;

/// A retry, in the unit of the account: what one request pays at a share of 0.01 %.
const RETRY: u64 = 10_000;
/// The account is kept modulo this; a mark of each change takes the other bits.
const ACCOUNT: u64 = (1 << 48) - 1;
const MARK_BITS: u32 = 16;

/// Requests in so many seconds, the one that has begun among them, say how many may fail at the same moment.
const AT_ONCE: u64 = 2;

/// What retries cost and requests pay, so that in any 10 s there are no more retries than the share of the requests and
/// the floor of those 10 s.
///
/// Each request pays its share of a retry, and each retry costs one. What retries have cost beyond what was paid since
/// is owed, and as a rule no more may be owed than the floor allows for 10 s. That holds for any 10 s, wherever they
/// begin and whatever comes after them: payments are not saved, as a request of 9 s ago may be outside the very 10 s
/// that begin with the next retry. And nothing is owed for retries that are more than 10 s old, so no more than there
/// were in the last 10 s.
///
/// An instance that dies with many requests under way fails them all at once, and the share of those that went well just
/// before is for them: such a surge may owe that much more. It is over when the budget first says no, and another may
/// not begin until all is paid and the last is 10 s ago. So a service that fails for longer gets not one retry more for it, only some sooner.
#[derive(Debug)]
pub struct Budget {
    /// What a request pays.
    share: u64,
    /// What may be owed.
    most: u64,
    requests: Box<[Requests]>,
    owed: Owed,
    recent: Recent,
    /// It has said no, and what is owed since was not all paid yet.
    spent: AtomicBool,
}

/// What all requests would have to have paid in all for nothing to be owed, with a mark: who changes it knows that
/// nobody else did meanwhile.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Owed(AtomicU64);

impl Budget {
    /// For so many workers.
    pub fn new(config: BudgetConfig, workers: usize) -> Self {
        let floor = u128::from(config.floor.count) * u128::from(RETRY) * WINDOW.as_nanos();
        let most = floor / config.floor.per.as_nanos().max(1);
        let most = most.min(u128::from(ACCOUNT / 4));
        Self {
            share: u64::from(config.share.hundredths()),
            most: u64::try_from(most).unwrap_or(RETRY),
            requests: (0..workers).map(|_| Requests::default()).collect(),
            owed: Owed::default(),
            recent: Recent::default(),
            spent: AtomicBool::new(false),
        }
    }

    /// A request is sent for the first time. Only one thread may count as a given worker.
    pub fn began(&self, worker: usize, now: Instant) {
        self.requests[worker].add(now);
    }

    /// Takes one retry; false when there is none left.
    pub fn take(&self, now: Instant) -> bool {
        // First, so that whoever changes the account after this one sees it among the recent ones.
        let place = self.recent.add(now);
        if self.most < RETRY {
            // Nothing may be owed: only what requests of the same ten seconds pay lets one through.
            let asked = self.recent.count(now).saturating_mul(RETRY);
            let paid = asked <= self.of_last(WINDOW.as_secs(), now);
            if !paid {
                self.recent.remove(place);
            }
            return paid;
        }
        let mut word = self.owed.0.load(Acquire);
        loop {
            let paid = self.paid();
            let ahead = (word >> MARK_BITS).wrapping_sub(paid) & ACCOUNT;
            // More was paid than ever was owed, if it is behind.
            let owed = if ahead > ACCOUNT / 2 { 0 } else { ahead };
            if owed == 0 && self.spent.load(Relaxed) {
                // Not before the last one is out of the ten seconds that the next would be in.
                let quiet = self.recent.count(now).saturating_mul(RETRY) <= self.most;
                self.spent.store(!quiet, Relaxed);
            }
            let mut after = owed + RETRY;
            if after > self.most {
                let recent = self.recent.count(now).saturating_mul(RETRY);
                after = after.min(recent);
                if after > self.most && !self.may_surge(after, recent, now) {
                    self.spent.store(true, Relaxed);
                    self.recent.remove(place);
                    return false;
                }
            }
            let account = paid.wrapping_add(after) & ACCOUNT;
            let mark = word.wrapping_add(1) & ((1 << MARK_BITS) - 1);
            let next = (account << MARK_BITS) | mark;
            match self.owed.0.compare_exchange_weak(word, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
    }

    /// Whether more than the floor may be owed, as those which fail began just now.
    fn may_surge(&self, owed: u64, recent: u64, now: Instant) -> bool {
        let of_last = |seconds| self.of_last(seconds, now);
        !self.spent.load(Relaxed) && owed <= of_last(AT_ONCE) && recent <= of_last(WINDOW.as_secs())
    }

    /// What the floor and the requests of so many seconds pay for.
    fn of_last(&self, seconds: u64, now: Instant) -> u64 {
        let requests: u64 = self.requests.iter().map(|all| all.of_last(seconds, now)).sum();
        self.most.saturating_add(requests.saturating_mul(self.share))
    }

    /// What all requests have paid so far.
    fn paid(&self) -> u64 {
        let requests = self.requests.iter().map(|worker| worker.all.load(Relaxed));
        requests.fold(0, u64::wrapping_add).wrapping_mul(self.share) & ACCOUNT
    }
}

#[cfg(test)]
mod tests;
