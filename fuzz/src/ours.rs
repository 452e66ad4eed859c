//! Our reader, driven as a connection drives it.

use bytes::{Bytes, BytesMut};
use frontgate::wire::h1::framing::Taken;
use frontgate::wire::h1::request::{self, Bounds};
use frontgate::wire::h1::scan::Scan;
use frontgate::wire::h1::{Decoder, Framing, Malformed, response};
use http::{HeaderMap, Method};

use crate::message::{Fields, Message, fields};
use crate::pieces;

/// The longest line with a chunk's size: digits, extension, line end, and one byte that shows it to be too long.
const CHUNK_LINE: usize = 16 + 256 + 2 + 1;
/// What an answer's head and trailers may hold.
const ANSWER_BYTES: usize = 64 << 10;
/// Interim answers that one request may get, as `wire::h1::outbound` counts them.
const INTERIMS: u32 = 16;

/// A message and what was around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// As understood.
    pub message: Message,
    /// Where its head stands in the bytes.
    pub head: std::ops::Range<usize>,
    /// Where its body begins and ends.
    pub framing: Framing,
    /// Whether another may follow.
    pub keep_alive: bool,
}

/// Bytes that arrive piece by piece, as asked for.
struct Arriving<'a> {
    pieces: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
    buffer: BytesMut,
    arrived: usize,
}

impl<'a> Arriving<'a> {
    fn new(wire: &'a [u8], seed: u8) -> Self {
        Self { pieces: Box::new(pieces::cut(wire, seed)), buffer: BytesMut::new(), arrived: 0 }
    }

    /// Whether there was more. A reader that asks for it may hold no more than `most` bytes.
    fn more(&mut self, most: usize) -> bool {
        assert!(self.buffer.len() <= most, "{} bytes are held, {most} allowed", self.buffer.len());
        let piece = self.pieces.next();
        self.buffer.extend_from_slice(piece.unwrap_or_default());
        self.arrived += piece.unwrap_or_default().len();
        piece.is_some()
    }

    fn taken(&self) -> usize {
        self.arrived - self.buffer.len()
    }

    /// The body and its trailers, none when the bytes end before it.
    fn body(
        &mut self,
        framing: Framing,
        trailers: usize,
    ) -> Result<Option<(Vec<u8>, Fields)>, Malformed> {
        let mut decoder = Decoder::new(framing, trailers);
        let mut body = Vec::new();
        loop {
            match decoder.take(&mut self.buffer)? {
                Taken::Data(data) => {
                    assert!(!data.is_empty(), "data is never empty");
                    body.extend_from_slice(&data);
                }
                Taken::Trailers(map) => {
                    assert!(decoder.is_done() && !map.is_empty());
                    return Ok(Some((body, fields(&map))));
                }
                Taken::End => {
                    assert!(decoder.is_done());
                    return Ok(Some((body, Fields::new())));
                }
                Taken::More => {
                    if !self.more(CHUNK_LINE.max(trailers)) {
                        return Ok(decoder.closed().then(|| (body, Fields::new())));
                    }
                }
            }
        }
    }
}

/// All requests of one connection, and what ended it if that was a broken rule.
pub fn requests(wire: &[u8], bounds: &Bounds, seed: u8) -> (Vec<Read>, Option<Malformed>) {
    let mut arriving = Arriving::new(wire, seed);
    let mut scan = Scan::default();
    let mut all = Vec::new();
    loop {
        let start = arriving.taken();
        let head = loop {
            match request::take(&mut arriving.buffer, &mut scan, bounds, &mut HeaderMap::new()) {
                Err(malformed) => return (all, Some(malformed)),
                Ok(Some(head)) => break head,
                Ok(None) if arriving.more(bounds.head) => {}
                Ok(None) => return (all, None),
            }
        };
        let mut read = Read {
            message: Message::request(&head.parts),
            head: start..arriving.taken(),
            framing: head.framing,
            keep_alive: head.keep_alive,
        };
        let body = arriving.body(head.framing, bounds.head);
        let broken = body.as_ref().err().copied();
        read.message.body = body.ok().flatten();
        let over = !read.keep_alive || read.message.body.is_none();
        all.push(read);
        if over {
            return (all, broken);
        }
    }
}

/// The final answer to a request of this method, after its interim ones; how long the head before it was.
pub fn answer(wire: &[u8], method: &Method, seed: u8) -> Result<Option<Read>, Malformed> {
    let mut arriving = Arriving::new(wire, seed);
    let mut scan = Scan::default();
    let mut interims = 0;
    loop {
        let start = arriving.taken();
        let buffer = &mut arriving.buffer;
        match response::take(buffer, &mut scan, method, &mut HeaderMap::new())? {
            Some(head) if head.parts.status.is_informational() => {
                interims += 1;
                if head.parts.status.as_u16() == 101 {
                    return Err(Malformed::Unasked);
                }
                if interims > INTERIMS {
                    return Err(Malformed::TooManyInterims);
                }
            }
            Some(head) => {
                let mut read = Read {
                    message: Message::answer(&head.parts),
                    head: start..arriving.taken(),
                    framing: head.framing,
                    keep_alive: head.keep_alive,
                };
                read.message.body = arriving.body(head.framing, ANSWER_BYTES)?;
                return Ok(Some(read));
            }
            None if arriving.more(ANSWER_BYTES) => {}
            None => return Ok(None),
        }
    }
}

/// A chunked body on its own: what was read of it and how it ended, and how much of the bytes that took.
pub fn chunks(
    wire: &[u8],
    trailers: usize,
    seed: u8,
) -> (Result<Option<(Bytes, Fields)>, Malformed>, usize) {
    let mut arriving = Arriving::new(wire, seed);
    let body = arriving.body(Framing::Chunked, trailers);
    (body.map(|read| read.map(|(body, fields)| (body.into(), fields))), arriving.taken())
}
