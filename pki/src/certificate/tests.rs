use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa};

use super::*;
use crate::{Authority, KeyKind, LeafRequest};

fn authority(name: &str) -> Authority {
    Authority::generate(name, KeyKind::P256).unwrap()
}

fn issue(authority: &Authority, common_name: &str) -> Certificate {
    authority
        .issue(&LeafRequest::new(
            common_name,
            vec!["hub".to_owned()],
            KeyKind::P256,
        ))
        .unwrap()
}

#[test]
fn a_certificate_survives_its_files() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certs/link1-profile");
    let issued = issue(&authority("ca"), "west");
    issued.store(&path).unwrap();
    issued.store(&path).unwrap();
    for (file, mode) in [
        ("", 0o700),
        ("tls.crt", 0o600),
        ("tls.key", 0o600),
        ("ca.crt", 0o600),
    ] {
        assert_eq!(
            std::fs::metadata(path.join(file)).unwrap().mode() & 0o7777,
            mode,
            "{file}"
        );
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 3);
    assert_eq!(Certificate::load(&path).unwrap(), issued);
    std::fs::remove_file(path.join("tls.key")).unwrap();
    let error = Certificate::load(&path).unwrap_err().to_string();
    assert!(error.contains("link1-profile/tls.key"), "{error}");
}

#[test]
fn facts() {
    let authority = authority("site-ca");
    let issued = issue(&authority, "west");
    let facts = issued.facts().unwrap();
    assert_eq!(
        (facts.subject_cn.as_str(), facts.issuer_cn.as_str()),
        ("west", "site-ca")
    );
    assert_eq!(
        (facts.dns_names, facts.ip_addresses, facts.is_ca),
        (vec!["hub".to_owned()], Vec::new(), false)
    );
    assert!(facts.not_before < Timestamp::now() && facts.not_after > Timestamp::now());
    assert_eq!(facts.fingerprint_sha256_hex.len(), 64);
    let of_authority = inspect(authority.certificate_pem()).unwrap();
    assert!(of_authority.is_ca);
    assert_ne!(
        of_authority.fingerprint_sha256_hex,
        facts.fingerprint_sha256_hex
    );
    assert_eq!(inspect(&issued.ca_pem).unwrap(), of_authority);
}

#[test]
fn fingerprints_are_sha_256_of_the_der_form() {
    // FIPS 180-4, the empty message.
    assert_eq!(
        fingerprint(b""),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn parts_that_do_not_belong_together() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let (a, b) = (issue(&ours, "a"), issue(&ours, "b"));
    let error = matches_key(&a.certificate_pem, &b.private_key).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the private key does not belong to the certificate of \"a\""
    );
    let error = verify_issued_by(&a.certificate_pem, theirs.certificate_pem())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the certificate of \"a\" (issuer \"ours\") was not issued by \"theirs\": another authority signed it"
    );
    let mixed = Certificate {
        ca_pem: theirs.certificate_pem().to_owned(),
        ..a.clone()
    };
    assert!(matches!(mixed.verify(), Err(PkiError::NotIssuedBy { .. })));
    let mixed = Certificate {
        private_key: b.private_key,
        ..a
    };
    assert!(matches!(mixed.verify(), Err(PkiError::KeyMismatch { .. })));
}

#[test]
fn an_authority_of_the_same_name_is_still_another() {
    let (ours, theirs) = (authority("skupper-site-ca"), authority("skupper-site-ca"));
    let error = verify_issued_by(&issue(&ours, "a").certificate_pem, theirs.certificate_pem())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("was not issued by \"skupper-site-ca\""),
        "{error}"
    );
}

#[test]
fn one_of_several_authorities_is_enough() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let both = format!("{}{}", theirs.certificate_pem(), ours.certificate_pem());
    verify_issued_by(&issue(&ours, "a").certificate_pem, &both).unwrap();
}

#[test]
fn expiry_is_not_a_matter_of_the_signature() {
    let authority = authority("ca");
    let mut request = LeafRequest::new("short", Vec::new(), KeyKind::P256);
    request.validity = std::time::Duration::ZERO;
    let issued = authority.issue(&request).unwrap();
    assert!(issued.facts().unwrap().not_after <= Timestamp::now());
    issued.verify().unwrap();
}

#[test]
fn certificates_for_servers_only_are_good_too() {
    let key = key::generate(KeyKind::P256).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer =
        rcgen::CertifiedIssuer::self_signed(params, key::generate(KeyKind::P256).unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["hub".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    verify_issued_by(&certificate.pem(), &issuer.pem()).unwrap();
}

#[test]
fn damaged_texts_have_distinct_errors() {
    let issued = issue(&authority("ca"), "a");
    let text = &issued.certificate_pem;
    let der = pem::certificates(WHAT, text).unwrap()[0].to_vec();
    let wrapped = |octets: &[u8]| pem::encode("CERTIFICATE", octets).expose().to_owned();
    for (damaged, expected) in [
        (String::new(), "the certificate holds no PEM certificate"),
        (
            issued.private_key.expose().to_owned(),
            "the certificate holds no PEM certificate",
        ),
        (
            text[..text.len() / 2].to_owned(),
            "the certificate is cut off: its END line is missing",
        ),
        (
            text.replacen("\nM", "\n*", 1),
            "the certificate holds damaged base64 between BEGIN and END",
        ),
        (
            wrapped(&der[..der.len() - 5]),
            "the certificate is not a valid X.509 certificate",
        ),
        (wrapped(&[&der[..], b"x"].concat()), "octets follow it"),
        (
            wrapped(b"hello"),
            "the certificate is not a valid X.509 certificate",
        ),
    ] {
        let error = inspect(&damaged).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(verify_issued_by(&damaged, &issued.ca_pem).is_err());
        assert!(verify_issued_by(text, &damaged).is_err());
        assert!(matches_key(&damaged, &issued.private_key).is_err());
    }
}

#[test]
fn a_changed_certificate_is_not_genuine() {
    let issued = issue(&authority("ca"), "aaaa");
    let mut der = pem::certificates(WHAT, &issued.certificate_pem).unwrap()[0].to_vec();
    let position = der.windows(4).position(|window| window == b"aaaa").unwrap();
    der[position] = b'b';
    let forged = pem::encode("CERTIFICATE", &der).expose().to_owned();
    let error = verify_issued_by(&forged, &issued.ca_pem)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"baaa\"") && error.contains("signature"),
        "{error}"
    );
}

#[test]
fn empty_names_of_older_releases_are_passed_over() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer =
        rcgen::CertifiedIssuer::self_signed(params, key::generate(KeyKind::P256).unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["192.0.2.10".to_owned()]).unwrap();
    for name in ["", "192.0.2.10", "hub"] {
        params
            .subject_alt_names
            .push(rcgen::SanType::DnsName(name.try_into().unwrap()));
    }
    let key = key::generate(KeyKind::P256).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    verify_issued_by(&certificate, &issuer.pem()).unwrap();
    matches_key(&certificate, &key::to_pem(&key).unwrap()).unwrap();
    let facts = inspect(&certificate).unwrap();
    assert_eq!(facts.dns_names, ["192.0.2.10", "hub"]);
    assert!(facts.covers("192.0.2.10") && facts.covers("hub") && !facts.covers(""));
}
