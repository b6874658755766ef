//! Docker's descriptions of containers in our words.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{self, ContainerInspectResponse, EndpointSettings, PortMap};

use crate::engine::{
    BindMount, ContainerInfo, ContainerNetwork, ContainerState, ContainerSummary, PublishedPort,
};

pub(super) fn described(answer: ContainerInspectResponse) -> ContainerInfo {
    let state = answer.state.unwrap_or_default();
    let word = state.status.map(|status| status.to_string());
    let described = ContainerState::from_word(
        &word.unwrap_or_default(),
        state.exit_code.unwrap_or_default(),
    );
    let running = described.is_running();
    let config = answer.config.unwrap_or_default();
    let networks = answer.network_settings.and_then(|known| known.networks);
    let bindings = answer.host_config.and_then(|config| config.port_bindings);
    ContainerInfo {
        id: answer.id.unwrap_or_default(),
        name: plain_name(&answer.name.unwrap_or_default()),
        image: config.image.unwrap_or_default(),
        state: described,
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        restart_count: answer
            .restart_count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0),
        // A stopped container reports 0, which `kill` would read as "everybody in my group".
        pid: state
            .pid
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|&pid| running && pid > 1),
        networks: sorted(networks.unwrap_or_default()),
        started_at: state
            .started_at
            .and_then(|text| text.parse().ok())
            .filter(|time: &jiff::Timestamp| time.as_second() > 0),
        mounts: answer
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter(|mount| mount.typ.as_deref() == Some("bind"))
            .map(|mount| BindMount {
                source: PathBuf::from(mount.source.unwrap_or_default()),
                target: mount.destination.unwrap_or_default(),
                read_only: !mount.rw.unwrap_or(true),
            })
            .collect(),
        ports: published(bindings.unwrap_or_default()),
    }
}

fn sorted(networks: HashMap<String, EndpointSettings>) -> Vec<ContainerNetwork> {
    let mut networks: Vec<_> = networks
        .into_iter()
        .map(|(name, endpoint)| ContainerNetwork {
            name,
            addresses: [endpoint.ip_address, endpoint.global_ipv6_address]
                .into_iter()
                .flatten()
                .filter_map(|text| text.parse().ok())
                .collect(),
            aliases: endpoint.aliases.unwrap_or_default(),
        })
        .collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    networks
}

fn published(bindings: PortMap) -> Vec<PublishedPort> {
    let mut ports: Vec<_> = bindings
        .into_iter()
        .flat_map(|(key, bindings)| {
            let bindings = bindings.unwrap_or_default().into_iter();
            bindings.filter_map(move |binding| {
                PublishedPort::from_binding(&key, binding.host_ip, binding.host_port.as_deref())
            })
        })
        .collect();
    ports.sort_by_key(|port| (port.container_port, port.host_port));
    ports
}

pub(super) fn summary(listed: models::ContainerSummary) -> ContainerSummary {
    let word = listed.state.map(|state| state.to_string());
    let exit_code = exit_code(listed.status.as_deref().unwrap_or_default());
    let networks = listed.network_settings.and_then(|known| known.networks);
    let mut networks: Vec<_> = networks.unwrap_or_default().into_keys().collect();
    networks.sort();
    ContainerSummary {
        id: listed.id.unwrap_or_default(),
        name: plain_name(
            listed
                .names
                .unwrap_or_default()
                .first()
                .map_or("", String::as_str),
        ),
        image: listed.image.unwrap_or_default(),
        state: ContainerState::from_word(&word.unwrap_or_default(), exit_code),
        labels: listed.labels.unwrap_or_default().into_iter().collect(),
        networks,
    }
}

/// Docker names start with a slash.
fn plain_name(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

/// Listings tell the code only in their text: `Exited (137) 3 minutes ago`.
fn exit_code(status: &str) -> i64 {
    let code = status
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'));
    code.and_then(|(code, _)| code.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_read_from_the_status_text() {
        assert_eq!(exit_code("Exited (137) 3 minutes ago"), 137);
        assert_eq!(exit_code("Up 2 seconds"), 0);
        assert_eq!(exit_code("Up 2 seconds (healthy)"), 0);
    }
}
