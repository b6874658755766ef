//! OpenSSL cipher lists and the names of negotiated suites.

use rustls::{CipherSuite, SupportedCipherSuite, crypto::aws_lc_rs::ALL_CIPHER_SUITES};

use super::TlsError;

/// A suite, its OpenSSL name, the key size in bits, and the list keywords that select it.
struct Suite {
    suite: CipherSuite,
    name: &'static str,
    bits: u16,
    keywords: &'static [&'static str],
}

macro_rules! suites {
    ($($suite:ident $name:literal $bits:literal [$($keyword:literal)*];)*) => {
        &[$(Suite { suite: CipherSuite::$suite, name: $name, bits: $bits, keywords: &[$($keyword),*] }),*]
    };
}

const SUITES: &[Suite] = suites! {
    TLS13_AES_256_GCM_SHA384 "TLS_AES_256_GCM_SHA384" 256 [];
    TLS13_AES_128_GCM_SHA256 "TLS_AES_128_GCM_SHA256" 128 [];
    TLS13_CHACHA20_POLY1305_SHA256 "TLS_CHACHA20_POLY1305_SHA256" 256 [];
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 "ECDHE-ECDSA-AES256-GCM-SHA384" 256
        ["ECDSA" "AECDSA" "AES" "AES256" "AESGCM" "SHA384"];
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 "ECDHE-ECDSA-AES128-GCM-SHA256" 128
        ["ECDSA" "AECDSA" "AES" "AES128" "AESGCM" "SHA256"];
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 "ECDHE-ECDSA-CHACHA20-POLY1305" 256
        ["ECDSA" "AECDSA" "CHACHA20" "SHA256"];
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 "ECDHE-RSA-AES256-GCM-SHA384" 256
        ["RSA" "ARSA" "AES" "AES256" "AESGCM" "SHA384"];
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 "ECDHE-RSA-AES128-GCM-SHA256" 128
        ["RSA" "ARSA" "AES" "AES128" "AESGCM" "SHA256"];
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 "ECDHE-RSA-CHACHA20-POLY1305" 256
        ["RSA" "ARSA" "CHACHA20" "SHA256"];
};

/// Keywords that stand for every suite of TLS 1.2 here: all of them are ephemeral, authenticated and strong.
const EVERYTHING: &[&str] = &[
    "ALL",
    "DEFAULT",
    "HIGH",
    "TLSV1.2",
    "ECDHE",
    "EECDH",
    "KECDHE",
    "KEECDH",
    "AEAD",
    "FIPS",
    "COMPLEMENTOFDEFAULT",
];

impl Suite {
    fn is_tls13(&self) -> bool {
        self.name.starts_with("TLS_")
    }

    /// True if the list element selects this suite: its name, or keywords joined with `+`.
    fn matches(&self, element: &str) -> bool {
        if self.name.eq_ignore_ascii_case(element) {
            return true;
        }
        !self.is_tls13()
            && element.split('+').all(|part| {
                let part = part.to_ascii_uppercase();
                EVERYTHING.contains(&part.as_str()) || self.keywords.contains(&part.as_str())
            })
    }

    fn supported(&self) -> Option<SupportedCipherSuite> {
        ALL_CIPHER_SUITES
            .iter()
            .copied()
            .find(|supported| supported.suite() == self.suite)
    }
}

/// Suites that an OpenSSL cipher list selects, in its order.
///
/// As in OpenSSL the list speaks of TLS 1.2; suites of TLS 1.3 stay as they are unless the list names some. Exclusions
/// (`!aNULL`) of what does not exist here are satisfied; anything asked for that does not exist is an error, because a
/// list that silently selects something else protects nobody.
pub(super) fn parse(profile: &str, ciphers: &str) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut banned: Vec<&str> = Vec::new();
    for element in ciphers
        .split([':', ',', ' ', ';'])
        .filter(|element| !element.is_empty())
    {
        if element.starts_with('@') {
            continue;
        }
        if let Some(excluded) = element.strip_prefix(['!', '-']) {
            if element.starts_with('!') {
                banned.push(excluded);
            }
            chosen.retain(|suite| !suite.matches(excluded));
        } else if let Some(moved) = element.strip_prefix('+') {
            // moves what is already there to the end of the list
            let (back, front): (Vec<_>, Vec<_>) =
                chosen.iter().partition(|suite| suite.matches(moved));
            chosen = front.into_iter().chain(back).collect();
        } else {
            if !SUITES.iter().any(|suite| suite.matches(element)) {
                return Err(TlsError::Cipher {
                    profile: profile.to_owned(),
                    cipher: element.to_owned(),
                });
            }
            for suite in SUITES.iter().filter(|suite| suite.matches(element)) {
                if !chosen.iter().any(|known| known.name == suite.name)
                    && !banned.iter().any(|ban| suite.matches(ban))
                {
                    chosen.push(suite);
                }
            }
        }
    }
    if !chosen.iter().any(|suite| suite.is_tls13()) {
        chosen.splice(0..0, SUITES.iter().filter(|suite| suite.is_tls13()));
    }
    Ok(chosen.into_iter().filter_map(Suite::supported).collect())
}

/// OpenSSL name and key bits of a negotiated suite, as management shows them.
pub(super) fn describe(suite: CipherSuite) -> (&'static str, u16) {
    SUITES
        .iter()
        .find(|known| known.suite == suite)
        .map_or(("unknown", 0), |known| (known.name, known.bits))
}

/// Names of all suites, for error texts.
pub(super) fn supported() -> String {
    SUITES
        .iter()
        .map(|suite| suite.name)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ciphers: &str) -> Vec<&'static str> {
        parse("p", ciphers)
            .unwrap()
            .into_iter()
            .map(|suite| describe(suite.suite()).0)
            .collect()
    }

    fn tls12(ciphers: &str) -> Vec<&'static str> {
        names(ciphers)
            .into_iter()
            .filter(|name| !name.starts_with("TLS_"))
            .collect()
    }

    #[test]
    fn every_suite_is_implemented_and_named() {
        assert!(SUITES.iter().all(|suite| suite.supported().is_some()));
        assert_eq!(SUITES.len(), ALL_CIPHER_SUITES.len());
    }

    #[test]
    fn names_select_in_their_order_and_keep_tls13() {
        assert_eq!(
            names("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256"),
            [
                "TLS_AES_256_GCM_SHA384",
                "TLS_AES_128_GCM_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256",
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-RSA-AES128-GCM-SHA256"
            ]
        );
        assert_eq!(names("TLS_AES_128_GCM_SHA256"), ["TLS_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn keywords_combine_exclude_and_move() {
        assert_eq!(tls12("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(
            tls12("ECDHE+AESGCM+RSA"),
            ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(
            tls12("!ECDSA:!CHACHA20:DEFAULT:+AES256"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(tls12("ALL:-AES:@STRENGTH").len(), 2);
    }

    #[test]
    fn what_does_not_exist_is_refused_by_name() {
        let error = parse("p", "HIGH:AES256-SHA").unwrap_err().to_string();
        assert!(
            error.contains("'AES256-SHA'") && error.contains("ECDHE-RSA-AES256-GCM-SHA384"),
            "{error}"
        );
        assert!(parse("p", "ECDHE+RC4").is_err());
    }
}
