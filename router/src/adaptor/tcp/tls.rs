//! TLS between the adaptor and its clients and servers. Both sides of a service are independent: between the routers
//! only the plain octets travel, inside the messages, and with them the application protocol that was negotiated.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tracing::{debug, warn};

use super::socket::Socket;
use crate::{
    core::counters::Counters,
    net::{
        complaints::Complaints,
        handshakes::{Handshakes, Place, Unfinished},
        tls::{self, TlsError, TlsProfiles},
    },
};

/// A server's handshake has to be over by then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a TLS connection did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsFailure {
    /// The profile cannot be used, or the handshake failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A client was too slow, or had to make room.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
    /// The server was too slow.
    #[error("no TLS handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
}

impl TlsFailure {
    /// The reason without the peer's address: the same for all peers that fail alike.
    fn reason(&self) -> String {
        match self {
            Self::Tls(error) => error.reason(),
            other => other.to_string(),
        }
    }

    fn peer_left(&self) -> bool {
        matches!(self, Self::Tls(error) if error.peer_left())
    }
}

/// The TLS server of a tcpListener.
#[derive(Debug)]
pub(super) struct ServerTls {
    /// Where the profile is found, with the certificates that are now in force.
    pub(super) profiles: Arc<TlsProfiles>,
    /// Name of the profile.
    pub(super) profile: String,
    /// Clients need a certificate.
    pub(super) authenticate_peer: bool,
    /// Limits what clients that do not finish can hold.
    pub(super) handshakes: Arc<Handshakes>,
    /// What was logged about clients.
    pub(super) complaints: Complaints,
}

impl ServerTls {
    /// Server handshake. The string is the negotiated application protocol.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
        place: &Place,
    ) -> Result<(Socket, Option<String>), TlsFailure> {
        let config = self
            .profiles
            .adaptor_server_config(&self.profile, self.authenticate_peer)?;
        let stream = place
            .within(tls::accept_adaptor_tls(tcp, &config))
            .await??;
        let alpn = stream.tls_facts().and_then(|facts| facts.alpn);
        Ok((Socket::Tls(stream), alpn))
    }

    /// Counts and logs a client that was refused.
    pub(super) fn refused(&self, listener: &str, counters: &Counters, failure: &TlsFailure) {
        counters.handshake_failed();
        if failure.peer_left() {
            debug!(target: "router::tcp", listener, error = %failure, "client left");
            return;
        }
        match self.complaints.due(&failure.reason()) {
            Some(silent) => {
                warn!(target: "router::tcp", listener, error = %failure, silent, "client refused");
            }
            None => debug!(target: "router::tcp", listener, error = %failure, "client refused"),
        }
    }
}

/// The TLS client of a tcpConnector.
#[derive(Debug)]
pub(super) struct ClientTls {
    /// Where the profile is found, with the certificates that are now in force.
    pub(super) profiles: Arc<TlsProfiles>,
    /// Name of the profile.
    pub(super) profile: String,
    /// The server's certificate must name the host.
    pub(super) verify_hostname: bool,
    /// What was logged about the server.
    pub(super) complaints: Complaints,
}

impl ClientTls {
    /// Client handshake with `host` as name of the server. `alpn` is what the client at the far side negotiated; nothing
    /// else is offered.
    pub(super) async fn connect(
        &self,
        tcp: TcpStream,
        host: &str,
        alpn: Option<&str>,
    ) -> Result<Socket, TlsFailure> {
        let config = self
            .profiles
            .client_config(&self.profile, self.verify_hostname)?;
        let handshake = tls::connect_tls_alpn(tcp, host, config, alpn);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(stream) => Ok(Socket::Tls(stream?)),
            Err(_) => Err(TlsFailure::Slow),
        }
    }

    /// Counts and logs a server that was not believed.
    pub(super) fn failed(&self, connector: &str, counters: &Counters, failure: &TlsFailure) {
        counters.handshake_failed();
        match self.complaints.due(&failure.reason()) {
            Some(silent) => {
                warn!(target: "router::tcp", connector, error = %failure, silent, "no TLS with the server");
            }
            None => {
                debug!(target: "router::tcp", connector, error = %failure, "no TLS with the server");
            }
        }
    }
}
