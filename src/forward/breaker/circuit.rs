//! Where a breaker stands, in one word that all workers share.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::{Duration, Instant};

use super::{Shut, State};
use crate::config::model::BreakerConfig;
use crate::wire::clock;

/// The word: two bits of state, a generation, and what only the state itself needs. One compare-and-swap changes all of
/// it, so that no attempt is counted twice and no move is made on what is no longer so.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Circuit {
    word: AtomicU64,
    open: Duration,
    probes: u32,
    /// In milliseconds.
    ramp: u64,
}

/// What a state needs to know. Times are milliseconds of [`clock::nanos`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// With when it closed, while the admitted share still rises; else 0.
    Closed { since: u64 },
    /// Probes under way, and those that went well; never more than `probes` together.
    HalfOpen { under_way: u32, good: u32 },
    /// Until when.
    Open { until: u64 },
}

/// Which stretch of closed or half-open an attempt belongs to: each move begins another. After 4 million of them a
/// number comes again, which no attempt lives to see.
pub(super) type Generation = u32;

/// How an attempt goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Through {
    pub(super) generation: Generation,
    /// It is one of those that are let through to see.
    pub(super) probe: bool,
    /// It found the breaker open for long enough, and moved it.
    pub(super) woke: bool,
}

const GENERATION: u32 = (1 << 22) - 1;
const HALF: u32 = (1 << 20) - 1;
const TIME: u64 = (1 << 40) - 1;

fn read(word: u64) -> (Generation, Phase) {
    let time = word & TIME;
    let [good, under_way] = [word, word >> 20].map(|half| half as u32 & HALF);
    let phase = match word >> 62 {
        0 => Phase::Closed { since: time },
        1 => Phase::HalfOpen { under_way, good },
        _ => Phase::Open { until: time },
    };
    ((word >> 40) as u32 & GENERATION, phase)
}

fn pack(generation: Generation, phase: Phase) -> u64 {
    let (state, rest) = match phase {
        Phase::Closed { since } => (0, since.min(TIME)),
        Phase::HalfOpen { under_way, good } => (1, u64::from(under_way) << 20 | u64::from(good)),
        Phase::Open { until } => (2, until.min(TIME)),
    };
    state << 62 | u64::from(generation & GENERATION) << 40 | rest
}

/// Whether the first of two is the later one.
pub(super) fn is_later(generation: Generation, than: Generation) -> bool {
    let ahead = generation.wrapping_sub(than) & GENERATION;
    ahead != 0 && ahead <= GENERATION / 2
}

fn millis(at: Instant) -> u64 {
    clock::nanos(at) / 1_000_000
}

fn instant(millis: u64) -> Instant {
    clock::at(millis.saturating_mul(1_000_000))
}

