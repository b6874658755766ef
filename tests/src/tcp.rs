//! TCP clients and servers that check every octet.

use std::{net::Ipv4Addr, sync::LazyLock, time::Duration};

use anyhow::{Context as _, ensure};
use model::router_config::{TcpConnector, TcpListener as ListenerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::{
    environment::free_port,
    wait::{PAUSE, SOON, eventually, within},
};

/// Octets after which a pattern repeats: a prime, so that no size of a frame or buffer divides it.
const PERIOD: usize = 1_000_003;
/// Octets written or compared at a time.
const STEP: usize = 64 * 1024;

/// For 100 MB on a machine that compiles other things meanwhile.
pub const LONG: Duration = Duration::from_secs(90);

/// One period and a step, so that every step is one slice.
static OCTETS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // xorshift64: octets that look random and are the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut octets: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        })
        .collect();
    octets.extend_from_within(..STEP);
    octets
});

/// Octets that are known by their position: whoever gets them can tell whether one is missing, wrong or misplaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// Tells one stream from another.
    pub seed: usize,
    /// Octets in all.
    pub len: u64,
}

impl Pattern {
    /// The pattern of a stream.
    pub const fn new(seed: usize, len: u64) -> Self {
        Self { seed, len }
    }

    /// Up to [`STEP`] octets from `at` on.
    fn step(self, at: u64) -> &'static [u8] {
        let left = usize::try_from(self.len - at).unwrap_or(usize::MAX);
        let offset = usize::try_from(at % PERIOD as u64).unwrap_or_default();
        let start = (self.seed * 7919 + offset) % PERIOD;
        &OCTETS[start..start + left.min(STEP)]
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(self, to: &mut (impl AsyncWrite + Unpin)) -> anyhow::Result<()> {
        let mut at = 0;
        while at < self.len {
            let octets = self.step(at);
            to.write_all(octets)
                .await
                .with_context(|| format!("writing after {at} of {} octets", self.len))?;
            at += octets.len() as u64;
        }
        Ok(())
    }

    /// Reads exactly its length and compares.
    ///
    /// # Errors
    /// When an octet differs or the connection ends before.
    pub async fn receive(self, from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        let mut buffer = vec![0; STEP];
        let mut at = 0;
        while at < self.len {
            let limit = self.step(at).len();
            let count = from
                .read(&mut buffer[..limit])
                .await
                .with_context(|| format!("reading after {at} of {} octets", self.len))?;
            ensure!(count > 0, "end after {at} of {} octets", self.len);
            ensure!(
                buffer[..count] == self.step(at)[..count],
                "wrong octets between {at} and {}",
                at + count as u64
            );
            at += count as u64;
        }
        Ok(())
    }

    /// As [`Self::receive`], and the stream has to end there.
    ///
    /// # Errors
    /// When an octet differs, or the end comes early or not at all.
    pub async fn receive_all(self, from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
        self.receive(from).await?;
        ends(from).await
    }
}

/// Checks that nothing more comes but the end.
///
/// # Errors
/// When something comes, or the connection breaks.
pub async fn ends(from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
    let mut octet = [0];
    let count = from.read(&mut octet).await.context("waiting for the end")?;
    ensure!(count == 0, "octets behind the end");
    Ok(())
}

/// Waits until the connection is over, in order or by a reset; what still comes is thrown away.
///
/// # Panics
/// When it stays open.
pub async fn over(connection: &mut TcpStream) {
    let mut buffer = vec![0; STEP];
    let read = async {
        while connection
            .read(&mut buffer)
            .await
            .is_ok_and(|count| count > 0)
        {}
    };
    within("the connection is over", SOON, read).await;
}

/// Closes with a reset.
///
/// # Panics
/// When the socket does not allow it.
pub fn reset(connection: TcpStream) {
    connection
        .set_zero_linger()
        .expect("sockets can be told to reset");
    drop(connection);
}

/// A client's connection to a port; tries until somebody listens there.
///
/// # Panics
/// When nobody does in time.
pub async fn connect(port: u16) -> TcpStream {
    let trying = async {
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(connection) => break connection,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    within(&format!("port {port} listens"), SOON, trying).await
}

/// A TCP server whose connections the test serves.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub port: u16,
    listener: TcpListener,
}

impl Default for Backend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend {
    /// Listens on a new port.
    ///
    /// # Panics
    /// When it cannot.
    pub fn new() -> Self {
        Self::on(free_port())
    }

