//! The numbers of many keys: a table that all workers share without locks, that starts small and is bounded.
//!
//! A cell is 128 bits that change at once: the keyed hash of a key and its number ([`super::gcra`]). So a number can
//! never be charged to another key than the one it was read for, whatever happens to the cell meanwhile. There are
//! [`LEVELS`] levels of growing size; a key may stand in one set of eight cells of each. A cell does not move; one whose
//! number is not ahead of the time holds nothing that a new cell would not, and makes room for another key. A new key
//! goes into the lowest level with room.
//!
//! Two workers that bring in the same key claim a cell first and then look whether the key stands elsewhere, as in
//! Purcell and Harris, "Non-blocking hashtables with open addressing" (2005): of two claims the one in the higher level or
//! nearer to its set's beginning stands, and
//! whoever meets a claim may settle it. So nobody waits for anybody, and no key ever has two cells.

use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

use once_cell::race::OnceBox;
use portable_atomic::AtomicU128;

/// Cells a key may stand in, of each level: two cache lines, which processors fetch in pairs.
const WAYS: usize = 8;
/// Cells in a chunk, which is made when a key first falls into it: 8 KiB.
const CHUNK: usize = 512;
/// Sets in a chunk.
const SETS: usize = CHUNK / WAYS;
const LEVELS: usize = 6;
/// How many sets each level has, as powers of two. With all of them made there are 1,348,096 cells in 20.6 MiB.
const BITS: [u32; LEVELS] = [6, 9, 12, 15, 16, 16];
/// Where a key stands differs from level to level: odd numbers without a pattern spread it.
const SPREAD: [u64; LEVELS] = [
    1,
    0x9e37_79b9_7f4a_7c15,
    0xd6e8_feb8_6659_fd93,
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
];
/// Marks the number of a claim; the rest of it is drawn at random, so that no claim is taken for another.
const CLAIM: u64 = 1 << 63;
/// Attempts at a cell before a request shares the spill: only others' progress makes one fail.
const ATTEMPTS: usize = 64;

/// The numbers of many keys.
#[derive(Default)]
pub(super) struct Cells {
    levels: [OnceBox<Box<[OnceBox<Chunk>]>>; LEVELS],
    /// The largest number that made room for another key. Who looked at an older time begins there, so that nothing is
    /// let through twice.
    horizon: Line,
    held: Line,
    /// Shared by keys that find no room.
    spill: Line,
    spilled: AtomicU64,
}

#[repr(align(128))]
struct Chunk([AtomicU128; CHUNK]);

/// On a cache line of its own, because all workers write it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Line(pub(super) AtomicU64);

/// Where a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// In a cell of its key's own.
    Own,
    /// In the cell of those that found no room.
    Spill,
}

