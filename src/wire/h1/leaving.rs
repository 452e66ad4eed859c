//! Whether a client has left while the gateway is busy with its request.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Link;
use super::inbound::Inbound;
use crate::wire::{after, clock};

/// How often the kernel is asked about a client that has sent all it may send ahead: nothing is read then that would
/// tell of its end.
const ASKED: Duration = Duration::from_millis(250);

impl Inbound {
    /// Whether the client has left.
    pub fn has_left(&self) -> bool {
        self.0.borrow().link.ended
    }

    /// Ready once the client has left, while the gateway is busy with its request. A client that closes, also half,
    /// has left. What it sends meanwhile, more of its body or its next request, is kept up to `most` bytes.
    pub fn poll_left(&self, most: usize, cx: &mut Context<'_>) -> Poll<()> {
        let link = &mut self.0.borrow_mut().link;
        while link.read.len() < most {
            match ready!(link.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        poll_full(link, cx)
    }
}

/// The same while nothing may be read. Nobody else waits by the link's timer then: its body is not asked for, and all
/// of the answer that there is was taken.
fn poll_full(link: &mut Link, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if link.has_hung_up() {
            link.ended = true;
            return Poll::Ready(());
        }
        link.timer.set(after(clock::now(), ASKED));
        ready!(link.timer.poll(cx));
    }
}
