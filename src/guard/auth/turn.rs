//! How many signatures a worker checks before it looks after its other connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::wire::clock;

/// Each costs some 20 µs, or ten times that for the longest keys: what others wait at most.
const SIGNATURES: u32 = 8;
/// So many of them are free of waiting in this time.
const SPELL: Duration = Duration::from_millis(1);

/// The checks of one worker: a few at once, then as many in each turn of its event loop, first come, first served.
#[derive(Debug, Default)]
pub struct Turn(Rc<Line>);

#[derive(Debug, Default)]
struct Line {
    /// When those were counted anew that need not wait, and how many there were since.
    spell: Cell<Option<Instant>>,
    taken: Cell<u32>,
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
    /// Somebody opens turns for those who wait.
    moves: Cell<bool>,
}

impl Turn {
    /// Takes a check without waiting, if there is one; never before those who wait.
    pub fn take(&self) -> bool {
        let line = &self.0;
        let now = clock::now();
        if line.spell.get().is_none_or(|began| now.saturating_duration_since(began) >= SPELL) {
            line.spell.set(Some(now));
            line.taken.set(0);
        }
        let free = !line.moves.get() && line.taken.get() < SIGNATURES;
        line.taken.set(line.taken.get() + u32::from(free));
        free
    }

    /// Waits for one. There are never more who wait than connections.
    pub async fn wait(&self) {
        let (go, gone) = oneshot::channel();
        self.0.waiting.borrow_mut().push_back(go);
        if !self.0.moves.replace(true) {
            tokio::task::spawn_local(Rc::clone(&self.0).open());
        }
        gone.await.ok();
    }
}

impl Line {
    /// Opens one turn after the other while somebody waits.
    async fn open(self: Rc<Self>) {
        loop {
            // The runtime looks at its sockets before it comes back here.
            tokio::task::yield_now().await;
            let mut left = SIGNATURES;
            while left > 0 {
                let Some(next) = self.waiting.borrow_mut().pop_front() else {
                    self.moves.set(false);
                    return;
                };
                // Who has left takes none.
                left -= u32::from(next.send(()).is_ok());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn many_at_once_get_so_many_a_turn_in_the_order_they_came() {
        let local = tokio::task::LocalSet::new();
        let (turn, done) = (Rc::new(Turn::default()), Rc::new(RefCell::new(Vec::new())));
        let (turns, over) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
        for number in 0..100 {
            let (turn, done) = (Rc::clone(&turn), Rc::clone(&done));
            local.spawn_local(async move {
                if !turn.take() {
                    turn.wait().await;
                }
                done.borrow_mut().push(number);
            });
        }
        let (counted, ended) = (Rc::clone(&turns), Rc::clone(&over));
        local.spawn_local(async move {
            while !ended.get() {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        local
            .run_until(async {
                while done.borrow().len() < 100 {
                    tokio::task::yield_now().await;
                }
                over.set(true);
            })
            .await;
        assert_eq!(*done.borrow(), (0..100).collect::<Vec<_>>());
        assert!(turns.get() >= 100 / SIGNATURES - 2, "all within {} turns", turns.get());
        // Nobody waits any more.
        while turn.0.moves.get() {
            local.run_until(tokio::task::yield_now()).await;
        }
        assert!(turn.0.waiting.borrow().is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_has_left_holds_up_nobody() {
        let local = tokio::task::LocalSet::new();
        let turn = Turn::default();
        local
            .run_until(async {
                for _ in 0..1000 {
                    let mut wait = Box::pin(turn.wait());
                    assert!(futures_util::poll!(&mut wait).is_pending());
                }
                turn.wait().await;
            })
            .await;
        assert!(turn.0.waiting.borrow().is_empty());
    }
}
