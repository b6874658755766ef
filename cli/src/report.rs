//! From what the runtime knows of a site to what is shown.

use model::Platform;
use runtime::site::{
    ContainerHealth, LinkStatus, NetworkRouter, Running, ServiceStatus, SiteStatus,
};

use crate::render::link::{IncomingReport, LinkReport};
use crate::render::service::{HostPortReport, ServiceReport, TargetReport};
use crate::render::site::{IngressReport, RemoteSite, RouterReport, SiteCounts, SiteReport};

/// Where a service of a site without containers is offered unless it says otherwise
const NATIVE_HOST_IP: &str = "127.0.0.1";

/// For `skupper status`
pub(crate) fn site(status: &SiteStatus) -> SiteReport {
    let site = &status.site;
    let running = status.running == Running::Yes;
    let problem = match &status.running {
        Running::Yes => None,
        Running::No { reason } => Some(reason.clone()),
    };
    let mut warnings = status.warnings.clone();
    warnings.extend(problem.clone());
    SiteReport {
        enabled: true,
        namespace: site.namespace.to_string(),
        name: site.name.to_string(),
        id: site.id.to_string(),
        platform: site.platform.to_string(),
        mode: "interior",
        ingress: IngressReport {
            kind: site.ingress.kind.as_str(),
            hosts: site.ingress.hosts.clone(),
            port: site.ingress.port,
            edge_port: site.ingress.edge_port,
        },
        router: RouterReport {
            running,
            version: status
                .routers
                .iter()
                .find(|router| router.local)
                .and_then(|router| router.version.clone()),
            problem,
        },
        sites: running.then_some(SiteCounts {
            total: status.totals.total,
            direct: status.totals.direct,
            indirect: status.totals.indirect,
        }),
        services: status.services.len(),
        links: status.links.iter().map(link).collect(),
        network: status
            .routers
            .iter()
            .filter(|router| !router.local)
            .map(|router| remote(status, router))
            .collect(),
        warnings,
    }
}

/// Links of other sites, unless the router does not answer
pub(crate) fn incoming(status: &SiteStatus) -> Option<Vec<IncomingReport>> {
    let incoming = status.incoming.iter().map(|link| IncomingReport {
        site_name: link.router.clone(),
        site_id: link.site_id.clone().unwrap_or_default(),
    });
    (status.running == Running::Yes).then(|| incoming.collect())
}

/// For `skupper service status`
pub(crate) fn services(status: &SiteStatus) -> Vec<ServiceReport> {
    status
        .services
        .iter()
        .map(|service| self::service(service, status.site.platform))
        .collect()
}

/// One link
pub(crate) fn link(status: &LinkStatus) -> LinkReport {
    let link = &status.link;
    let id = link
        .origin
        .as_ref()
        .and_then(|origin| origin.site_id.as_deref());
    let site: Vec<&str> = status.remote.as_deref().into_iter().chain(id).collect();
    let host = link
        .endpoints
        .inter_router
        .as_ref()
        .or(link.endpoints.edge.as_ref());
    LinkReport {
        name: link.name.to_string(),
        connected: status.connected,
        reason: status.reason.clone(),
        host: host.map(ToString::to_string),
        cost: link.cost.get(),
        created: link.created.clone(),
        site: site.join("-"),
    }
}

fn service(status: &ServiceStatus, platform: Platform) -> ServiceReport {
    let service = &status.service;
    let native = !platform.is_container();
    let ip = match &service.host_ip {
        Some(ip) => ip.clone(),
        None if native => NATIVE_HOST_IP.to_owned(),
        None => "*".to_owned(),
    };
    let host_port = |port: u16| match service.host_ports.get(&port) {
        Some(host_port) => Some(*host_port),
        None => (native && service.listen).then_some(port),
    };
    let host_ports = service
        .ports
        .iter()
        .filter_map(|port| {
            Some(HostPortReport {
                ip: ip.clone(),
                host_port: host_port(*port)?,
                port: *port,
            })
        })
        .collect();
    ServiceReport {
        name: service.name.to_string(),
        protocol: service.protocol.to_string(),
        ports: service.ports.clone(),
        host_ports,
        targets: service
            .targets
            .iter()
            .map(|target| TargetReport {
                host: target.host.clone(),
                ports: target.ports.clone(),
            })
            .collect(),
        labels: service.labels.clone(),
        problem: problem(&status.container),
    }
}

fn problem(health: &ContainerHealth) -> Option<String> {
    match health {
        ContainerHealth::NotUsed | ContainerHealth::Running => None,
        ContainerHealth::Missing => Some("container missing".to_owned()),
        ContainerHealth::Down(state) => Some(format!("container {state}")),
        ContainerHealth::Unknown(reason) => {
            Some(format!("state of the container unknown: {reason}"))
        }
    }
}

