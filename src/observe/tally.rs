//! Counts by a small key: one thread writes, any may read, nothing locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots in a block: one cache line of words.
const SLOTS: usize = 8;
/// The low bits of a word are the count, the high 16 the key plus one. 2^48 is eight years of a million a second.
const COUNT_BITS: u32 = 48;

/// A chain of open-addressed blocks. Key and count share a word, so a reader never sees one without the other.
#[derive(Debug, Default)]
pub(super) struct Tally {
    slots: [AtomicU64; SLOTS],
    more: OnceLock<Box<Self>>,
}

impl Tally {
    /// Counts one more of `key`, which is below `u16::MAX`. Allocates only when a new key finds every block full.
    pub(super) fn count(&self, key: u16) {
        let tag = u64::from(key) + 1;
        let mut block = self;
        loop {
            for step in 0..SLOTS {
                let slot = &block.slots[(usize::from(key) + step) % SLOTS];
                let word = slot.load(Ordering::Relaxed);
                if word == 0 {
                    return slot.store(tag << COUNT_BITS | 1, Ordering::Relaxed);
                }
                if word >> COUNT_BITS == tag {
                    return slot.store(word + 1, Ordering::Relaxed);
                }
            }
            block = block.more.get_or_init(Box::default);
        }
    }

    /// Hands every key that was counted, with its count, to `each`.
    pub(super) fn read(&self, mut each: impl FnMut(u16, u64)) {
        let mut block = Some(self);
        while let Some(Self { slots, more }) = block {
            for slot in slots {
                let word = slot.load(Ordering::Relaxed);
                let key = u16::try_from((word >> COUNT_BITS).wrapping_sub(1));
                if let Ok(key) = key {
                    each(key, word & ((1 << COUNT_BITS) - 1));
                }
            }
            block = more.get().map(AsRef::as_ref);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(tally: &Tally) -> BTreeMap<u16, u64> {
        let mut counts = BTreeMap::new();
        tally.read(|key, count| assert!(counts.insert(key, count).is_none(), "key {key} twice"));
        counts
    }

    #[test]
    fn an_empty_tally_has_no_key() {
        assert!(read(&Tally::default()).is_empty());
    }

    #[test]
    fn keys_that_fall_on_one_slot_are_kept_apart_over_many_blocks() {
        let tally = Tally::default();
        let keys: Vec<u16> = (0..50).map(|i| i * 8).chain([0, u16::MAX - 1]).collect();
        for round in 1..=3 {
            keys.iter().for_each(|key| tally.count(*key));
            let counts = read(&tally);
            assert_eq!(counts.len(), 51);
            assert_eq!(counts[&8], round);
            assert_eq!(counts[&0], 2 * round);
            assert_eq!(counts[&(u16::MAX - 1)], round);
        }
    }
}
