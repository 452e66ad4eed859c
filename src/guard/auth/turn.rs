//! How many signatures a worker checks before it looks after its other connections.

use std::cell::Cell;

/// Each costs some 20 µs, or ten times that for the longest keys: what others wait at most.
const SIGNATURES: u32 = 8;

/// The checks of one worker, counted by turns of its event loop.
#[derive(Debug)]
pub struct Turn {
    left: Cell<u32>,
    number: Cell<u64>,
}

impl Default for Turn {
    fn default() -> Self {
        Self { left: Cell::new(SIGNATURES), number: Cell::new(0) }
    }
}

impl Turn {
    /// Takes one of this turn's checks, if one is left.
    pub fn take(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Lets the others run; the first to come back opens the next turn.
    pub async fn next(&self) {
        let number = self.number.get();
        // The runtime looks at its sockets before it comes back here.
        tokio::task::yield_now().await;
        if self.number.get() == number {
            self.number.set(number + 1);
            self.left.set(SIGNATURES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn many_at_once_get_so_many_a_turn_and_all_get_theirs() {
        let local = tokio::task::LocalSet::new();
        let (turn, done) = (Rc::new(Turn::default()), Rc::new(Cell::new(0)));
        for _ in 0..100 {
            let (turn, done) = (Rc::clone(&turn), Rc::clone(&done));
            local.spawn_local(async move {
                while !turn.take() {
                    turn.next().await;
                }
                done.set(done.get() + 1);
            });
        }
        local.await;
        assert_eq!(done.get(), 100);
        assert_eq!(turn.number.get(), u64::from(99 / SIGNATURES));
    }
}
