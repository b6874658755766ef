//! The stream of a connection: plain TCP, a Unix socket, or TLS in either role.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, CommonState, Error, HandshakeKind,
    ProtocolVersion, ServerConfig,
    pki_types::{CertificateDer, ServerName},
    server::Acceptor,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector, client, server};

use super::{
    AdaptorServerConfig, TlsError, cipher, identity::peer_identity, read_ahead::ReadAhead,
};

/// First octet of a TLS record that opens a handshake; no protocol that the router speaks in the clear begins so.
const HANDSHAKE_RECORD: u8 = 0x16;

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP in the clear.
    Plain(TcpStream),
    /// Unix socket.
    Unix(UnixStream),
    /// TLS, this side connected.
    TlsClient(Box<client::TlsStream<ReadAhead>>),
    /// TLS, this side accepted.
    TlsServer(Box<server::TlsStream<ReadAhead>>),
}

/// What a handshake established.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: &'static str,
    /// Suite in OpenSSL's words, as `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// Key size of the suite in bits.
    pub bits: u16,
    /// The session goes on from an earlier connection, without certificates being sent again.
    pub resumed: bool,
    /// Negotiated application protocol.
    pub alpn: Option<String>,
    /// Subject of the peer's verified certificate (see [`peer_identity`]); none if it presented none.
    pub peer: Option<String>,
}

impl Stream {
    /// Address of the peer as `ip:port` (IPv6 in brackets), `unix` for a Unix socket.
    pub fn peer_address(&self) -> String {
        match self.tcp() {
            Some(tcp) => tcp_peer(tcp),
            None => "unix".to_owned(),
        }
    }

    /// The TCP socket below; none for a Unix socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Unix(_) => None,
            Self::TlsClient(tls) => Some(tls.get_ref().0.tcp()),
            Self::TlsServer(tls) => Some(tls.get_ref().0.tcp()),
        }
    }

    /// Result of the TLS handshake; none for streams without TLS.
    pub fn tls_facts(&self) -> Option<TlsFacts> {
        let state = self.tls_state()?;
        let (cipher, bits) = state
            .negotiated_cipher_suite()
            .map_or(("unknown", 0), |suite| cipher::describe(suite.suite()));
        Some(TlsFacts {
            protocol: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "unknown",
            },
            cipher,
            bits,
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: state
                .alpn_protocol()
                .map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
            peer: state.peer_certificates().map(peer_identity),
        })
    }

    /// Chain that the peer presented and that was verified, leaf first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls_state()?.peer_certificates()
    }

    fn tls_state(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) | Self::Unix(_) => None,
            Self::TlsClient(tls) => Some(tls.get_ref().1),
            Self::TlsServer(tls) => Some(tls.get_ref().1),
        }
    }
}

