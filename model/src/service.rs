//! A service: an address of the network, where it is served, and where this site offers it.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    FORMAT,
    name::{Protocol, ServiceName},
    site::now,
    store::{self, StoreError},
};

/// Content of `services/<name>.yaml`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// [`FORMAT`] of the file
    pub format: u32,
    /// Name by which it is reached
    pub name: ServiceName,
    /// How its octets are understood
    #[serde(default)]
    pub protocol: Protocol,
    /// Its ports, in the order given
    pub ports: Vec<u16>,
    /// Where it is served from here
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Name of its container; absent for the service's own
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// Host address that published ports are bound to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// Host port by service port
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_ports: BTreeMap<u16, u16>,
    /// Free labels of the user
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339
    pub created: String,
    /// Whether this site offers it to local clients
    pub listen: bool,
}

/// A server of a service
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Host name or address as seen by the router that connects to it
    pub host: String,
    /// Target port by service port
    pub ports: BTreeMap<u16, u16>,
}

/// A service definition contradicts itself; texts are those of Skupper 1
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServiceError {
    /// No port
    #[error("Name and port(s) must be specified")]
    NoPorts,
    /// A port of the service is 0
    #[error("Port {0} is outside valid range.")]
    PortRange(u16),
    /// One port twice
    #[error("port {0} is defined twice")]
    DuplicatePort(u16),
    /// Two service ports on one host port
    #[error("host port {0} is mapped twice")]
    DuplicateHostPort(u16),
    /// A published port that the service lacks
    #[error("service does not specify mapped port {0}")]
    UnknownHostPort(u16),
    /// A target maps a port that the service lacks
    #[error("source port not defined in service: {0}")]
    UnknownTargetPort(u16),
    /// A target leaves a port out
    #[error("service defines {defined} ports but only {mapped} mapped (all ports must be mapped)")]
    UnmappedPorts {
        /// Ports of the service
        defined: usize,
        /// Ports of the target
        mapped: usize,
    },
    /// A target port is 0
    #[error("Bad target port number. Target: {host}  Port: {port}")]
    TargetPortRange {
        /// Host of the target
        host: String,
        /// The port
        port: u16,
    },
    /// A target without host
    #[error("the target of service {0} has no host")]
    NoTargetHost(ServiceName),
    /// One target twice
    #[error("egress resolver already defined")]
    DuplicateTarget(String),
}

impl Service {
    /// A new TCP service without targets that this site offers to local clients, made now
    pub fn new(name: ServiceName, ports: Vec<u16>) -> Self {
        Self {
            format: FORMAT,
            name,
            protocol: Protocol::Tcp,
            ports,
            targets: Vec::new(),
            container_name: None,
            host_ip: None,
            host_ports: BTreeMap::new(),
            labels: BTreeMap::new(),
            created: now(),
            listen: true,
        }
    }

