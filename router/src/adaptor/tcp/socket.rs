//! The socket of a flow: plain TCP, or TLS above it. The pump sees octets only.
//!
//! The end of a direction is a FIN; with TLS it is `close_notify` and a FIN behind it. A peer that ends without
//! `close_notify` counts as having ended: many servers and clients do so after a whole answer, and the C routers treat it
//! alike.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BufMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _},
    net::TcpStream,
};

use crate::net::tls::Stream;

/// Octets that the system takes from a flow before they can be sent; without a limit it takes megabytes, and a reader
/// that is slow looks like one that is stuck for as long as these last.
const UNSENT: u32 = 256 * 1024;

/// Sets the options that sockets of flows have. Where one is not known, the flow works without it.
pub(super) fn set_options(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT);
}

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP in the clear: read and written without going through a buffer of ours.
    Plain(TcpStream),
    /// TLS in either role.
    Tls(Stream),
}

impl Socket {
    /// Pending if there is certainly nothing to read; the task is woken when there is.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            // Octets may wait in the TLS session while the socket below is silent.
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads once; 0 is the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => loop {
                ready!(tcp.poll_read_ready(cx))?;
                match tcp.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            },
            Self::Tls(tls) => match ready!(pin!(tls.read_buf(buffer)).poll(cx)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
                result => Poll::Ready(result),
            },
        }
    }

    /// Writes once. Octets taken by TLS are on their way only after [`Self::poll_flush`].
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => loop {
                ready!(tcp.poll_write_ready(cx))?;
                match tcp.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            },
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    /// Ready once nothing that was written waits in this process.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Ends the direction towards the peer; the other one stays open.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Poll::Ready(SockRef::from(&*tcp).shutdown(Shutdown::Write)),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    /// Makes the peer see a reset when this is dropped, not an end of data that looks complete.
    pub(super) fn reset_on_drop(&self) {
        let tcp = match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(tls) => tls.tcp(),
        };
        if let Some(tcp) = tcp {
            // Fails only if the connection is gone already.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}
