use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;

use super::api::{
    Attachment, ContainerAnswer, ContainerCreate, Created, ListedContainer, Mount, Namespace,
    PortBinding, PortMapping,
};
use super::object::{check_removal, found};
use super::path;
use crate::engine::transport::{Answer, CALL_LIMIT, Call, LONG_CALL_LIMIT, Transport, encode};
use crate::engine::{
    BindMount, ContainerInfo, ContainerNetwork, ContainerSpec, ContainerState, ContainerSummary,
    EngineError, Failure, ObjectKind, PublishedPort, RestartPolicy, classify,
};

pub(super) async fn create(
    transport: &Transport,
    spec: &ContainerSpec,
) -> Result<String, EngineError> {
    spec.check()?;
    let body = body(spec);
    let call = Call::post(path("/containers/create"))
        .json(&body)
        .limit(LONG_CALL_LIMIT);
    let answer = transport.send(call).await?;
    if answer.status.is_success() {
        return Ok(answer.json::<Created>()?.id);
    }
    Err(refused_creation(&answer, spec))
}

pub(super) async fn start(transport: &Transport, name: &str) -> Result<(), EngineError> {
    let answer = transport
        .send(Call::post(container(name, "/start")).limit(LONG_CALL_LIMIT))
        .await?;
    match answer.status {
        StatusCode::NOT_MODIFIED => Ok(()),
        StatusCode::NOT_FOUND => Err(not_found(name)),
        status if status.is_success() => Ok(()),
        _ => {
            let message = answer.message();
            Err(match classify(&message) {
                Failure::PortInUse(port) => EngineError::PortInUse { port, message },
                Failure::PortNotPermitted(port) => EngineError::PortNotPermitted { port, message },
                _ => answer.refusal(),
            })
        }
    }
}

pub(super) async fn stop(
    transport: &Transport,
    name: &str,
    grace: Duration,
) -> Result<(), EngineError> {
    let call = Call::post(container(name, "/stop"))
        .query("timeout", grace.as_secs().to_string())
        .limit(CALL_LIMIT + grace);
    let answer = transport.send(call).await?;
    match answer.status {
        StatusCode::NOT_MODIFIED => Ok(()),
        StatusCode::NOT_FOUND => Err(not_found(name)),
        status if status.is_success() => Ok(()),
        _ => Err(answer.refusal()),
    }
}

pub(super) async fn remove(transport: &Transport, name: &str) -> Result<(), EngineError> {
    let Some(found) = inspect(transport, name).await? else {
        return Ok(());
    };
    found.check_removable(name)?;
    let call = Call::delete(path(&format!("/containers/{}", encode(&found.id))))
        .query("force", "true")
        .query("timeout", "0")
        .query("v", "true")
        .limit(LONG_CALL_LIMIT);
    let answer = transport.send(call).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(()),
        status if status.is_success() => check_removal(&answer),
        _ => Err(answer.refusal()),
    }
}

pub(super) async fn inspect(
    transport: &Transport,
    name: &str,
) -> Result<Option<ContainerInfo>, EngineError> {
    let Some(answer) = found(transport.send(Call::get(container(name, "/json"))).await?)? else {
        return Ok(None);
    };
    Ok(Some(answer.json::<ContainerAnswer>()?.into()))
}

pub(super) async fn list(
    transport: &Transport,
    labels: &[(&str, &str)],
) -> Result<Vec<ContainerSummary>, EngineError> {
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    filtered(transport, "label", labels).await
}

/// Names of the containers that joined a network.
pub(super) async fn on_network(
    transport: &Transport,
    network: &str,
) -> Result<Vec<String>, EngineError> {
    let listed = filtered(transport, "network", vec![network.to_owned()]).await?;
    Ok(listed.into_iter().map(|container| container.name).collect())
}

async fn filtered(
    transport: &Transport,
    key: &str,
    values: Vec<String>,
) -> Result<Vec<ContainerSummary>, EngineError> {
    let mut call = Call::get(path("/containers/json")).query("all", "true");
    if !values.is_empty() {
        call = call.query("filters", serde_json::json!({ key: values }).to_string());
    }
    let answer = transport.send(call).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    // An empty listing is `null` in some versions.
    let listed: Option<Vec<ListedContainer>> = answer.json()?;
    Ok(listed
        .unwrap_or_default()
        .into_iter()
        .map(ContainerSummary::from)
        .collect())
}

