mod handshake;

use std::os::unix::fs::MetadataExt as _;

use rcgen::{DnValue, string::PrintableString};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use super::*;
use crate::certificate::{matches_key, verify_issued_by};

fn der(pem_text: &str) -> CertificateDer<'static> {
    pem::certificates("the certificate", pem_text)
        .unwrap()
        .swap_remove(0)
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    x509_parser::parse_x509_certificate(der).unwrap().1
}

fn leaf(hosts: &[&str]) -> LeafRequest {
    LeafRequest::new(
        "skupper-router",
        hosts.iter().map(|host| (*host).to_owned()).collect(),
        KeyKind::P256,
    )
}

/// What every certificate has, authority or leaf
fn check_common(certificate: &X509Certificate<'_>, common_name: &str) {
    let subject: Vec<_> = certificate.subject().iter_attributes().collect();
    assert_eq!(subject.len(), 1);
    assert_eq!(
        certificate
            .subject()
            .iter_common_name()
            .next()
            .unwrap()
            .as_str()
            .unwrap(),
        common_name
    );

    let key_usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(key_usage.digital_signature() && key_usage.key_encipherment());
    assert_eq!(key_usage.key_cert_sign(), certificate.is_ca());
    assert!(!key_usage.crl_sign() && !key_usage.non_repudiation() && !key_usage.key_agreement());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);

    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical);
    assert_eq!(constraints.value.path_len_constraint, None);

    let serial = certificate.raw_serial();
    assert!(
        serial.len() == 16 && (0x40..0x80).contains(&serial[0]),
        "{serial:?}"
    );

    let validity = certificate.validity();
    let now = Timestamp::now().as_second();
    let begin = validity.not_before.timestamp();
    assert!(
        (now - 310..=now - 299).contains(&begin),
        "begins five minutes ago"
    );
    assert_eq!(certificate.version().0, 2, "X.509 version 3");
}

#[test]
fn authorities_are_self_signed_roots() {
    let authority = Authority::generate("skupper-site-ca", KeyKind::Rsa2048).unwrap();
    let der = der(authority.certificate_pem());
    let certificate = parsed(&der);
    check_common(&certificate, "skupper-site-ca");
    assert!(certificate.is_ca());
    assert_eq!(certificate.subject(), certificate.issuer());
    assert!(
        certificate.subject_alternative_name().unwrap().is_none(),
        "no names, not even an empty one"
    );
    assert_eq!(
        certificate.signature_algorithm.algorithm.to_id_string(),
        "1.2.840.113549.1.1.11",
        "SHA-256 with RSA"
    );
    let years = certificate.validity().not_after.timestamp() - Timestamp::now().as_second();
    assert!((VALIDITY.as_secs() as i64 - 10..=VALIDITY.as_secs() as i64).contains(&years));
    assert!(
        authority
            .key_pem
            .expose()
            .starts_with("-----BEGIN RSA PRIVATE KEY-----")
    );
    assert_eq!(authority.name(), "skupper-site-ca");
}

#[test]
fn leaves_name_every_host_and_addresses_twice() {
    let authority = Authority::generate("skupper-site-ca", KeyKind::Rsa2048).unwrap();
    let request = LeafRequest {
        key: KeyKind::Rsa2048,
        ..leaf(&[
            "skupper-router",
            "hub.example.com",
            "192.0.2.10",
            "[2001:db8::1]",
            "hub.example.com",
        ])
    };
    let issued = authority.issue(&request).unwrap();
    let der = der(&issued.certificate_pem);
    let certificate = parsed(&der);
    check_common(&certificate, "skupper-router");
    assert!(!certificate.is_ca());
    assert_eq!(
        certificate
            .issuer()
            .iter_common_name()
            .next()
            .unwrap()
            .as_str()
            .unwrap(),
        "skupper-site-ca"
    );
    assert_eq!(
        certificate.signature_algorithm.algorithm.to_id_string(),
        "1.2.840.113549.1.1.11"
    );

    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => format!("DNS {name}"),
            GeneralName::IPAddress(octets) => format!("IP {}", octets.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "DNS skupper-router",
            "DNS hub.example.com",
            "DNS 192.0.2.10",
            "IP 4",
            "DNS 2001:db8::1",
            "IP 16"
        ]
    );

    assert_eq!(issued.ca_pem, authority.certificate_pem());
    assert!(
        issued
            .private_key
            .expose()
            .starts_with("-----BEGIN RSA PRIVATE KEY-----")
    );
    issued.verify().unwrap();
    let facts = issued.facts().unwrap();
    assert!(
        facts.covers("192.0.2.10")
            && facts.covers("[2001:db8::1]")
            && facts.covers("HUB.example.com")
    );
    assert!(!facts.covers("192.0.2.11") && !facts.covers("example.com"));
}

#[test]
fn pure_clients_have_no_names() {
    let authority = Authority::generate("skupper-local-ca", KeyKind::P256).unwrap();
    let issued = authority.issue(&leaf(&[])).unwrap();
    let der = der(&issued.certificate_pem);
    assert!(parsed(&der).subject_alternative_name().unwrap().is_none());
    assert!(
        issued
            .private_key
            .expose()
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );
    issued.verify().unwrap();
}

