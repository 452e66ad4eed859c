//! Two connections that speak another protocol now: bytes both ways until both sides have ended (RFC 9110 section 7.8).
//!
//! An idle tunnel holds no buffer; one whose reader is slow holds [`BUFFER_BYTES`] a direction and reads no more.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, StatusCode, Version};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Link;
use super::inbound::Inbound;
use super::outbound::{End, Home};
use crate::wire::list::members;
use crate::wire::{after, clock};

/// What one direction holds while its bytes are on their way.
const BUFFER_BYTES: usize = 16 << 10;
/// Reads of one direction before the other has its turn.
const ROUNDS: usize = 16;

/// Whether a 101 agrees to what was asked: in HTTP/1.1, with one Upgrade that names nothing but protocols of the request's.
pub(super) fn is_agreed(asked: &HeaderMap, answer: &http::response::Parts) -> bool {
    let mut named = answer.headers.get_all(UPGRADE).iter();
    let (Some(upgrade), None) = (named.next(), named.next()) else {
        return false;
    };
    let is_offered = |name: &[u8]| {
        let offers = asked.get_all(UPGRADE).iter().flat_map(members);
        offers.map(name_of).any(|offer| offer.eq_ignore_ascii_case(name))
    };
    let mut connection = answer.headers.get_all(CONNECTION).iter().flat_map(members);
    answer.version == Version::HTTP_11
        && connection.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && members(upgrade).map(name_of).all(is_offered)
}

/// A protocol without its version.
fn name_of(protocol: &[u8]) -> &[u8] {
    protocol.split(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The upstream's side of a tunnel. Ends with a reset unless the tunnel came to its end.
pub struct Switched {
    link: Box<Link>,
    home: Rc<dyn Home>,
    /// Silence of the upstream that is allowed; zero is any.
    silence: Duration,
    ended: bool,
}

impl Switched {
    pub(super) fn new(link: Box<Link>, home: Rc<dyn Home>, silence: Duration) -> Self {
        Self { link, home, silence, ended: false }
    }
}

impl fmt::Debug for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switched").field("silence", &self.silence).finish_non_exhaustive()
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        if !self.ended {
            self.link.reset();
        }
        let end = if self.ended { End::Complete } else { End::Abandoned };
        self.home.done(None, StatusCode::SWITCHING_PROTOCOLS, end);
    }
}

/// Why a tunnel is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Both sides have said all they had to say.
    Ended,
    /// One side broke it off, and so it was for the other.
    Reset,
    /// The upstream said nothing for too long.
    Silent,
    /// The client took nothing of what had come for it for too long.
    Stalled,
}

/// Moves bytes between a client, which has had the 101, and an upstream until both have ended, or the upstream is silent, or
/// the client takes nothing. A side that half-closes is half-closed to the other, and may go on listening.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "nobody else reads or writes a connection that is a tunnel, and a drain passes it over"
)]
pub async fn run(client: &Inbound, mut switched: Switched) -> Over {
    let ahead = client.with_link(take_read);
    let behind = take_read(&mut switched.link);
    let mut timer = std::mem::take(&mut switched.link.timer);
    let (silence, patience) = (switched.silence, client.patience().idle);
    let over = {
        let client = client.hold();
        let (here, there) = (client.socket(), switched.link.socket());
        let mut up = Way { from: here, to: there, held: ahead, over: false };
        let mut down = Way { from: there, to: here, held: behind, over: false };
        // Sees a reset also of a side that is not read because the other one is slow, or because it has half-closed.
        let mut broken = pin!(async {
            tokio::select! {
                _ = here.ready(Interest::ERROR) => {}
                _ = there.ready(Interest::ERROR) => {}
            }
        });
        timer.set(after(clock::now(), silence));
        let mut stalled = false;
        let over = poll_fn(|cx| {
            let (Ok(sent), Ok(got)) = (up.poll(cx), down.poll(cx)) else {
                return Poll::Ready(Over::Reset);
            };
            if up.is_done() && down.is_done() {
                return Poll::Ready(Over::Ended);
            }
            // An upstream whose client is slow may well have more to say, and one that has said all is not silent.
            let is_stalled = !down.held.is_empty();
            if got || (sent && down.over) || is_stalled != stalled {
                stalled = is_stalled;
                timer.set(after(clock::now(), if stalled { patience } else { silence }));
            }
            if timer.poll(cx).is_ready() {
                return Poll::Ready(if stalled { Over::Stalled } else { Over::Silent });
            }
            broken.as_mut().poll(cx).map(|()| Over::Reset)
        })
        .await;
        // What never arrived must not look as if nothing had been missing.
        if over == Over::Reset || !up.held.is_empty() || !down.held.is_empty() {
            client.reset();
            switched.link.reset();
        }
        over
    };
    switched.ended = true;
    over
}

