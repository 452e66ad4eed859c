//! The one body type of the path.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};

use super::h1::Malformed;
use super::h1::outbound::ResponseBody;
use super::h1::receiving::RequestBody;
use super::h1::tunnel::Switched;

/// A body on its way through.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Nothing is sent, but the head says how long it would be: an answer to HEAD, a 304.
    Declared(u64),
    /// All of it at hand.
    Full(Bytes),
    /// What a client sends.
    Request(RequestBody),
    /// What an instance answers.
    Response(ResponseBody),
    /// None: what follows a 101 is no longer HTTP.
    Switched(Box<Switched>),
}

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The peer left.
    Gone,
    /// The peer was silent for too long.
    Silent,
    /// The peer broke a rule.
    Malformed(Malformed),
    /// It is longer than [`Body::limit`] lets it be.
    TooLong,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the peer left within the body",
            Self::Silent => "the peer was silent for too long within the body",
            Self::Malformed(malformed) => malformed.rule(),
            Self::TooLong => "the body is longer than it may be",
        })
    }
}

impl std::error::Error for BodyError {}

impl Body {
    /// Ends a client's body with [`BodyError::TooLong`] where it goes beyond so many bytes. For one whose length is not
    /// known beforehand; the part that goes beyond is not given out.
    pub fn limit(&mut self, most: u64) {
        if let Self::Request(body) = self {
            body.limit(most);
        }
    }

    /// Leaves out of a client's trailers what has one of these names, under any spelling.
    pub fn bar(&mut self, names: &Arc<[HeaderName]>) {
        if let Self::Request(body) = self
            && body.remaining().is_none()
        {
            body.bar(Arc::clone(names));
        }
    }

    /// Whether it was seen to its end, or has none.
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Empty | Self::Declared(_) | Self::Switched(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Request(body) => body.is_ended(),
            Self::Response(body) => body.is_ended(),
        }
    }

    /// Bytes still to come, when that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Switched(_) => Some(0),
            Self::Declared(length) => Some(*length),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Request(body) => body.remaining(),
            Self::Response(body) => body.remaining(),
        }
    }

    /// The next part of it.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty | Self::Declared(_) | Self::Switched(_) => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Request(body) => body.poll_next(cx),
            Self::Response(body) => body.poll_next(cx),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Declared(_) => SizeHint::with_exact(0),
            Self::Empty
            | Self::Full(_)
            | Self::Request(_)
            | Self::Response(_)
            | Self::Switched(_) => {
                self.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// What keeping a part costs: it pins the buffer around it, so a byte in a chunk of its own is not cheap.
fn cost(data: &Bytes) -> usize {
    const LEAST: usize = 512;
    data.len().max(LEAST)
}

/// A part of a body that is kept.
#[derive(Debug)]
enum Part {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Part {
    /// Of a frame, with what keeping it costs.
    fn of(frame: &Frame<Bytes>) -> Option<(Self, usize)> {
        if let Some(data) = frame.data_ref() {
            return Some((Self::Data(data.clone()), cost(data)));
        }
        let trailers = frame.trailers_ref()?;
        let fields = trailers.iter().map(|(name, value)| name.as_str().len() + value.len());
        Some((Self::Trailers(Box::new(trailers.clone())), fields.sum()))
    }

    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.as_ref().clone()),
        }
    }
}

/// A request's body that can be sent again from its start, as far as it is kept.
///
/// What is kept are slices of the client's read buffer, so keeping costs no copy.
#[derive(Debug)]
pub struct Replay<'a> {
    body: &'a mut Body,
    kept: Vec<Part>,
    size: usize,
    most: usize,
    next: usize,
    lost: bool,
}

impl<'a> Replay<'a> {
    /// Keeps up to `most` bytes.
    pub fn new(body: &'a mut Body, most: usize) -> Self {
        Self { body, kept: Vec::new(), size: 0, most, next: 0, lost: false }
    }

    /// Goes back to the start; false when what was sent is not kept.
    pub fn rewind(&mut self) -> bool {
        self.next = 0;
        !self.lost
    }

    /// Whether nothing of it was asked for yet.
    pub fn is_untouched(&self) -> bool {
        self.kept.is_empty() && !self.lost
    }

    /// Bytes still to come, when that is known and they are all that comes: trailers need chunks before them.
    pub fn remaining(&self) -> Option<u64> {
        let mut rest = self.body.remaining()?;
        for part in self.kept.iter().skip(self.next) {
            match part {
                Part::Data(data) => rest += data.len() as u64,
                Part::Trailers(_) => return None,
            }
        }
        Some(rest)
    }

    /// Whether all was taken.
    pub fn is_ended(&self) -> bool {
        self.next == self.kept.len() && self.body.is_ended()
    }

    /// The next part of it.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(part) = self.kept.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(part.frame())));
        }
        let next = self.body.poll_next(cx);
        if let Poll::Ready(Some(Ok(frame))) = &next
            && !self.lost
        {
            match Part::of(frame).filter(|(_, cost)| self.size + cost <= self.most) {
                Some((part, cost)) => {
                    self.size += cost;
                    self.kept.push(part);
                    self.next = self.kept.len();
                }
                None => {
                    self.lost = true;
                    self.kept = Vec::new();
                    self.next = 0;
                }
            }
        }
        next
    }
}
