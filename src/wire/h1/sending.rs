//! An answer's body on its way to a client: as much in one write as is at hand.

use std::task::{Context, Poll};

use super::Link;
use super::encode::{self, Ending};
use super::inbound::Inbound;
use crate::wire::{Body, BodyError};

/// An answer on its way out.
pub(super) struct Sending {
    ending: Ending,
    /// All of it is queued.
    pub(super) ended: bool,
    /// The next part of the body is not there yet.
    pub(super) awaited: bool,
    /// Some of its body was queued or waited for, so that its head may have been written.
    pub(super) begun: bool,
    /// The body broke.
    pub(super) broken: Option<BodyError>,
}

impl Sending {
    /// Nothing of it is queued yet.
    pub(super) fn new(ending: Ending) -> Self {
        Self { ending, ended: false, awaited: false, begun: false, broken: None }
    }

    /// Queues what is at hand of the body, as far as it leaves in one write.
    pub(super) fn gather(&mut self, inbound: &Inbound, body: &mut Body, cx: &mut Context<'_>) {
        self.awaited = false;
        while !self.ended && !self.awaited && inbound.with_link(|link| link.can_gather()) {
            match body.poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.ended = body.is_ended();
                    inbound.with_link(|link| encode::frame(link, frame, self.ending, self.ended));
                }
                Poll::Ready(Some(Err(error))) => {
                    // What came before it is sent: the client sees how far the answer was good.
                    self.broken = Some(error);
                    return;
                }
                Poll::Ready(None) => inbound.with_link(|link| self.end(link)),
                Poll::Pending => self.awaited = true,
            }
            self.begun = true;
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, link: &mut Link) {
        self.ended = true;
        encode::end_of_body(link, self.ending);
    }
}
