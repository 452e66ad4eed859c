//! How many requests of a service may be sent again, over all workers and without a lock.

mod recent;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Instant;

use recent::{Recent, WINDOW};

use crate::config::model::BudgetConfig;

/// A retry, in the unit of the account: what one request pays at a share of 0.01 %.
const RETRY: u64 = 10_000;
/// The account is kept modulo this; a mark of each change takes the other bits.
const ACCOUNT: u64 = (1 << 48) - 1;
const MARK_BITS: u32 = 16;

/// What retries cost and requests pay, so that in any 10 s, wherever they begin and whatever comes before and after
/// them, there are no more retries than the share of the requests and the floor of those 10 s.
///
/// Each request pays its share of a retry, and each retry costs one. What retries have cost beyond what was paid since
/// is owed, and no more may be owed than the floor allows for 10 s. Payments are not saved: a request of 9 s ago may be
/// outside the very 10 s that begin with the next retry. And nothing is owed for retries that are more than 10 s old,
/// so no more than there were in the last 10 s.
#[derive(Debug)]
pub struct Budget {
    /// What a request pays.
    share: u64,
    /// What may be owed.
    most: u64,
    requests: Box<[Requests]>,
    owed: Owed,
    recent: Recent,
}

/// One worker's requests, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Requests(AtomicU64);

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
        // With less than one retry to owe no share would ever let one through.
        let most = most.clamp(u128::from(RETRY), u128::from(ACCOUNT / 4));
        Self {
            share: u64::from(config.share.hundredths()),
            most: u64::try_from(most).unwrap_or(RETRY),
            requests: (0..workers).map(|_| Requests::default()).collect(),
            owed: Owed::default(),
            recent: Recent::default(),
        }
    }

    /// A request is sent for the first time. Only one thread may count as a given worker: a plain load and store.
    pub fn began(&self, worker: usize) {
        let requests = &self.requests[worker].0;
        requests.store(requests.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Takes one retry; false when there is none left.
    pub fn take(&self, now: Instant) -> bool {
        // First, so that whoever changes the account after this one sees it among the recent ones.
        let place = self.recent.add(now);
        let mut word = self.owed.0.load(Acquire);
        loop {
            let paid = self.paid();
            let ahead = (word >> MARK_BITS).wrapping_sub(paid) & ACCOUNT;
            // More was paid than ever was owed, if it is behind.
            let owed = if ahead > ACCOUNT / 2 { 0 } else { ahead };
            let mut after = owed + RETRY;
            if after > self.most {
                after = after.min(self.recent.count(now).saturating_mul(RETRY));
            }
            if after > self.most {
                self.recent.remove(place);
                return false;
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

    /// What all requests have paid so far.
    fn paid(&self) -> u64 {
        let requests = self.requests.iter().map(|worker| worker.0.load(Relaxed));
        requests.fold(0, u64::wrapping_add).wrapping_mul(self.share) & ACCOUNT
    }
}

#[cfg(test)]
mod tests;
