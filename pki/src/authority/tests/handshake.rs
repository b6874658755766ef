//! Certificates issued here carry a mutual TLS connection, in memory, with the library that the router uses.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use crate::{Authority, Certificate, KeyKind, LeafRequest};

fn roots(ca_pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    Arc::new(roots)
}

fn credentials(
    certificate: &Certificate,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(certificate.certificate_pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    (
        chain,
        PrivateKeyDer::from_pem_slice(certificate.private_key.expose().as_bytes()).unwrap(),
    )
}

fn handshake(
    server: &Certificate,
    client: &Certificate,
    host: &str,
    version: &'static SupportedProtocolVersion,
) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&server.ca_pem), Arc::clone(&provider))
            .build()
            .unwrap();
    let (chain, key) = credentials(server);
    let server_config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let (chain, key) = credentials(client);
    let client_config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(&client.ca_pem))
        .with_client_auth_cert(chain, key)
        .unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut client =
        Connection::from(ClientConnection::new(Arc::new(client_config), host).unwrap());
    let mut server = Connection::from(ServerConnection::new(Arc::new(server_config)).unwrap());

    while client.is_handshaking() || server.is_handshaking() {
        transfer(&mut client, &mut server)?;
        transfer(&mut server, &mut client)?;
    }
    client.writer().write_all_to_peer(b"hello")?;
    transfer(&mut client, &mut server)?;
    let mut octets = [0; 5];
    io::Read::read_exact(&mut server.reader(), &mut octets).map_err(|error| error.to_string())?;
    assert_eq!(&octets, b"hello");
    assert_eq!(server.peer_certificates().unwrap().len(), 1);
    Ok(())
}

trait WriteToPeer {
    fn write_all_to_peer(&mut self, octets: &[u8]) -> Result<(), String>;
}

impl<T: io::Write> WriteToPeer for T {
    fn write_all_to_peer(&mut self, octets: &[u8]) -> Result<(), String> {
        self.write_all(octets).map_err(|error| error.to_string())
    }
}

fn transfer(from: &mut Connection, to: &mut Connection) -> Result<(), String> {
    let mut octets = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut octets).unwrap();
    }
    let mut rest = octets.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn issue(authority: &Authority, key: KeyKind, hosts: &[&str]) -> Certificate {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    authority
        .issue(&LeafRequest::new("skupper", hosts, key))
        .unwrap()
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn leaves_serve_and_call() {
    for authority_key in [KeyKind::Rsa2048, KeyKind::P256] {
        let authority = Authority::generate("skupper-site-ca", authority_key).unwrap();
        for leaf_key in [KeyKind::Rsa2048, KeyKind::P256] {
            let both = issue(
                &authority,
                leaf_key,
                &["2001:db8::1", "192.0.2.10", "hub.example.com"],
            );
            let pure_client = issue(&authority, leaf_key, &[]);
            for version in VERSIONS {
                for host in ["2001:db8::1", "192.0.2.10", "hub.example.com"] {
                    handshake(&both, &both, host, version).unwrap();
                }
                handshake(&both, &pure_client, "hub.example.com", version).unwrap();
            }
        }
    }
}

#[test]
fn other_hosts_and_other_authorities_are_refused() {
    let ours = Authority::generate("skupper-site-ca", KeyKind::P256).unwrap();
    let theirs = Authority::generate("skupper-site-ca", KeyKind::P256).unwrap();
    let server = issue(&ours, KeyKind::P256, &["hub.example.com"]);
    let client = issue(&ours, KeyKind::P256, &[]);
    let stranger = Certificate {
        ca_pem: server.ca_pem.clone(),
        ..issue(&theirs, KeyKind::P256, &[])
    };
    for version in VERSIONS {
        handshake(&server, &client, "hub.example.com", version).unwrap();
        for host in ["other.example.com", "192.0.2.10"] {
            let error = handshake(&server, &client, host, version).unwrap_err();
            assert!(
                error.contains("not valid for name") || error.contains("NotValidForName"),
                "{error}"
            );
        }
        let error = handshake(&server, &stranger, "hub.example.com", version).unwrap_err();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
}
