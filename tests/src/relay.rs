//! A wire between two routers that can be slow, swallow everything, or break.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::environment::free_port;

/// Octets read at a time.
const STEP: usize = 64 * 1024;
/// Pieces on their way in one direction; with [`STEP`] far more than a path of 100 ms and 1 Gbit/s holds.
const ON_THE_WAY: usize = 1024;

/// How the wire behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Whole,
    /// Both ends keep their connection; nothing passes, nobody is told.
    Silent,
    /// Connections are reset, new ones too.
    Broken,
}

/// Passes the octets of all connections on, until it is dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens, on the loopback address.
    pub port: u16,
    state: watch::Sender<State>,
    _connections: JoinSet<()>,
}

impl Relay {
    /// A wire to a port of the loopback address that takes `delay` in each direction.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn to(target: u16, delay: Duration) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .expect("the port is free");
        let (state, watched) = watch::channel(State::Whole);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                passing.spawn(connect(near, target, delay, watched.clone()));
            }
        });
        Self {
            port,
            state,
            _connections: connections,
        }
    }

    /// From now on nothing passes and nobody is told: a cable that was pulled.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Resets the connections, and new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Broken);
    }

    /// As at first. What was kept back in silence passes now.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn connect(near: TcpStream, target: u16, delay: Duration, mut state: watch::Receiver<State>) {
    // A reset, not an orderly end, is what a broken wire gives.
    let _ = near.set_zero_linger();
    let _ = near.set_nodelay(true);
    let whole = state
        .clone()
        .wait_for(|state| *state != State::Silent)
        .await
        .map(|state| *state);
    if whole.is_ok_and(|state| state == State::Broken) {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        return;
    };
    let _ = far.set_zero_linger();
    let _ = far.set_nodelay(true);
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let (there, back) = (
        pass(near_in, far_out, delay, state.clone()),
        pass(far_in, near_out, delay, state.clone()),
    );
    let both = async { tokio::join!(there, back) };
    tokio::select! {
        _ = both => {}
        _ = state.wait_for(|state| *state == State::Broken) => {}
    }
}

/// One direction; its end is passed on as well.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    mut state: watch::Receiver<State>,
) {
    let (put, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async move {
        let mut buffer = vec![0; STEP];
        while let Ok(count) = from.read(&mut buffer).await {
            let piece = (Instant::now() + delay, buffer[..count].to_vec());
            if put.send(piece).await.is_err() || count == 0 {
                break;
            }
        }
    };
    let write = async move {
        while let Some((at, octets)) = take.recv().await {
            if !delay.is_zero() {
                sleep_until(at).await;
            }
            let _ = state.wait_for(|state| *state != State::Silent).await;
            let done = if octets.is_empty() {
                to.shutdown().await
            } else {
                to.write_all(&octets).await
            };
            if done.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}