macro_rules! forward {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Plain($inner) => $call,
            Stream::Unix($inner) => $call,
            Stream::TlsClient($inner) => $call,
            Stream::TlsServer($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        forward!(self, inner => inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

/// Server handshake. The caller sets the time limit.
///
/// # Errors
/// [`TlsError::Handshake`] with the reason in plain words.
pub async fn accept_tls(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Stream, TlsError> {
    let peer = tcp_peer(&tcp);
    match TlsAcceptor::from(config).accept(ReadAhead::new(tcp)).await {
        Ok(tls) => Ok(Stream::TlsServer(Box::new(tls))),
        Err(error) => Err(handshake_error(peer, error)),
    }
}

/// Server handshake of an adaptor: `http/1.1` or `h2` is negotiated with clients that offer one of them; clients that
/// offer something else are served without negotiation, because the adaptor carries any protocol.
///
/// # Errors
/// See [`accept_tls`].
pub async fn accept_adaptor_tls(
    tcp: TcpStream,
    config: &AdaptorServerConfig,
) -> Result<Stream, TlsError> {
    let peer = tcp_peer(&tcp);
    let start = match LazyConfigAcceptor::new(Acceptor::default(), ReadAhead::new(tcp)).await {
        Ok(start) => start,
        Err(error) => return Err(handshake_error(peer, error)),
    };
    let known = start.client_hello().alpn().is_some_and(|mut offered| {
        offered.any(|protocol| {
            config
                .alpn
                .alpn_protocols
                .iter()
                .any(|ours| ours == protocol)
        })
    });
    let config = if known { &config.alpn } else { &config.plain };
    match start.into_stream(config.clone()).await {
        Ok(tls) => Ok(Stream::TlsServer(Box::new(tls))),
        Err(error) => Err(handshake_error(peer, error)),
    }
}

/// Server side of a listener that has a profile but does not insist on TLS: decides by the first octet.
///
/// # Errors
/// See [`accept_tls`]; also if the peer leaves before it has sent anything.
pub async fn accept_sniffed(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Stream, TlsError> {
    let mut first = [0; 1];
    match tcp.peek(&mut first).await {
        Ok(0) => Err(handshake_error(
            tcp_peer(&tcp),
            io::ErrorKind::UnexpectedEof.into(),
        )),
        Ok(_) if first[0] == HANDSHAKE_RECORD => accept_tls(tcp, config).await,
        Ok(_) => Ok(Stream::Plain(tcp)),
        Err(error) => Err(handshake_error(tcp_peer(&tcp), error)),
    }
}

/// Client handshake with `host` (DNS name or IP literal, brackets allowed) as server name and name to verify.
///
/// # Errors
/// [`TlsError::ServerName`], or [`TlsError::Handshake`] with the reason in plain words.
pub async fn connect_tls(
    tcp: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Stream, TlsError> {
    connect_tls_alpn(tcp, host, config, None).await
}

/// As [`connect_tls`], offering exactly the given application protocol if there is one.
///
/// # Errors
/// See [`connect_tls`].
pub async fn connect_tls_alpn(
    tcp: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
    alpn: Option<&str>,
) -> Result<Stream, TlsError> {
    let name = server_name(host)?;
    let peer = tcp_peer(&tcp);
    let connector = TlsConnector::from(config);
    let handshake = match alpn {
        Some(alpn) => connector
            .with_alpn(vec![alpn.as_bytes().to_vec()])
            .connect(name, ReadAhead::new(tcp)),
        None => connector.connect(name, ReadAhead::new(tcp)),
    };
    match handshake.await {
        Ok(tls) => Ok(Stream::TlsClient(Box::new(tls))),
        Err(error) => Err(handshake_error(peer, error)),
    }
}

fn tcp_peer(tcp: &TcpStream) -> String {
    tcp.peer_addr().map_or_else(
        |_| "a disconnected peer".to_owned(),
        |address| address.to_string(),
    )
}

/// The name to expect in a certificate; IPv6 zones and a trailing dot are no part of it.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let without_zone = bare.split_once('%').map_or(bare, |(address, _)| address);
    if let Ok(address) = without_zone.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(bare.strip_suffix('.').unwrap_or(bare).to_owned()).map_err(|_| {
        TlsError::ServerName {
            host: host.to_owned(),
        }
    })
}

fn handshake_error(peer: String, source: io::Error) -> TlsError {
    let reason = if source.kind() == io::ErrorKind::UnexpectedEof {
        "the peer closed the connection during the handshake".to_owned()
    } else {
        explain_io(&source)
    };
    TlsError::Handshake {
        peer,
        reason,
        source,
    }
}

/// Why a connection broke: a peer that refuses a certificate in TLS 1.3 says so only after the handshake.
pub(in crate::net) fn explain_io(error: &io::Error) -> String {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(error) => explain(error),
        None => error.to_string(),
    }
}

/// What the operator can do something about, in words; the rest as the library says it.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the peer's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the peer's certificate is not valid yet; are both clocks right?".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the peer's certificate was not issued by a certificate of caCertFile".to_owned()
            }
            CertificateError::NotValidForName => {
                "the peer's certificate is for another host name".to_owned()
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                format!(
                    "the peer's certificate is not valid for '{}', only for {}",
                    expected.to_str(),
                    list(presented)
                )
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "the peer's certificate is not meant for this side of a connection".to_owned()
            }
            other => format!("the peer's certificate is not acceptable: {other}"),
        },
        Error::NoCertificatesPresented => "the peer presented no certificate".to_owned(),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => "the peer demands a certificate".to_owned(),
            AlertDescription::CertificateExpired => {
                "the peer says that this side's certificate has expired".to_owned()
            }
            AlertDescription::UnknownCA => {
                "the peer does not know the issuer of this side's certificate".to_owned()
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => {
                format!("the peer refuses this side's certificate ({alert:?})")
            }
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity => {
                format!("no TLS version or cipher in common with the peer ({alert:?})")
            }
            other => format!("the peer ended the handshake ({other:?})"),
        },
        Error::PeerIncompatible(reason) => {
            format!("no TLS version or cipher in common with the peer ({reason:?})")
        }
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "the peer does not speak TLS on this port".to_owned()
        }
        other => other.to_string(),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "no name at all".to_owned()
    } else {
        names.join(", ")
    }
}
