//! A request's body on its way from a client.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::framing::Taken;
use super::inbound::Inbound;
use crate::wire::{BodyError, after, clock};

/// The body of a client's request, read as it is asked for.
#[derive(Debug)]
pub struct RequestBody {
    inbound: Inbound,
}

impl RequestBody {
    /// Of the request whose head was just read.
    pub(super) fn new(inbound: Inbound) -> Self {
        Self { inbound }
    }

    /// Whether it was read to its end.
    pub fn is_ended(&self) -> bool {
        self.inbound.is_read()
    }

    /// Bytes still to come, when that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.inbound.0.borrow().decoder.remaining()
    }

    /// The next part of it. The first call lets a client that waits for 100 go on.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let state = &mut *self.inbound.0.borrow_mut();
        loop {
            match state.decoder.take(&mut state.link.read) {
                Ok(Taken::Data(data)) => {
                    state.waiting = false;
                    // It did not wait, so it need not be told to go on (RFC 9110 section 10.1.1).
                    state.expecting = false;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Taken::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Ok(Taken::End) => return Poll::Ready(None),
                Ok(Taken::More) => {}
                Err(malformed) => return Poll::Ready(Some(Err(BodyError::Malformed(malformed)))),
            }
            if std::mem::take(&mut state.expecting) {
                state.link.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let flushed = state.link.poll_flush(cx);
            match (flushed, state.link.poll_fill(cx)) {
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Ok(0) | Err(_))) => {
                    // One that cannot be written to has left, whatever of it there still is to read.
                    state.link.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Gone)));
                }
                (_, Poll::Ready(Ok(_))) => state.waiting = false,
                (_, Poll::Pending) => {
                    if !std::mem::replace(&mut state.waiting, true) {
                        state.link.timer.set(after(clock::now(), state.patience.body));
                    }
                    ready!(state.link.timer.poll(cx));
                    return Poll::Ready(Some(Err(BodyError::Silent)));
                }
            }
        }
    }
}
