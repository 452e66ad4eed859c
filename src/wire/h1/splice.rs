//! Moves a long body from socket to socket within the kernel, through a pipe: none of it is copied into the process.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::wire::clock;

/// A shorter rest of a body is cheaper to copy than to splice.
pub(super) const LEAST: u64 = 64 << 10;
/// What a pipe shall hold: bounds what the kernel keeps for a client that is slow.
const PIPE_BYTES: usize = 1 << 20;
/// One that holds less is worse than copying. The kernel makes such ones, of a page or two, for an unprivileged user who
/// has more in pipes than `pipe-user-pages-soft`, 64 MiB (pipe(7)).
const PIPE_BYTES_LEAST: usize = 64 << 10;
/// So long no other is asked for after one that could not be had: asking costs each body five system calls.
const PAUSE: Duration = Duration::from_secs(1);
/// Pipes of a worker in use and kept. More bodies at once are copied.
const PIPES: usize = 256;
/// Pipes kept for their next use.
const KEPT: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static OPEN: Cell<usize> = const { Cell::new(0) };
    static PAUSED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A pipe with what is on its way through it.
#[derive(Debug)]
pub(super) struct Pipe {
    entry: OwnedFd,
    exit: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty one; none when there are too many or the system has no more that are worth it.
    pub(super) fn take() -> Option<Self> {
        if let Some(pipe) = SPARE.with_borrow_mut(Vec::pop) {
            return Some(pipe);
        }
        let paused = PAUSED.get().is_some_and(|since| clock::now() < since + PAUSE);
        if paused || OPEN.get() >= PIPES {
            return None;
        }
        let made = Self::new();
        PAUSED.set(if made.is_some() { None } else { Some(clock::now()) });
        made
    }

    fn new() -> Option<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let widened = fcntl_setpipe_size(&entry, PIPE_BYTES);
        if widened.or_else(|_| fcntl_getpipe_size(&entry)).ok()? < PIPE_BYTES_LEAST {
            return None;
        }
        OPEN.set(OPEN.get() + 1);
        Some(Self { entry, exit, held: 0 })
    }

    /// What is in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes up to `most` bytes from a socket into the empty pipe; 0 is the peer's end.
    pub(super) fn poll_fill(
        &mut self,
        from: &TcpStream,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE_BYTES);
        let entry = self.entry.as_fd();
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || moved(from.as_fd(), entry, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    self.held += count;
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    /// Gives all of it to a socket.
    pub(super) fn poll_drain(
        &mut self,
        to: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.held > 0 {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || moved(self.exit.as_fd(), to.as_fd(), self.held))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.held -= count,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps it for its next use.
    pub(super) fn give_back(self) {
        if self.held == 0 {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < KEPT {
                    spare.push(self);
                }
            });
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The thread may be ending, and its count with it.
        OPEN.try_with(|open| open.set(open.get() - 1)).ok();
    }
}

fn moved(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pipe_that_could_not_be_had_none_is_asked_for_a_while() {
        PAUSED.set(Some(clock::now()));
        assert!(Pipe::take().is_none());
        PAUSED.set(clock::now().checked_sub(PAUSE));
        assert!(Pipe::take().is_some());
        assert_eq!(PAUSED.get(), None);
    }
}
