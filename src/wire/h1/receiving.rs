//! A request's body on its way from a client.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::Frame;

use super::framing::Taken;
use super::inbound::Inbound;
use crate::wire::name::alike;
use crate::wire::{BodyError, after, clock};

/// The body of a client's request, read as it is asked for.
#[derive(Debug)]
pub struct RequestBody {
    inbound: Inbound,
    /// Bytes it may still have.
    room: u64,
    /// Names that its trailers may not have.
    barred: Option<Arc<[HeaderName]>>,
}

impl RequestBody {
    /// Of the request whose head was just read.
    pub(super) fn new(inbound: Inbound) -> Self {
        Self { inbound, room: u64::MAX, barred: None }
    }

    /// No more than so many bytes of it are given out.
    pub fn limit(&mut self, most: u64) {
        self.room = most;
    }

    /// Trailers of these names, or names like them, are not given out.
    pub fn bar(&mut self, names: Arc<[HeaderName]>) {
        self.barred = Some(names);
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
                    let Some(room) = self.room.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Some(Err(BodyError::TooLong)));
                    };
                    self.room = room;
                    state.waiting = false;
                    // It did not wait, so it need not be told to go on (RFC 9110 section 10.1.1).
                    state.expecting = false;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Taken::Trailers(map)) => {
                    let map = without(map, self.barred.as_deref().unwrap_or_default());
                    let frame = (!map.is_empty()).then(|| Ok(Frame::trailers(map)));
                    return Poll::Ready(frame);
                }
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

fn without(mut map: HeaderMap, barred: &[HeaderName]) -> HeaderMap {
    let is_barred = |name: &&HeaderName| barred.iter().any(|one| alike(one, name));
    for name in map.keys().filter(is_barred).cloned().collect::<Vec<_>>() {
        map.remove(name);
    }
    map
}
