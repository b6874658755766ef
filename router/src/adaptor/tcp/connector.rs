//! tcpConnector: takes streams for an address and connects each to a TCP server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use amqp::performative::DeliveryState;
use bytes::{Bytes, BytesMut};
use model::router_config::Encapsulation;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    FlowCounters,
    framing::{Framing, ReverseOpener, StreamHead},
    pump::Pump,
    service_address,
    socket::{Socket, set_options},
    tls::{ClientTls, TlsFailure},
};
use crate::{
    core::{
        annotations::{Annotations, DISABLE_Q2, STREAMING},
        delivery::{Delivery, End, Wake},
        flows::FlowPeer,
        forward::{self, Choice, Request},
        shared::Shared,
    },
    net::{complaints::Complaints, tls::TlsProfiles},
};

/// A server that does not answer for so long counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const HEAD_LIMIT: usize = 64 * 1024;
/// Characters of a flow's name that are kept: an address with a site takes less than a hundred.
const NAME_LIMIT: usize = 200;

/// A configured tcpConnector. It is a consumer of its address whether or not its server is reachable.
#[derive(Debug)]
pub struct TcpConnector {
    /// Name of the entity.
    pub name: String,
    /// Service address.
    pub address: Arc<str>,
    /// Server to connect to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// For management.
    pub counters: Arc<FlowCounters>,
    /// Streams now open at this connector; balancing reads it.
    pub open: Arc<AtomicU32>,
    /// Ends the flows of this connector.
    pub cancel: CancellationToken,
    /// Configured framing.
    pub encapsulation: Encapsulation,
    tls: Option<ClientTls>,
}

/// Why a flow has no server.
#[derive(Debug, thiserror::Error)]
enum NoServer {
    #[error(transparent)]
    Unreachable(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsFailure),
}

impl TcpConnector {
    /// Connector to a server, of a tenant if one is named.
    pub fn new(
        config: &model::router_config::TcpConnector,
        profiles: &Arc<TlsProfiles>,
        tenant: Option<&str>,
    ) -> Self {
        Self {
            name: config.name.clone(),
            address: service_address(tenant, &config.address),
            host: config.host.clone(),
            port: config.port,
            counters: Arc::default(),
            open: Arc::default(),
            cancel: CancellationToken::new(),
            encapsulation: config.encapsulation,
            tls: config.ssl_profile.as_ref().map(|profile| ClientTls {
                profiles: profiles.clone(),
                profile: profile.clone(),
                verify_hostname: config.verify_hostname,
                complaints: Complaints::default(),
            }),
        }
    }

    /// Takes a forward stream: runs its flow on the current worker.
    pub fn open(self: &Arc<Self>, shared: &Arc<Shared>, forward: Arc<Delivery>) {
        let index = crate::worker::current().unwrap_or_else(|| shared.next_worker());
        let Some(worker) = shared.workers.get(index) else {
            forward.report(Some(DeliveryState::Released), true);
            return;
        };
        let flow = serve(shared.clone(), self.clone(), forward);
        worker.spawn(shared.tasks.track_future(flow));
    }

    /// The only framing it answers; none: the one in which it is asked. Others are translated in front of it.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self.encapsulation {
            Encapsulation::Auto => None,
            Encapsulation::Legacy => Some(Framing::Legacy),
            Encapsulation::Lite => Some(Framing::Lite),
        }
    }

    /// Its server uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    async fn connect(&self, alpn: Option<&str>) -> Result<Socket, NoServer> {
        let socket = connect(&self.host, self.port).await?;
        match &self.tls {
            None => Ok(Socket::Plain(socket)),
            // In memory of its own: flows without TLS are as small as before.
            Some(tls) => Ok(Box::pin(tls.connect(socket, &self.host, alpn)).await?),
        }
    }
}

