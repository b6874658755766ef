//! What `service create`, `service bind`, `expose` and their opposites have in common: service, target and port words
//! with the checks and texts of Skupper 1.

use std::collections::BTreeMap;

use clap::Args;
use model::{Protocol, Service, ServiceName, Target};

use crate::args::{cobra, values};
use crate::error::CommandError;

/// Target types that the documentation shows for Kubernetes
const KUBERNETES_TARGETS: [&str; 5] = [
    "deployment",
    "statefulset",
    "pods",
    "service",
    "deploymentconfig",
];

/// Flags of `service create` and `expose`
#[derive(Args, Clone, Debug)]
pub(crate) struct ServiceFlags {
    /// The protocol to proxy [tcp]
    #[arg(long, value_name = "string", default_value = "tcp")]
    pub(crate) protocol: String,
    /// The old name of --protocol
    #[arg(long, value_name = "string", hide = true)]
    pub(crate) mapping: Option<String>,
    /// Use a different container name (and name on the network) than the address
    #[arg(long, value_name = "string")]
    pub(crate) container_name: Option<String>,
    /// Host IP address used to bind service ports
    #[arg(long, value_name = "string")]
    pub(crate) host_ip: Option<String>,
    /// The host ports to bind with the service: <host-port> or <service-port>:<host-port>
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub(crate) host_port: Vec<String>,
    /// Labels to the new service (comma separated list of key=value pairs)
    #[arg(long, value_name = "stringToString", value_delimiter = ',', value_parser = values::pair)]
    pub(crate) label: Vec<(String, String)>,
}

impl ServiceFlags {
    /// The notice of Skupper 1 about flags that have another name now
    pub(crate) fn notice(&self) -> Option<&'static str> {
        self.mapping.is_some().then_some(
            "Flag --mapping has been deprecated, protocol is now the flag to set the mapping",
        )
    }

    /// The service without targets, checked in the order of Skupper 1
    ///
    /// `listen` says whether it is offered on this host although no host port is asked for (platform linux).
    pub(crate) fn service(
        &self,
        address: &str,
        ports: &[u16],
        listen: bool,
    ) -> Result<Service, CommandError> {
        let mut host_ports = BTreeMap::new();
        if !self.host_port.is_empty() {
            host_ports = self.host_ports(ports)?;
        } else if self.host_ip.is_some() {
            host_ports = ports.iter().map(|port| (*port, *port)).collect();
        }
        let name = ServiceName::parse(address).map_err(CommandError::failed)?;
        let protocol = protocol(self.mapping.as_deref().unwrap_or(&self.protocol))?;
        let host_ip = self.host_ip.clone().filter(|ip| !ip.is_empty());
        if let Some(ip) = &host_ip
            && ip
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<std::net::IpAddr>()
                .is_err()
        {
            return Err(CommandError::failed(format!("invalid host ip: {ip}"))
                .hint("give an IP address of this host"));
        }
        let mut service = Service::new(name, ports.to_vec());
        service.protocol = protocol;
        service.container_name = self.container_name.clone().filter(|name| !name.is_empty());
        service.host_ip = host_ip;
        service.listen = listen || !host_ports.is_empty();
        service.host_ports = host_ports;
        service.labels = self.label.iter().cloned().collect();
        Ok(service)
    }

    fn host_ports(&self, ports: &[u16]) -> Result<BTreeMap<u16, u16>, CommandError> {
        let mapped = pairs(
            &self.host_port,
            ports,
            |word| format!("invalid service port: {word}"),
            |word| format!("invalid host port: {word}"),
        )?;
        for port in mapped.keys() {
            if !ports.contains(port) {
                return Err(CommandError::failed(format!(
                    "{port} is not a valid service port"
                )));
            }
        }
        Ok(mapped)
    }
}

/// The only protocol of this release, by name
pub(crate) fn protocol(word: &str) -> Result<Protocol, CommandError> {
    match word {
        "tcp" => Ok(Protocol::Tcp),
        "http" | "http2" => Err(CommandError::refused(format!(
            "the protocol {word} is not supported yet"
        ))
        .hint("use '--protocol tcp', which carries the same requests")),
        _ => Err(CommandError::failed(format!(
            "{word} is not a valid mapping. Choose 'tcp', 'http' or 'http2'."
        ))),
    }
}

/// Service ports as words of `service create`
pub(crate) fn ports_of_words(words: &[String]) -> Result<Vec<u16>, CommandError> {
    let mut ports = Vec::new();
    for word in words {
        let number = word
            .parse::<i64>()
            .map_err(|_| CommandError::failed(format!("{word} is not a valid port")))?;
        add_port(&mut ports, number)?;
    }
    Ok(ports)
}

