//! A connection between two drivers: octets are under way until the simulation lets some of them arrive.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Random;

/// Octets that a direction holds at most, as the buffers of sockets do.
pub(super) const CAPACITY: usize = 64 * 1024;
/// Octets that arrive at once at most.
const BURST: u64 = 24 * 1024;

/// One direction.
#[derive(Default)]
struct Pipe {
    under_way: BytesMut,
    arrived: BytesMut,
    /// Nothing arrives any more.
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn room(&self) -> usize {
        CAPACITY - self.under_way.len() - self.arrived.len()
    }
}

/// How the end of a connection is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Break {
    Eof,
    Reset,
}

/// Both directions, and what each end knows of their end.
#[derive(Default)]
struct State {
    /// By the end that reads.
    pipes: [Pipe; 2],
    known: [Option<Break>; 2],
    closed: [bool; 2],
}

/// A connection.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<Mutex<State>>);

/// One end of a [`Wire`].
pub(super) struct End {
    wire: Wire,
    number: usize,
}

impl Wire {
    pub(super) fn ends(&self) -> [End; 2] {
        [0, 1].map(|number| End {
            wire: self.clone(),
            number,
        })
    }

    /// Lets octets arrive at the end `reader`. False if none were under way.
    pub(super) fn deliver(&self, reader: usize, random: &mut Random) -> bool {
        let mut state = self.lock();
        let pipe = &mut state.pipes[reader];
        if pipe.under_way.is_empty() {
            return false;
        }
        // Now and then a few octets only: frames arrive in pieces.
        let burst = 1 + if random.below(4) == 0 {
            random.below(40)
        } else {
            random.below(BURST)
        };
        let count = pipe.under_way.len().min(burst as usize);
        let octets = pipe.under_way.split_to(count);
        pipe.arrived.extend_from_slice(&octets);
        wake(&mut pipe.reader);
        true
    }

    /// Whether octets are under way to `reader`.
    pub(super) fn is_busy(&self, reader: usize) -> bool {
        !self.lock().pipes[reader].under_way.is_empty()
    }

    /// From now on nothing arrives. The ends get to know by [`Self::tell`].
    pub(super) fn cut(&self) {
        for pipe in &mut self.lock().pipes {
            pipe.cut = true;
            pipe.under_way.clear();
        }
    }

    /// The end `number` gets to know that the connection is cut.
    pub(super) fn tell(&self, number: usize, seen: Break) {
        let mut state = self.lock();
        state.known[number] = Some(seen);
        if seen == Break::Reset {
            state.pipes[number].arrived.clear();
        }
        wake(&mut state.pipes[number].reader);
        wake(&mut state.pipes[1 - number].writer);
    }

    /// One of the ends was closed by its user.
    pub(super) fn is_closed(&self, number: usize) -> bool {
        self.lock().closed[number]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.wire.lock();
        let known = state.known[self.number];
        let pipe = &mut state.pipes[self.number];
        if !pipe.arrived.is_empty() {
            let count = pipe.arrived.len().min(buffer.remaining());
            buffer.put_slice(&pipe.arrived[..count]);
            pipe.arrived.advance(count);
            wake(&mut pipe.writer);
            return Poll::Ready(Ok(()));
        }
        match known {
            Some(Break::Eof) => Poll::Ready(Ok(())),
            Some(Break::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.wire.lock();
        if state.known[self.number].is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let pipe = &mut state.pipes[1 - self.number];
        let room = pipe.room();
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut left = room;
        for slice in slices {
            let count = slice.len().min(left);
            if !pipe.cut {
                pipe.under_way.extend_from_slice(&slice[..count]);
            }
            left -= count;
        }
        Poll::Ready(Ok(room - left))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.wire.lock().closed[self.number] = true;
    }
}
