//! One socket with what was read and not yet taken, and what is to be written.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWrite, Interest};
use tokio::net::TcpStream;

use super::scan::Scan;
use crate::wire::{Timer, clock, spare};

/// First read of a connection: most heads and small bodies fit.
const READ_BYTES: usize = 8 << 10;
/// The most one read asks for, reached only while reads come back full; long bodies of known length are not read at all.
/// An upload of 64 KiB, a usual part of a longer one, comes with its head in one read and leaves in one write.
const READ_BYTES_MOST: usize = (64 << 10) + PAGE;
/// Buffers for whole messages are rounded up to this.
const PAGE: usize = 4 << 10;
/// Less room than this is not worth a read.
const READ_ROOM: usize = 1 << 10;
/// What an idle connection may keep for the next head it writes.
const OUT_BYTES: usize = 4 << 10;
/// Small parts of a body are gathered up to this, instead of a system call and a segment for each.
const GATHER_BYTES: usize = 16 << 10;
/// A body frame up to this size is copied behind the head: cheaper than a second slice for the kernel to walk.
const COPY_BYTES: usize = 2 << 10;

/// One HTTP/1.1 connection, in either role.
#[derive(Debug)]
pub struct Link {
    io: TcpStream,
    /// Read and not yet taken.
    pub read: BytesMut,
    /// How far a head was looked for in `read`.
    pub scan: Scan,
    /// The peer will send no more.
    pub ended: bool,
    /// The deadline that counts now; kept over exchanges so that it need not be armed for each.
    pub timer: Timer,
    /// Heads and framing to be written, before `data`.
    pub out: Vec<u8>,
    written: usize,
    data: Bytes,
    tail: &'static [u8],
    chunk: usize,
    /// What was read since it last lay idle.
    message: usize,
    /// When it was connected.
    pub made: Instant,
}

