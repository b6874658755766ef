//! rustls configurations from the settings of a profile and the content of its files.

use std::sync::Arc;

use model::router_config::SslProfile;
use rustls::{
    ClientConfig, ProtocolVersion, ServerConfig, SupportedProtocolVersion,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

use super::{TlsError, cipher, credentials::Credentials, verify::AnyName};

/// Protocols that listeners of adaptors offer, in the order in which they are preferred.
const ADAPTOR_ALPN: [&[u8]; 2] = [b"http/1.1", b"h2"];

/// What a server configuration is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ServerUse {
    pub(super) require_client_cert: bool,
    pub(super) alpn: bool,
}

/// Cipher suites and TLS versions of the profile.
fn parameters(
    name: &str,
    settings: &SslProfile,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    // post-quantum last: accepted from peers that want it, its large key share is never sent unasked
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
        aws_lc_rs::kx_group::X25519MLKEM768,
    ];
    let mut versions = vec![&TLS13, &TLS12];
    if !settings.protocols.is_empty() {
        let named = |version: &str| {
            let mut protocols = settings.protocols.iter();
            protocols.any(|protocol| protocol.eq_ignore_ascii_case(version))
        };
        versions.retain(|version| match version.version {
            ProtocolVersion::TLSv1_3 => named("TLSv1.3"),
            _ => named("TLSv1.2"),
        });
        if versions.is_empty() {
            return Err(TlsError::Protocols {
                profile: name.to_owned(),
                protocols: settings.protocols.join(" "),
            });
        }
    }
    if let Some(ciphers) = settings
        .ciphers
        .as_deref()
        .filter(|ciphers| !ciphers.trim().is_empty())
    {
        provider.cipher_suites = cipher::parse(name, ciphers)?;
        if !provider
            .cipher_suites
            .iter()
            .any(|suite| versions.contains(&suite.version()))
        {
            return Err(TlsError::NoCipher {
                profile: name.to_owned(),
                ciphers: ciphers.to_owned(),
            });
        }
    }
    Ok((Arc::new(provider), versions))
}

/// Configuration for accepting.
pub(super) fn build_server(
    name: &str,
    settings: &SslProfile,
    credentials: &Credentials,
    server_use: ServerUse,
) -> Result<ServerConfig, TlsError> {
    let own = credentials
        .own
        .clone()
        .ok_or_else(|| missing(name, "certFile", "a listener needs"))?;
    let (provider, versions) = parameters(name, settings)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| unusable(name, &error))?;
    let builder = if server_use.require_client_cert {
        let roots = credentials.roots.clone().ok_or_else(|| {
            missing(
                name,
                "caCertFile",
                "is needed to verify client certificates",
            )
        })?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::Unusable {
                profile: name.to_owned(),
                reason: error.to_string(),
            })?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    // tickets make reconnect storms cheap and need no memory here; keys die with this configuration
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| unusable(name, &error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if server_use.alpn {
        config.alpn_protocols = ADAPTOR_ALPN
            .iter()
            .map(|protocol| protocol.to_vec())
            .collect();
    }
    Ok(config)
}

/// Configuration for connecting.
pub(super) fn build_client(
    name: &str,
    settings: &SslProfile,
    credentials: &Credentials,
    verify_hostname: bool,
) -> Result<ClientConfig, TlsError> {
    let roots = credentials.roots.clone().ok_or_else(|| {
        missing(
            name,
            "caCertFile",
            "is needed to verify the server's certificate",
        )
    })?;
    let (provider, versions) = parameters(name, settings)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| unusable(name, &error))?;
    let builder = if verify_hostname {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::Unusable {
                profile: name.to_owned(),
                reason: error.to_string(),
            })?;
        builder.with_webpki_verifier(verifier)
    } else {
        let algorithms = provider.signature_verification_algorithms;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { roots, algorithms }))
    };
    Ok(match credentials.own.clone() {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    })
}

fn missing(profile: &str, attribute: &'static str, needed_for: &'static str) -> TlsError {
    TlsError::MissingAttribute {
        profile: profile.to_owned(),
        attribute,
        needed_for,
    }
}

fn unusable(profile: &str, error: &rustls::Error) -> TlsError {
    TlsError::Unusable {
        profile: profile.to_owned(),
        reason: error.to_string(),
    }
}
