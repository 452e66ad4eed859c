//! A hash table asked with bytes that are spelled while they are read, so that a lookup copies nothing.
//!
//! The hash is not keyed: only the operator's names are stored, so a client cannot make them collide.

/// Names to numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    keys: Vec<Key>,
    /// A power of two in length, at most half full; 0 is free, n is `keys[n - 1]`.
    slots: Vec<usize>,
}

#[derive(Debug)]
struct Key {
    hash: u64,
    bytes: Box<[u8]>,
    value: usize,
}

impl Names {
    /// The number stored under a name.
    #[inline]
    pub(super) fn find(&self, name: &(impl Iterator<Item = u8> + Clone)) -> Option<usize> {
        if self.keys.is_empty() {
            return None;
        }
        let hash = hash(name.clone());
        let mut at = self.start(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let key = &self.keys[slot - 1];
            if key.hash == hash && name.clone().eq(key.bytes.iter().copied()) {
                return Some(key.value);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Stores a number under a name that has none yet.
    pub(super) fn insert(&mut self, name: impl Iterator<Item = u8>, value: usize) {
        let bytes: Box<[u8]> = name.collect();
        let hash = hash(bytes.iter().copied());
        self.keys.push(Key { hash, bytes, value });
        if self.keys.len() * 2 > self.slots.len() {
            self.slots = vec![0; (self.keys.len() * 4).next_power_of_two()];
            for key in 0..self.keys.len() {
                self.place(key);
            }
        } else {
            self.place(self.keys.len() - 1);
        }
    }

    fn place(&mut self, key: usize) {
        let mut at = self.start(self.keys[key].hash);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = key + 1;
    }

    fn start(&self, hash: u64) -> usize {
        (hash ^ hash >> 32) as usize & (self.slots.len() - 1)
    }
}

/// FNV-1a, 64 bits.
#[inline]
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let mut names = Names::default();
        assert_eq!(names.find(&"".bytes()), None);
        for value in 0..1000 {
            names.insert(format!("name-{value}").bytes(), value);
        }
        for value in 0..1000 {
            assert_eq!(names.find(&format!("name-{value}").bytes()), Some(value));
            assert_eq!(names.find(&format!("name-{value}x").bytes()), None);
        }
    }
}
