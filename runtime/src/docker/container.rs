use std::collections::HashMap;
use std::time::Duration;

use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, LogsOptions,
    RemoveContainerOptions, StartContainerOptions, StopContainerOptions,
};
use futures_util::StreamExt as _;

use super::create::{body, endpoint};
use super::describe::{described, summary};
use super::failure::{Calls, about};
use crate::engine::transport::{CALL_LIMIT, LONG_CALL_LIMIT};
use crate::engine::{
    ContainerInfo, ContainerSpec, ContainerSummary, EngineError, Failure, NetworkAttachment,
    ObjectKind, classify,
};

/// More than any log tail worth showing.
const MAX_LOG: usize = 8 << 20;

pub(super) async fn create(calls: &Calls, spec: &ContainerSpec) -> Result<String, EngineError> {
    spec.check()?;
    let options = CreateContainerOptions {
        name: Some(spec.name.clone()),
        ..CreateContainerOptions::default()
    };
    let creation = calls.client.create_container(Some(options), body(spec));
    let created = calls
        .run_within(LONG_CALL_LIMIT, "create container", creation)
        .await
        .map_err(|error| refused_creation(error, spec))?;
    // Engines before 25 take one network at creation.
    for attachment in spec.networks.iter().skip(1) {
        if let Err(error) = join(calls, &created.id, attachment).await {
            let remains = remove_now(calls, &created.id).await;
            if let Err(remains) = remains {
                tracing::warn!(container = %spec.name, error = %remains, "half-made container left");
            }
            return Err(error);
        }
    }
    Ok(created.id)
}

async fn join(
    calls: &Calls,
    container: &str,
    attachment: &NetworkAttachment,
) -> Result<(), EngineError> {
    let request = NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(endpoint(attachment)),
    };
    let joining = calls.client.connect_network(&attachment.network, request);
    calls
        .run("connect network", joining)
        .await
        .map_err(about(ObjectKind::Network, &attachment.network))
}

pub(super) async fn start(calls: &Calls, name: &str) -> Result<(), EngineError> {
    let start = calls
        .client
        .start_container(name, None::<StartContainerOptions>);
    let result = calls
        .run_within(LONG_CALL_LIMIT, "start container", start)
        .await;
    match result {
        Ok(()) | Err(EngineError::Api { status: 304, .. }) => Ok(()),
        Err(EngineError::Api {
            call,
            status,
            message,
        }) => Err(match classify(&message) {
            Failure::PortInUse(port) => EngineError::PortInUse { port, message },
            Failure::PortNotPermitted(port) => EngineError::PortNotPermitted { port, message },
            Failure::NetworkMissing(missing) => EngineError::NotFound {
                kind: ObjectKind::Network,
                name: missing.unwrap_or(message),
            },
            _ => about(ObjectKind::Container, name)(EngineError::Api {
                call,
                status,
                message,
            }),
        }),
        Err(error) => Err(error),
    }
}

pub(super) async fn stop(calls: &Calls, name: &str, grace: Duration) -> Result<(), EngineError> {
    let options = StopContainerOptions {
        t: Some(i32::try_from(grace.as_secs()).unwrap_or(i32::MAX)),
        ..StopContainerOptions::default()
    };
    let stop = calls.client.stop_container(name, Some(options));
    match calls
        .run_within(CALL_LIMIT + grace, "stop container", stop)
        .await
    {
        Ok(()) | Err(EngineError::Api { status: 304, .. }) => Ok(()),
        Err(error) => Err(about(ObjectKind::Container, name)(error)),
    }
}

pub(super) async fn remove(calls: &Calls, name: &str) -> Result<(), EngineError> {
    let Some(found) = inspect(calls, name).await? else {
        return Ok(());
    };
    found.check_removable(name)?;
    remove_now(calls, &found.id).await
}

async fn remove_now(calls: &Calls, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions {
        force: true,
        v: true,
        link: false,
    };
    let removal = calls.client.remove_container(id, Some(options));
    let result = calls
        .run_within(LONG_CALL_LIMIT, "remove container", removal)
        .await;
    match result {
        Ok(()) | Err(EngineError::Api { status: 404, .. }) => Ok(()),
        Err(error) => Err(about(ObjectKind::Container, id)(error)),
    }
}

pub(super) async fn inspect(
    calls: &Calls,
    name: &str,
) -> Result<Option<ContainerInfo>, EngineError> {
    let inspect = calls
        .client
        .inspect_container(name, None::<InspectContainerOptions>);
    let found = calls.look_up("inspect container", inspect).await?;
    Ok(found.map(described))
}

pub(super) async fn list(
    calls: &Calls,
    labels: &[(&str, &str)],
) -> Result<Vec<ContainerSummary>, EngineError> {
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    filtered(calls, "label", labels).await
}

/// Names of the containers that joined a network.
pub(super) async fn on_network(calls: &Calls, network: &str) -> Result<Vec<String>, EngineError> {
    let listed = filtered(calls, "network", vec![network.to_owned()]).await?;
    Ok(listed
        .into_iter()
        // The filter also takes prefixes of identifiers.
        .filter(|container| container.networks.iter().any(|name| name == network))
        .map(|container| container.name)
        .collect())
}

async fn filtered(
    calls: &Calls,
    key: &str,
    values: Vec<String>,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let filters = (!values.is_empty()).then(|| HashMap::from([(key.to_owned(), values)]));
    let options = ListContainersOptions {
        all: true,
        filters,
        ..ListContainersOptions::default()
    };
    let listing = calls.client.list_containers(Some(options));
    let listed = calls.run("list containers", listing).await?;
    Ok(listed.into_iter().map(summary).collect())
}

pub(super) async fn logs(calls: &Calls, name: &str, tail: usize) -> Result<String, EngineError> {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        tail: tail.to_string(),
        ..LogsOptions::default()
    };
    let mut stream = calls.client.logs(name, Some(options));
    let reading = async {
        let mut text = Vec::new();
        while let Some(output) = stream.next().await {
            text.extend_from_slice(&output?.into_bytes());
            if text.len() > MAX_LOG {
                text.truncate(MAX_LOG);
                break;
            }
        }
        Ok(text)
    };
    let text = calls
        .run("container logs", reading)
        .await
        .map_err(about(ObjectKind::Container, name))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn refused_creation(error: EngineError, spec: &ContainerSpec) -> EngineError {
    let EngineError::Api {
        call,
        status,
        message,
    } = error
    else {
        return error;
    };
    match (classify(&message), status) {
        (Failure::ImageMissing, _) => EngineError::NotFound {
            kind: ObjectKind::Image,
            name: spec.image.clone(),
        },
        (Failure::NetworkMissing(name), _) => EngineError::NotFound {
            kind: ObjectKind::Network,
            name: name.unwrap_or_else(|| spec.networks[0].network.clone()),
        },
        (Failure::NameTaken, _) | (_, 409) => EngineError::Conflict {
            kind: ObjectKind::Container,
            name: spec.name.clone(),
            reason: message,
        },
        _ => EngineError::Api {
            call,
            status,
            message,
        },
    }
}