impl Link {
    /// Takes a connected socket.
    pub fn new(io: TcpStream) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            scan: Scan::default(),
            ended: false,
            timer: Timer::default(),
            out: Vec::new(),
            written: 0,
            data: Bytes::new(),
            tail: b"",
            chunk: READ_BYTES,
            message: 0,
            made: clock::now(),
        }
    }

    /// The socket, for options and for looking without taking.
    pub fn socket(&self) -> &TcpStream {
        &self.io
    }

    /// Reads once. Ready with the number of bytes; 0 is the peer's end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < READ_ROOM {
            if self.read.is_empty() {
                // Nothing is held while nothing comes: an idle connection costs no buffer.
                ready!(self.io.poll_read_ready(cx))?;
                if self.read.capacity() == 0 {
                    self.read = spare::buffer();
                }
            }
            self.read.reserve(self.chunk);
        }
        // No more than asked for, though a kept buffer may have more room: the rest of a long body is not to be read.
        let room = (self.read.capacity() - self.read.len()).min(self.chunk);
        let mut limited = (&mut self.read).limit(room);
        let read = ready!(pin!(self.io.read_buf(&mut limited)).poll(cx));
        self.ended |= matches!(read, Ok(0) | Err(_));
        let count = read?;
        self.message += count;
        if count == room {
            self.chunk = (self.chunk * 2).min(READ_BYTES_MOST);
        }
        Poll::Ready(Ok(count))
    }

    /// Ready once there is something to be read, or an end to be seen.
    pub fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_read_ready(cx).map(|_| ())
    }

    /// Gives back what [`Link::rest`] leaves for the next head to be written: that one may be long in coming.
    pub fn shed(&mut self) {
        if self.is_flushed() {
            self.out = Vec::new();
        }
    }

    /// The message was long and most of it was not read: the next is likely such a one, of which only the head is wanted.
    pub(super) fn expect_long(&mut self) {
        self.chunk = READ_BYTES;
        self.message = 0;
    }

    /// Gives an empty read buffer back while the connection lies idle.
    pub fn rest(&mut self) {
        if self.message > 0 {
            // The next message is likely as long as this one, and is best read at once. A shorter one changes that
            // slowly, so that few long ones among many short ones are still read well.
            let fits = (self.message + READ_ROOM).next_multiple_of(PAGE);
            self.chunk = fits.max(self.chunk - self.chunk / 4).clamp(READ_BYTES, READ_BYTES_MOST);
            self.message = 0;
        }
        if self.read.is_empty() && self.read.capacity() > 0 {
            spare::give_buffer(std::mem::take(&mut self.read));
        }
        // As large as the largest head it ever held.
        if self.is_flushed() && self.out.capacity() > OUT_BYTES {
            self.out = Vec::new();
        }
    }

    /// Queues a part of a body behind what is queued; `tail` comes after it. Everything before must have been
    /// flushed but heads and framing in `out`.
    pub fn queue(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= COPY_BYTES {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            self.data = data;
            self.tail = tail;
        }
    }

    /// Whether another part can be queued before what is queued is written.
    pub fn can_gather(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.out.len() < GATHER_BYTES
    }

    /// Whether all that was queued is written.
    pub fn is_flushed(&self) -> bool {
        self.written == self.out.len() && self.data.is_empty() && self.tail.is_empty()
    }

    /// How much of what was queued is not yet written.
    pub fn unwritten(&self) -> usize {
        self.out.len() - self.written + self.data.len() + self.tail.len()
    }

    /// Writes what is queued.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write(false, cx)
    }

    /// Writes what is queued; `last` says that the connection's end follows at once, and may go in the same segment.
    pub(super) fn poll_write(&mut self, last: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_flushed() {
            let slices = [
                IoSlice::new(&self.out[self.written..]),
                IoSlice::new(&self.data),
                IoSlice::new(self.tail),
            ];
            let io = Pin::new(&mut self.io);
            let count = if last {
                ready!(poll_send_last(&self.io, &slices, cx))?
            } else if self.data.is_empty() && self.tail.is_empty() {
                ready!(io.poll_write(cx, &self.out[self.written..]))?
            } else {
                ready!(io.poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        let head = count.min(self.out.len() - self.written);
        self.written += head;
        count -= head;
        let data = count.min(self.data.len());
        self.data.advance(data);
        self.tail = &self.tail[(count - data).min(self.tail.len())..];
    }

    /// Whether the peer has sent or closed something since all it sent was read, as far as the event loop knows. The
    /// kernel is asked only where it says so: it also does after a read that was exactly filled.
    pub fn is_touched(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // Many are asked in one turn: the runtime's budget for a task would make it say no to the last of them.
        let ready = tokio::task::coop::unconstrained(poll_fn(|cx| self.io.poll_read_ready(cx)));
        let heard = pin!(ready).poll(&mut cx).is_ready();
        // Where nothing is found the event loop forgets what it said.
        let peek = || self.io.try_io(Interest::READABLE, || self.peek());
        !self.read.is_empty() || self.ended || (heard && !is_nothing(&peek()))
    }

    /// Whether the peer has sent or closed something, asked of the kernel itself.
    pub fn is_touched_now(&self) -> bool {
        !is_nothing(&self.peek())
    }

    /// Whether bytes lie in the kernel that nobody has read.
    pub fn has_unread(&self) -> bool {
        self.peek().is_ok_and(|count| count > 0)
    }

    fn peek(&self) -> io::Result<usize> {
        socket2::SockRef::from(&self.io).peek(&mut [std::mem::MaybeUninit::uninit()])
    }

    /// Whether the peer has closed, also half, or broken off, even behind bytes that nobody has read; asked of the kernel.
    pub fn has_hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut asked = [PollFd::new(&self.io, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&at_once)).is_ok_and(|count| count > 0)
    }

    /// Its end will be a reset, so that the peer cannot take what it got for the whole.
    pub fn reset(&self) {
        // It cannot fail on a connected socket; if it did, the peer would see an early end instead.
        socket2::SockRef::from(&self.io).set_linger(Some(std::time::Duration::ZERO)).ok();
    }

    /// Says that nothing more will be written. Closing with unread bytes would reset the connection and destroy the
    /// answer on its way, so [`Link::poll_discard`] comes next.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Discards what the peer still sends; ready at its end, after `left` bytes, or when the timer fires.
    pub fn poll_discard(&mut self, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        while *left > 0 && !self.ended {
            self.read.clear();
            if self.timer.poll(cx).is_ready() {
                break;
            }
            match ready!(self.poll_fill(cx)) {
                Ok(count) => *left = left.saturating_sub(count),
                Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

/// One write that the kernel keeps until the end of the connection, or more of it, is there. That follows at once; were
/// it not to, the kernel would wait for 200 ms.
fn poll_send_last(
    io: &TcpStream,
    slices: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let send = || Ok(sendmsg(io, slices, &mut SendAncillaryBuffer::default(), flags)?);
    loop {
        ready!(io.poll_write_ready(cx))?;
        match io.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// Whether a look found neither bytes nor an end.
fn is_nothing(look: &io::Result<usize>) -> bool {
    look.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Drop for Link {
    fn drop(&mut self) {
        self.rest();
    }
}