/// What stands there for a key.
enum Found<'a> {
    Cell(&'a AtomicU128, u128),
    Claim(&'a AtomicU128, u128),
    Room(&'a AtomicU128, u128),
    /// In a part that is not made yet.
    Unmade(usize),
    Full,
}

fn packed(key: u64, due: u64) -> u128 {
    u128::from(key) << 64 | u128::from(due)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a cell")]
fn parts(cell: u128) -> (u64, u64) {
    ((cell >> 64) as u64, cell as u64)
}

/// The chunk and the first cell in it, of a key's set in a level.
fn place(key: u64, level: usize) -> (usize, usize) {
    let spread = key.wrapping_mul(SPREAD[level]) >> (u64::BITS - BITS[level]);
    // At most 16 bits are left.
    let set = usize::try_from(spread).unwrap_or_default();
    (set / SETS, set % SETS * WAYS)
}

impl Cells {
    /// Changes a key's number, 0 for a new one, as `change` says of the number and the time; none leaves it. `key` is not
    /// 0; `change` may be asked several times, the last answer counts. Says where the number stands.
    pub(super) fn change(
        &self,
        key: u64,
        now: u64,
        mut change: impl FnMut(u64, u64) -> Option<u64>,
    ) -> Spot {
        for _ in 0..ATTEMPTS {
            let claimed = match self.find(key, now) {
                Found::Cell(slot, seen) => {
                    if exchange(slot, seen, now, &mut change) {
                        return Spot::Own;
                    }
                    continue;
                }
                Found::Claim(slot, seen) => Some((slot, seen)),
                Found::Room(slot, seen) => self.claim(key, slot, seen),
                Found::Unmade(level) => self.claim(key, self.make(key, level), 0),
                Found::Full => break,
            };
            if let Some((slot, claim)) = claimed
                && self.settle(slot, claim, now, &mut change)
            {
                return Spot::Own;
            }
        }
        self.spilled.fetch_add(1, Relaxed);
        self.spill.update(now, change);
        Spot::Spill
    }

    /// Changes a number where it stands, if it still does.
    pub(super) fn amend(&self, key: u64, spot: Spot, mut change: impl FnMut(u64) -> Option<u64>) {
        match spot {
            Spot::Spill => self.spill.update(0, |due, _| change(due)),
            // Of what is full again nothing is to be changed, so no time is needed.
            Spot::Own => {
                if let Found::Cell(slot, seen) = self.find(key, 0) {
                    exchange(slot, seen, 0, &mut |due, _| change(due));
                }
            }
        }
    }

    /// Cells in use, also those that would make room.
    pub(super) fn held(&self) -> u64 {
        self.held.0.load(Relaxed)
    }

    /// How many changes found no room and shared one number.
    pub(super) fn spilled(&self) -> u64 {
        self.spilled.load(Relaxed)
    }

    /// Bytes of the chunks that are made.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.levels.iter().filter_map(OnceBox::get).flat_map(|chunks| chunks.iter());
        chunks.map(|chunk| size_of_val(chunk) + chunk.get().map_or(0, size_of_val)).sum()
    }

    /// The sets in which a key may stand, the highest level first; none for those not made.
    fn sets(&self, key: u64) -> impl Iterator<Item = (usize, Option<&[AtomicU128]>)> {
        (0..LEVELS).rev().map(move |level| {
            let (chunk, first) = place(key, level);
            let chunk = self.levels[level].get().and_then(|chunks| chunks[chunk].get());
            (level, chunk.map(|chunk| &chunk.0[first..first + WAYS]))
        })
    }

    fn find(&self, key: u64, now: u64) -> Found<'_> {
        let (mut room, mut claim) = (Found::Full, None);
        for (level, set) in self.sets(key) {
            let Some(set) = set else {
                room = Found::Unmade(level);
                continue;
            };
            let mut free = None;
            for slot in set {
                let seen = slot.load(SeqCst);
                let (whose, due) = parts(seen);
                if whose == key && due & CLAIM == 0 {
                    return Found::Cell(slot, seen);
                }
                if whose == key {
                    claim = Some(Found::Claim(slot, seen));
                } else if seen == 0 && free.is_none_or(|(_, seen)| seen != 0)
                    || due <= now && free.is_none()
                {
                    free = Some((slot, seen));
                }
            }
            if let Some((slot, seen)) = free {
                room = Found::Room(slot, seen);
            }
        }
        claim.unwrap_or(room)
    }

    /// The first cell of a key's set in a level that lacks it.
    fn make(&self, key: u64, level: usize) -> &AtomicU128 {
        let (chunk, first) = place(key, level);
        let chunks = self.levels[level].get_or_init(|| {
            let chunks = (1_usize << BITS[level]) / SETS;
            Box::new((0..chunks).map(|_| OnceBox::new()).collect())
        });
        let fresh = || Box::new(Chunk([const { AtomicU128::new(0) }; CHUNK]));
        &chunks[chunk].get_or_init(fresh).0[first]
    }

    /// Claims a cell that was seen to have room; none when somebody was quicker.
    fn claim<'a>(
        &self,
        key: u64,
        slot: &'a AtomicU128,
        seen: u128,
    ) -> Option<(&'a AtomicU128, u128)> {
        let (_, due) = parts(seen);
        if due > self.horizon.0.load(SeqCst) {
            self.horizon.0.fetch_max(due, SeqCst);
        }
        let claim = packed(key, CLAIM | fastrand::u64(..));
        // Before anybody can clear it, so that the count is never below none.
        let more = u64::from(seen == 0);
        self.held.0.fetch_add(more, SeqCst);
        let claimed = slot.compare_exchange(seen, claim, SeqCst, SeqCst);
        if claimed.is_err() {
            self.held.0.fetch_sub(more, SeqCst);
        }
        claimed.ok().map(|_| (slot, claim))
    }

    /// Makes a claim its key's cell with its first change, unless the key stands elsewhere. False when that must be looked
    /// at again.
    fn settle(
        &self,
        own: &AtomicU128,
        claim: u128,
        now: u64,
        change: &mut impl FnMut(u64, u64) -> Option<u64>,
    ) -> bool {
        let (key, _) = parts(claim);
        // Of two claims at least one sees the other, also where a part of the table was made meanwhile.
        fence(SeqCst);
        let mut passed = false;
        for slot in self.sets(key).flat_map(|(_, set)| set.unwrap_or_default()) {
            if std::ptr::eq(slot, own) {
                passed = true;
                continue;
            }
            let seen = slot.load(SeqCst);
            let (whose, due) = parts(seen);
            if whose != key {
                continue;
            }
            if due & CLAIM == 0 || !passed {
                self.clear(own, claim);
                return false;
            }
            if !self.clear(slot, seen) {
                return false;
            }
        }
        // The horizon is a time that has been, so what begins there begins now.
        let now = now.max(self.horizon.0.load(SeqCst));
        let due = change(0, now).unwrap_or(now);
        own.compare_exchange(claim, packed(key, due), SeqCst, SeqCst).is_ok()
    }

    fn clear(&self, slot: &AtomicU128, claim: u128) -> bool {
        let cleared = slot.compare_exchange(claim, 0, SeqCst, SeqCst).is_ok();
        if cleared {
            self.held.0.fetch_sub(1, SeqCst);
        }
        cleared
    }
}

/// Changes a key's number in its cell. False when the cell has become another's.
fn exchange(
    slot: &AtomicU128,
    mut seen: u128,
    now: u64,
    change: &mut impl FnMut(u64, u64) -> Option<u64>,
) -> bool {
    let (key, _) = parts(seen);
    loop {
        let (whose, due) = parts(seen);
        if whose != key || due & CLAIM != 0 {
            return false;
        }
        let Some(next) = change(due, now) else { return true };
        match slot.compare_exchange_weak(seen, packed(key, next), SeqCst, SeqCst) {
            Ok(_) => return true,
            Err(other) => seen = other,
        }
    }
}

impl Line {
    /// Changes the number as `change` says of it and the time; none leaves it.
    pub(super) fn update(&self, now: u64, mut change: impl FnMut(u64, u64) -> Option<u64>) {
        let mut due = self.0.load(Relaxed);
        while let Some(next) = change(due, now) {
            match self.0.compare_exchange_weak(due, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => due = other,
            }
        }
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("held", &self.held()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