fn body(spec: &ContainerSpec) -> ContainerCreate<'_> {
    ContainerCreate {
        name: &spec.name,
        image: &spec.image,
        command: &spec.command,
        env: spec
            .env
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        labels: spec.owned_labels(),
        netns: Namespace { nsmode: "bridge" },
        networks: spec
            .networks
            .iter()
            .map(|attachment| {
                let aliases = &attachment.aliases;
                (attachment.network.as_str(), Attachment { aliases })
            })
            .collect(),
        mounts: spec.mounts.iter().map(mount).collect(),
        portmappings: spec
            .ports
            .iter()
            .map(|port| PortMapping {
                host_ip: port.host_ip.as_deref().unwrap_or_default(),
                host_port: port.host_port,
                container_port: port.container_port,
                protocol: "tcp",
            })
            .collect(),
        restart_policy: match spec.restart {
            RestartPolicy::Always => "always",
            RestartPolicy::No => "no",
        },
        user: spec.user.as_deref(),
        hostadd: spec
            .extra_hosts
            .iter()
            .map(|(name, address)| format!("{name}:{address}"))
            .collect(),
        stop_timeout: spec.stop_timeout.map(|time| time.as_secs()),
        cap_drop: &["ALL"],
        cap_add: &["NET_BIND_SERVICE"],
        no_new_privileges: true,
    }
}

fn mount(mount: &BindMount) -> Mount<'_> {
    Mount {
        kind: "bind",
        source: mount
            .source
            .to_str()
            .expect("ContainerSpec::check refuses other paths"),
        destination: &mount.target,
        options: vec!["rbind", "z", if mount.read_only { "ro" } else { "rw" }],
    }
}

fn refused_creation(answer: &Answer, spec: &ContainerSpec) -> EngineError {
    let message = answer.message();
    match classify(&message) {
        Failure::NameTaken => EngineError::conflict(ObjectKind::Container, &spec.name, message),
        Failure::NetworkMissing(name) => EngineError::NotFound {
            kind: ObjectKind::Network,
            name: name.unwrap_or_else(|| spec.networks[0].network.clone()),
        },
        Failure::ImageMissing => EngineError::NotFound {
            kind: ObjectKind::Image,
            name: spec.image.clone(),
        },
        _ => answer.refusal(),
    }
}

fn container(name: &str, rest: &str) -> String {
    path(&format!("/containers/{}{rest}", encode(name)))
}

pub(super) fn not_found(name: &str) -> EngineError {
    EngineError::NotFound {
        kind: ObjectKind::Container,
        name: name.to_owned(),
    }
}

impl From<ContainerAnswer> for ContainerInfo {
    fn from(answer: ContainerAnswer) -> Self {
        let state = ContainerState::from_word(&answer.state.status, answer.state.exit_code);
        let running = state.is_running();
        Self {
            id: answer.id,
            name: answer.name,
            image: answer.image_name,
            state,
            labels: answer.config.labels,
            restart_count: u64::try_from(answer.restart_count).unwrap_or(0),
            // A stopped container reports 0, which `kill` would read as "everybody in my group".
            pid: u32::try_from(answer.state.pid)
                .ok()
                .filter(|&pid| running && pid > 1),
            networks: answer
                .network_settings
                .networks
                .into_iter()
                .map(|(name, endpoint)| ContainerNetwork {
                    name,
                    addresses: [endpoint.ip_address, endpoint.ipv6_address]
                        .iter()
                        .filter_map(|text| text.parse().ok())
                        .collect(),
                    aliases: endpoint.aliases,
                })
                .collect(),
            started_at: answer
                .state
                .started_at
                .and_then(|text| text.parse().ok())
                .filter(|time: &jiff::Timestamp| time.as_second() > 0),
            mounts: answer
                .mounts
                .into_iter()
                .filter(|mount| mount.kind == "bind")
                .map(|mount| BindMount {
                    source: PathBuf::from(mount.source),
                    target: mount.destination,
                    read_only: !mount.writable,
                })
                .collect(),
            ports: published(answer.host_config.port_bindings),
        }
    }
}

fn published(bindings: BTreeMap<String, Option<Vec<PortBinding>>>) -> Vec<PublishedPort> {
    bindings
        .into_iter()
        .flat_map(|(key, bindings)| {
            let bindings = bindings.unwrap_or_default().into_iter();
            bindings.filter_map(move |binding| {
                PublishedPort::from_binding(&key, binding.host_ip, binding.host_port.as_deref())
            })
        })
        .collect()
}

impl From<ListedContainer> for ContainerSummary {
    fn from(listed: ListedContainer) -> Self {
        Self {
            id: listed.id,
            name: listed.names.into_iter().next().unwrap_or_default(),
            image: listed.image,
            state: ContainerState::from_word(&listed.state.to_lowercase(), listed.exit_code),
            labels: listed.labels,
            networks: listed.networks,
        }
    }
}
