//! The user that a client certificate stands for: its subject as text in the form of RFC 2253.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use x509_parser::{asn1_rs::Any, x509::AttributeTypeAndValue};

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
    use super::*;

    #[test]
    fn special_characters_are_escaped_where_they_stand() {
        assert_eq!(escape(" a,b+c "), "\\ a\\,b\\+c\\ ");
        assert_eq!(escape("#1 #2"), "\\#1 #2");
        assert_eq!(escape("né\n"), "n\\C3\\A9\\0A");
        assert_eq!(escape(""), "");
    }
}
