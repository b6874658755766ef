//! Handshakes in memory and over loopback, with certificates made here.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use model::router_config::SslProfile;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    stream::{explain, server_name},
    *,
};

/// A directory with the files of one authority and of the certificates it issued.
pub(in crate::net) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is issued for.
struct Leaf<'a> {
    file: &'a str,
    hosts: &'a [&'a str],
    /// First of January of the first year and of the one after the last; none: for ever.
    years: Option<(i32, i32)>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer,
        };
        fs::write(authority.path("ca.crt"), authority.issuer.pem()).unwrap();
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn file(&self, file: &str) -> Option<PathBuf> {
        Some(self.path(file))
    }

    fn issue(&self, leaf: &Leaf<'_>) {
        self.issue_with(leaf, &KeyPair::generate().unwrap());
    }

    fn issue_with(&self, leaf: &Leaf<'_>, key: &KeyPair) {
        let hosts: Vec<String> = leaf.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "example, inc");
        params
            .distinguished_name
            .push(DnType::CommonName, leaf.file);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if let Some((from, to)) = leaf.years {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        }
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{}.crt", leaf.file)), certificate.pem()).unwrap();
        fs::write(
            self.path(&format!("{}.key", leaf.file)),
            key.serialize_pem(),
        )
        .unwrap();
    }

    /// A profile with the certificate `file` of this authority, trusting this authority.
    fn profile(&self, file: &str) -> SslProfile {
        SslProfile {
            cert_file: self.file(&format!("{file}.crt")),
            private_key_file: self.file(&format!("{file}.key")),
            ca_cert_file: self.file("ca.crt"),
            ..SslProfile::new("p")
        }
    }
}

fn leaf<'a>(file: &'a str, hosts: &'a [&'a str]) -> Leaf<'a> {
    Leaf {
        file,
        hosts,
        years: None,
    }
}

fn profiles<const N: usize>(profiles: [(&str, SslProfile); N]) -> TlsProfiles {
    let profiles: BTreeMap<String, SslProfile> = profiles
        .into_iter()
        .map(|(name, profile)| (name.to_owned(), profile))
        .collect();
    TlsProfiles::new(&profiles)
}

/// Authority with a server for `router.example` and 127.0.0.1, and a client.
pub(in crate::net) fn usual() -> (Authority, TlsProfiles) {
    let authority = Authority::new("one");
    authority.issue(&leaf("server", &["router.example", "127.0.0.1"]));
    authority.issue(&leaf("client", &[]));
    let profiles = profiles([
        ("server", authority.profile("server")),
        ("client", authority.profile("client")),
        (
            "anonymous",
            SslProfile {
                ca_cert_file: authority.file("ca.crt"),
                ..SslProfile::new("p")
            },
        ),
    ]);
    (authority, profiles)
}

/// Runs a handshake without sockets; the error is that of the side that noticed, in the words of the log.
fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    host: &str,
) -> Result<(ClientConnection, ServerConnection), (&'static str, String)> {
    let mut client = ClientConnection::new(client, server_name(host).unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    loop {
        let mut moved = 0;
        let mut octets = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut octets).unwrap();
        }
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            moved += server.read_tls(&mut rest).unwrap();
            server
                .process_new_packets()
                .map_err(|error| ("server", explain(&error)))?;
        }
        octets.clear();
        while server.wants_write() {
            server.write_tls(&mut octets).unwrap();
        }
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            moved += client.read_tls(&mut rest).unwrap();
            client
                .process_new_packets()
                .map_err(|error| ("client", explain(&error)))?;
        }
        if moved == 0 {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok((client, server));
        }
    }
}

fn refusal(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    host: &str,
) -> (&'static str, String) {
    match handshake(client, server, host) {
        Ok(_) => panic!("the handshake succeeded"),
        Err(refusal) => refusal,
    }
}

