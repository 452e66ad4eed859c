//! An answer's body on its way to a client: as much in one write as is at hand.

use std::task::{Context, Poll, ready};

use super::Link;
use super::encode::{self, Ending};
use super::inbound::{AHEAD, Broken, Inbound};
use super::splice::{self, Pipe};
use crate::wire::{Body, BodyError};

/// An answer on its way out.
pub(super) struct Sending {
    ending: Ending,
    /// All of it is queued.
    pub(super) ended: bool,
    /// The next part of the body is not there yet.
    pub(super) awaited: bool,
    /// Some of its body was queued or waited for, or its head may have been written.
    pub(super) begun: bool,
    /// The body broke.
    pub(super) broken: Option<BodyError>,
    pipe: Option<Pipe>,
}

impl Sending {
    /// Nothing of it is queued yet.
    pub(super) fn new(ending: Ending) -> Self {
        Self { ending, ended: false, awaited: false, begun: false, broken: None, pipe: None }
    }

    /// Queues what is at hand of the body, as far as it leaves in one write.
    pub(super) fn gather(&mut self, inbound: &Inbound, body: &mut Body, cx: &mut Context<'_>) {
        self.awaited = false;
        // A body that broke says nothing more, which must not be taken for its end when this is asked again.
        if self.broken.is_some() {
            return;
        }
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

    /// Moves the rest of a long body without looking at it. Ready when there is nothing of that kind to do.
    pub(super) fn poll_splice(
        &mut self,
        inbound: &Inbound,
        body: &mut Body,
        (stalled, cx): (&mut Option<usize>, &mut Context<'_>),
    ) -> Poll<Result<(), Broken>> {
        let Body::Response(body) = body else { return Poll::Ready(Ok(())) };
        if self.pipe.is_none() {
            let long = body.unread().is_some_and(|unread| unread >= splice::LEAST);
            if !long || !inbound.with_link(|link| link.is_flushed()) {
                return Poll::Ready(Ok(()));
            }
            self.pipe = Pipe::take();
        }
        while let Some(pipe) = &mut self.pipe {
            if ready!(inbound.poll_drain(pipe, stalled, cx)).is_err() {
                return Poll::Ready(Err(Broken::Client));
            }
            if body.is_ended() {
                self.ended = true;
                if let Some(pipe) = self.pipe.take() {
                    pipe.give_back();
                }
                break;
            }
            match body.poll_splice(pipe, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Body(error))),
                Poll::Pending => return inbound.poll_left(AHEAD, cx).map(|()| Err(Broken::Client)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, link: &mut Link) {
        self.ended = true;
        encode::end_of_body(link, self.ending);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::time::Duration;

    use bytes::BytesMut;
    use http::{HeaderMap, Method};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::wire::h1::inbound::Patience;
    use crate::wire::h1::outbound::{self, Answered, End, Home};
    use crate::wire::h1::response;
    use crate::wire::h1::scan::Scan;

    async fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Link::new(listener.accept().await.unwrap().0), far)
    }

    struct Nowhere;

    impl Home for Nowhere {
        fn done(&self, _: Option<Box<Link>>, _: http::StatusCode, _: End) {}
    }

    #[tokio::test]
    async fn a_body_that_broke_is_not_ended_when_its_write_had_to_wait() {
        let (upstream, far) = pair().await;
        drop(far);
        let mut wire = BytesMut::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let map = &mut HeaderMap::new();
        let head = response::take(&mut wire, &mut Scan::default(), &Method::GET, map);
        let answered = Answered { head: head.unwrap().unwrap(), uploaded: true };
        let silence = Duration::ZERO;
        let mut body = outbound::body(Box::new(upstream), &answered, silence, Rc::new(Nowhere));
        let (client, _far) = pair().await;
        let patience = Patience { idle: silence, head: silence, body: silence };
        let inbound = Inbound::new(client, patience);
        let mut sending = Sending::new(Ending::Chunked);
        poll_fn(|cx| {
            sending.gather(&inbound, &mut body, cx);
            if sending.awaited { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        assert_eq!(sending.broken, Some(BodyError::Gone));
        // As after a write that had to wait for the client.
        poll_fn(|cx| {
            sending.gather(&inbound, &mut body, cx);
            Poll::Ready(())
        })
        .await;
        assert!(!sending.ended);
        inbound.with_link(|link| assert_eq!(link.out, b"", "no last chunk"));
    }
}
