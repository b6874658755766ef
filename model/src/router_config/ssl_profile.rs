//! Certificate files.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{ConfigError, Sensitive, UidFormat, attributes::Attributes};

/// Entity `sslProfile`: certificate files of TLS connections
#[derive(Clone, Debug, PartialEq)]
pub struct SslProfile {
    /// Unique among the profiles
    pub name: String,
    /// Own certificate chain, PEM
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM
    pub private_key_file: Option<PathBuf>,
    /// Authorities that peers are checked against, PEM
    pub ca_cert_file: Option<PathBuf>,
    /// Password of the key
    pub password: Option<Sensitive>,
    /// Cipher list in OpenSSL's form
    pub ciphers: Option<String>,
    /// Versions such as `TLSv1.2`; empty: all that are safe
    pub protocols: Vec<String>,
    /// How the user id of a peer is made of its certificate; `None`: the whole subject
    pub uid_format: Option<UidFormat>,
    /// JSON object of user ids and the names to show for them
    pub uid_name_mapping_file: Option<PathBuf>,
    /// Number of this set of certificates in a rotation
    pub ordinal: Option<u64>,
    /// Connections with older sets are closed
    pub oldest_valid_ordinal: Option<u64>,
}

impl SslProfile {
    /// A profile without files
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cert_file: None,
            private_key_file: None,
            ca_cert_file: None,
            password: None,
            ciphers: None,
            protocols: Vec::new(),
            uid_format: None,
            uid_name_mapping_file: None,
            ordinal: None,
            oldest_valid_ordinal: None,
        }
    }

    /// A profile of `tls.crt`, `tls.key` and `ca.crt` in one directory
    pub fn in_directory(name: impl Into<String>, directory: &Path) -> Self {
        Self {
            cert_file: Some(directory.join("tls.crt")),
            private_key_file: Some(directory.join("tls.key")),
            ca_cert_file: Some(directory.join("ca.crt")),
            ..Self::new(name)
        }
    }

    pub(super) fn label(&self) -> String {
        format!("sslProfile {:?}", self.name)
    }

    /// Replaces `${NAME}` in the paths
    pub(super) fn expand(
        &mut self,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let entity = self.label();
        for (attribute, path) in [
            ("certFile", &mut self.cert_file),
            ("privateKeyFile", &mut self.private_key_file),
            ("caCertFile", &mut self.ca_cert_file),
            ("uidNameMappingFile", &mut self.uid_name_mapping_file),
        ] {
            let Some(path) = path else { continue };
            // Paths come from JSON or from our own layout; one that is no text holds no variable.
            let Some(text) = path.to_str() else { continue };
            let expanded =
                expand(text, variables).map_err(|variable| ConfigError::UnknownVariable {
                    entity: entity.clone(),
                    attribute,
                    variable,
                })?;
            *path = PathBuf::from(expanded);
        }
        Ok(())
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let uid_format = match attributes.filled("uidFormat")? {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|reason| attributes.invalid("uidFormat", reason))?,
            ),
        };
        if uid_format.is_none() {
            attributes.without_effect(&["uidNameMappingFile"]);
        }
        let profile = Self {
            name: attributes.required("name")?,
            cert_file: attributes.filled("certFile")?.map(Into::into),
            private_key_file: attributes.filled("privateKeyFile")?.map(Into::into),
            ca_cert_file: attributes.filled("caCertFile")?.map(Into::into),
            password: attributes.filled("password")?.map(Sensitive::new),
            ciphers: attributes.filled("ciphers")?,
            protocols: attributes.words("protocols")?,
            uid_format,
            uid_name_mapping_file: attributes.filled("uidNameMappingFile")?.map(Into::into),
            ordinal: attributes.number("ordinal", 0, u64::MAX)?,
            oldest_valid_ordinal: attributes.number("oldestValidOrdinal", 0, u64::MAX)?,
        };
        Ok(profile)
    }
}

/// Replaces `${NAME}`; the error is the name of a variable without value
fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        expanded.push_str(before);
        expanded.push_str(variables.get(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
