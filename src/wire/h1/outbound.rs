//! The client's side of a connection: one exchange with an upstream is a function (write, read head, stream).

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::UPGRADE;
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Frame;

use super::encode::{self, Ending};
use super::framing::Taken;
use super::response::{self, Head};
use super::splice::Pipe;
use super::tunnel::{self, Switched};
use super::upload::Upload;
use super::{Decoder, Early, Framing, Link, Malformed};
use crate::wire::body::Replay;
use crate::wire::{Body, BodyError, after, clock, spare};

/// How long an upstream may keep a client waiting that asked to be told to go on (RFC 9110 section 10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);
/// Interim answers that one request may get; more are no answer.
const INTERIMS: u32 = 16;
/// Trailers of an answer, as its head.
const TRAILER_BYTES: usize = 64 << 10;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection ended; whether some of an answer had come.
    Lost {
        /// A byte of the answer had come, so that the request was certainly read.
        begun: bool,
    },
    /// What came is no answer.
    Malformed(Malformed),
    /// The deadline passed.
    Late,
    /// The deadline passed while the rest of the client's body was waited for.
    Unsent,
    /// The client's part broke.
    Client(BodyError),
}

impl Failure {
    /// As it counts after so many interim answers: one of them was a byte of an answer, too.
    fn after(self, interims: u32) -> Self {
        match self {
            Self::Lost { begun } => Self::Lost { begun: begun || interims > 0 },
            Self::Malformed(_) | Self::Late | Self::Unsent | Self::Client(_) => self,
        }
    }
}

/// An answer's head, and whether the whole request had been sent by then.
#[derive(Debug)]
pub struct Answered {
    /// Status and fields.
    pub head: Head,
    /// False for an early answer; the connection cannot be used again then.
    pub uploaded: bool,
}

/// Sends one request and waits for the final answer's head.
///
/// Both directions are driven at once, so that an early answer is seen, and one that comes although the upload
/// failed. After an error the connection is of no more use.
pub async fn exchange(
    link: &mut Link,
    request: &Parts,
    body: &mut Replay<'_>,
    early: &Early,
    due: Option<Instant>,
) -> Result<Answered, Failure> {
    let ending = Ending::of_request(&request.method, body.remaining());
    encode::request(&mut link.out, &request.method, &request.uri, &request.headers, ending);
    let mut upload = Upload {
        ending,
        done: body.is_ended(),
        held: early.expects.then(|| hold_until(due)),
        failed: false,
        waits: false,
    };
    if upload.done {
        encode::end_of_body(link, ending);
    }
    let mut map = spare::map();
    let mut interims = 0;
    let answered = poll_fn(|cx| {
        loop {
            if let Err(error) = upload.poll(link, body, cx) {
                return Poll::Ready(Err(Failure::Client(error)));
            }
            match poll_head(link, &request.method, &mut map, cx) {
                Poll::Ready(Ok(head)) if interim(head.parts.status) && interims < INTERIMS => {
                    interims += 1;
                    map = upload.hear(head, early);
                }
                Poll::Ready(Ok(head))
                    if head.parts.status.is_informational() && !switches(request, &head) =>
                {
                    return Poll::Ready(Err(Failure::Malformed(no_answer(head.parts.status))));
                }
                Poll::Ready(Ok(head)) => {
                    // A connection that was asked to switch is not used for anything else.
                    let uploaded = upload.done && link.is_flushed() && !asks_to_switch(request);
                    return Poll::Ready(Ok(Answered { head, uploaded }));
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure.after(interims))),
                Poll::Pending => {
                    if interims > 0 {
                        early.flush(cx);
                    }
                    link.timer.set(earlier(due, upload.held));
                    if link.timer.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    match upload.held.take() {
                        Some(held) if due.is_none_or(|due| held < due) => {}
                        _ if upload.waits => return Poll::Ready(Err(Failure::Unsent)),
                        _ => return Poll::Ready(Err(Failure::Late)),
                    }
                }
            }
        }
    })
    .await;
    if map.capacity() > 0 {
        spare::give_map(map);
    }
    answered
}

/// When a client that asked to be told to go on is told so whatever the upstream does: half of the time there is belongs
/// to the body, or the upstream would be blamed for what it was never sent.
fn hold_until(due: Option<Instant>) -> Instant {
    let now = clock::now();
    let half = due.map(|due| due.saturating_duration_since(now) / 2);
    now + half.map_or(CONTINUE_WAIT, |half| half.min(CONTINUE_WAIT))
}

fn interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The rule that an informational answer breaks which is not taken.
fn no_answer(status: StatusCode) -> Malformed {
    if interim(status) { Malformed::TooManyInterims } else { Malformed::Unasked }
}

fn asks_to_switch(request: &Parts) -> bool {
    request.headers.contains_key(UPGRADE)
}