/// File name and serial number that tell which certificate a server presents.
fn presented(client: &ClientConnection) -> Vec<u8> {
    client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn both_sides_are_verified_when_asked() {
    let (_authority, profiles) = usual();
    let (client, server) = handshake(
        profiles.client_config("client", true).unwrap(),
        profiles.server_config("server", true).unwrap(),
        "router.example",
    )
    .unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        peer_identity(server.peer_certificates().unwrap()),
        "CN=client,O=example\\, inc"
    );
    // an IP address is verified against the addresses of the certificate
    handshake(
        profiles.client_config("anonymous", true).unwrap(),
        profiles.server_config("server", false).unwrap(),
        "127.0.0.1",
    )
    .unwrap();
}

#[test]
fn a_client_certificate_is_not_requested_unless_asked() {
    let (_authority, profiles) = usual();
    let (_, server) = handshake(
        profiles.client_config("client", true).unwrap(),
        profiles.server_config("server", false).unwrap(),
        "router.example",
    )
    .unwrap();
    assert!(server.peer_certificates().is_none());
}

#[test]
fn a_client_without_certificate_is_refused_when_one_is_asked() {
    let (_authority, profiles) = usual();
    let (side, reason) = refusal(
        profiles.client_config("anonymous", true).unwrap(),
        profiles.server_config("server", true).unwrap(),
        "router.example",
    );
    assert_eq!(
        (side, reason.as_str()),
        ("server", "the peer presented no certificate")
    );
}

#[test]
fn certificates_of_another_authority_are_refused_on_both_sides() {
    let (authority, ours) = usual();
    let (other, theirs) = usual();
    let expected = "the peer's certificate was not issued by a certificate of caCertFile";
    for verify_hostname in [true, false] {
        let (side, reason) = refusal(
            ours.client_config("anonymous", verify_hostname).unwrap(),
            theirs.server_config("server", false).unwrap(),
            "router.example",
        );
        assert_eq!((side, reason.as_str()), ("client", expected));
    }
    // the stranger trusts our authority but has a certificate of its own
    let stranger = profiles([(
        "stranger",
        SslProfile {
            ca_cert_file: authority.file("ca.crt"),
            ..other.profile("client")
        },
    )]);
    let (side, reason) = refusal(
        stranger.client_config("stranger", true).unwrap(),
        ours.server_config("server", true).unwrap(),
        "router.example",
    );
    assert_eq!((side, reason.as_str()), ("server", expected));
}

#[test]
fn certificates_are_refused_before_and_after_their_time_whatever_the_name() {
    let authority = Authority::new("one");
    authority.issue(&leaf("new", &["router.example"]));
    for (file, years, expected) in [
        ("old", (2020, 2021), "the peer's certificate has expired"),
        (
            "early",
            (2090, 2091),
            "the peer's certificate is not valid yet; are both clocks right?",
        ),
    ] {
        authority.issue(&Leaf {
            file,
            hosts: &["router.example"],
            years: Some(years),
        });
        let profiles = profiles([
            ("bad", authority.profile(file)),
            ("new", authority.profile("new")),
        ]);
        for verify_hostname in [true, false] {
            let (side, reason) = refusal(
                profiles.client_config("new", verify_hostname).unwrap(),
                profiles.server_config("bad", false).unwrap(),
                "router.example",
            );
            assert_eq!((side, reason.as_str()), ("client", expected));
        }
        let (side, reason) = refusal(
            profiles.client_config("bad", true).unwrap(),
            profiles.server_config("new", true).unwrap(),
            "router.example",
        );
        assert_eq!((side, reason.as_str()), ("server", expected));
    }
}

#[test]
fn names_matter_only_with_verify_hostname() {
    let (_authority, profiles) = usual();
    let server = profiles.server_config("server", false).unwrap();
    let (side, reason) = refusal(
        profiles.client_config("client", true).unwrap(),
        server.clone(),
        "other.example",
    );
    assert_eq!(side, "client");
    assert!(
        reason.contains("'other.example'") && reason.contains("router.example"),
        "{reason}"
    );
    for host in ["other.example", "192.0.2.7", "router.example"] {
        handshake(
            profiles.client_config("client", false).unwrap(),
            server.clone(),
            host,
        )
        .unwrap();
    }
}