async fn serve(shared: Arc<Shared>, connector: Arc<TcpConnector>, forward: Arc<Delivery>) {
    let _open = connector.counters.open();
    let (head, rest) = match read_head(&forward).await {
        Ok(read) => read,
        Err(state) => {
            forward.report(Some(state), true);
            return;
        }
    };
    let (Some(reply_to), framing) = (head.properties.reply_to.as_deref(), head.framing) else {
        forward.report(Some(DeliveryState::Rejected(None)), true);
        return;
    };
    if connector.framing().is_some_and(|only| only != framing) {
        forward.report(Some(DeliveryState::Released), true);
        return;
    }
    let name = head.properties.subject.as_deref().unwrap_or_default();
    let name = name.chars().take(NAME_LIMIT).collect();
    let shown = shared.begin_flow(FlowPeer::Server(connector.clone(), name));
    let flow = shown.flow();
    let socket = tokio::select! {
        socket = connector.connect(head.alpn.as_deref()) => socket,
        () = flow.cancel.cancelled() => return forward.report(Some(refused(framing)), true),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err(NoServer::Unreachable(error)) => {
            debug!(target: "router::tcp", connector = %connector.name, %error, "server not reachable");
            forward.report(Some(refused(framing)), true);
            return;
        }
        Err(NoServer::Tls(failure)) => {
            if let Some(tls) = &connector.tls {
                tls.failed(&connector.name, &shared.counters, &failure);
            }
            // Never a release: it would say that the framing is unknown here.
            forward.report(Some(lost()), true);
            return;
        }
    };
    let opener = ReverseOpener {
        to: reply_to,
        subject: head.properties.subject.as_deref(),
        flow_id: &shared.flow_id(),
        own: true,
    };
    let annotations = Annotations {
        flags: STREAMING | DISABLE_Q2,
        ..Annotations::default()
    };
    let Some(reverse) = open_reverse(&shared, &forward, framing, opener, annotations, None) else {
        // The client's router is gone from the network.
        forward.report(Some(lost()), true);
        return;
    };
    let mut pump = Pump::new(socket, reverse, framing, flow.clone());
    if !rest.is_empty() {
        forward.put_back(rest);
    }
    pump.set_inbound(forward, false);
    if framing == Framing::Lite && !head.own {
        pump.spare_far_side();
    }
    let end = pump.run().await;
    debug!(target: "router::tcp", connector = %connector.name, ?end, "flow ended");
}

/// Sends the head of a reverse message to the opener of `forward`; none if there is no way to it. `origin`: the stream
/// that is translated by it.
pub(super) fn open_reverse(
    shared: &Arc<Shared>,
    forward: &Delivery,
    framing: Framing,
    opener: ReverseOpener<'_>,
    annotations: Annotations,
    origin: Option<&Delivery>,
) -> Option<Arc<Delivery>> {
    let reverse = Arc::new(Delivery::begun_by_router(
        annotations,
        origin,
        &shared.read_ahead,
    ));
    reverse.push(opener.encode(framing));
    let request = Request {
        address: opener.to,
        annotations: &reverse.annotations,
        arrived_on: None,
        complete: false,
        preferred: forward.arrived_on,
    };
    let choice = {
        let table = shared.table.load();
        forward::choose(shared, &table, request)
    };
    let Choice::One(sink) = choice else {
        return None;
    };
    forward::dispatch(shared, sink, reverse.clone());
    Some(reverse)
}

/// Waits for the head of a stream. Octets behind it are returned too.
pub(super) async fn read_head(
    delivery: &Arc<Delivery>,
) -> Result<(StreamHead, Bytes), DeliveryState> {
    let (head, octets) = read_opener(delivery).await?;
    let rest = octets.slice(head.len..);
    Ok((head, rest))
}

/// Waits for the head of a stream. It is returned with all octets that were taken, the head's own first.
pub(super) async fn read_opener(
    delivery: &Arc<Delivery>,
) -> Result<(StreamHead, Bytes), DeliveryState> {
    let mut octets = BytesMut::new();
    let mut registered = false;
    std::future::poll_fn(|cx| {
        if !registered {
            registered = true;
            delivery.set_sink(Wake::Task(cx.waker().clone()));
        }
        let end = delivery.take(|chunks, end, _| {
            for chunk in chunks.drain(..) {
                octets.extend_from_slice(&chunk);
            }
            end
        });
        let complete = end == End::Complete;
        if end == End::Aborted {
            return std::task::Poll::Ready(Err(DeliveryState::Released));
        }
        match StreamHead::parse(&octets, complete) {
            Ok(Some(head)) => {
                std::task::Poll::Ready(Ok((head, std::mem::take(&mut octets).freeze())))
            }
            Ok(None) if !complete && octets.len() <= HEAD_LIMIT => std::task::Poll::Pending,
            _ => std::task::Poll::Ready(Err(DeliveryState::Rejected(None))),
        }
    })
    .await
}

/// Outcome when the server cannot be reached: it differs by framing, and listeners depend on it.
pub(super) fn refused(framing: Framing) -> DeliveryState {
    match framing {
        Framing::Legacy => DeliveryState::Released,
        Framing::Lite => lost(),
    }
}

pub(super) fn lost() -> DeliveryState {
    DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here: false,
        annotations: Vec::new(),
    }
}

/// Connects to the first address of `host` that answers.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let connecting = async {
        // Literals need no resolver thread.
        let socket = match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => TcpStream::connect(SocketAddr::new(ip, port)).await?,
            Err(_) => TcpStream::connect((host, port)).await?,
        };
        set_options(&socket);
        Ok(socket)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer from the server",
            ))
        })
}
