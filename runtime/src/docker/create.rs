//! Container specifications in Docker's words.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount, MountType, NetworkingConfig,
    PortBinding, PortMap, RestartPolicy as DockerRestartPolicy, RestartPolicyNameEnum,
};

use crate::engine::{BindMount, ContainerSpec, NetworkAttachment, PublishedPort, RestartPolicy};

pub(super) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let first = spec.networks.first();
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: Some(spec.command.clone()),
        env: Some(spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
        labels: Some(spec.owned_labels().into_iter().collect()),
        user: spec.user.clone(),
        exposed_ports: Some(
            spec.ports
                .iter()
                .map(|port| format!("{}/tcp", port.container_port))
                .collect(),
        ),
        stop_timeout: spec
            .stop_timeout
            .and_then(|time| i64::try_from(time.as_secs()).ok()),
        networking_config: first.map(|attachment| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                attachment.network.clone(),
                endpoint(attachment),
            )])),
        }),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    // Only `Binds` take the SELinux option, and they cannot express a colon; no such host uses SELinux labels there.
    let (plain, colons): (Vec<_>, Vec<_>) = spec.mounts.iter().partition(|mount| {
        !mount.source.to_string_lossy().contains(':') && !mount.target.contains(':')
    });
    HostConfig {
        network_mode: spec
            .networks
            .first()
            .map(|attachment| attachment.network.clone()),
        binds: Some(plain.into_iter().map(bind).collect()),
        mounts: Some(colons.into_iter().map(mount).collect()),
        port_bindings: Some(port_bindings(&spec.ports)),
        restart_policy: Some(DockerRestartPolicy {
            name: Some(match spec.restart {
                RestartPolicy::Always => RestartPolicyNameEnum::ALWAYS,
                RestartPolicy::No => RestartPolicyNameEnum::NO,
            }),
            maximum_retry_count: None,
        }),
        extra_hosts: Some(
            spec.extra_hosts
                .iter()
                .map(|(name, address)| format!("{name}:{address}"))
                .collect(),
        ),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(vec!["NET_BIND_SERVICE".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ..HostConfig::default()
    }
}

fn bind(mount: &BindMount) -> String {
    let access = if mount.read_only { "ro" } else { "rw" };
    format!("{}:{}:z,{access}", mount.source.display(), mount.target)
}

fn mount(mount: &BindMount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Mount::default()
    }
}

fn port_bindings(ports: &[PublishedPort]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        map.entry(format!("{}/tcp", port.container_port))
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: port.host_ip.clone(),
                host_port: Some(port.host_port.to_string()),
            });
    }
    map
}

pub(super) fn endpoint(attachment: &NetworkAttachment) -> EndpointSettings {
    EndpointSettings {
        aliases: Some(attachment.aliases.clone()),
        ..EndpointSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_binds_cannot_express_become_mounts() {
        let mount = |source: &str| BindMount {
            source: source.into(),
            target: "/run/skupper".into(),
            read_only: true,
        };
        let spec = ContainerSpec {
            mounts: vec![mount("/a"), mount("/b:c")],
            ..ContainerSpec::default()
        };
        let config = host_config(&spec);
        assert_eq!(config.binds.unwrap(), ["/a:/run/skupper:z,ro"]);
        assert_eq!(config.mounts.unwrap()[0].source.as_deref(), Some("/b:c"));
    }
}
