//! The YAML documents that tokens are made of; whatever else they hold is not looked at.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::TokenError;
use crate::Secret;

/// Annotations and labels may be there without value
pub(super) type Texts = BTreeMap<String, Option<String>>;

/// First look at a document, whatever it is
#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(default, rename = "apiVersion")]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
}

/// A Secret, Link or AccessToken, or a list of them
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
    #[serde(default)]
    pub(super) data: Option<Texts>,
    #[serde(default)]
    pub(super) string_data: Option<Texts>,
    #[serde(default)]
    pub(super) spec: Option<Spec>,
    #[serde(default)]
    pub(super) items: Vec<Self>,
}

#[derive(Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) annotations: Option<Texts>,
    #[serde(default)]
    pub(super) labels: Option<Texts>,
}

/// Fields of a Link and of an AccessToken
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) endpoints: Option<Vec<EndpointDocument>>,
    #[serde(default)]
    pub(super) tls_credentials: Option<String>,
    #[serde(default)]
    pub(super) cost: Option<i64>,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) ca: Option<String>,
    #[serde(default)]
    pub(super) link_cost: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct EndpointDocument {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) port: Option<String>,
}

impl Header {
    pub(super) fn describe(&self) -> String {
        match (&self.kind, &self.api_version) {
            (Some(kind), Some(version)) => format!("{kind} ({version})"),
            (Some(kind), None) => kind.clone(),
            (None, _) => "a document without kind".to_owned(),
        }
    }

    pub(super) fn is_of_interest(&self) -> bool {
        matches!(
            self.kind.as_deref(),
            Some("AccessToken" | "Link" | "List" | "Secret")
        )
    }
}

impl Document {
    pub(super) fn is(&self, api_group: &str, kind: &str) -> bool {
        let group = self
            .api_version
            .as_deref()
            .and_then(|version| version.split('/').next())
            .unwrap_or_default();
        self.kind.as_deref() == Some(kind) && group == api_group
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.metadata
            .as_ref()?
            .name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    /// Kind and name, for messages
    pub(super) fn describe(&self) -> String {
        format!(
            "{} {:?}",
            self.kind.as_deref().unwrap_or("document"),
            self.name().unwrap_or_default()
        )
    }

    pub(super) fn annotations(&self) -> Option<&Texts> {
        self.metadata
            .as_ref()?
            .annotations
            .as_ref()
            .filter(|annotations| !annotations.is_empty())
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()?
            .get(key)?
            .as_deref()
            .filter(|value| !value.is_empty())
    }

    pub(super) fn labels(&self) -> Option<&Texts> {
        self.metadata
            .as_ref()?
            .labels
            .as_ref()
            .filter(|labels| !labels.is_empty())
    }

    pub(super) fn has_field(&self, field: &str) -> bool {
        let filled = |texts: &Option<Texts>| {
            texts
                .as_ref()
                .and_then(|texts| texts.get(field))
                .is_some_and(|value| value.as_ref().is_some_and(|value| !value.is_empty()))
        };
        filled(&self.data) || filled(&self.string_data)
    }

    /// A field of a Secret: plain in `stringData`, else base64 in `data`
    pub(super) fn field(&self, field: &'static str) -> Result<Option<Secret>, TokenError> {
        let value = |texts: &Option<Texts>| {
            texts
                .as_ref()?
                .get(field)?
                .clone()
                .filter(|value| !value.is_empty())
        };
        if let Some(text) = value(&self.string_data) {
            return Ok(Some(Secret::new(text)));
        }
        let Some(encoded) = value(&self.data).map(Zeroizing::new) else {
            return Ok(None);
        };
        // Folded lines come back with white space.
        let packed: Zeroizing<Vec<u8>> = Zeroizing::new(
            encoded
                .bytes()
                .filter(|octet| !octet.is_ascii_whitespace())
                .collect(),
        );
        let octets = BASE64_STANDARD
            .decode(packed.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| TokenError::Base64(field))?;
        let text = std::str::from_utf8(&octets).map_err(|_| TokenError::Base64(field))?;
        Ok(Some(Secret::new(text)))
    }
}
