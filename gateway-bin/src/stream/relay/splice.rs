//! Bytes from socket to socket through a pipe, without a copy to the program.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{io::Interest, net::TcpStream};

use super::direction::Trouble;

/// What a pipe should hold. Linux gives 64 KiB unless asked for more.
const PIPE: usize = 256 * 1024;
/// Below this a round through the pipe costs more than a copy.
const WORTH: usize = 16 * 1024;
/// Empty pipes that a thread keeps.
const SPARE: usize = 16;

thread_local! {
    // PERF: stream_throughput: a connection has a pipe only while bytes are in it, so that idle and
    // small ones cost no file descriptors.
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
}

impl Pipe {
    fn take() -> io::Result<Self> {
        if let Some(spare) = PIPES.with_borrow_mut(Vec::pop) {
            return Ok(spare);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A system that is short of pipe memory gives less; any size will do.
        let size = fcntl_setpipe_size(&write, PIPE).unwrap_or(WORTH);
        Ok(Self { read, write, size })
    }

    /// INVARIANT: only an empty pipe is given back.
    fn give_back(self) {
        PIPES.with_borrow_mut(|pipes| {
            if pipes.len() < SPARE {
                pipes.push(self);
            }
        });
    }
}

/// The pipe of one direction.
#[derive(Debug, Default)]
pub(super) struct Splice {
    pipe: Option<Pipe>,
    filled: usize,
    due: bool,
    moved: u64,
}

impl Splice {
    /// Tells how the last read into memory went: a full buffer means that more waits.
    pub(super) fn has_read(&mut self, full: bool) {
        self.due = full;
    }

    /// Whether the next bytes should go through the pipe.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// Bytes that have left the pipe.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves one pipe full; 0 is the end. None: there is no pipe, nothing was moved, and there is no
    /// use in trying again.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Option<Poll<Result<usize, Trouble>>> {
        let pipe = match self.pipe.take() {
            Some(pipe) => pipe,
            None => Pipe::take().ok()?,
        };
        let step = self.poll_through(&pipe, cx, from, to);
        if self.filled == 0 {
            pipe.give_back();
        } else {
            self.pipe = Some(pipe);
        }
        Some(step)
    }

    fn poll_through(
        &mut self,
        pipe: &Pipe,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<usize, Trouble>> {
        ready!(self.poll_drain(pipe, cx, to)).map_err(|_| Trouble::Write)?;
        let filled = ready!(self.poll_fill(pipe, cx, from)).map_err(|_| Trouble::Read)?;
        let drained = self.poll_drain(pipe, cx, to).map_err(|_| Trouble::Write);
        // What is left in the pipe has to be drained before anything else.
        self.due = filled >= WORTH || drained.is_pending();
        ready!(drained)?;
        Poll::Ready(Ok(filled))
    }

    /// Ready when the pipe is empty.
    fn poll_drain(
        &mut self,
        pipe: &Pipe,
        cx: &mut Context<'_>,
        to: &TcpStream,
    ) -> Poll<io::Result<()>> {
        while self.filled > 0 {
            ready!(to.poll_write_ready(cx))?;
            let drained = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&pipe.read, None, to, None, self.filled, flags())?)
            });
            match drained {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(drained) => {
                    self.filled -= drained;
                    self.moved += drained as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// INVARIANT: the pipe is empty, so that "would block" can only be said of the socket.
    fn poll_fill(
        &mut self,
        pipe: &Pipe,
        cx: &mut Context<'_>,
        from: &TcpStream,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(from.poll_read_ready(cx))?;
            let filled = from.try_io(Interest::READABLE, || {
                Ok(splice(from, None, &pipe.write, None, pipe.size, flags())?)
            });
            match filled {
                Ok(filled) => {
                    self.filled = filled;
                    return Poll::Ready(Ok(filled));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}
