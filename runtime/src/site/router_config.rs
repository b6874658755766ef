//! The configuration of a site's routers, computed from the desired state. Pure.
//!
//! ```text
//! linux:       site router = links + all services' listeners and connectors
//! containers:  site router = links;   one edge router per service, uplink to the site router
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use model::link::Link;
use model::paths::SitePaths;
use model::router_config::{
    AddressEntity, Connector, Distribution, Listener, LogEntity, LogLevel, LogSelector, Mode, Role,
    RouterConfig, RouterEntity, SslProfile, TcpConnector, TcpListener,
};
use model::service::{Service, Target};
use model::site::{IngressKind, Site};
use model::{COMPATIBILITY_VERSION, EDGE_PORT, INTER_ROUTER_PORT};
use serde_json::json;

use super::certificates::{LOCAL_SERVER, SERVICE_CLIENT, SITE_SERVER};
use super::containers::{CERTS_DIR, SOCKET_DIR};
use super::error::SiteError;
use super::naming;
use super::state::SiteHandle;
use super::step::{Entities, Plan, Step};

const INTERNAL_PROFILE: &str = "skupper-internal";
const AMQPS_PROFILE: &str = "skupper-amqps";
const SERVICE_CLIENT_PROFILE: &str = "skupper-service-client";
const AMQPS_PORT: u16 = 5671;
const HEALTH_PORT: u16 = 9090;
/// Where a service listens on a native site unless told otherwise.
pub(crate) const DEFAULT_HOST_IP: &str = "127.0.0.1";

/// Where a router finds its files: on the host, or inside a container.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    certs: PathBuf,
    sockets: PathBuf,
    native: bool,
}

impl Layout {
    pub(crate) fn of(site: &Site, paths: &SitePaths) -> Self {
        if site.platform.is_container() {
            Self {
                certs: PathBuf::from(CERTS_DIR),
                sockets: PathBuf::from(SOCKET_DIR),
                native: false,
            }
        } else {
            Self {
                certs: paths.certs_dir(),
                sockets: paths.socket_dir(),
                native: true,
            }
        }
    }

    fn profile(&self, name: &str, credentials: &str) -> SslProfile {
        SslProfile::in_directory(name, &self.certs.join(credentials))
    }

    fn management(&self, socket: &std::path::Path) -> Listener {
        let file = socket.file_name().unwrap_or_default();
        Listener::on_socket("management", self.sockets.join(file))
    }
}

/// The site router's configuration.
pub(crate) fn site_router(
    site: &Site,
    links: &[Link],
    services: &[Service],
    layout: &Layout,
    paths: &SitePaths,
) -> RouterConfig {
    let mut router = RouterEntity::new(site.name.as_str(), Mode::Interior);
    router.metadata = Some(metadata(site));
    let mut config = RouterConfig::new(router);
    config.put_ssl_profile(layout.profile(INTERNAL_PROFILE, SITE_SERVER));
    config.put_ssl_profile(SslProfile {
        cert_file: None,
        private_key_file: None,
        ..layout.profile(SERVICE_CLIENT_PROFILE, SERVICE_CLIENT)
    });
    config.put_listener(layout.management(&paths.router_socket()));
    if !layout.native {
        config.put_ssl_profile(layout.profile(AMQPS_PROFILE, LOCAL_SERVER));
        config.put_listener(health_listener());
        config.put_listener(mutual_tls(
            Listener::new("amqps", AMQPS_PORT),
            Role::Normal,
            AMQPS_PROFILE,
        ));
    }
    for listener in link_listeners(site, layout) {
        config.put_listener(listener);
    }
    for link in links {
        put_link(&mut config, link, layout);
    }
    config
        .addresses
        .push(AddressEntity::prefix("mc", Distribution::Multicast));
    if layout.native {
        for service in services {
            put_service(&mut config, site, service, layout);
        }
    }
    config.logs = logs(site);
    config
}