fn remote(status: &SiteStatus, router: &NetworkRouter) -> RemoteSite {
    let linked = status
        .links
        .iter()
        .any(|link| link.remote.as_deref() == Some(router.id.as_str()))
        || status.incoming.iter().any(|link| link.router == router.id);
    let own = status.site.name.to_string();
    RemoteSite {
        name: router.id.clone(),
        id: router.site_id.clone(),
        version: router.version.clone(),
        platform: router.platform.clone(),
        direct: linked || router.connected_to.contains(&own),
    }
}

#[cfg(test)]
mod tests {
    use model::{
        Endpoints, HostPort, Link, LinkCost, LinkName, Namespace, Service, ServiceName, Site,
        SiteName,
    };
    use runtime::site::{IncomingLink, RouterKind, Totals};

    use super::*;

    fn status(platform: Platform) -> SiteStatus {
        let site = Site::new(
            Namespace::default(),
            SiteName::parse("here").unwrap(),
            platform,
        );
        SiteStatus {
            site,
            running: Running::Yes,
            controller: true,
            routers: Vec::new(),
            totals: Totals {
                total: 3,
                direct: 2,
                indirect: 1,
            },
            links: Vec::new(),
            incoming: Vec::new(),
            services: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn link_status(connected: bool) -> LinkStatus {
        let endpoints = Endpoints {
            inter_router: Some(HostPort::new("::1", 55671).unwrap()),
            edge: None,
        };
        LinkStatus {
            link: Link::new(
                LinkName::parse("link1").unwrap(),
                LinkCost::new(2).unwrap(),
                endpoints,
            ),
            connected,
            remote: connected.then(|| "west".to_owned()),
            reason: (!connected).then(|| "connection refused".to_owned()),
        }
    }

    #[test]
    fn a_router_that_does_not_answer_leaves_counts_unknown_and_warns() {
        let mut status = status(Platform::Linux);
        status.running = Running::No {
            reason: "the router is not running".into(),
        };
        let report = site(&status);
        assert_eq!(report.sites, None);
        assert_eq!(report.warnings, ["the router is not running"]);
        assert!(incoming(&status).is_none());
    }

    #[test]
    fn direct_sites_are_those_linked_either_way() {
        let mut status = status(Platform::Podman);
        status.links.push(link_status(true));
        status.incoming.push(IncomingLink {
            router: "east".into(),
            site_id: None,
            host: "192.0.2.1:1".into(),
        });
        let router = |id: &str, to: &[&str], local| NetworkRouter {
            id: id.into(),
            kind: RouterKind::Interior,
            local,
            site_id: None,
            version: None,
            platform: None,
            connected_to: to.iter().map(ToString::to_string).collect(),
        };
        status.routers = vec![
            router("here", &[], true),
            router("west", &[], false),
            router("east", &[], false),
            router("south", &["here"], false),
            router("far", &["west"], false),
        ];
        let direct: Vec<bool> = site(&status)
            .network
            .iter()
            .map(|site| site.direct)
            .collect();
        assert_eq!(direct, [true, true, true, false]);
    }

    #[test]
    fn links_name_the_other_site_as_far_as_known() {
        let report = link(&link_status(true));
        assert_eq!(
            (report.site.as_str(), report.host.as_deref()),
            ("west", Some("[::1]:55671"))
        );
        assert_eq!(report.cost, 2);
        assert_eq!(
            link(&link_status(false)).sentence(),
            "Link link1 not connected (connection refused)"
        );
    }

    #[test]
    fn ports_of_this_host() {
        let ports = |platform, change: fn(&mut Service)| {
            let mut service = Service::new(ServiceName::parse("backend").unwrap(), vec![8080]);
            change(&mut service);
            let status = ServiceStatus {
                service,
                container: ContainerHealth::NotUsed,
            };
            self::service(&status, platform)
                .host_ports
                .into_iter()
                .map(|port| format!("{}:{}", port.ip, port.host_port))
                .collect::<Vec<_>>()
        };
        assert_eq!(ports(Platform::Linux, |_| ()), ["127.0.0.1:8080"]);
        assert!(ports(Platform::Linux, |service| service.listen = false).is_empty());
        assert!(ports(Platform::Podman, |_| ()).is_empty());
        assert_eq!(
            ports(Platform::Podman, |service| _ =
                service.host_ports.insert(8080, 8888)),
            ["*:8888"]
        );
        assert_eq!(
            ports(Platform::Linux, |service| service.host_ip =
                Some("::1".into())),
            ["::1:8080"]
        );
    }

    #[test]
    fn a_missing_container_is_a_problem() {
        let service = Service::new(ServiceName::parse("backend").unwrap(), vec![8080]);
        let status = ServiceStatus {
            service,
            container: ContainerHealth::Missing,
        };
        assert_eq!(
            self::service(&status, Platform::Podman).problem.as_deref(),
            Some("container missing")
        );
    }
}
