//! What the containers of a site look like. Pure: nothing is asked, nothing is made.
//!
//! | mounted directory | at |
//! |---|---|
//! | configuration of that router, read-only | `/etc/skupper-router/config` |
//! | credentials, read-only (a service's router sees only the site server's) | `/etc/skupper-router-certs` |
//! | sockets | `/run/skupper` |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::paths::SitePaths;
use model::platform::Platform;
use model::service::Service;
use model::site::{ContainerSettings, IngressKind, Site};
use model::{EDGE_PORT, INTER_ROUTER_PORT};

use crate::engine::{
    BindMount, ContainerSpec, NetworkAttachment, NetworkSpec, PublishedPort, RestartPolicy,
};

use super::certificates::SITE_SERVER;
use super::naming;

pub(crate) const CONFIG_DIR: &str = "/etc/skupper-router/config";
pub(crate) const CERTS_DIR: &str = "/etc/skupper-router-certs";
pub(crate) const SOCKET_DIR: &str = "/run/skupper";
const CONFIG_FILE: &str = "/etc/skupper-router/config/skrouterd.json";

/// Longer than a router's drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);

/// Everything a container's description depends on.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint<'a> {
    pub(crate) site: &'a Site,
    pub(crate) settings: &'a ContainerSettings,
    pub(crate) paths: &'a SitePaths,
    pub(crate) uid: u32,
    /// `uid:gid` for the container's process; see [`crate::engine::Engine::container_user`].
    pub(crate) user: Option<String>,
}

impl Blueprint<'_> {
    /// The site's network, if the site makes it.
    pub(crate) fn network(&self) -> NetworkSpec {
        let mut labels = naming::labels(self.site, self.uid);
        labels.insert("app.kubernetes.io/part-of".to_owned(), "skupper".to_owned());
        NetworkSpec {
            name: self.settings.network.clone(),
            labels,
            ipv6: self.settings.ipv6,
        }
    }

    /// The site router's container.
    pub(crate) fn router(&self) -> ContainerSpec {
        let mut labels = naming::labels(self.site, self.uid);
        labels.insert(
            naming::LABEL_COMPONENT.to_owned(),
            naming::ROUTER.to_owned(),
        );
        let mounts = vec![
            read_only(self.paths.router_dir(), CONFIG_DIR),
            read_only(self.paths.certs_dir(), CERTS_DIR),
            self.sockets(),
        ];
        ContainerSpec {
            name: naming::router_container(&self.site.namespace),
            networks: vec![self.attachment(vec![
                naming::ROUTER.to_owned(),
                naming::ROUTER_LOCAL.to_owned(),
            ])],
            ports: self.link_ports(),
            labels,
            mounts,
            ..self.common(naming::ROUTER, self.site.id.as_str())
        }
    }

    /// The container of a service: an edge router whose name on the network is the service's.
    pub(crate) fn service(&self, service: &Service) -> ContainerSpec {
        let mut labels: BTreeMap<String, String> = service.labels.clone();
        labels.extend(naming::labels(self.site, self.uid));
        labels.insert(naming::LABEL_ADDRESS.to_owned(), service.name.to_string());
        let ports = service
            .host_ports
            .iter()
            .map(|(port, host_port)| PublishedPort {
                host_ip: service.host_ip.clone(),
                host_port: *host_port,
                container_port: *port,
            })
            .collect();
        let mounts = vec![
            read_only(self.paths.service_router_dir(&service.name), CONFIG_DIR),
            read_only(
                self.paths.cert(SITE_SERVER),
                &format!("{CERTS_DIR}/{SITE_SERVER}"),
            ),
            self.sockets(),
        ];
        let id = naming::service_router_id(self.site, &service.name);
        ContainerSpec {
            name: naming::service_container(&self.site.namespace, service),
            networks: vec![self.attachment(vec![service.container_name().to_owned()])],
            labels,
            ports,
            mounts,
            ..self.common(&id, self.site.id.as_str())
        }
    }

    fn common(&self, application: &str, site_id: &str) -> ContainerSpec {
        ContainerSpec {
            image: self.settings.image.clone(),
            command: ["router", "--config", CONFIG_FILE]
                .map(str::to_owned)
                .to_vec(),
            env: vec![
                ("APPLICATION_NAME".to_owned(), application.to_owned()),
                ("SKUPPER_SITE_ID".to_owned(), site_id.to_owned()),
            ],
            restart: RestartPolicy::Always,
            user: self.user.clone(),
            extra_hosts: self.extra_hosts(),
            stop_timeout: Some(STOP_TIMEOUT),
            ..ContainerSpec::default()
        }
    }

    /// Podman knows the host's name by itself; docker does not.
    fn extra_hosts(&self) -> Vec<(String, String)> {
        if self.site.platform != Platform::Docker {
            return Vec::new();
        }
        ["host.containers.internal", "host.docker.internal"]
            .map(|name| (name.to_owned(), "host-gateway".to_owned()))
            .to_vec()
    }

    fn attachment(&self, aliases: Vec<String>) -> NetworkAttachment {
        NetworkAttachment {
            network: self.settings.network.clone(),
            aliases,
        }
    }

    fn link_ports(&self) -> Vec<PublishedPort> {
        let ingress = &self.site.ingress;
        if ingress.kind == IngressKind::None {
            return Vec::new();
        }
        let ips: Vec<Option<String>> = if ingress.bind_ips.is_empty() {
            vec![None]
        } else {
            ingress.bind_ips.iter().cloned().map(Some).collect()
        };
        let pairs = [
            (ingress.port, INTER_ROUTER_PORT),
            (ingress.edge_port, EDGE_PORT),
        ];
        ips.iter()
            .flat_map(|ip| {
                pairs.map(|(host_port, container_port)| PublishedPort {
                    host_ip: ip.clone(),
                    host_port,
                    container_port,
                })
            })
            .collect()
    }

    fn sockets(&self) -> BindMount {
        BindMount {
            source: self.paths.socket_dir(),
            target: SOCKET_DIR.to_owned(),
            read_only: false,
        }
    }
}

fn read_only(source: PathBuf, target: &str) -> BindMount {
    BindMount {
        source,
        target: target.to_owned(),
        read_only: true,
    }
}