#[test]
fn protocols_limit_the_versions() {
    let authority = Authority::new("one");
    authority.issue(&leaf("server", &["router.example"]));
    let with = |protocols: &str| SslProfile {
        protocols: protocols.split(' ').map(str::to_owned).collect(),
        ..authority.profile("server")
    };
    let profiles = profiles([
        ("any", authority.profile("server")),
        ("old", with("TLSv1.1 TLSv1.2")),
        ("new", with("TLSv1.3")),
        ("none", with("TLSv1 SSLv3")),
    ]);
    let client = |profile| profiles.client_config(profile, true).unwrap();
    let server = |profile| profiles.server_config(profile, true).unwrap();
    for (ours, theirs) in [("any", "old"), ("old", "any")] {
        let (client, _) = handshake(client(ours), server(theirs), "router.example").unwrap();
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    }
    let (_, reason) = refusal(client("old"), server("new"), "router.example");
    assert!(
        reason.starts_with("no TLS version or cipher in common"),
        "{reason}"
    );
    let error = profiles
        .server_config("none", false)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "sslProfile 'none': protocols 'TLSv1 SSLv3' names neither TLSv1.2 nor TLSv1.3"
    );
}

#[test]
fn ciphers_limit_the_suites() {
    let authority = Authority::new("one");
    authority.issue(&leaf("server", &["router.example"]));
    let with = |ciphers: &str, protocols: &str| SslProfile {
        ciphers: Some(ciphers.to_owned()),
        protocols: protocols.split(' ').map(str::to_owned).collect(),
        ..authority.profile("server")
    };
    let profiles = profiles([
        ("aes128", with("ECDHE+AES128", "TLSv1.2")),
        ("any", authority.profile("server")),
        ("weak", with("AES128-SHA", "TLSv1.2")),
        ("nothing", with("TLS_AES_128_GCM_SHA256", "TLSv1.2")),
    ]);
    let (client, _) = handshake(
        profiles.client_config("any", true).unwrap(),
        profiles.server_config("aes128", false).unwrap(),
        "router.example",
    )
    .unwrap();
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(
        cipher::describe(suite),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", 128)
    );
    assert!(matches!(
        profiles.server_config("weak", false),
        Err(TlsError::Cipher { .. })
    ));
    assert!(matches!(
        profiles.server_config("nothing", false),
        Err(TlsError::NoCipher { .. })
    ));
}

#[test]
fn reconnecting_resumes_until_the_certificate_changes() {
    let (authority, profiles) = usual();
    let client = profiles.client_config("client", true).unwrap();
    let connect = || {
        let server = profiles.server_config("server", true).unwrap();
        let (client, server) = handshake(client.clone(), server, "router.example").unwrap();
        assert_eq!(
            peer_identity(server.peer_certificates().unwrap()),
            "CN=client,O=example\\, inc"
        );
        client.handshake_kind().unwrap()
    };
    assert_eq!(connect(), HandshakeKind::Full);
    assert_eq!(connect(), HandshakeKind::Resumed);
    authority.issue(&leaf("server", &["router.example"]));
    assert_eq!(profiles.refresh().len(), 1);
    assert_eq!(connect(), HandshakeKind::Full);
}

