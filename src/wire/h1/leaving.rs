//! Whether a client has left while the gateway is busy with its request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};

use super::Link;
use super::inbound::Inbound;

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
        let state = &mut *self.0.borrow_mut();
        while state.link.read.len() < most {
            match ready!(state.link.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        poll_full(&mut state.link, &mut state.asking, cx)
    }
}

/// The same while nothing may be read. The link's own timer may be waited for at the same time: by a body whose
/// trailers are longer than that, or by an answer that is not taken.
fn poll_full(
    link: &mut Link,
    asking: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if link.has_hung_up() {
            link.ended = true;
            return Poll::Ready(());
        }
        let next = tokio::time::Instant::now() + ASKED;
        let asking = asking.get_or_insert_with(|| Box::pin(sleep_until(next)));
        ready!(asking.as_mut().poll(cx));
        asking.as_mut().reset(next);
    }
}
