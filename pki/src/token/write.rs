//! Tokens as text, with the keys in the order in which Skupper writes them.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use model::{COMPATIBILITY_VERSION, HostPort};

use super::{
    LinkToken,
    v1::{
        CONNECTION_TOKEN, COST, EDGE_HOST, EDGE_PORT, GENERATED_BY, INTER_ROUTER_HOST,
        INTER_ROUTER_PORT, SITE_VERSION, TYPE_LABEL,
    },
    yaml_text::scalar,
};

/// Name of a token that nobody named, as in Skupper 1
const DEFAULT_NAME: &str = "skupper";
const TLS_SECRET: &str = "kubernetes.io/tls";

pub(super) fn v1_link(link: &LinkToken) -> String {
    let mut annotations: Vec<(&str, String)> = Vec::new();
    for (address, host, port) in [
        (&link.edge, EDGE_HOST, EDGE_PORT),
        (&link.inter_router, INTER_ROUTER_HOST, INTER_ROUTER_PORT),
    ] {
        if let Some(address) = address {
            annotations.push((host, address.host.clone()));
            annotations.push((port, address.port.to_string()));
        }
    }
    annotations.extend(link.cost.map(|cost| (COST, cost.to_string())));
    annotations.extend(link.origin.site_id.clone().map(|id| (GENERATED_BY, id)));
    annotations.push((
        SITE_VERSION,
        link.origin
            .version
            .clone()
            .unwrap_or_else(|| COMPATIBILITY_VERSION.to_owned()),
    ));

    let mut text = Text::default();
    text.line(0, "apiVersion", "v1");
    text.data(link);
    text.line(0, "kind", "Secret");
    text.open(0, "metadata");
    text.open(1, "annotations");
    for (key, value) in &annotations {
        text.line(2, key, value);
    }
    // Written by every tool that serialises Kubernetes' own types.
    text.verbatim("  creationTimestamp: null\n");
    text.open(1, "labels");
    text.line(2, TYPE_LABEL, CONNECTION_TOKEN);
    text.line(1, "name", name(link));
    text.line(0, "type", TLS_SECRET);
    text.0
}

pub(super) fn v2_link(link: &LinkToken) -> String {
    let mut text = Text::default();
    text.verbatim("---\n");
    text.line(0, "apiVersion", "v1");
    text.data(link);
    text.line(0, "kind", "Secret");
    text.open(0, "metadata");
    text.line(1, "name", name(link));
    text.line(0, "type", TLS_SECRET);

    text.verbatim("---\n");
    text.line(0, "apiVersion", "skupper.io/v2alpha1");
    text.line(0, "kind", "Link");
    text.open(0, "metadata");
    text.line(1, "name", name(link));
    text.open(0, "spec");
    text.verbatim(&format!("  cost: {}\n", link.cost.unwrap_or(1)));
    text.open(1, "endpoints");
    for (address, role) in [(&link.inter_router, "inter-router"), (&link.edge, "edge")] {
        if let Some(HostPort { host, port }) = address {
            text.verbatim(&format!(
                "  - host: {}\n    name: {role}\n    port: \"{port}\"\n",
                scalar(host)
            ));
        }
    }
    text.line(1, "tlsCredentials", name(link));
    text.verbatim("status: {}\n");
    text.0
}

fn name(link: &LinkToken) -> &str {
    link.name.as_deref().unwrap_or(DEFAULT_NAME)
}

/// A document that grows line by line; two spaces per level
#[derive(Default)]
struct Text(String);

impl Text {
    fn open(&mut self, level: usize, key: &str) {
        self.verbatim(&format!("{:1$}{key}:\n", "", 2 * level));
    }

    fn line(&mut self, level: usize, key: &str, value: &str) {
        writeln!(
            self.0,
            "{:1$}{key}: {value}",
            "",
            2 * level,
            value = scalar(value)
        )
        .expect("a String takes every text");
    }

    fn data(&mut self, link: &LinkToken) {
        self.open(0, "data");
        for (field, text) in [
            ("ca.crt", link.ca_pem.as_str()),
            ("tls.crt", &link.cert_pem),
            ("tls.key", link.key.expose()),
        ] {
            self.line(1, field, &BASE64_STANDARD.encode(text));
        }
    }

    fn verbatim(&mut self, text: &str) {
        self.0.push_str(text);
    }
}
