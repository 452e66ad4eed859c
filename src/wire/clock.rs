//! The time, asked of the system once per rest of the event loop, or once in 32 questions, instead of each time.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;

/// A spell of work that answers more questions than this looks again. A worker that is never out of work begins no other
/// spell, so that only this moves its time: six small requests, or three answers of 1 MiB, ask so often.
const QUESTIONS: u32 = 32;

thread_local! {
    static SPELL: Cell<Option<Spell>> = const { Cell::new(None) };
}

/// What a thread with an event loop knows of the time.
#[derive(Clone, Copy)]
struct Spell {
    began: Instant,
    questions: u32,
}

/// The time; on a worker as it was when its spell of work began, or up to 32 questions ago. How old that is depends on
/// what is done between the questions: at full load a few requests' worth, no bound that a clock could name.
pub fn now() -> Instant {
    let Some(Spell { began, questions }) = SPELL.get() else {
        return Instant::now();
    };
    let left = questions.checked_sub(1);
    let began = if left.is_some() { began } else { Instant::now() };
    SPELL.set(Some(Spell { began, questions: left.unwrap_or(QUESTIONS) }));
    began
}

/// The time of day for a `Date` field (RFC 9110 section 5.6.7), made once a second by each thread.
pub fn http_date() -> HeaderValue {
    thread_local! {
        static DATE: RefCell<(u64, HeaderValue)> =
            const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let time = SystemTime::now();
    let second = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(of, date)| {
        if (*of != second || date.is_empty())
            && let Ok(value) = HeaderValue::try_from(httpdate::fmt_http_date(time))
        {
            (*of, *date) = (second, value);
        }
        date.clone()
    })
}

/// A time as a number that fits into an atomic: nanoseconds since the process first asked, which is 1.
pub fn nanos(at: Instant) -> u64 {
    let since = at.saturating_duration_since(epoch()).as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
}

/// The time that [`nanos`] made a number of.
pub fn at(nanos: u64) -> Instant {
    epoch() + Duration::from_nanos(nanos.saturating_sub(1))
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// This thread has rested, and another spell of work begins. A thread that never says so always asks the system.
///
/// The runtime says so (`on_thread_unpark`) only where it had nothing left to do and waited for its sockets. With tasks
/// left it looks at the sockets too, after 61 of them or when all have yielded, but says nothing (tokio's `park_yield`).
pub fn rested() {
    let began = Instant::now();
    SPELL.set(Some(Spell { began, questions: QUESTIONS }));
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
    fn stands_still_within_a_spell_and_not_without_one() {
        let before = now();
        later();
        assert!(now() > before, "this thread has not rested yet");
        rested();
        let first = now();
        later();
        assert_eq!(now(), first);
        rested();
        assert!(now() > first);
    }

    #[test]
    fn looks_again_within_a_long_spell() {
        rested();
        let first = now();
        later();
        (0..QUESTIONS).for_each(|_| assert!(now() >= first));
        assert!(now() > first);
    }
}
