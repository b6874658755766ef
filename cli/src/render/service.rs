//! The tree of `skupper service status`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tree::Node;

/// A service of this site
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServiceReport {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) ports: Vec<u16>,
    /// Where this host offers it: `host:port` by service port
    pub(crate) host_ports: Vec<HostPortReport>,
    pub(crate) targets: Vec<TargetReport>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Why it can't work, e.g. a missing container
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// A port of this host
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HostPortReport {
    /// `*` for all addresses
    pub(crate) ip: String,
    pub(crate) host_port: u16,
    pub(crate) port: u16,
}

/// A process behind the service
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetReport {
    pub(crate) host: String,
    /// Service port to target port
    pub(crate) ports: BTreeMap<u16, u16>,
}

/// The tree, with a newline at the end
pub(crate) fn tree(services: &[ServiceReport], show_labels: bool) -> String {
    if services.is_empty() {
        return "No services defined\n".to_owned();
    }
    Node::with(
        "Services exposed through Skupper:",
        services.iter().map(|service| node(service, show_labels)),
    )
    .draw()
}

fn node(service: &ServiceReport, show_labels: bool) -> Node {
    let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
    let noun = if ports.len() == 1 { "port" } else { "ports" };
    let mut text = format!(
        "{} ({} {noun} {})",
        service.name,
        service.protocol,
        ports.join(" ")
    );
    if let Some(problem) = &service.problem {
        text.push_str(&format!(" - {problem}"));
    }
    let mut node = Node::new(text);
    if !service.host_ports.is_empty() {
        let mut by_ip: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for port in &service.host_ports {
            by_ip
                .entry(&port.ip)
                .or_default()
                .push(format!("{} -> {}", port.host_port, port.port));
        }
        let lines = by_ip
            .into_iter()
            .map(|(ip, ports)| Node::new(format!("ip: {ip} - ports: {}", ports.join(", "))));
        node.push(Node::with("Host ports:", lines));
    }
    if !service.targets.is_empty() {
        node.push(Node::with(
            "Targets:",
            service.targets.iter().map(target_node),
        ));
    }
    if show_labels && !service.labels.is_empty() {
        let labels = service
            .labels
            .iter()
            .map(|(key, value)| Node::new(format!("{key}={value}")));
        node.push(Node::with("Labels:", labels));
    }
    node
}

fn target_node(target: &TargetReport) -> Node {
    let ports: Vec<String> = target
        .ports
        .iter()
        .map(|(from, to)| format!("{from}:{to}"))
        .collect();
    Node::new(format!(
        "host: {} - ports: map[{}]",
        target.host,
        ports.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, ports: &[u16]) -> ServiceReport {
        ServiceReport {
            name: name.into(),
            protocol: "tcp".into(),
            ports: ports.to_vec(),
            host_ports: Vec::new(),
            targets: Vec::new(),
            labels: BTreeMap::new(),
            problem: None,
        }
    }

    #[test]
    fn nothing() {
        assert_eq!(tree(&[], true), "No services defined\n");
    }

    #[test]
    fn the_documented_tree() {
        let mut backend = service("backend", &[8080]);
        backend.host_ports = vec![HostPortReport {
            ip: "*".into(),
            host_port: 8888,
            port: 8080,
        }];
        backend.targets = vec![TargetReport {
            host: "hello-world-backend".into(),
            ports: [(8080, 8080)].into(),
        }];
        backend.labels = [("app".to_owned(), "web".to_owned())].into();
        let services = [backend, service("multi", &[8080, 9090])];
        assert_eq!(
            tree(&services, true),
            "Services exposed through Skupper:\n\
             ├─ backend (tcp port 8080)\n\
             │  ├─ Host ports:\n\
             │  │  ╰─ ip: * - ports: 8888 -> 8080\n\
             │  ├─ Targets:\n\
             │  │  ╰─ host: hello-world-backend - ports: map[8080:8080]\n\
             │  ╰─ Labels:\n\
             │     ╰─ app=web\n\
             ╰─ multi (tcp ports 8080 9090)\n"
        );
        assert!(!tree(&services, false).contains("Labels"));
    }

    #[test]
    fn a_broken_service_is_shown_with_its_problem() {
        let mut broken = service("backend", &[8080]);
        broken.problem = Some("container missing".into());
        assert!(
            tree(&[broken], false).contains("╰─ backend (tcp port 8080) - container missing\n")
        );
    }

    #[test]
    fn several_ports_of_one_address_share_a_line() {
        let mut multi = service("multi", &[80, 81]);
        multi.host_ports = [(8080, 80), (8081, 81)]
            .map(|(host_port, port)| HostPortReport {
                ip: "127.0.0.1".into(),
                host_port,
                port,
            })
            .into();
        assert!(
            tree(&[multi], false).contains("╰─ ip: 127.0.0.1 - ports: 8080 -> 80, 8081 -> 81\n")
        );
    }
}