    /// Listens on a given port.
    ///
    /// # Panics
    /// When it cannot.
    pub fn on(port: u16) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.set_reuseaddr(true).expect("it can be reused");
        socket
            .bind((Ipv4Addr::LOCALHOST, port).into())
            .expect("the port is free");
        Self {
            port,
            listener: socket.listen(1024).expect("it can listen"),
        }
    }

    /// The next connection.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn accept(&self) -> TcpStream {
        let accepted = within("a connection to the server", SOON, self.listener.accept());
        accepted.await.expect("accepting works").0
    }

    /// The next connection that carries anything. A 2.4 connector tries its server once for nothing before the framing
    /// is agreed on.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn accept_used(&self) -> TcpStream {
        loop {
            let connection = self.accept().await;
            let mut octet = [0];
            if connection
                .peek(&mut octet)
                .await
                .is_ok_and(|count| count > 0)
            {
                return connection;
            }
        }
    }

    /// Sends back what comes, on all connections, until it is dropped.
    pub fn echo(self) -> Echo {
        let port = self.port;
        let task = tokio::spawn(async move {
            while let Ok((mut connection, _)) = self.listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = connection.split();
                    if tokio::io::copy(&mut from, &mut to).await.is_ok() {
                        let _ = to.shutdown().await;
                    }
                });
            }
        });
        Echo { port, task }
    }
}

/// A server that sends everything back.
#[derive(Debug)]
pub struct Echo {
    /// Where it listens.
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A round trip through an [`Echo`]: `len` octets there and back, then the end.
///
/// # Errors
/// When anything is missing or wrong.
pub async fn round_trip(port: u16, pattern: Pattern) -> anyhow::Result<()> {
    let (mut from, mut to) = connect(port).await.into_split();
    let sending = async {
        pattern.send(&mut to).await?;
        to.shutdown().await.context("half-closing")
    };
    tokio::try_join!(sending, pattern.receive_all(&mut from))?;
    Ok(())
}

/// `len` octets from client to server, then as many back, each with its end: one direction at a time, and half-closed
/// between.
///
/// # Panics
/// When octets are missing or wrong, or it takes too long.
pub async fn there_and_back(mut client: TcpStream, mut server: TcpStream, len: u64) {
    let there = Pattern::new(1, len);
    one_way("the way up", there, &mut client, &mut server).await;
    let back = Pattern::new(2, len);
    one_way("the way down", back, &mut server, &mut client).await;
}

async fn one_way(what: &str, pattern: Pattern, from: &mut TcpStream, to: &mut TcpStream) {
    let sending = async {
        pattern.send(from).await?;
        from.shutdown().await.context("half-closing")
    };
    let both = async { tokio::try_join!(pattern.receive_all(to), sending) };
    if let Err(error) = within(what, LONG, both).await {
        panic!("{what}: {error:#}");
    }
}

/// As [`round_trip`], tried until it succeeds: for paths that are just being found.
///
/// # Panics
/// When it does not succeed in time.
pub async fn works(port: u16) {
    eventually(&format!("a round trip through port {port}"), async || {
        let trip = round_trip(port, Pattern::new(usize::from(port), 10_000));
        match tokio::time::timeout(Duration::from_secs(5), trip).await {
            Ok(result) => result.map_err(|error| format!("{error:#}")),
            Err(_) => Err("no answer within 5 s".to_owned()),
        }
    })
    .await;
}

/// Octets that are sent on an open flow to an echo come back.
///
/// # Panics
/// When they do not, or not in time.
pub async fn goes_on(flow: &mut TcpStream) {
    flow.write_all(b"ping").await.expect("the open flow works");
    let mut answer = [0; 4];
    within("the open flow works", SOON, flow.read_exact(&mut answer))
        .await
        .expect("the open flow works");
    assert_eq!(&answer, b"ping");
}

/// A tcpListener on a new port of the loopback address; the port comes with it.
pub fn tcp_listener(name: &str, address: &str) -> (ListenerConfig, u16) {
    let port = free_port();
    let listener = ListenerConfig {
        host: "127.0.0.1".to_owned(),
        ..ListenerConfig::new(name, address, port)
    };
    (listener, port)
}

/// A tcpConnector to a port of the loopback address.
pub fn tcp_connector(name: &str, address: &str, port: u16) -> TcpConnector {
    TcpConnector::new(name, address, "127.0.0.1", port)
}