/// What was read behind a head belongs to the tunnel.
fn take_read(link: &mut Link) -> BytesMut {
    let read = if link.read.is_empty() { BytesMut::new() } else { link.read.split() };
    link.rest();
    read
}

/// One direction.
struct Way<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// Read and not yet written.
    held: BytesMut,
    /// Nothing more will be read, and the other side knows once all is written.
    over: bool,
}

impl Way<'_> {
    /// Moves what can be moved; whether something was.
    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        for _ in 0..ROUNDS {
            if self.held.is_empty() && !self.read(cx)? {
                self.held = BytesMut::new();
                return Ok(moved);
            }
            while !self.held.is_empty() {
                if self.to.poll_write_ready(cx)?.is_pending() {
                    return Ok(moved);
                }
                match self.to.try_write(&self.held) {
                    Ok(count) => self.held.advance(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
                moved = true;
            }
        }
        cx.waker().wake_by_ref();
        Ok(moved)
    }

    /// Reads once; false when there is nothing, for now or for ever.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        while !self.over && self.from.poll_read_ready(cx)?.is_ready() {
            self.held.reserve(BUFFER_BYTES);
            match self.from.try_read_buf(&mut (&mut self.held).limit(BUFFER_BYTES)) {
                Ok(0) => {
                    self.over = true;
                    socket2::SockRef::from(self.to).shutdown(Shutdown::Write)?;
                }
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn is_done(&self) -> bool {
        self.over && self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_101_counts_only_for_what_was_asked() {
        const ASKED: &str = "websocket, Chat/2";
        for (asked, version, connection, upgrades, agreed) in [
            (ASKED, Version::HTTP_11, "Upgrade", &["WebSocket"][..], true),
            (ASKED, Version::HTTP_11, "keep-alive, upgrade", &["chat/3"], true),
            (ASKED, Version::HTTP_11, "upgrade", &["chat, websocket"], true),
            (ASKED, Version::HTTP_10, "upgrade", &["websocket"], false),
            (ASKED, Version::HTTP_11, "close", &["websocket"], false),
            (ASKED, Version::HTTP_11, "upgrade", &[], false),
            (ASKED, Version::HTTP_11, "upgrade", &["websocket", "websocket"], false),
            (ASKED, Version::HTTP_11, "upgrade", &["websocket, spdy"], false),
            (ASKED, Version::HTTP_11, "upgrade", &["websocket,"], false),
            (ASKED, Version::HTTP_11, "upgrade", &["web"], false),
            ("", Version::HTTP_11, "upgrade", &["websocket"], false),
        ] {
            let mut headers = HeaderMap::new();
            if !asked.is_empty() {
                headers.insert(UPGRADE, HeaderValue::from_static(asked));
            }
            let (mut answer, ()) = http::Response::new(()).into_parts();
            answer.version = version;
            answer.headers.insert(CONNECTION, HeaderValue::from_static(connection));
            for upgrade in upgrades {
                answer.headers.append(UPGRADE, HeaderValue::from_static(upgrade));
            }
            assert_eq!(is_agreed(&headers, &answer), agreed, "{connection} {upgrades:?}");
        }
    }
}
