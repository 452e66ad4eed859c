//! The time, asked of the system once per turn of the event loop instead of once per question.

use std::cell::Cell;
use std::time::Instant;

/// A turn that answers more questions than this looks again: after a few dozen requests the time is no longer the same.
const QUESTIONS: u32 = 256;

thread_local! {
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// What a thread with an event loop knows of the time.
#[derive(Clone, Copy)]
struct Turn {
    began: Instant,
    questions: u32,
}

/// The time, on a worker at most a turn of its event loop old.
pub fn now() -> Instant {
    let Some(Turn { began, questions }) = TURN.get() else {
        return Instant::now();
    };
    let left = questions.checked_sub(1);
    let began = if left.is_some() { began } else { Instant::now() };
    TURN.set(Some(Turn { began, questions: left.unwrap_or(QUESTIONS) }));
    began
}

/// Another turn begins on this thread: the next question goes to the system. A thread that never says so has no turns,
/// and always asks.
pub fn turn() {
    let began = Instant::now();
    TURN.set(Some(Turn { began, questions: QUESTIONS }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment that the system's clock tells apart from the one before.
    fn later() -> Instant {
        let before = Instant::now();
        std::iter::repeat_with(Instant::now).find(|now| *now > before).unwrap_or(before)
    }

    #[test]
    fn stands_still_within_a_turn_and_not_without_one() {
        let before = now();
        later();
        assert!(now() > before, "this thread has no turns yet");
        turn();
        let first = now();
        later();
        assert_eq!(now(), first);
        turn();
        assert!(now() > first);
    }

    #[test]
    fn looks_again_within_a_long_turn() {
        turn();
        let first = now();
        later();
        (0..QUESTIONS).for_each(|_| assert!(now() >= first));
        assert!(now() > first);
    }
}
