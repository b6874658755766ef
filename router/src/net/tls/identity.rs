//! The user that a client certificate stands for: its subject as text in the form of RFC 2253, or parts of it.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use model::router_config::{UidFormat, UidPart};
use rustls::pki_types::CertificateDer;
use x509_parser::{asn1_rs::Any, prelude::X509Certificate, x509::AttributeTypeAndValue};

/// Object identifiers and the short names that OpenSSL writes for them.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Subject of the first certificate of a verified chain, most specific part first, as in `CN=cli,O=skupper`.
///
/// Empty for an empty chain, an empty subject and a certificate that cannot be parsed. Escapes are those of RFC 2253;
/// octets outside ASCII are written as `\XX`, parts of unknown type as `<oid>=#<hex>`.
pub fn peer_identity(chain: &[CertificateDer<'_>]) -> String {
    let Some((_, certificate)) = chain
        .first()
        .and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok())
    else {
        return String::new();
    };
    let mut parts: Vec<String> = certificate
        .subject()
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

/// User id made of parts of the first certificate of a verified chain, with `;` between them, as C routers make it:
/// what the subject has several of counts once, what it lacks is left out, fingerprints are small hexadecimal digits.
///
/// None if nothing is left.
pub(super) fn user_id(chain: &[CertificateDer<'_>], format: &UidFormat) -> Option<String> {
    let leaf = chain.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let parts: Vec<String> = format
        .parts()
        .iter()
        .filter_map(|part| match part {
            UidPart::Country => subject(&certificate, "2.5.4.6"),
            UidPart::State => subject(&certificate, "2.5.4.8"),
            UidPart::Locality => subject(&certificate, "2.5.4.7"),
            UidPart::Organization => subject(&certificate, "2.5.4.10"),
            UidPart::Unit => subject(&certificate, "2.5.4.11"),
            UidPart::CommonName => subject(&certificate, "2.5.4.3"),
            UidPart::Sha1 => Some(fingerprint(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf)),
            UidPart::Sha256 => Some(fingerprint(&digest::SHA256, leaf)),
            UidPart::Sha512 => Some(fingerprint(&digest::SHA512, leaf)),
        })
        .filter(|part| !part.is_empty())
        .collect();
    (!parts.is_empty()).then(|| parts.join(";"))
}

/// First attribute of a type, as text without escapes.
fn subject(certificate: &X509Certificate<'_>, oid: &str) -> Option<String> {
    let mut attributes = certificate.subject().iter_attributes();
    let found = attributes.find(|attribute| attribute.attr_type().to_id_string() == oid)?;
    text(found.attr_value())
}

fn fingerprint(algorithm: &'static digest::Algorithm, certificate: &[u8]) -> String {
    let mut written = String::with_capacity(2 * algorithm.output_len());
    for octet in digest::digest(algorithm, certificate).as_ref() {
        let _ = write!(written, "{octet:02x}");
    }
    written
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES
        .iter()
        .find(|(known, _)| *known == oid)
        .map(|(_, short)| *short);
    match (short, text(attribute.attr_value())) {
        (Some(short), Some(text)) => format!("{short}={}", escape(&text)),
        (short, _) => {
            let mut written = format!("{}=#", short.unwrap_or(&oid));
            for octet in attribute.attr_value().data {
                let _ = write!(written, "{octet:02X}");
            }
            written
        }
    }
}

/// Text of a string value of whatever ASN.1 string type.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag().0 {
        // UTF8String, NumericString, PrintableString, IA5String
        12 | 18 | 19 | 22 => String::from_utf8(value.data.to_vec()).ok(),
        // TeletexString, in practice Latin-1
        20 => Some(value.data.iter().copied().map(char::from).collect()),
        // UniversalString
        28 => value
            .data
            .chunks(4)
            .map(|c| char::from_u32(u32::from_be_bytes(c.try_into().ok()?)))
            .collect(),
        // BMPString
        30 => {
            let units: Option<Vec<u16>> = value
                .data
                .chunks(2)
                .map(|c| Some(u16::from_be_bytes(c.try_into().ok()?)))
                .collect();
            String::from_utf16(&units?).ok()
        }
        _ => None,
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                escaped.push('\\');
                escaped.push(char::from(octet));
            }
            b' ' if at == 0 || at == last => escaped.push_str("\\ "),
            b'#' if at == 0 => escaped.push_str("\\#"),
            0x20..=0x7e => escaped.push(char::from(octet)),
            _ => {
                let _ = write!(escaped, "\\{octet:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn chain(subject: &[(DnType, &str)]) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        vec![certificate.der().clone()]
    }

    #[test]
    fn user_ids_are_made_of_the_parts_asked_for_in_that_order() {
        let chain = chain(&[
            (DnType::CountryName, "SE"),
            (DnType::LocalityName, "Malmö"),
            (DnType::OrganizationName, "Example, Inc"),
            (DnType::OrganizationalUnitName, "web"),
            (DnType::CommonName, "jane"),
        ]);
        let id = |format: &str| user_id(&chain, &format.parse().unwrap());
        assert_eq!(id("n").as_deref(), Some("jane"));
        assert_eq!(id("uno").as_deref(), Some("web;jane;Example, Inc"));
        // There is no state.
        assert_eq!(id("csl").as_deref(), Some("SE;Malmö"));
        assert_eq!(id("s"), None);
        let digest = fingerprint(&digest::SHA256, &chain[0]);
        assert_eq!(id("n2"), Some(format!("jane;{digest}")));
        assert_eq!(id("s2n"), Some(format!("{digest};jane")));
        assert_eq!(id("1").map(|id| id.len()), Some(40));
        assert_eq!(id("5").map(|id| id.len()), Some(128));
        assert_eq!(user_id(&[], &"n".parse().unwrap()), None);
        assert_eq!(
            user_id(&[b"x".to_vec().into()], &"n".parse().unwrap()),
            None
        );
    }

    #[test]
    fn fingerprints_are_digests_in_small_letters() {
        // FIPS 180-4, examples of one block.
        let sha1 = fingerprint(&digest::SHA1_FOR_LEGACY_USE_ONLY, b"abc");
        assert_eq!(sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = fingerprint(&digest::SHA256, b"abc");
        assert!(
            sha256.starts_with("ba7816bf8f01cfea414140de5dae2223"),
            "{sha256}"
        );
        let sha512 = fingerprint(&digest::SHA512, b"abc");
        assert!(
            sha512.starts_with("ddaf35a193617abacc417349ae204131"),
            "{sha512}"
        );
    }

    #[test]
    fn special_characters_are_escaped_where_they_stand() {
        assert_eq!(escape(" a,b+c "), "\\ a\\,b\\+c\\ ");
        assert_eq!(escape("#1 #2"), "\\#1 #2");
        assert_eq!(escape("né\n"), "n\\C3\\A9\\0A");
        assert_eq!(escape(""), "");
    }
}
