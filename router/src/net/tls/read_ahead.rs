//! Reads of a TLS session, made larger.
//!
//! rustls asks its transport for 4 KiB at a time, so that a full record costs four or five system calls. This layer reads
//! what the socket has, up to 64 KiB, and serves the small reads from there: one copy of ciphertext instead of most of
//! the calls. Buffers belong to the worker: a connection holds one only while there is something in it, so that idle
//! connections cost none.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Octets read from the socket at once.
const CAPACITY: usize = 64 * 1024;
/// Empty buffers that a worker keeps.
const SPARE: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A TCP stream whose reads are buffered; writes pass through.
#[derive(Debug)]
pub struct ReadAhead {
    tcp: TcpStream,
    /// Empty, without memory, when nothing is in it.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReadAhead {
    /// Wraps a stream from which nothing has been read.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            buffer: Box::default(),
            start: 0,
            end: 0,
        }
    }

    /// The socket.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Nothing is in the buffer: another connection of the worker may have it.
    fn give_back(&mut self) {
        (self.start, self.end) = (0, 0);
        let buffer = std::mem::take(&mut self.buffer);
        BUFFERS.with_borrow_mut(|spare| {
            if spare.len() < SPARE {
                spare.push(buffer);
            }
        });
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            if out.remaining() >= CAPACITY {
                return Pin::new(&mut this.tcp).poll_read(cx, out);
            }
            let mut buffer = BUFFERS
                .with_borrow_mut(Vec::pop)
                .unwrap_or_else(|| vec![0; CAPACITY].into_boxed_slice());
            let mut filled = ReadBuf::new(&mut buffer);
            let poll = Pin::new(&mut this.tcp).poll_read(cx, &mut filled);
            (this.start, this.end) = (0, filled.filled().len());
            this.buffer = buffer;
            if !matches!(poll, Poll::Ready(Ok(()))) {
                this.give_back();
                return poll;
            }
        }
        let count = out.remaining().min(this.end - this.start);
        out.put_slice(&this.buffer[this.start..this.start + count]);
        this.start += count;
        if this.start == this.end {
            this.give_back();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn every_octet_arrives_once_whatever_the_sizes_of_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let octets = sent.clone();
        let writer = tokio::spawn(async move {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(&octets).await.unwrap();
        });
        let mut stream = ReadAhead::new(listener.accept().await.unwrap().0);
        let mut received = Vec::new();
        for size in [1, 7, 4096, 70_000, 16_384].into_iter().cycle() {
            let mut chunk = vec![0; size];
            match stream.read(&mut chunk).await.unwrap() {
                0 => break,
                count => received.extend_from_slice(&chunk[..count]),
            }
        }
        writer.await.unwrap();
        assert!(received == sent);
    }
}
