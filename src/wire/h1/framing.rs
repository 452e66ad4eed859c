//! How long a body is, and taking it from the bytes that arrived.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::Malformed;
use super::chunked::Chunks;

/// How the end of a body is known; decided once, by the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Until the connection closes; answers only.
    Close,
}

/// Takes a body from the bytes that arrived.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are missing.
    Length(u64),
    /// Within chunks.
    Chunked(Chunks),
    /// Until the connection closes.
    Close,
    /// All was taken.
    Done,
}

/// What was taken.
#[derive(Debug)]
pub enum Taken {
    /// Some of the body; never empty.
    Data(Bytes),
    /// The trailers; the body ends with them.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// Nothing can be taken before more arrives.
    More,
}

impl Decoder {
    /// For a body of this framing, with trailers of at most `trailer_bytes`.
    pub fn new(framing: Framing, trailer_bytes: usize) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::new(trailer_bytes)),
            Framing::Close => Self::Close,
        }
    }

    /// Whether the whole body was taken.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Bytes still to come, when that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Done => Some(0),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    /// Takes what there is.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Taken, Malformed> {
        match self {
            Self::Done => Ok(Taken::End),
            Self::Length(missing) => {
                if buffer.is_empty() {
                    return Ok(Taken::More);
                }
                let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(buffer.len());
                *missing -= here as u64;
                if *missing == 0 {
                    *self = Self::Done;
                }
                Ok(Taken::Data(buffer.split_to(here).freeze()))
            }
            Self::Close if buffer.is_empty() => Ok(Taken::More),
            Self::Close => Ok(Taken::Data(buffer.split().freeze())),
            Self::Chunked(chunks) => {
                let taken = chunks.take(buffer)?;
                if chunks.is_over() {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }

    /// The connection ended: whether the body did, too. One that does not last until then was cut short.
    pub fn closed(&mut self) -> bool {
        match self {
            Self::Close | Self::Done => {
                *self = Self::Done;
                true
            }
            Self::Length(_) | Self::Chunked(_) => false,
        }
    }
}
