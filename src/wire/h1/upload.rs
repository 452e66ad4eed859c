//! A request's body on its way to an instance, while the answer is awaited.

use std::task::{Context, Poll};
use std::time::Instant;

use http::response::Parts;
use http::{HeaderMap, StatusCode};

use super::encode::{self, Ending};
use super::response::Head;
use super::{Early, Link};
use crate::wire::BodyError;
use crate::wire::body::Replay;

/// The request's way up.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) ending: Ending,
    /// The whole body is queued.
    pub(super) done: bool,
    /// Until then the body waits for the upstream's word.
    pub(super) held: Option<Instant>,
    /// The upstream takes nothing more; its answer may still come.
    pub(super) failed: bool,
    /// All that the client sent was passed on, and more of it is to come.
    pub(super) waits: bool,
}

impl Upload {
    /// An interim answer came, which may be the upstream's word; gives its map back.
    pub(super) fn hear(&mut self, head: Head, early: &Early) -> HeaderMap {
        let Parts { status, mut headers, .. } = head.parts;
        if status == StatusCode::CONTINUE {
            self.held = None;
        }
        early.pass(status, &mut headers);
        headers.clear();
        headers
    }

    /// Moves what can be moved, until either side has to be waited for.
    pub(super) fn poll(
        &mut self,
        link: &mut Link,
        body: &mut Replay<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), BodyError> {
        let mut waits = false;
        self.waits = false;
        while !self.failed {
            while !waits && !self.done && self.held.is_none() && link.can_gather() {
                match body.poll_next(cx) {
                    Poll::Ready(Some(frame)) => {
                        let frame = frame?;
                        self.done = body.is_ended();
                        encode::frame(link, frame, self.ending, self.done);
                    }
                    Poll::Ready(None) => {
                        self.done = true;
                        encode::end_of_body(link, self.ending);
                    }
                    Poll::Pending => waits = true,
                }
            }
            match link.poll_flush(cx) {
                Poll::Ready(Ok(())) if waits || self.done || self.held.is_some() => {
                    self.waits = waits;
                    return Ok(());
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.failed = true,
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}