    /// Reads `services/<name>.yaml`
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        store::read_yaml(path)
    }

    /// Writes `services/<name>.yaml`
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        store::write_yaml(path, self)
    }

    /// Address on the network of one of the ports: `<name>:<port>`, equal to that of Skupper 1 sites
    pub fn address_of(&self, port: u16) -> String {
        format!("{}:{port}", self.name)
    }

    /// Name of the container that carries the service
    pub fn container_name(&self) -> &str {
        self.container_name.as_deref().unwrap_or(self.name.as_str())
    }

    /// The target on a host
    pub fn target(&self, host: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.host == host)
    }

    /// Checks that ports, mappings and targets belong together
    pub fn validate(&self) -> Result<(), ServiceError> {
        if self.ports.is_empty() {
            return Err(ServiceError::NoPorts);
        }
        for (index, port) in self.ports.iter().enumerate() {
            if *port == 0 {
                return Err(ServiceError::PortRange(*port));
            }
            if self.ports[..index].contains(port) {
                return Err(ServiceError::DuplicatePort(*port));
            }
        }
        let mut taken = Vec::new();
        for (port, host_port) in &self.host_ports {
            if !self.ports.contains(port) {
                return Err(ServiceError::UnknownHostPort(*port));
            }
            if *host_port == 0 {
                return Err(ServiceError::PortRange(*host_port));
            }
            if taken.contains(host_port) {
                return Err(ServiceError::DuplicateHostPort(*host_port));
            }
            taken.push(*host_port);
        }
        for (index, target) in self.targets.iter().enumerate() {
            self.validate_target(target)?;
            if self.targets[..index]
                .iter()
                .any(|other| other.host == target.host)
            {
                return Err(ServiceError::DuplicateTarget(target.host.clone()));
            }
        }
        Ok(())
    }

    /// Checks a target against the service's ports
    pub fn validate_target(&self, target: &Target) -> Result<(), ServiceError> {
        if target.host.is_empty() {
            return Err(ServiceError::NoTargetHost(self.name.clone()));
        }
        for (port, target_port) in &target.ports {
            if !self.ports.contains(port) {
                return Err(ServiceError::UnknownTargetPort(*port));
            }
            if *target_port == 0 {
                return Err(ServiceError::TargetPortRange {
                    host: target.host.clone(),
                    port: *target_port,
                });
            }
        }
        if target.ports.len() != self.ports.len() {
            return Err(ServiceError::UnmappedPorts {
                defined: self.ports.len(),
                mapped: target.ports.len(),
            });
        }
        Ok(())
    }
}

impl Target {
    /// A server that uses the service's own port numbers
    pub fn same_ports(host: &str, ports: &[u16]) -> Self {
        Self {
            host: host.to_owned(),
            ports: ports.iter().map(|port| (*port, *port)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        let mut service = Service::new(ServiceName::parse("backend").unwrap(), vec![8080, 9090]);
        service.targets.push(Target {
            host: "127.0.0.1".to_owned(),
            ports: [(8080, 80), (9090, 9090)].into(),
        });
        service.host_ports.insert(8080, 18080);
        service
    }

    #[test]
    fn round_trips_through_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backend.yaml");
        let mut service = service();
        service.labels.insert("app".to_owned(), "yes".to_owned());
        service.write(&path).unwrap();
        assert_eq!(Service::read(&path).unwrap(), service);
    }

    #[test]
    fn addresses_are_those_of_skupper_1() {
        assert_eq!(service().address_of(8080), "backend:8080");
        assert_eq!(service().container_name(), "backend");
    }

    #[test]
    fn contradictions_are_named() {
        service().validate().unwrap();
        type Change = fn(&mut Service);
        let cases: [(Change, &str); 10] = [
            (|s| s.ports.clear(), "Name and port(s) must be specified"),
            (|s| s.ports[0] = 0, "Port 0 is outside valid range."),
            (|s| s.ports[1] = 8080, "port 8080 is defined twice"),
            (
                |s| _ = s.host_ports.insert(1, 2),
                "service does not specify mapped port 1",
            ),
            (
                |s| _ = s.host_ports.insert(9090, 18080),
                "host port 18080 is mapped twice",
            ),
            (
                |s| _ = s.targets[0].ports.insert(1, 2),
                "source port not defined in service: 1",
            ),
            (
                |s| _ = s.targets[0].ports.remove(&8080),
                "service defines 2 ports but only 1 mapped (all ports must be mapped)",
            ),
            (
                |s| _ = s.targets[0].ports.insert(8080, 0),
                "Bad target port number. Target: 127.0.0.1  Port: 0",
            ),
            (
                |s| s.targets[0].host.clear(),
                "the target of service backend has no host",
            ),
            (
                |s| s.targets.push(s.targets[0].clone()),
                "egress resolver already defined",
            ),
        ];
        for (change, expected) in cases {
            let mut service = service();
            change(&mut service);
            assert_eq!(service.validate().unwrap_err().to_string(), expected);
        }
    }
}