#[test]
fn new_files_are_used_for_new_connections_only_when_they_are_whole() {
    let (authority, profiles) = usual();
    let connect = || {
        let server = profiles.server_config("server", false).unwrap();
        let client = profiles.client_config("anonymous", true).unwrap();
        presented(&handshake(client, server, "router.example").unwrap().0)
    };
    let first = connect();
    assert!(profiles.refresh().is_empty());

    let old_key = fs::read(authority.path("server.key")).unwrap();
    authority.issue(&leaf("server", &["router.example"]));
    let new_key = fs::read(authority.path("server.key")).unwrap();
    fs::write(authority.path("server.key"), &old_key).unwrap();
    let report = profiles.refresh();
    assert_eq!(report.len(), 1);
    assert_eq!(report[0].profile, "server");
    let reason = report[0].outcome.as_ref().unwrap_err().to_string();
    assert!(
        reason.contains("the key does not belong to the certificate"),
        "{reason}"
    );
    assert!(
        profiles.refresh().is_empty(),
        "the same state is reported once"
    );
    assert_eq!(connect(), first);

    fs::remove_file(authority.path("server.key")).unwrap();
    assert!(matches!(
        profiles.refresh().pop(),
        Some(Refreshed {
            outcome: Err(TlsError::Read { .. }),
            ..
        })
    ));
    assert_eq!(connect(), first);

    fs::write(authority.path("server.key"), &new_key).unwrap();
    assert!(matches!(
        profiles.refresh().as_slice(),
        [Refreshed {
            outcome: Ok(()),
            ..
        }]
    ));
    assert_ne!(connect(), first);
}

#[test]
fn a_new_authority_takes_effect() {
    let (authority, profiles) = usual();
    let (other, theirs) = usual();
    let server = theirs.server_config("server", false).unwrap();
    refusal(
        profiles.client_config("anonymous", true).unwrap(),
        server.clone(),
        "router.example",
    );
    fs::rename(other.path("ca.crt"), authority.path("ca.crt")).unwrap();
    assert!(
        profiles
            .refresh()
            .iter()
            .all(|refreshed| refreshed.outcome.is_ok())
    );
    handshake(
        profiles.client_config("anonymous", true).unwrap(),
        server,
        "router.example",
    )
    .unwrap();
}

#[test]
fn a_directory_stands_for_the_files_in_it() {
    let authority = Authority::new("one");
    authority.issue(&leaf("tls", &["router.example"]));
    let directory = Some(authority.directory.path().to_owned());
    let settings = SslProfile {
        cert_file: directory.clone(),
        private_key_file: directory.clone(),
        ca_cert_file: directory.clone(),
        ..SslProfile::new("p")
    };
    let profiles = profiles([("p", settings)]);
    let connect = || {
        handshake(
            profiles.client_config("p", true).unwrap(),
            profiles.server_config("p", true).unwrap(),
            "router.example",
        )
        .unwrap()
    };
    let before = presented(&connect().0);
    assert_eq!(profiles.directories().first(), directory.as_ref());
    authority.issue(&leaf("tls", &["router.example"]));
    assert_eq!(profiles.refresh().len(), 1);
    assert!(before != presented(&connect().0));
}

#[test]
fn a_new_configuration_replaces_only_what_changed() {
    let (authority, profiles) = usual();
    let before = profiles.server_config("server", false).unwrap();
    let mut settings = BTreeMap::from([
        ("server".to_owned(), authority.profile("server")),
        ("client".to_owned(), authority.profile("client")),
    ]);
    profiles.replace(&settings);
    assert!(Arc::ptr_eq(
        &before,
        &profiles.server_config("server", false).unwrap()
    ));
    assert!(matches!(
        profiles.client_config("anonymous", true),
        Err(TlsError::UnknownProfile { .. })
    ));
    settings.insert("server".to_owned(), authority.profile("client"));
    profiles.replace(&settings);
    assert!(!Arc::ptr_eq(
        &before,
        &profiles.server_config("server", false).unwrap()
    ));
    assert_eq!(
        profiles.directories().into_iter().collect::<Vec<_>>(),
        [authority.directory.path()]
    );
}

