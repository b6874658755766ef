//! A wire between two routers that can be slow, swallow everything, or break.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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

/// How the wires of all connections behave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Wires {
    state: State,
    /// Connections with a lower number are silent for good.
    stranded: usize,
    /// This one is broken.
    reset: Option<usize>,
}

impl Wires {
    fn of(self, connection: usize) -> State {
        if self.reset == Some(connection) {
            State::Broken
        } else if connection < self.stranded {
            State::Silent
        } else {
            self.state
        }
    }
}

/// How a wire behaves.
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
    wires: watch::Sender<Wires>,
    made: Arc<AtomicUsize>,
    _connections: JoinSet<()>,
}

/// The wire of one connection.
#[derive(Clone, Debug)]
struct Wire {
    number: usize,
    wires: watch::Receiver<Wires>,
}

impl Wire {
    /// Waits for a state; false if that cannot come any more.
    async fn until(&mut self, wanted: impl Fn(State) -> bool) -> bool {
        let number = self.number;
        let found = self.wires.wait_for(|wires| wanted(wires.of(number))).await;
        found.is_ok()
    }

    fn state(&self) -> State {
        self.wires.borrow().of(self.number)
    }
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
        let (wires, watched) = watch::channel(Wires {
            state: State::Whole,
            stranded: 0,
            reset: None,
        });
        let mut connections = JoinSet::new();
        let made: Arc<AtomicUsize> = Arc::default();
        let counted = made.clone();
        connections.spawn(async move {
            let mut passing = JoinSet::new();
            for number in 0.. {
                let Ok((near, _)) = listener.accept().await else {
                    break;
                };
                made.store(number + 1, Ordering::Relaxed);
                let wire = Wire {
                    number,
                    wires: watched.clone(),
                };
                passing.spawn(connect(near, target, delay, wire));
            }
        });
        Self {
            port,
            wires,
            made: counted,
            _connections: connections,
        }
    }

    /// From now on nothing passes and nobody is told: a cable that was pulled.
    pub fn silence(&self) {
        self.set(State::Silent);
    }

    /// Nothing passes any more on the connections made so far, not even their end; new ones are as ever.
    pub fn strand(&self) {
        let made = self.made.load(Ordering::Relaxed);
        self.wires.send_modify(|wires| wires.stranded = made);
    }

    /// Resets the connections, and new ones.
    pub fn cut(&self) {
        self.set(State::Broken);
    }

    /// Resets one connection; the first one through here has the number 0.
    pub fn reset(&self, number: usize) {
        self.wires.send_modify(|wires| wires.reset = Some(number));
    }

    /// As at first. What was kept back in silence passes now.
    pub fn mend(&self) {
        self.set(State::Whole);
    }

    fn set(&self, state: State) {
        self.wires.send_modify(|wires| wires.state = state);
    }
}

async fn connect(near: TcpStream, target: u16, delay: Duration, mut wire: Wire) {
    // A reset, not an orderly end, is what a broken wire gives.
    let _ = near.set_zero_linger();
    let _ = near.set_nodelay(true);
    if !wire.until(|state| state != State::Silent).await || wire.state() == State::Broken {
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
        pass(near_in, far_out, delay, wire.clone()),
        pass(far_in, near_out, delay, wire.clone()),
    );
    let both = async { tokio::join!(there, back) };
    tokio::select! {
        _ = both => {}
        _ = wire.until(|state| state == State::Broken) => {}
    }
}

/// One direction; its end is passed on as well.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, mut wire: Wire) {
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
            wire.until(|state| state != State::Silent).await;
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