impl Circuit {
    /// Closed.
    pub(super) fn new(config: &BreakerConfig) -> Self {
        Self {
            word: AtomicU64::new(pack(0, Phase::Closed { since: 0 })),
            open: config.open,
            probes: config.probes.min(HALF),
            ramp: u64::try_from(config.ramp.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn read(&self) -> (Generation, Phase) {
        read(self.word.load(Acquire))
    }

    /// Changes what is still as it was read.
    fn set(&self, old: (Generation, Phase), new: (Generation, Phase)) -> bool {
        let (old, new) = (pack(old.0, old.1), pack(new.0, new.1));
        self.word.compare_exchange(old, new, AcqRel, Acquire).is_ok()
    }

    /// Where it stands.
    pub(super) fn state(&self) -> State {
        match self.read().1 {
            Phase::Closed { .. } => State::Closed,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        }
    }

    /// The stretch of now.
    pub(super) fn generation(&self) -> Generation {
        self.read().0
    }

    /// Whether one more may go through. `draw` gives evenly spread numbers; asked only while the share rises.
    pub(super) fn admit(&self, now: Instant, draw: impl Fn() -> u32) -> Result<Through, Shut> {
        let shut = |until| Err(Shut::Open { until });
        loop {
            let (generation, phase) = self.read();
            match phase {
                Phase::Closed { since: 0 } => {
                    return Ok(Through { generation, probe: false, woke: false });
                }
                Phase::Closed { since } => {
                    let risen = millis(now).saturating_sub(since);
                    if risen >= self.ramp {
                        self.set((generation, phase), (generation, Phase::Closed { since: 0 }));
                        continue;
                    }
                    // Of 2^32 draws as many go through as `risen` is of `ramp`.
                    if u128::from(draw()) * u128::from(self.ramp) >= u128::from(risen) << 32 {
                        return shut(now);
                    }
                    return Ok(Through { generation, probe: false, woke: false });
                }
                Phase::HalfOpen { under_way, good } => {
                    if under_way + good >= self.probes {
                        return shut(now);
                    }
                    let more = Phase::HalfOpen { under_way: under_way + 1, good };
                    if self.set((generation, phase), (generation, more)) {
                        return Ok(Through { generation, probe: true, woke: false });
                    }
                }
                Phase::Open { until } if now < instant(until) => return shut(instant(until)),
                Phase::Open { .. } => {
                    let next = generation.wrapping_add(1) & GENERATION;
                    let first = Phase::HalfOpen { under_way: 1, good: 0 };
                    if self.set((generation, phase), (next, first)) {
                        return Ok(Through { generation: next, probe: true, woke: true });
                    }
                }
            }
        }
    }

    /// Why nothing would go through; none also when only chance decides.
    pub(super) fn shut(&self, now: Instant) -> Option<Shut> {
        let until = match self.read().1 {
            Phase::Closed { .. } => return None,
            Phase::HalfOpen { under_way, good } => (under_way + good >= self.probes).then_some(now),
            Phase::Open { until } => Some(instant(until)).filter(|until| now < *until),
        };
        until.map(|until| Shut::Open { until })
    }

    /// Opens what is closed; whether this did it.
    pub(super) fn trip(&self, of: Generation, now: Instant) -> bool {
        loop {
            let (generation, phase) = self.read();
            // Only a rising share that reached its end may come between.
            let Phase::Closed { .. } = phase else { return false };
            if generation != of {
                return false;
            }
            if self.set((generation, phase), self.opened(generation, now)) {
                return true;
            }
        }
    }

    fn opened(&self, generation: Generation, now: Instant) -> (Generation, Phase) {
        let open = u64::try_from(self.open.as_nanos()).unwrap_or(u64::MAX);
        // Rounded down, so that a client is never told to wait for longer than is written.
        let until = clock::nanos(now).saturating_add(open) / 1_000_000;
        (generation.wrapping_add(1) & GENERATION, Phase::Open { until })
    }

    fn closed(&self, generation: Generation, now: Instant) -> (Generation, Phase) {
        let since = if self.ramp == 0 { 0 } else { millis(now).max(1) };
        (generation.wrapping_add(1) & GENERATION, Phase::Closed { since })
    }

    /// How a probe ended, none for one that says nothing; where that moved it to.
    pub(super) fn probed(&self, of: Generation, good: Option<bool>, now: Instant) -> Option<State> {
        loop {
            let (generation, phase) = self.read();
            let Phase::HalfOpen { under_way, good: so_far } = phase else { return None };
            if generation != of {
                return None;
            }
            let under_way = under_way.saturating_sub(1);
            let (next, moved) = match good {
                None => ((generation, Phase::HalfOpen { under_way, good: so_far }), None),
                Some(false) => (self.opened(generation, now), Some(State::Open)),
                Some(true) if so_far + 1 >= self.probes => {
                    (self.closed(generation, now), Some(State::Closed))
                }
                Some(true) => ((generation, Phase::HalfOpen { under_way, good: so_far + 1 }), None),
            };
            if self.set((generation, phase), next) {
                return moved;
            }
        }
    }

    /// Half-open once it was open for long enough; whether this did it, and when it will be.
    pub(super) fn settle(&self, now: Instant) -> (bool, Option<Instant>) {
        loop {
            let (generation, phase) = self.read();
            let Phase::Open { until } = phase else { return (false, None) };
            if now < instant(until) {
                return (false, Some(instant(until)));
            }
            let next = generation.wrapping_add(1) & GENERATION;
            if self.set((generation, phase), (next, Phase::HalfOpen { under_way: 0, good: 0 })) {
                return (true, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_all_it_is_given() {
        let half = Phase::HalfOpen { under_way: HALF, good: HALF - 1 };
        for phase in [Phase::Closed { since: TIME }, half, Phase::Open { until: TIME - 1 }] {
            for generation in [0, 1, GENERATION] {
                assert_eq!(read(pack(generation, phase)), (generation, phase));
            }
        }
        assert_eq!(read(pack(7, Phase::Open { until: u64::MAX })).1, Phase::Open { until: TIME });
    }

    #[test]
    fn generations_are_told_apart_beyond_their_last_number() {
        assert!(is_later(1, 0) && !is_later(0, 1) && !is_later(5, 5));
        assert!(is_later(0, GENERATION) && !is_later(GENERATION, 0));
    }
}