#[test]
fn what_is_wrong_with_a_profile_is_said_with_its_name_or_file() {
    let authority = Authority::new("one");
    authority.issue(&leaf("server", &["router.example"]));
    authority.issue(&leaf("other", &[]));
    let write = |file: &str, text: &str| fs::write(authority.path(file), text).unwrap();
    write("empty.crt", "");
    write(
        "broken.crt",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    write(
        "garbage.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    write(
        "old.key",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    );
    let key = |file: &str| SslProfile {
        private_key_file: authority.file(file),
        ..authority.profile("server")
    };
    let certificate = |file: &str| SslProfile {
        cert_file: authority.file(file),
        ..authority.profile("server")
    };
    for (profile, expected) in [
        (certificate("missing.crt"), "missing.crt: No such file"),
        (certificate("empty.crt"), "empty.crt: no certificate in it"),
        (certificate("broken.crt"), "broken.crt: malformed PEM"),
        (
            certificate("garbage.crt"),
            "garbage.crt: malformed certificate",
        ),
        (
            certificate("other.crt"),
            "the key does not belong to the certificate",
        ),
        (key("ca.crt"), "ca.crt: no private key in it"),
        (
            key("encrypted.key"),
            "encrypted.key: the key is protected with a password",
        ),
        (
            key("old.key"),
            "old.key: the key is protected with a password",
        ),
        (
            SslProfile {
                ca_cert_file: None,
                ..authority.profile("server")
            },
            "sslProfile 'p' has no caCertFile",
        ),
        (SslProfile::new("p"), "sslProfile 'p' has no certFile"),
    ] {
        let error = profiles([("p", profile)])
            .server_config("p", true)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected),
            "{error} does not contain {expected}"
        );
    }
    let error = profiles([])
        .client_config("p", true)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "sslProfile 'p' does not exist");
}

