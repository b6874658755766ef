//! The parts of libpod's requests and answers that are used.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct InfoAnswer {
    pub(super) host: HostInfo,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct HostInfo {
    pub(super) security: SecurityInfo,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SecurityInfo {
    pub(super) rootless: bool,
}

#[derive(Serialize)]
pub(super) struct NetworkCreate<'a> {
    pub(super) name: &'a str,
    pub(super) driver: &'static str,
    pub(super) dns_enabled: bool,
    pub(super) internal: bool,
    pub(super) ipv6_enabled: bool,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NetworkAnswer {
    pub(super) name: String,
    pub(super) dns_enabled: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) labels: BTreeMap<String, String>,
}

/// One object of a removal; `Err` is set inside a 200 answer.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Removal {
    pub(super) err: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ImageRemoval {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) errors: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoadAnswer {
    #[serde(rename = "Names", deserialize_with = "null_is_default")]
    pub(super) names: Vec<String>,
    pub(super) error: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ImageAnswer {
    pub(super) id: String,
    pub(super) digest: Option<String>,
    pub(super) size: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) labels: BTreeMap<String, String>,
}

/// `specgen.SpecGenerator`.
#[derive(Serialize)]
pub(super) struct ContainerCreate<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    pub(super) command: &'a [String],
    pub(super) env: BTreeMap<&'a str, &'a str>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) netns: Namespace,
    #[serde(rename = "Networks")]
    pub(super) networks: BTreeMap<&'a str, Attachment<'a>>,
    pub(super) mounts: Vec<Mount<'a>>,
    pub(super) portmappings: Vec<PortMapping<'a>>,
    pub(super) restart_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    pub(super) hostadd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_timeout: Option<u64>,
    pub(super) cap_drop: &'static [&'static str],
    pub(super) cap_add: &'static [&'static str],
    pub(super) no_new_privileges: bool,
}

#[derive(Serialize)]
pub(super) struct Namespace {
    pub(super) nsmode: &'static str,
}

#[derive(Serialize)]
pub(super) struct Attachment<'a> {
    pub(super) aliases: &'a [String],
}

#[derive(Serialize)]
pub(super) struct Mount<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) source: &'a str,
    pub(super) destination: &'a str,
    pub(super) options: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct PortMapping<'a> {
    pub(super) host_ip: &'a str,
    pub(super) host_port: u16,
    pub(super) container_port: u16,
    pub(super) protocol: &'static str,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) id: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ContainerAnswer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image_name: String,
    pub(super) state: StateAnswer,
    pub(super) restart_count: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) config: ConfigAnswer,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) network_settings: NetworkSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) host_config: HostConfig,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) mounts: Vec<MountAnswer>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct StateAnswer {
    pub(super) status: String,
    pub(super) pid: i64,
    pub(super) exit_code: i64,
    pub(super) started_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ConfigAnswer {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) networks: BTreeMap<String, NetworkEndpoint>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct NetworkEndpoint {
    #[serde(rename = "IPAddress")]
    pub(super) ip_address: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub(super) ipv6_address: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) aliases: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct PortBinding {
    pub(super) host_ip: Option<String>,
    pub(super) host_port: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct MountAnswer {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(rename = "RW")]
    pub(super) writable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ListedContainer {
    pub(super) id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) names: Vec<String>,
    pub(super) image: String,
    pub(super) state: String,
    pub(super) exit_code: i64,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) networks: Vec<String>,
}

/// Go writes empty maps, lists and pointers as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