/// The configuration of a service's own router on a container platform.
pub(crate) fn service_router(
    site: &Site,
    service: &Service,
    layout: &Layout,
    paths: &SitePaths,
) -> RouterConfig {
    let id = naming::service_router_id(site, &service.name);
    let mut router = RouterEntity::new(id, Mode::Edge);
    router.metadata = Some(metadata(site));
    let mut config = RouterConfig::new(router);
    config.put_ssl_profile(layout.profile(INTERNAL_PROFILE, SITE_SERVER));
    config.put_listener(layout.management(&paths.service_router_socket(&service.name)));
    let mut uplink = Connector::new("uplink", naming::ROUTER, EDGE_PORT);
    uplink.role = Role::Edge;
    uplink.ssl_profile = Some(INTERNAL_PROFILE.to_owned());
    config.put_connector(uplink);
    put_service(&mut config, site, service, layout);
    config.logs = logs(site);
    config
}

/// `--router-logging` items (`level` or `MODULE:level`) as log entities; `+` is implied.
///
/// # Errors
/// [`SiteError::Invalid`] naming the item with an unknown level.
pub(crate) fn log_entities(items: &[String]) -> Result<Vec<LogEntity>, SiteError> {
    items
        .iter()
        .map(|item| {
            let (module, level) = item.split_once(':').unwrap_or(("DEFAULT", item));
            let word = level.trim_end_matches('+');
            let level = LogLevel::ALL
                .iter()
                .copied()
                .find(|level| level.as_str() == word)
                .ok_or_else(|| {
                    SiteError::Invalid(format!("Invalid logging level for router: {word}"))
                })?;
            let mut entity = LogEntity::at_least(module, level);
            entity.enable = vec![LogSelector {
                level,
                and_above: true,
            }];
            Ok(entity)
        })
        .collect()
}

/// Adds the steps that bring the site router from one state to another; none when nothing changes for it.
pub(crate) fn plan_site_router(plan: &mut Plan, old: &SiteHandle, new: &SiteHandle) {
    let config = |handle: &SiteHandle| {
        let layout = Layout::of(handle.site(), handle.paths());
        site_router(
            handle.site(),
            handle.links(),
            handle.services(),
            &layout,
            handle.paths(),
        )
    };
    let paths = new.paths();
    plan_router(
        plan,
        &config(old),
        &config(new),
        paths.router_config(),
        paths.router_socket(),
    );
}

/// The same for the router of a service.
pub(crate) fn plan_service_router(
    plan: &mut Plan,
    handle: &SiteHandle,
    old: &Service,
    new: &Service,
) {
    let paths = handle.paths();
    let layout = Layout::of(handle.site(), paths);
    let config = |service| service_router(handle.site(), service, &layout, paths);
    plan_router(
        plan,
        &config(old),
        &config(new),
        paths.service_router_config(&new.name),
        paths.service_router_socket(&new.name),
    );
}

fn plan_router(
    plan: &mut Plan,
    old: &RouterConfig,
    new: &RouterConfig,
    file: PathBuf,
    socket: PathBuf,
) {
    if old == new {
        return;
    }
    plan.write(file, new.to_json(), "the router's configuration");
    plan.push(Step::AwaitConfig {
        socket,
        entities: changed_entities(old, new),
    });
}

fn changed_entities(old: &RouterConfig, new: &RouterConfig) -> Entities {
    let (before, after) = (names(old), names(new));
    Entities {
        present: after.difference(&before).cloned().collect(),
        absent: before.difference(&after).cloned().collect(),
    }
}

fn names(config: &RouterConfig) -> BTreeSet<(&'static str, String)> {
    let of = |kind: &'static str, keys: Vec<&String>| {
        keys.into_iter()
            .map(move |name| (kind, name.clone()))
            .collect::<Vec<_>>()
    };
    let mut all = of("connector", config.connectors.keys().collect());
    all.extend(of("tcpListener", config.tcp_listeners.keys().collect()));
    all.extend(of("tcpConnector", config.tcp_connectors.keys().collect()));
    all.into_iter().collect()
}

/// What other sites read about this one.
fn metadata(site: &Site) -> String {
    json!({
        "id": site.id.as_str(),
        "version": COMPATIBILITY_VERSION,
        "platform": site.platform.as_str(),
    })
    .to_string()
}

fn health_listener() -> Listener {
    let mut listener = Listener::new(format!("@{HEALTH_PORT}"), HEALTH_PORT);
    listener.http = true;
    listener.http_root_dir = Some("disabled".to_owned());
    listener
}

fn mutual_tls(listener: Listener, role: Role, profile: &str) -> Listener {
    Listener {
        role,
        ssl_profile: Some(profile.to_owned()),
        sasl_mechanisms: vec!["EXTERNAL".to_owned()],
        authenticate_peer: true,
        ..listener
    }
}

