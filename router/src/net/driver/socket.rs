//! The socket side of a driver: reads, vectored writes, the timer.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::{Driver, Ended, TRANSMIT_HIGH};

/// Space offered to one read.
const READ_SIZE: usize = 64 * 1024;
/// Room for fewer entries than this is not worth giving back.
const SMALL: usize = 256;

thread_local! {
    /// The buffer into which all connections of a worker read, unless one of them holds part of a frame.
    static INPUT: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Writes what the engine has queued; true if anything was written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let mut wrote = false;
        while self.engine.transmit().has_remaining() {
            let written = {
                let transmit = self.engine.transmit();
                let mut slices = [std::io::IoSlice::new(&[]); 64];
                let count = transmit.chunks_vectored(&mut slices);
                Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count])
            };
            match written {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.engine.transmit().advance(count);
                    if let Some(handle) = &self.handle {
                        handle.octets_out.fetch_add(count as u64, Ordering::Relaxed);
                    }
                    wrote = true;
                    self.written_unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if wrote {
            self.engine.note_transmitted(Instant::now());
        }
        if self.written_unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.written_unflushed = false,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        Ok(wrote)
    }

    /// Reads once and handles what came; pauses while a sink is full or the peer does not take our answers.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.is_paused() || self.engine.transmit().remaining() > 2 * TRANSMIT_HIGH {
            return Poll::Pending;
        }
        if self.input.is_empty() {
            self.input = INPUT.take();
        }
        let read = self.read(cx);
        if self.input.is_empty() {
            INPUT.set(std::mem::take(&mut self.input));
        }
        read
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.input.capacity() - self.input.len() < READ_SIZE / 4 {
            self.input.reserve(READ_SIZE);
        }
        let read = std::pin::pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Ended::Eof)),
            Poll::Ready(Ok(count)) => {
                if let Some(handle) = &self.handle {
                    handle.octets_in.fetch_add(count as u64, Ordering::Relaxed);
                }
                Poll::Ready(self.receive())
            }
        }
    }

    fn receive(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        loop {
            let before = self.input.len();
            let received = self.engine.receive(&mut self.input, now);
            let mut events = 0_usize;
            while let Some(event) = self.engine.poll_event() {
                events += 1;
                self.event(event)?;
            }
            received.map_err(|error| Ended::Protocol(error.to_string()))?;
            if self.input.is_empty() || (events == 0 && self.input.len() == before) {
                return Ok(());
            }
        }
    }

    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let next = [
            self.engine.next_timeout(),
            self.close_deadline,
            self.reminders.at,
            self.stuck_at,
            self.crowd.look_at,
            self.retire_at,
        ]
        .into_iter()
        .flatten()
        .min();
        let Some(next) = next else { return Ok(false) };
        // Deadlines move with every frame; the timer is only set again when it fires too late or has fired.
        if self.timer_at.is_none_or(|at| next < at) {
            self.timer.as_mut().reset(next.into());
            self.timer_at = Some(next);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.timer_at = None;
        let now = Instant::now();
        if self.close_deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Ended::Cancelled);
        }
        if self.is_paused() {
            self.engine.note_reading_paused(now);
        }
        self.engine
            .handle_timeout(now)
            .map_err(|error| Ended::Idle(error.to_string()))?;
        self.remind(now);
        self.count_stuck(now);
        self.look_at_waiting(now);
        self.retire_when_due(now);
        self.trim();
        Ok(true)
    }

    /// Gives back the room that a rush of flows has left.
    fn trim(&mut self) {
        self.engine.trim();
        trim(&mut self.links);
        trim(&mut self.incoming);
        trim(&mut self.outgoing);
        if self.messages.capacity() > SMALL {
            self.messages.shrink_to(SMALL);
        }
        self.inbox.trim(SMALL);
    }
}

/// Entries are found by their position: only those behind the last one in use can go.
fn trim<T>(entries: &mut Vec<Option<T>>) {
    let used = entries
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    entries.truncate(used);
    if entries.capacity() > SMALL.max(4 * used) {
        entries.shrink_to(2 * used);
    }
}
