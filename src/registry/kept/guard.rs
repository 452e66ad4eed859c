//! The loss guard: what vanishes in bulk is held until its registry has confirmed that for a while.
//!
//! A registry that restarts empty, a network split, an expiry of all sessions at once: they look like everybody leaving.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::config::model::LossGuard;
use crate::registry::State;

/// What a registry named, and what of it is held. Knows no clock but what it is told.
#[derive(Debug)]
pub(super) struct Guard<K, V> {
    policy: Option<LossGuard>,
    named: BTreeMap<K, V>,
    held: BTreeMap<K, Held<V>>,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    /// When the registry has confirmed for long enough; none while it does not answer.
    until: Option<Instant>,
}

/// What an answer made of the guard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many are newly held.
    pub(super) held: usize,
    /// Of how many.
    pub(super) of: usize,
    /// How many that were held are named again.
    pub(super) named_again: usize,
}

impl<K: Ord + Clone, V: Clone> Guard<K, V> {
    pub(super) fn new(policy: Option<LossGuard>) -> Self {
        Self { policy, named: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// What is believed without a good answer: the last set of a registry that is away, or a snapshot.
    pub(super) fn believe(&mut self, named: BTreeMap<K, V>) {
        self.held.retain(|key, _| !named.contains_key(key));
        for held in self.held.values_mut() {
            held.until = None;
        }
        self.named = named;
    }

    /// What served no longer serves: it is not missed when the registry comes back without it.
    pub(super) fn forget(&mut self) {
        self.named.clear();
        self.held.clear();
    }

    /// Whether a good answer after this state is one of a registry that came back. `missed` is what an earlier process
    /// knew that this one has not been told yet; the answer is held against it.
    pub(super) fn resumes(&mut self, before: &State, missed: Option<BTreeMap<K, V>>) -> bool {
        let missed = missed.map(|missed| self.believe(missed)).is_some();
        missed || !matches!(before, State::Live | State::Pending)
    }

    /// A good answer names these. `came_back`: the answer before was none.
    pub(super) fn answered(
        &mut self,
        named: BTreeMap<K, V>,
        came_back: bool,
        now: Instant,
    ) -> Verdict {
        let before = std::mem::replace(&mut self.named, named);
        let known = self.held.len();
        self.held.retain(|key, _| !self.named.contains_key(key));
        let named_again = known - self.held.len();
        let Some(policy) = self.policy else {
            return Verdict { named_again, ..Verdict::default() };
        };
        let until = Some(now + policy.hold);
        for held in self.held.values_mut().filter(|held| came_back || held.until.is_none()) {
            held.until = until;
        }
        let of = before.len();
        let missing: Vec<_> =
            before.into_iter().filter(|(key, _)| !self.named.contains_key(key)).collect();
        let in_bulk =
            of >= policy.min_instances && policy.max_removed.is_exceeded(missing.len(), of);
        let all_at_once = came_back && self.named.is_empty();
        if !(in_bulk || all_at_once) {
            return Verdict { named_again, ..Verdict::default() };
        }
        let held = missing.len();
        self.held.extend(missing.into_iter().map(|(key, value)| (key, Held { value, until })));
        Verdict { held, of, named_again }
    }

    /// Lets go of what has been confirmed for long enough; how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.held.len();
        self.held.retain(|_, held| held.until.is_none_or(|until| until > now));
        before - self.held.len()
    }

    /// Lets go of one that does not answer; whether it was held.
    pub(super) fn dead(&mut self, key: &K) -> bool {
        self.held.remove(key).is_some()
    }

    /// When the next one expires.
    pub(super) fn next(&self) -> Option<Instant> {
        self.held.values().filter_map(|held| held.until).min()
    }

    /// What is held.
    pub(super) fn held(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.held.iter().map(|(key, held)| (key, &held.value))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::Share;

    const HOLD: Duration = Duration::from_secs(30);

    fn guard() -> Guard<u32, ()> {
        Guard::new(Some(LossGuard::default()))
    }

    fn set(keys: impl IntoIterator<Item = u32>) -> BTreeMap<u32, ()> {
        keys.into_iter().map(|key| (key, ())).collect()
    }

    fn held(guard: &Guard<u32, ()>) -> Vec<u32> {
        guard.held().map(|(key, ())| *key).collect()
    }

    #[test]
    fn more_than_the_share_is_held_and_the_share_itself_is_not() {
        let now = Instant::now();
        let mut guard = guard();
        assert_eq!(guard.answered(set(0..4), false, now), Verdict::default(), "the first set");
        assert_eq!(guard.answered(set(0..2), false, now), Verdict::default(), "half of them");
        let mut guard = self::guard();
        guard.answered(set(0..4), false, now);
        let verdict = guard.answered(set(0..1), false, now);
        assert_eq!(verdict, Verdict { held: 3, of: 4, named_again: 0 });
        assert_eq!(held(&guard), [1, 2, 3]);
        assert_eq!(guard.next(), Some(now + HOLD));
    }

    #[test]
    fn few_instances_are_held_only_when_the_registry_comes_back_with_none() {
        let now = Instant::now();
        for (named, came_back, expected) in
            [(set([]), false, 0), (set([]), true, 3), (set([0]), true, 0)]
        {
            let mut guard = guard();
            guard.answered(set(0..3), false, now);
            assert_eq!(guard.answered(named, came_back, now).held, expected);
        }
    }

    #[test]
    fn what_is_held_goes_when_confirmed_for_the_whole_hold_or_dead_and_stays_when_named_again() {
        let now = Instant::now();
        let mut guard = guard();
        guard.answered(set(0..5), false, now);
        guard.answered(set([]), false, now);
        assert!(guard.dead(&0) && !guard.dead(&0));
        assert_eq!(guard.answered(set([1]), false, now + HOLD / 2).named_again, 1);
        assert_eq!(guard.expire(now + HOLD - Duration::from_millis(1)), 0);
        assert_eq!(held(&guard), [2, 3, 4]);
        assert_eq!(guard.expire(now + HOLD), 3);
        assert_eq!(guard.next(), None);
    }

    #[test]
    fn the_hold_runs_only_while_the_registry_answers_and_starts_anew_when_it_comes_back() {
        let now = Instant::now();
        let mut guard = guard();
        guard.answered(set(0..4), false, now);
        guard.answered(set([0]), false, now);
        guard.believe(set([0]));
        assert_eq!((guard.expire(now + HOLD * 9), guard.next()), (0, None), "nobody confirms");
        let back = now + HOLD * 10;
        guard.answered(set([0]), true, back);
        assert_eq!(guard.next(), Some(back + HOLD));
        assert_eq!(guard.expire(back + HOLD), 3);
    }

    #[test]
    fn without_a_policy_everything_is_believed_and_with_its_numbers_it_follows_them() {
        let now = Instant::now();
        let mut off = Guard::new(None);
        off.answered(set(0..9), false, now);
        assert_eq!(off.answered(set([]), true, now), Verdict::default());
        let policy =
            LossGuard { max_removed: Share::new(2_000).unwrap(), hold: HOLD, min_instances: 2 };
        let mut strict = Guard::new(Some(policy));
        strict.answered(set(0..2), false, now);
        assert_eq!(strict.answered(set([0]), false, now).held, 1);
    }
}
