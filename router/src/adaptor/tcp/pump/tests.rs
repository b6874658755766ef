use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
};

use model::router_config;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

use super::*;
use crate::{
    adaptor::tcp,
    core::{annotations::Annotations, flows::FlowPeer},
    net::tls::TlsProfiles,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[test]
fn the_more_waits_of_all_flows_the_less_is_read_of_each() {
    assert_eq!(read_ahead(0), (256 * KIB, usize::MAX));
    assert_eq!(read_ahead(64 * MIB - 1), (256 * KIB, usize::MAX));
    assert_eq!(read_ahead(64 * MIB), (32 * KIB, 32 * KIB));
    assert_eq!(read_ahead(128 * MIB), (0, 8 * KIB));
    assert_eq!(read_ahead(usize::MAX), (0, 8 * KIB));
}

/// A flow and its client; what waits of either message is counted.
struct Client {
    socket: TcpStream,
    pump: Pump,
    flow: Arc<Flow>,
    outbound: Arc<Delivery>,
    inbound: Arc<Delivery>,
    ahead: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
}

impl Client {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (socket, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let config = router_config::TcpListener::new("l", "svc", 1);
        let profiles = Arc::new(TlsProfiles::new(&BTreeMap::new()));
        let entity = Arc::new(tcp::TcpListener::new(&config, &profiles, None));
        let flow = Arc::new(Flow::new(
            FlowPeer::Client(entity, address, "svc".into()),
            2,
            &Arc::default(),
        ));
        let (ahead, waiting) = (Arc::default(), Arc::default());
        let message = || Delivery::new(Annotations::default(), None, false, 4);
        let outbound = Arc::new(message().counted_in(&ahead));
        let inbound = Arc::new(message().counted_in(&waiting));
        let accepted = Socket::Plain(accepted.unwrap().0);
        let mut pump = Pump::new(accepted, outbound.clone(), Framing::Lite, flow.clone());
        pump.set_inbound(inbound.clone(), false);
        Self {
            socket: socket.unwrap(),
            pump,
            flow,
            outbound,
            inbound,
            ahead,
            waiting,
        }
    }

    /// Lets the flow do what it can do now.
    async fn turn(&mut self) {
        let open = poll_fn(|cx| Poll::Ready(self.pump.poll(cx).is_pending())).await;
        assert!(open, "the flow has ended");
        yield_now().await;
    }

    fn written(&self) -> usize {
        usize::try_from(self.flow.octets_out.load(Ordering::Relaxed)).unwrap()
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn octets_wait_until_the_client_has_room_for_them() {
    const SLICES: usize = 512;
    static SLICE: [u8; 64 * KIB] = [7; 64 * KIB];
    let mut client = Client::new().await;
    for _ in 0..SLICES {
        client.inbound.push(Bytes::from_static(&SLICE));
    }
    let all = SLICES * SLICE.len();
    assert_eq!(client.waiting(), all);
    // More than the system takes for a client that does not read.
    let held = |pump: &Pump| pump.inbound.as_ref().map_or(0, |inbound| inbound.queued);
    while held(&client.pump) < WRITE_AHEAD {
        client.turn().await;
    }
    assert!(client.written() < all);
    assert_eq!(client.waiting(), all - client.written());
    let mut octets = vec![0; MIB];
    let mut read = 0;
    while read < all {
        read += client.socket.read(&mut octets).await.unwrap();
        client.turn().await;
        assert_eq!(client.waiting(), all - client.written());
    }
    assert_eq!((client.written(), client.waiting()), (all, 0));
}

#[tokio::test]
async fn little_is_read_of_a_flow_while_much_waits_of_others() {
    let mut client = Client::new().await;
    client.ahead.fetch_add(128 * MIB, Ordering::Relaxed);
    client.socket.write_all(&[7; 100 * KIB]).await.unwrap();
    for taken in 0..3 {
        while client.outbound.queued() == 0 {
            client.turn().await;
        }
        client.turn().await;
        assert!(client.outbound.queued() <= 8 * KIB, "{taken}");
        client.outbound.take(|chunks, _, _| chunks.clear());
    }
    client.ahead.fetch_sub(128 * MIB, Ordering::Relaxed);
    while client.outbound.queued() <= 64 * KIB {
        client.turn().await;
    }
}