/// Inside a container the ports are the usual ones and always there, as in v1: the routers of services dial the edge
/// port. A native router listens only if others may link to it, on the ports and addresses chosen.
fn link_listeners(site: &Site, layout: &Layout) -> Vec<Listener> {
    let kinds = [
        (
            "interior-listener",
            Role::InterRouter,
            INTER_ROUTER_PORT,
            site.ingress.port,
        ),
        (
            "edge-listener",
            Role::Edge,
            EDGE_PORT,
            site.ingress.edge_port,
        ),
    ];
    if layout.native && site.ingress.kind == IngressKind::None {
        return Vec::new();
    }
    let ips: &[String] = if layout.native {
        &site.ingress.bind_ips
    } else {
        &[]
    };
    kinds
        .iter()
        .flat_map(|(name, role, inside, outside)| {
            let port = if layout.native { *outside } else { *inside };
            let listen = move |name: String, host: &str| {
                let mut listener = mutual_tls(Listener::new(name, port), *role, INTERNAL_PROFILE);
                host.clone_into(&mut listener.host);
                listener
            };
            match ips {
                [] => vec![listen((*name).to_owned(), "")],
                [ip] => vec![listen((*name).to_owned(), ip)],
                several => several
                    .iter()
                    .map(|ip| listen(format!("{name}@{ip}"), ip))
                    .collect(),
            }
        })
        .collect()
}

fn put_link(config: &mut RouterConfig, link: &Link, layout: &Layout) {
    let Some(endpoint) = &link.endpoints.inter_router else {
        return;
    };
    let profile = format!("{}-profile", link.name);
    config.put_ssl_profile(layout.profile(&profile, &link.tls_credentials));
    let mut connector = Connector::new(link.name.as_str(), endpoint.host.as_str(), endpoint.port);
    connector.role = Role::InterRouter;
    connector.cost = link.cost.get();
    connector.ssl_profile = Some(profile);
    config.put_connector(connector);
}

fn put_service(config: &mut RouterConfig, site: &Site, service: &Service, layout: &Layout) {
    for port in &service.ports {
        let address = service.address_of(*port);
        if service.listen || !layout.native {
            let (host, listen_port) = listen_address(service, *port, layout);
            let mut listener = TcpListener::new(address.as_str(), address.as_str(), listen_port);
            listener.host = host;
            listener.site_id = Some(site.id.to_string());
            config.put_tcp_listener(listener);
        }
        for target in &service.targets {
            if let Some(connector) = target_connector(site, service, target, *port, &address) {
                config.put_tcp_connector(connector);
            }
        }
    }
}

fn target_connector(
    site: &Site,
    service: &Service,
    target: &Target,
    port: u16,
    address: &str,
) -> Option<TcpConnector> {
    let target_port = *target.ports.get(&port)?;
    let host = &target.host;
    let shown = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let name = format!("{}@{shown}:{port}:{target_port}", service.name);
    let mut connector = TcpConnector::new(name, address, host.as_str(), target_port);
    connector.site_id = Some(site.id.to_string());
    connector.verify_hostname = false;
    Some(connector)
}

/// In a container the service listens on its own port everywhere; published ports are the engine's matter.
fn listen_address(service: &Service, port: u16, layout: &Layout) -> (String, u16) {
    if !layout.native {
        return (String::new(), port);
    }
    let host = service
        .host_ip
        .clone()
        .unwrap_or_else(|| DEFAULT_HOST_IP.to_owned());
    let host_port = service.host_ports.get(&port).copied().unwrap_or(port);
    (host, host_port)
}

/// Host addresses on which a native site listens for a service. A host that is no address literal is left to the
/// router.
pub(crate) fn native_listeners(service: &Service) -> Vec<(Option<IpAddr>, u16)> {
    if !service.listen {
        return Vec::new();
    }
    let ip = service
        .host_ip
        .as_deref()
        .unwrap_or(DEFAULT_HOST_IP)
        .parse()
        .ok();
    service
        .ports
        .iter()
        .map(|port| {
            let host_port = service.host_ports.get(port).copied().unwrap_or(*port);
            (ip, host_port)
        })
        .collect()
}

fn logs(site: &Site) -> Vec<LogEntity> {
    // checked at init
    log_entities(&site.router_logging).unwrap_or_default()
}

#[cfg(test)]
mod tests;