/// The private key inside a PKCS#8 wrapping, in PEM with the label of its own format.
fn unwrapped(key: &KeyPair, at: usize, label: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in key.serialized_der()[at..].chunks(3) {
        let word = group
            .iter()
            .fold(0u32, |word, octet| word << 8 | u32::from(*octet))
            << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = usize::try_from(word >> (18 - 6 * digit) & 63).unwrap();
            text.push(if digit > group.len() {
                '='
            } else {
                char::from(ALPHABET[index])
            });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn keys_of_all_formats_are_read() {
    let authority = Authority::new("one");
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let ec = KeyPair::generate().unwrap();
    // the wrappings have a fixed length for these kinds of keys
    for (file, key, at, label) in [
        ("rsa", &rsa, 26, "RSA PRIVATE KEY"),
        ("ec", &ec, 29, "EC PRIVATE KEY"),
    ] {
        authority.issue_with(&leaf(file, &["router.example"]), key);
        let profile = profiles([(file, authority.profile(file))]);
        profile.server_config(file, false).unwrap();
        fs::write(
            authority.path(&format!("{file}.key")),
            unwrapped(key, at, label),
        )
        .unwrap();
        let profile = profiles([(file, authority.profile(file))]);
        handshake(
            profile.client_config(file, true).unwrap(),
            profile.server_config(file, true).unwrap(),
            "router.example",
        )
        .unwrap();
    }
    // certificate and key in one file
    let both = fs::read_to_string(authority.path("ec.crt")).unwrap()
        + &unwrapped(&ec, 29, "EC PRIVATE KEY");
    fs::write(authority.path("both.pem"), both).unwrap();
    let profile = profiles([(
        "both",
        SslProfile {
            cert_file: authority.file("both.pem"),
            ..SslProfile::new("p")
        },
    )]);
    profile.server_config("both", false).unwrap();
}

#[test]
fn host_names_and_addresses_become_server_names() {
    for (host, name) in [
        ("router.example", "router.example"),
        ("router.example.", "router.example"),
        ("router_1", "router_1"),
        ("10.0.0.1", "10.0.0.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ] {
        assert_eq!(server_name(host).unwrap().to_str(), name, "{host}");
    }
    for host in ["", "a b", "x..y"] {
        assert!(
            matches!(server_name(host), Err(TlsError::ServerName { .. })),
            "{host}"
        );
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(
        TcpStream::connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    (client.unwrap(), accepted.unwrap().0)
}

/// Sends a word each way.
async fn exchange(mut one: Stream, mut other: Stream) {
    let mut word = [0; 4];
    one.write_all(b"ping").await.unwrap();
    one.flush().await.unwrap();
    other.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
    let parts = [io::IoSlice::new(b"po"), io::IoSlice::new(b"ng")];
    assert!(AsyncWrite::is_write_vectored(&other));
    assert_eq!(other.write_vectored(&parts).await.unwrap(), 4);
    other.shutdown().await.unwrap();
    one.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"pong");
    assert_eq!(one.read(&mut word).await.unwrap(), 0);
}

#[tokio::test]
async fn streams_carry_octets_and_tell_what_was_negotiated() {
    let (_authority, profiles) = usual();
    let (near, far) = pair().await;
    let near_address = near.local_addr().unwrap().to_string();
    let (client, server) = tokio::join!(
        connect_tls(
            near,
            "127.0.0.1",
            profiles.client_config("client", true).unwrap()
        ),
        accept_tls(far, profiles.server_config("server", true).unwrap()),
    );
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(server.peer_address(), near_address);
    let facts = server.tls_facts().unwrap();
    assert_eq!(
        (facts.protocol, facts.cipher, facts.bits),
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    );
    assert_eq!(facts.peer.as_deref(), Some("CN=client,O=example\\, inc"));
    assert_eq!(
        client.tls_facts().unwrap().peer.as_deref(),
        Some("CN=server,O=example\\, inc")
    );
    exchange(client, server).await;
}

#[tokio::test]
async fn a_failed_handshake_names_peer_and_reason() {
    let (_authority, profiles) = usual();
    let (near, far) = pair().await;
    let far_address = near.peer_addr().unwrap().to_string();
    let (client, server) = tokio::join!(
        connect_tls(
            near,
            "other.example",
            profiles.client_config("client", true).unwrap()
        ),
        accept_tls(far, profiles.server_config("server", true).unwrap()),
    );
    let client = client.unwrap_err().to_string();
    assert!(
        client.starts_with(&format!("TLS with {far_address}: "))
            && client.contains("'other.example'"),
        "{client}"
    );
    let server = server.unwrap_err().to_string();
    assert!(
        server.contains("the peer refuses this side's certificate"),
        "{server}"
    );

    let (mut near, far) = pair().await;
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = accept_tls(far, profiles.server_config("server", true).unwrap())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the peer does not speak TLS on this port"),
        "{error}"
    );
}

#[tokio::test]
async fn a_sniffing_listener_serves_both_kinds_of_clients() {
    let (_authority, profiles) = usual();
    let config = profiles.server_config("server", false).unwrap();
    let (near, far) = pair().await;
    let (client, server) = tokio::join!(
        connect_tls(
            near,
            "127.0.0.1",
            profiles.client_config("anonymous", true).unwrap()
        ),
        accept_sniffed(far, config.clone()),
    );
    let server = server.unwrap();
    assert!(matches!(server, Stream::TlsServer(_)));
    exchange(client.unwrap(), server).await;

    let (mut near, far) = pair().await;
    near.write_all(b"AMQP").await.unwrap();
    let mut server = accept_sniffed(far, config.clone()).await.unwrap();
    assert!(matches!(server, Stream::Plain(_)) && server.tls_facts().is_none());
    let mut word = [0; 4];
    server.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"AMQP");

    let (near, far) = pair().await;
    drop(near);
    assert!(accept_sniffed(far, config).await.is_err());
}

#[tokio::test]
async fn an_adaptor_negotiates_what_it_knows_and_serves_the_rest() {
    let (_authority, profiles) = usual();
    let config = profiles.adaptor_server_config("server", false).unwrap();
    for (offered, negotiated) in [
        (Some("h2"), Some("h2")),
        (Some("http/1.1"), Some("http/1.1")),
        (Some("postgresql"), None),
        (None, None),
    ] {
        let (near, far) = pair().await;
        let client = profiles.client_config("anonymous", true).unwrap();
        let (client, server) = tokio::join!(
            connect_tls_alpn(near, "127.0.0.1", client, offered),
            accept_adaptor_tls(far, &config),
        );
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!(
            server.tls_facts().unwrap().alpn.as_deref(),
            negotiated,
            "{offered:?}"
        );
        exchange(client, server).await;
    }
}