/// Service ports as numbers of `--port`
pub(crate) fn ports_of_numbers(numbers: &[i64]) -> Result<Vec<u16>, CommandError> {
    let mut ports = Vec::new();
    for number in numbers {
        add_port(&mut ports, *number)?;
    }
    Ok(ports)
}

fn add_port(ports: &mut Vec<u16>, number: i64) -> Result<(), CommandError> {
    let port = u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| CommandError::failed(format!("Port {number} is outside valid range.")))?;
    if ports.contains(&port) {
        return Err(CommandError::failed(format!("port {port} is given twice")));
    }
    ports.push(port);
    Ok(())
}

/// A target: `host` and a name or address, with ports from `--target-port` (`T` by position or `S:T`)
pub(crate) fn target(
    host: &str,
    service_ports: &[u16],
    words: &[String],
) -> Result<Target, CommandError> {
    let ports = if words.is_empty() {
        service_ports.iter().map(|port| (*port, *port)).collect()
    } else {
        let mapped = pairs(
            words,
            service_ports,
            |word| format!("invalid source port: {word}"),
            |word| format!("invalid target port: {word}"),
        )?;
        for port in mapped.keys() {
            if !service_ports.contains(port) {
                return Err(CommandError::failed(format!(
                    "source port not defined in service: {port}"
                )));
            }
        }
        mapped
    };
    Ok(Target {
        host: host.to_owned(),
        ports,
    })
}

/// `a:b` or `b` by position; either all ports are named or none is
fn pairs(
    words: &[String],
    ports: &[u16],
    bad_first: impl Fn(&str) -> String,
    bad_second: impl Fn(&str) -> String,
) -> Result<BTreeMap<u16, u16>, CommandError> {
    if words.len() != ports.len() {
        return Err(CommandError::failed(format!(
            "service defines {} ports but only {} mapped (all ports must be mapped)",
            ports.len(),
            words.len()
        )));
    }
    let number = |word: &str| word.parse::<u16>().ok().filter(|port| *port > 0);
    let mut mapped = BTreeMap::new();
    for (word, position) in words.iter().zip(ports) {
        let (from, to) = match word.split_once(':') {
            Some((from, to)) => (
                number(from).ok_or_else(|| CommandError::failed(bad_first(from)))?,
                to,
            ),
            None => (*position, word.as_str()),
        };
        let to = number(to).ok_or_else(|| CommandError::failed(bad_second(to)))?;
        if mapped.insert(from, to).is_some() {
            return Err(CommandError::failed(format!("port {from} is mapped twice")));
        }
    }
    Ok(mapped)
}

/// Target types of Kubernetes are named as such before anything else is found missing, because the documentation shows
/// them without the flags that a host needs
pub(crate) fn foreign_target(words: &[String]) -> Result<(), CommandError> {
    let kind = words
        .first()
        .map(|word| word.split('/').next().unwrap_or(word));
    match kind {
        Some(kind) if KUBERNETES_TARGETS.contains(&kind) => Err(wrong_kind(kind)),
        _ => Ok(()),
    }
}

/// `<target-type> <target-name>` after the command's own words, as checked by `bind` and `expose`
pub(crate) fn target_host<'a>(words: &'a [String], missing: &str) -> Result<&'a str, CommandError> {
    let (kind, host) = match words {
        [kind, host] => (kind.as_str(), host.as_str()),
        [_, _, extra, ..] => return Err(cobra::usage_error(format!("illegal argument: {extra}"))),
        // `expose deployment/backend`
        [one] if one.contains('/') => one.split_once('/').unwrap_or((one, "")),
        _ => return Err(cobra::usage_error(missing)),
    };
    if kind != "host" {
        return Err(wrong_kind(kind));
    }
    if host.is_empty() {
        return Err(cobra::usage_error("a hostname or IP is required"));
    }
    check_host(host)
}

fn wrong_kind(kind: &str) -> CommandError {
    let error = cobra::usage_error(format!(
        "invalid target type: {kind} - valid target types are: [host]"
    ));
    if KUBERNETES_TARGETS.contains(&kind) {
        error.hint("this target type applies to sites on Kubernetes, which are not managed yet")
    } else {
        error
    }
}

