//! A link: a connection that this site dials to another.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    FORMAT,
    name::{HostPort, LinkCost, LinkName},
    site::now,
    store::{self, StoreError},
};

/// Content of `links/<name>.yaml`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// [`FORMAT`] of the file
    pub format: u32,
    /// Also the name of the router's connector
    pub name: LinkName,
    /// Cost of using it
    #[serde(default)]
    pub cost: LinkCost,
    /// Where to dial
    pub endpoints: Endpoints,
    /// Directory of the credentials below `certs/`, and name of the TLS profile: `<name>-profile`
    pub tls_credentials: String,
    /// Who issued the token
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When it was made, RFC 3339
    pub created: String,
}

/// Where to dial, by the role of the dialling router
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// For interior routers
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inter_router: Option<HostPort>,
    /// For edge routers
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<HostPort>,
}

/// Who issued a token
///
/// Tokens of Skupper 2 name no site; there the fingerprint and the endpoints tell whether two links go to one site.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Id of the issuing site
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<String>,
    /// Version of the issuing site
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of the issuing authority's certificate (DER), hexadecimal
    pub ca_fingerprint: String,
}

impl Link {
    /// A new link, made now
    pub fn new(name: LinkName, cost: LinkCost, endpoints: Endpoints) -> Self {
        let tls_credentials = format!("{name}-profile");
        Self {
            format: FORMAT,
            name,
            cost,
            endpoints,
            tls_credentials,
            origin: None,
            created: now(),
        }
    }

    /// Reads `links/<name>.yaml`
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        store::read_yaml(path)
    }

    /// Writes `links/<name>.yaml`
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        store::write_yaml(path, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let endpoints = Endpoints {
            inter_router: Some(HostPort::new("2001:db8::1", 55671).unwrap()),
            edge: Some(HostPort::new("hub.example.com", 45671).unwrap()),
        };
        let mut link = Link::new(
            LinkName::parse("link1").unwrap(),
            LinkCost::new(3).unwrap(),
            endpoints,
        );
        link.origin = Some(Origin {
            site_id: Some("123".to_owned()),
            version: Some("1.4.3".to_owned()),
            ca_fingerprint: "00".to_owned(),
        });
        link
    }

    #[test]
    fn round_trips_through_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("link1.yaml");
        let link = link();
        link.write(&path).unwrap();
        assert_eq!(Link::read(&path).unwrap(), link);
        assert_eq!(link.tls_credentials, "link1-profile");
    }

    #[test]
    fn bad_values_are_refused() {
        let good = crate::yaml::to_string(&link()).unwrap();
        crate::yaml::from_str::<Link>(&good).unwrap();
        for (from, to) in [
            ("cost: 3", "cost: 0"),
            ("link1\n", "Link 1\n"),
            ("[2001:db8::1]:55671", "2001:db8::1:55671"),
            ("cost: 3", "price: 3"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(crate::yaml::from_str::<Link>(&bad).is_err(), "{bad}");
        }
    }
}
