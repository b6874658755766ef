//! Networks and images.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{Ipam, IpamConfig};
use bollard::query_parameters::{InspectNetworkOptions, RemoveImageOptions};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::failure::{Calls, about};
use super::{container, raw, raw_get};
use crate::engine::transport::{Answer, Call, LONG_CALL_LIMIT};
use crate::engine::{EngineError, ImageInfo, NetworkInfo, NetworkSpec, ObjectKind};

/// Option of the one bridge network without name resolution.
const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";

pub(super) async fn is_rootless(calls: &Calls) -> Result<bool, EngineError> {
    // Read by ourselves: bollard's type of this large answer has closed enums.
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "SecurityOptions")]
        security_options: Option<Vec<String>>,
    }
    let answer = calls.transport.send(raw_get("/info")).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    let options = answer.json::<Info>()?.security_options.unwrap_or_default();
    Ok(options.iter().any(|option| option.contains("rootless")))
}

pub(super) async fn network(calls: &Calls, name: &str) -> Result<Option<NetworkInfo>, EngineError> {
    let inspect = calls
        .client
        .inspect_network(name, None::<InspectNetworkOptions>);
    let Some(network) = calls.look_up("inspect network", inspect).await? else {
        return Ok(None);
    };
    let default_bridge = network
        .options
        .is_some_and(|options| options.get(DEFAULT_BRIDGE).is_some_and(|v| v == "true"));
    let driver = network.driver.unwrap_or_default();
    Ok(Some(NetworkInfo {
        name: network.name.unwrap_or_default(),
        labels: network.labels.unwrap_or_default().into_iter().collect(),
        dns_enabled: !default_bridge && !matches!(driver.as_str(), "host" | "null"),
        // The answer itself lists running containers only.
        attached: container::on_network(calls, name).await?,
    }))
}

pub(super) async fn create_network(calls: &Calls, spec: &NetworkSpec) -> Result<(), EngineError> {
    // bollard lacks `CheckDuplicate`, without which engines before 25 make a second network of the name.
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct NetworkCreate<'a> {
        name: &'a str,
        check_duplicate: bool,
        driver: &'static str,
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        #[serde(rename = "IPAM", skip_serializing_if = "Option::is_none")]
        ipam: Option<Ipam>,
        labels: HashMap<String, String>,
    }
    let body = NetworkCreate {
        name: &spec.name,
        check_duplicate: true,
        driver: "bridge",
        enable_ipv6: spec.ipv6,
        ipam: spec.ipv6.then(|| unique_local_pool(&spec.name)),
        labels: spec.owned_labels().into_iter().collect(),
    };
    let answer = calls
        .transport
        .send(Call::post(raw("/networks/create")).json(&body))
        .await?;
    match answer.status {
        StatusCode::CONFLICT => Err(EngineError::conflict(
            ObjectKind::Network,
            &spec.name,
            answer.message(),
        )),
        status if status.is_success() => Ok(()),
        _ => Err(answer.refusal()),
    }
}

pub(super) async fn remove_network(calls: &Calls, name: &str) -> Result<(), EngineError> {
    let Some(found) = network(calls, name).await? else {
        return Ok(());
    };
    found.check_removable(name)?;
    let removal = calls.client.remove_network(name);
    match calls.look_up("remove network", removal).await {
        Ok(_) => Ok(()),
        Err(error) => Err(about(ObjectKind::Network, name)(error)),
    }
}

pub(super) async fn load_image(calls: &Calls, archive: PathBuf) -> Result<String, EngineError> {
    let call = Call::post(raw("/images/load"))
        .limit(LONG_CALL_LIMIT)
        .archive(&archive)
        .await?;
    let answer = calls.transport.send(call).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    loaded(&answer)
}

/// Reads the progress lines of a load, where errors appear under status 200.
fn loaded(answer: &Answer) -> Result<String, EngineError> {
    #[derive(Deserialize)]
    struct Line {
        stream: Option<String>,
        error: Option<String>,
    }
    let mut name = None;
    for line in serde_json::Deserializer::from_slice(&answer.body).into_iter::<Line>() {
        let line = line.map_err(|error| answer.unreadable(error.to_string()))?;
        if let Some(error) = line.error {
            return Err(answer.api_error(error));
        }
        let text = line.stream.unwrap_or_default();
        if let Some(reference) = text.trim().strip_prefix("Loaded image: ") {
            name = Some(reference.to_owned());
        }
    }
    name.ok_or_else(|| answer.unreadable("no image name in the answer"))
}

pub(super) async fn image(
    calls: &Calls,
    reference: &str,
) -> Result<Option<ImageInfo>, EngineError> {
    let inspect = calls.client.inspect_image(reference);
    let Some(image) = calls.look_up("inspect image", inspect).await? else {
        return Ok(None);
    };
    let digests = image.repo_digests.unwrap_or_default();
    let digest = digests.iter().find_map(|digest| digest.split_once('@'));
    let labels = image.config.and_then(|config| config.labels);
    Ok(Some(ImageInfo {
        id: image
            .id
            .unwrap_or_default()
            .trim_start_matches("sha256:")
            .to_owned(),
        digest: digest.map(|(_, digest)| digest.to_owned()),
        size: image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(0),
        labels: labels.unwrap_or_default().into_iter().collect(),
    }))
}

pub(super) async fn remove_image(calls: &Calls, reference: &str) -> Result<(), EngineError> {
    let Some(found) = image(calls, reference).await? else {
        return Ok(());
    };
    found.check_removable(reference)?;
    let removal = calls
        .client
        .remove_image(reference, None::<RemoveImageOptions>, None);
    match calls.look_up("remove image", removal).await {
        Ok(_) => Ok(()),
        Err(error) => Err(about(ObjectKind::Image, reference)(error)),
    }
}

/// Subnet that engines before 27 do not choose themselves: a unique local /64 (RFC 4193) drawn from the name.
fn unique_local_pool(name: &str) -> Ipam {
    let hash = Sha256::digest(name.as_bytes());
    let group = |at: usize| u16::from_be_bytes([hash[at], hash[at + 1]]);
    let subnet = format!(
        "fd{:02x}:{:x}:{:x}:{:x}::/64",
        hash[0],
        group(1),
        group(3),
        group(5)
    );
    Ipam {
        config: Some(vec![IpamConfig {
            subnet: Some(subnet),
            ..IpamConfig::default()
        }]),
        ..Ipam::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(body: &'static str) -> Answer {
        Answer {
            call: "POST /images/load".into(),
            status: StatusCode::OK,
            headers: hyper::HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn the_reference_is_found_among_progress_lines() {
        let body = "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1}}\r\n\
                    {\"stream\":\"Loaded image: localhost/skupper:1\\n\"}\n";
        assert_eq!(loaded(&answer(body)).unwrap(), "localhost/skupper:1");
    }

    #[test]
    fn an_error_inside_a_successful_load_is_an_error() {
        let body = "{\"errorDetail\":{\"message\":\"open /x: no such file\"},\"error\":\"open /x: no such file\"}";
        let error = loaded(&answer(body)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "POST /images/load: open /x: no such file (status 200)"
        );
    }

    #[test]
    fn a_load_without_result_is_unreadable() {
        for body in ["", "{\"stream\":\"\"}", "<html>"] {
            assert!(matches!(
                loaded(&answer(body)),
                Err(EngineError::UnreadableAnswer { .. })
            ));
        }
    }
}