fn switches(request: &Parts, head: &Head) -> bool {
    head.parts.status == StatusCode::SWITCHING_PROTOCOLS
        && tunnel::is_agreed(&request.headers, &head.parts)
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

fn poll_head(
    link: &mut Link,
    method: &Method,
    map: &mut http::HeaderMap,
    cx: &mut Context<'_>,
) -> Poll<Result<Head, Failure>> {
    loop {
        if !link.read.is_empty() {
            match response::take(&mut link.read, &mut link.scan, method, map) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Err(Failure::Malformed(malformed))),
            }
        }
        match link.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => {
                return Poll::Ready(Err(Failure::Lost { begun: !link.read.is_empty() }));
            }
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Where a connection goes when its exchange is over.
pub trait Home {
    /// The exchange is over, whose answer had this status. The link comes along when it can be used again.
    fn done(&self, link: Option<Box<Link>>, status: StatusCode, end: End);
}

/// How an answer's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In full.
    Complete,
    /// By the upstream's fault.
    Broken,
    /// Nobody wanted the rest.
    Abandoned,
}

/// The body of an instance's answer, read as it is asked for.
pub struct ResponseBody {
    link: Option<Box<Link>>,
    decoder: Decoder,
    /// Silence the upstream is allowed; zero is any.
    silence: Duration,
    waiting: bool,
    reusable: bool,
    status: StatusCode,
    home: Option<Rc<dyn Home>>,
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("decoder", &self.decoder).finish_non_exhaustive()
    }
}

/// The body that follows a head. The connection goes home at once when there is none; a 101 is followed by a tunnel.
pub fn body(link: Box<Link>, answered: &Answered, silence: Duration, home: Rc<dyn Home>) -> Body {
    let head = &answered.head;
    if head.parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Body::Switched(Box::new(Switched::new(link, home, silence)));
    }
    let reusable = head.keep_alive && answered.uploaded;
    let mut body = ResponseBody {
        link: Some(link),
        decoder: Decoder::new(head.framing, TRAILER_BYTES),
        silence,
        waiting: false,
        reusable,
        status: head.parts.status,
        home: Some(home),
    };
    if body.decoder.is_done() {
        body.finish(End::Complete);
        return match (head.framing, head.declared) {
            (Framing::None, Some(declared)) => Body::Declared(declared),
            (Framing::None, None) | (Framing::Length(_) | Framing::Chunked | Framing::Close, _) => {
                Body::Empty
            }
        };
    }
    Body::Response(body)
}

impl ResponseBody {
    /// Whether it was read to its end.
    pub fn is_ended(&self) -> bool {
        self.decoder.is_done()
    }

    /// Bytes still to come, when that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// The next part of it.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(link) = self.link.as_mut() else {
            return Poll::Ready(None);
        };
        let next = poll_body(link, &mut self.decoder, (&mut self.waiting, self.silence), cx);
        match &next {
            Poll::Ready(Some(Err(_))) => self.finish(End::Broken),
            Poll::Ready(_) if self.decoder.is_done() => self.finish(End::Complete),
            Poll::Ready(_) | Poll::Pending => {}
        }
        next
    }

    /// How much of it is still on its way, if its length is known and nothing of it was read ahead.
    pub(super) fn unread(&self) -> Option<u64> {
        match (&self.decoder, &self.link) {
            (Decoder::Length(missing), Some(link)) if link.read.is_empty() => Some(*missing),
            _ => None,
        }
    }

    /// Takes more of what [`ResponseBody::unread`] tells into an empty pipe.
    pub(super) fn poll_splice(
        &mut self,
        pipe: &mut Pipe,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        let (Decoder::Length(missing), Some(link)) = (&mut self.decoder, &mut self.link) else {
            return Poll::Ready(Ok(()));
        };
        match pipe.poll_fill(link.socket(), *missing, cx) {
            Poll::Ready(Ok(count @ 1..)) => {
                self.waiting = false;
                *missing -= count as u64;
                if *missing == 0 {
                    link.expect_long();
                    self.decoder = Decoder::Done;
                    self.finish(End::Complete);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(0) | Err(_)) => {
                self.finish(End::Broken);
                Poll::Ready(Err(BodyError::Gone))
            }
            Poll::Pending => {
                if !std::mem::replace(&mut self.waiting, true) {
                    link.timer.set(after(clock::now(), self.silence));
                }
                let silent = link.timer.poll(cx);
                if silent.is_ready() {
                    self.finish(End::Broken);
                }
                silent.map(|()| Err(BodyError::Silent))
            }
        }
    }

    fn finish(&mut self, end: End) {
        let Some(home) = self.home.take() else {
            return;
        };
        let link = self.link.take().filter(|link| {
            // Bytes after the end of an answer belong to nothing that was asked.
            end == End::Complete && self.reusable && link.read.is_empty() && !link.ended
        });
        home.done(link, self.status, end);
    }
}

fn poll_body(
    link: &mut Link,
    decoder: &mut Decoder,
    (waiting, silence): (&mut bool, Duration),
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    loop {
        match decoder.take(&mut link.read) {
            Ok(Taken::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(Taken::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
            Ok(Taken::End) => return Poll::Ready(None),
            Ok(Taken::More) => {}
            Err(malformed) => return Poll::Ready(Some(Err(BodyError::Malformed(malformed)))),
        }
        match link.poll_fill(cx) {
            Poll::Ready(Ok(0)) if decoder.closed() => return Poll::Ready(None),
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(Err(BodyError::Gone))),
            Poll::Ready(Ok(_)) => *waiting = false,
            Poll::Pending => {
                if !std::mem::replace(waiting, true) {
                    link.timer.set(after(clock::now(), silence));
                }
                return link.timer.poll(cx).map(|()| Some(Err(BodyError::Silent)));
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.finish(End::Abandoned);
    }
}