#[test]
fn hosts_that_no_certificate_can_hold() {
    let authority = Authority::generate("ca", KeyKind::P256).unwrap();
    for (host, expected) in [
        ("", "it is empty"),
        ("a b", "white space"),
        ("a\nb", "white space"),
        ("münchen.example", "xn--"),
    ] {
        let error = authority.issue(&leaf(&[host])).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn serial_numbers_differ() {
    let authority = Authority::generate("ca", KeyKind::P256).unwrap();
    let [a, b] = [0, 1].map(|_| der(&authority.issue(&leaf(&[])).unwrap().certificate_pem));
    assert_ne!(parsed(&a).raw_serial(), parsed(&b).raw_serial());
}

#[test]
fn an_authority_survives_its_files() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("issuers/skupper-site-ca");
        let authority = Authority::generate("skupper-site-ca", kind).unwrap();
        authority.store(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(
            (
                mode(&path),
                mode(&path.join("tls.crt")),
                mode(&path.join("tls.key"))
            ),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(
            std::fs::read_dir(&path).unwrap().count(),
            2,
            "an authority has no authority"
        );

        let again = Authority::load(&path).unwrap();
        assert_eq!(again.certificate_pem(), authority.certificate_pem());
        assert_eq!(again.key_pem, authority.key_pem);
        let issued = again.issue(&leaf(&["a"])).unwrap();
        verify_issued_by(&issued.certificate_pem, authority.certificate_pem()).unwrap();
    }
}

#[test]
fn files_that_are_no_authority() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::generate("ca", KeyKind::P256).unwrap();
    let missing = Authority::load(directory.path()).unwrap_err();
    assert!(
        matches!(&missing, PkiError::Store(error) if error.is_not_found()),
        "{missing}"
    );

    let issued = authority.issue(&leaf(&[])).unwrap();
    let error = Authority::from_pem(issued.certificate_pem, &issued.private_key).unwrap_err();
    assert!(matches!(error, PkiError::NotAnAuthority { .. }), "{error}");

    let other = Authority::generate("other", KeyKind::P256).unwrap();
    let error = Authority::from_pem(authority.certificate_pem.clone(), &other.key_pem).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the private key does not belong to the certificate of \"ca\""
    );
}

#[test]
fn an_authority_written_by_go_issues_good_certificates() {
    // Go writes the subject as PrintableString and gives the authority an empty DNS name.
    let key_pair = key::generate(KeyKind::Rsa2048).unwrap();
    let now = SystemTime::now();
    let mut params = params("skupper-site-ca", now, now + VALIDITY).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let name = DnValue::PrintableString(PrintableString::try_from("skupper-site-ca").unwrap());
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::DnsName("".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let certificate = params.self_signed(&key_pair).unwrap().pem();

    let authority = Authority::from_pem(certificate, &key::to_pem(&key_pair).unwrap()).unwrap();
    let issued = authority.issue(&leaf(&["a"])).unwrap();
    issued.verify().unwrap();
    let (leaf, issuer) = (
        der(&issued.certificate_pem),
        der(authority.certificate_pem()),
    );
    assert_eq!(
        parsed(&leaf).issuer().as_raw(),
        parsed(&issuer).subject().as_raw(),
        "compared octet by octet by Go"
    );
    assert_eq!(
        certificate::inspect(authority.certificate_pem())
            .unwrap()
            .dns_names,
        Vec::<String>::new()
    );
}

#[test]
fn nothing_outlives_its_authority() {
    let ending = |validity: Duration| {
        let key_pair = key::generate(KeyKind::P256).unwrap();
        let now = SystemTime::now();
        let mut params = params("old", now - VALIDITY, now).unwrap();
        params.not_after = OffsetDateTime::from(now + validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key_pair).unwrap().pem();
        Authority::from_pem(certificate, &key::to_pem(&key_pair).unwrap()).unwrap()
    };
    let authority = ending(Duration::from_secs(3600));
    assert_eq!(
        authority
            .issue(&leaf(&[]))
            .unwrap()
            .facts()
            .unwrap()
            .not_after,
        authority.not_after()
    );
    let error = ending(Duration::ZERO)
        .issue(&leaf(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the authority \"old\" expired at 2"),
        "{error}"
    );
}

#[test]
fn keys_are_made_in_parallel() {
    let authorities: Vec<Authority> = std::thread::scope(|scope| {
        let threads: Vec<_> = ["a", "b", "c"]
            .map(|name| scope.spawn(move || Authority::generate(name, KeyKind::Rsa2048).unwrap()))
            .into();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let issued: Vec<Certificate> = std::thread::scope(|scope| {
        let threads: Vec<_> = authorities
            .iter()
            .map(|authority| scope.spawn(|| authority.issue(&leaf(&["x"])).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (authority, issued) in authorities.iter().zip(&issued) {
        verify_issued_by(&issued.certificate_pem, authority.certificate_pem()).unwrap();
        matches_key(&issued.certificate_pem, &issued.private_key).unwrap();
    }
    verify_issued_by(&issued[0].certificate_pem, authorities[1].certificate_pem()).unwrap_err();
}

#[test]
fn debug_shows_no_key() {
    let authority = Authority::generate("ca", KeyKind::P256).unwrap();
    let issued = authority.issue(&leaf(&[])).unwrap();
    let text = format!("{authority:?} {issued:?}");
    for key in [&authority.key_pem, &issued.private_key] {
        assert!(!text.contains(key.expose().lines().nth(1).unwrap()));
    }
}
