//! Networks and images.

use std::path::PathBuf;

use hyper::StatusCode;

use super::api::{ImageAnswer, ImageRemoval, LoadAnswer, NetworkAnswer, NetworkCreate, Removal};
use super::{container, path};
use crate::engine::transport::{
    Answer, Call, LONG_CALL_LIMIT, Transport, encode, encode_reference,
};
use crate::engine::{EngineError, ImageInfo, NetworkInfo, NetworkSpec, ObjectKind};

pub(super) async fn network(
    transport: &Transport,
    name: &str,
) -> Result<Option<NetworkInfo>, EngineError> {
    let call = Call::get(path(&format!("/networks/{}/json", encode(name))));
    let Some(answer) = found(transport.send(call).await?)? else {
        return Ok(None);
    };
    let network: NetworkAnswer = answer.json()?;
    // Older versions do not list containers in the answer.
    let attached = container::on_network(transport, name).await?;
    Ok(Some(NetworkInfo {
        name: network.name,
        labels: network.labels,
        dns_enabled: network.dns_enabled,
        attached,
    }))
}

pub(super) async fn create_network(
    transport: &Transport,
    spec: &NetworkSpec,
) -> Result<(), EngineError> {
    let body = NetworkCreate {
        name: &spec.name,
        driver: "bridge",
        dns_enabled: true,
        internal: false,
        ipv6_enabled: spec.ipv6,
        labels: spec.owned_labels(),
    };
    let answer = transport
        .send(Call::post(path("/networks/create")).json(&body))
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

pub(super) async fn remove_network(transport: &Transport, name: &str) -> Result<(), EngineError> {
    let Some(found) = network(transport, name).await? else {
        return Ok(());
    };
    found.check_removable(name)?;
    let answer = transport
        .send(Call::delete(path(&format!("/networks/{}", encode(name)))))
        .await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(()),
        StatusCode::CONFLICT => Err(EngineError::conflict(
            ObjectKind::Network,
            name,
            answer.message(),
        )),
        status if status.is_success() => check_removal(&answer),
        _ => Err(answer.refusal()),
    }
}

pub(super) async fn load_image(
    transport: &Transport,
    archive: PathBuf,
) -> Result<String, EngineError> {
    let call = Call::post(path("/images/load"))
        .limit(LONG_CALL_LIMIT)
        .archive(&archive)
        .await?;
    let answer = transport.send(call).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    let loaded: LoadAnswer = answer.json()?;
    if let Some(error) = loaded.error.filter(|error| !error.is_empty()) {
        return Err(answer.api_error(error));
    }
    let name = loaded.names.into_iter().next();
    name.ok_or_else(|| answer.unreadable("no image name in the answer"))
}

pub(super) async fn image(
    transport: &Transport,
    reference: &str,
) -> Result<Option<ImageInfo>, EngineError> {
    let call = Call::get(path(&format!(
        "/images/{}/json",
        encode_reference(reference)
    )));
    let Some(answer) = found(transport.send(call).await?)? else {
        return Ok(None);
    };
    let image: ImageAnswer = answer.json()?;
    Ok(Some(ImageInfo {
        id: image.id.trim_start_matches("sha256:").to_owned(),
        digest: image.digest.filter(|digest| !digest.is_empty()),
        size: u64::try_from(image.size).unwrap_or(0),
        labels: image.labels,
    }))
}

pub(super) async fn remove_image(
    transport: &Transport,
    reference: &str,
) -> Result<(), EngineError> {
    let Some(found) = image(transport, reference).await? else {
        return Ok(());
    };
    found.check_removable(reference)?;
    let call = Call::delete(path(&format!("/images/{}", encode_reference(reference))))
        .query("force", "false")
        .limit(LONG_CALL_LIMIT);
    let answer = transport.send(call).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(()),
        StatusCode::CONFLICT => Err(EngineError::conflict(
            ObjectKind::Image,
            reference,
            answer.message(),
        )),
        status if status.is_success() => {
            let removal: ImageRemoval = answer.json()?;
            match removal.errors.into_iter().next() {
                None => Ok(()),
                Some(error) if error.contains("in use") => {
                    Err(EngineError::conflict(ObjectKind::Image, reference, error))
                }
                Some(error) => Err(answer.api_error(error)),
            }
        }
        _ => Err(answer.refusal()),
    }
}

/// `None` for 404, which is the normal answer to "is it there".
pub(super) fn found(answer: Answer) -> Result<Option<Answer>, EngineError> {
    match answer.status {
        StatusCode::NOT_FOUND => Ok(None),
        status if status.is_success() => Ok(Some(answer)),
        _ => Err(answer.refusal()),
    }
}

/// Looks into a 200 (or empty 204) answer of a removal: `[{"Name" or "Id": …, "Err": null or …}]`.
pub(super) fn check_removal(answer: &Answer) -> Result<(), EngineError> {
    if answer.body.trim_ascii().is_empty() {
        return Ok(());
    }
    let removals: Vec<Removal> = answer.json()?;
    let error = removals.into_iter().find_map(|removal| removal.err);
    match error {
        None | Some(serde_json::Value::Null) => Ok(()),
        Some(serde_json::Value::String(text)) if text.is_empty() => Ok(()),
        Some(serde_json::Value::String(text)) => Err(answer.api_error(text)),
        // Versions that encode Go errors as objects lose the text.
        Some(other) => Err(answer.api_error(format!("the engine could not remove it: {other}"))),
    }
}
