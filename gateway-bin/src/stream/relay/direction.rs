//! One direction of a relay.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::Side;
#[cfg(target_os = "linux")]
use super::splice::Splice;

/// The most that is read at once, and so the most that waits for a slow reader in our memory.
const BUFFER: usize = 32 * 1024;
/// Reads before other connections of the worker have their turn.
const ROUNDS: usize = 16;

thread_local! {
    // PERF: stream_throughput: connections of a worker share one buffer, so that an idle one holds
    // none; only what a slow reader left over is copied to memory of its own.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// Why a direction ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The sender's connection broke.
    Read,
    /// The receiver takes no more.
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Copying,
    /// The sender has ended.
    Closing,
    /// The receiver takes no more; what comes is thrown away, so that the sender can be answered.
    Discarding,
    Done(Result<(), Trouble>),
}

/// Bytes that flow from one end to the other.
#[derive(Debug)]
pub(super) struct Direction {
    state: State,
    /// Read and not yet written, from `written` on.
    held: Vec<u8>,
    written: usize,
    /// Whether something may wait inside the writing end.
    unflushed: bool,
    moved: u64,
    progress: u64,
    #[cfg(target_os = "linux")]
    splice: Option<Splice>,
}

impl Direction {
    pub(super) fn new(first: Vec<u8>, splice: bool) -> Self {
        #[cfg(not(target_os = "linux"))]
        let _ = splice;
        Self {
            state: State::Copying,
            held: first,
            written: 0,
            unflushed: false,
            moved: 0,
            progress: 0,
            #[cfg(target_os = "linux")]
            splice: splice.then(Splice::default),
        }
    }

    /// Bytes that have been written.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// A number that changes whenever bytes are read or written.
    pub(super) fn progress(&self) -> u64 {
        self.progress
    }

    /// Memory that waits for the receiver.
    pub(super) fn held(&self) -> usize {
        self.held.capacity()
    }

    pub(super) fn discards(&self) -> bool {
        self.state == State::Discarding
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// Moves what can be moved. Ready once the direction has ended.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
    ) -> Poll<Result<(), Trouble>> {
        loop {
            match self.state {
                State::Copying => match ready!(self.poll_copy(cx, from, to)) {
                    Ok(()) => self.state = State::Closing,
                    Err(Trouble::Read) => self.state = State::Done(Err(Trouble::Read)),
                    Err(Trouble::Write) => self.discard(),
                },
                // SPEC: a FIN ends this direction only.
                State::Closing => match ready!(Pin::new(&mut *to).poll_shutdown(cx)) {
                    Ok(()) => self.state = State::Done(Ok(())),
                    Err(_) => self.state = State::Done(Err(Trouble::Write)),
                },
                State::Discarding => {
                    ready!(self.poll_discard(cx, from));
                    self.state = State::Done(Err(Trouble::Write));
                }
                State::Done(ended) => return Poll::Ready(ended),
            }
        }
    }

    fn discard(&mut self) {
        self.state = State::Discarding;
        self.held = Vec::new();
        #[cfg(target_os = "linux")]
        {
            self.splice = None;
        }
    }

    /// Ready when the sender has ended and all is written.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
    ) -> Poll<Result<(), Trouble>> {
        for _ in 0..ROUNDS {
            ready!(self.poll_write_held(cx, to))?;
            let Poll::Ready(read) = self.poll_step(cx, from, to) else {
                ready!(self.poll_flush(cx, to))?;
                return Poll::Pending;
            };
            if read? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes what the receiver takes of it; 0 is the end.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
    ) -> Poll<Result<usize, Trouble>> {
        #[cfg(target_os = "linux")]
        if let Some(splice) = self.splice.as_mut().filter(|splice| splice.is_due()) {
            let before = splice.moved();
            let step = splice.poll(cx, from.socket(), to.socket());
            let moved = splice.moved() - before;
            self.moved += moved;
            self.progress += moved;
            if let Some(step) = step {
                return step;
            }
            self.splice = None;
        }
        self.poll_through_memory(cx, from, to)
    }

    fn poll_through_memory(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
    ) -> Poll<Result<usize, Trouble>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(from).poll_read(cx, &mut buffer));
            read.map_err(|_| Trouble::Read)?;
            let mut rest = buffer.filled();
            let read = rest.len();
            self.progress += read as u64;
            #[cfg(target_os = "linux")]
            if let Some(splice) = &mut self.splice {
                splice.has_read(read == BUFFER);
            }
            while !rest.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, rest) {
                    Poll::Ready(Ok(written)) if written > 0 => {
                        self.wrote(written);
                        rest = &rest[written..];
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(Trouble::Write)),
                    Poll::Pending => {
                        self.held.extend_from_slice(rest);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(read))
        })
    }

    fn poll_write_held(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut impl Side,
    ) -> Poll<Result<(), Trouble>> {
        while self.written < self.held.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.held[self.written..])) {
                Ok(written) if written > 0 => {
                    self.written += written;
                    self.wrote(written);
                }
                _ => return Poll::Ready(Err(Trouble::Write)),
            }
        }
        if self.written > 0 {
            (self.held, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut impl Side,
    ) -> Poll<Result<(), Trouble>> {
        if self.unflushed {
            let flushed = ready!(Pin::new(to).poll_flush(cx));
            flushed.map_err(|_| Trouble::Write)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the sender has ended.
    fn poll_discard(&mut self, cx: &mut Context<'_>, from: &mut impl Side) -> Poll<()> {
        for _ in 0..ROUNDS {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let read = ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer));
                Poll::Ready(read.map_or(0, |()| buffer.filled().len()))
            });
            if ready!(read) == 0 {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn wrote(&mut self, bytes: usize) {
        self.unflushed = true;
        self.moved += bytes as u64;
        self.progress += bytes as u64;
    }
}