/// An IP literal, or a name without port or path
fn check_host(host: &str) -> Result<&str, CommandError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare);
    }
    let named = host.len() <= 253
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && !host.starts_with(['-', '.']);
    if named {
        Ok(host)
    } else {
        Err(cobra::usage_error("invalid hostname or ip"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(ToOwned::to_owned).collect()
    }

    fn flags(host_port: &str, host_ip: Option<&str>) -> ServiceFlags {
        ServiceFlags {
            protocol: "tcp".into(),
            mapping: None,
            container_name: None,
            host_ip: host_ip.map(Into::into),
            host_port: words(host_port),
            label: vec![("a".into(), "b".into())],
        }
    }

    #[test]
    fn host_ports_are_service_then_host() {
        let service = flags("8080:8888 9090", None)
            .service("backend", &[8080, 9090], false)
            .unwrap();
        assert_eq!(service.host_ports, [(8080, 8888), (9090, 9090)].into());
        assert!(service.listen);
        let service = flags("8888", None)
            .service("backend", &[8080], false)
            .unwrap();
        assert_eq!(service.host_ports, [(8080, 8888)].into());
    }

    #[test]
    fn a_host_ip_alone_publishes_every_port_under_its_number() {
        let service = flags("", Some("127.0.0.1"))
            .service("backend", &[80, 81], false)
            .unwrap();
        assert_eq!(service.host_ports, [(80, 80), (81, 81)].into());
    }

    #[test]
    fn without_host_port_the_platform_decides_about_listening() {
        assert!(
            !flags("", None)
                .service("backend", &[80], false)
                .unwrap()
                .listen
        );
        assert!(
            flags("", None)
                .service("backend", &[80], true)
                .unwrap()
                .listen
        );
    }

    #[test]
    fn texts_of_bad_services() {
        let text =
            |flags: ServiceFlags, name: &str| flags.service(name, &[80], true).unwrap_err().text;
        assert_eq!(
            text(flags("1 2", None), "a"),
            "service defines 1 ports but only 2 mapped (all ports must be mapped)"
        );
        assert_eq!(text(flags("x:1", None), "a"), "invalid service port: x");
        assert_eq!(text(flags("80:y", None), "a"), "invalid host port: y");
        assert_eq!(text(flags("0", None), "a"), "invalid host port: 0");
        assert_eq!(
            text(flags("81:1", None), "a"),
            "81 is not a valid service port"
        );
        assert!(
            text(flags("", None), "Bad_Name")
                .starts_with("Invalid service name: [\"a DNS-1035 label must consist")
        );
        let mut http = flags("", None);
        http.protocol = "http2".into();
        assert_eq!(
            text(http.clone(), "a"),
            "the protocol http2 is not supported yet"
        );
        http.mapping = Some("udp".into());
        assert!(http.notice().is_some());
        assert_eq!(
            text(http, "a"),
            "udp is not a valid mapping. Choose 'tcp', 'http' or 'http2'."
        );
    }

    #[test]
    fn port_words() {
        assert_eq!(ports_of_words(&words("80 81")).unwrap(), [80, 81]);
        assert_eq!(
            ports_of_words(&words("x")).unwrap_err().text,
            "x is not a valid port"
        );
        assert_eq!(
            ports_of_words(&words("65536")).unwrap_err().text,
            "Port 65536 is outside valid range."
        );
        assert_eq!(
            ports_of_numbers(&[0]).unwrap_err().text,
            "Port 0 is outside valid range."
        );
        assert!(ports_of_words(&words("80 80")).is_err());
    }

    #[test]
    fn target_ports() {
        assert_eq!(
            target("h", &[80, 81], &[]).unwrap().ports,
            [(80, 80), (81, 81)].into()
        );
        assert_eq!(
            target("h", &[80, 81], &words("81:1 80:2")).unwrap().ports,
            [(80, 2), (81, 1)].into()
        );
        assert_eq!(
            target("h", &[80], &words("99")).unwrap().ports,
            [(80, 99)].into()
        );
        let text = |words: &[String]| target("h", &[80], words).unwrap_err().text;
        assert_eq!(text(&words("x:1")), "invalid source port: x");
        assert_eq!(text(&words("80:x")), "invalid target port: x");
        assert_eq!(
            text(&words("81:1")),
            "source port not defined in service: 81"
        );
    }

    #[test]
    fn target_words() {
        let check = |line: &str| {
            target_host(&words(line), "missing")
                .map(ToOwned::to_owned)
                .map_err(|error| error.text)
        };
        assert_eq!(check("host db.example.com").unwrap(), "db.example.com");
        assert_eq!(check("host [::1]").unwrap(), "::1");
        assert_eq!(check("host").unwrap_err(), "missing");
        assert_eq!(check("host a b").unwrap_err(), "illegal argument: b");
        assert_eq!(check("host h:80").unwrap_err(), "invalid hostname or ip");
        assert_eq!(check("host h/x").unwrap_err(), "invalid hostname or ip");
        assert_eq!(
            check("deployment/backend").unwrap_err(),
            "invalid target type: deployment - valid target types are: [host]"
        );
        assert_eq!(
            target_host(&["host".into(), String::new()], "m")
                .unwrap_err()
                .text,
            "a hostname or IP is required"
        );
    }
}
