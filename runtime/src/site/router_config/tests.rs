use std::path::Path;

use model::link::Endpoints;
use model::name::{HostPort, LinkCost, LinkName, Namespace, ServiceName, SiteId, SiteName};
use model::paths::Paths;
use model::platform::Platform;
use model::site::ContainerSettings;

use super::*;

fn site(platform: Platform) -> Site {
    let mut site = Site::new(
        Namespace::default(),
        SiteName::parse("host1-alice").expect("a name"),
        platform,
    );
    site.id = SiteId::parse("5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11").expect("an id");
    site.ingress.hosts = vec!["hub.example.com".to_owned()];
    site.router_logging = vec!["info".to_owned(), "TCP_ADAPTOR:debug+".to_owned()];
    site.container = platform.is_container().then(|| ContainerSettings {
        engine_endpoint: None,
        network: "skupper".to_owned(),
        network_created: true,
        ipv6: false,
        image: "localhost/skupper:1".to_owned(),
    });
    site
}

fn paths() -> SitePaths {
    Paths::under(Path::new("/home/alice")).site(&Namespace::default())
}

fn link() -> Link {
    let endpoints = Endpoints {
        inter_router: Some(HostPort::parse("west.example.com:55671").expect("an address")),
        edge: None,
    };
    let name = LinkName::parse("link1").expect("a name");
    Link::new(name, LinkCost::new(2).expect("a cost"), endpoints)
}

fn service() -> Service {
    let name = ServiceName::parse("backend").expect("a name");
    let mut service = Service::new(name, vec![8080, 9090]);
    service.host_ports.insert(8080, 18080);
    for host in ["hello-world-backend", "2001:db8::1"] {
        service.targets.push(Target {
            host: host.to_owned(),
            ports: [(8080, 80), (9090, 9090)].into(),
        });
    }
    service
}

/// Compares with the file; `UPDATE_GOLDEN=1` writes it.
fn assert_golden(config: &RouterConfig, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/site/router_config/golden")
        .join(file);
    let text = config.to_json();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    let golden = std::fs::read_to_string(&path).expect("there");
    assert_eq!(text, golden, "{}", path.display());
    let read = RouterConfig::parse(&text).expect("valid");
    assert_eq!(read.warnings, [""; 0]);
    assert_eq!(read.config, *config);
}

#[test]
fn the_router_of_a_native_site_holds_everything() {
    let site = site(Platform::Linux);
    let layout = Layout::of(&site, &paths());
    let config = site_router(&site, &[link()], &[service()], &layout, &paths());
    assert_golden(&config, "linux.json");
}

#[test]
fn the_router_of_a_container_site_holds_no_services() {
    let site = site(Platform::Podman);
    let layout = Layout::of(&site, &paths());
    let config = site_router(&site, &[link()], &[service()], &layout, &paths());
    assert_golden(&config, "container.json");
}

#[test]
fn the_router_of_a_service_is_an_edge_of_the_site() {
    let site = site(Platform::Docker);
    let layout = Layout::of(&site, &paths());
    let config = service_router(&site, &service(), &layout, &paths());
    assert_golden(&config, "service.json");
}

#[test]
fn every_bind_address_has_its_listener() {
    let mut site = site(Platform::Linux);
    site.ingress.bind_ips = vec!["10.0.0.1".to_owned(), "::1".to_owned()];
    let layout = Layout::of(&site, &paths());
    let config = site_router(&site, &[], &[], &layout, &paths());
    for (name, host) in [
        ("interior-listener@10.0.0.1", "10.0.0.1"),
        ("interior-listener@::1", "::1"),
        ("edge-listener@10.0.0.1", "10.0.0.1"),
        ("edge-listener@::1", "::1"),
    ] {
        assert_eq!(config.listeners[name].host, host);
    }
    config.check().expect("valid");
}

#[test]
fn only_what_differs_is_waited_for() {
    let site = site(Platform::Linux);
    let layout = Layout::of(&site, &paths());
    let config = |links: &[Link], services: &[Service]| {
        site_router(&site, links, services, &layout, &paths())
    };
    let before = config(&[link()], &[service()]);
    let mut fewer = service();
    fewer.targets.remove(0);
    let after = config(&[], &[fewer]);
    let changed = changed_entities(&before, &after);
    assert_eq!(changed.present.len(), 0);
    let absent: Vec<&str> = changed
        .absent
        .iter()
        .map(|(_, name)| name.as_str())
        .collect();
    assert_eq!(
        absent,
        [
            "link1",
            "backend@hello-world-backend:8080:80",
            "backend@hello-world-backend:9090:9090"
        ]
    );
}

#[test]
fn log_items_are_levels_with_or_without_a_module() {
    let items = ["info", "ROUTER:trace+", "nonsense"].map(str::to_owned);
    let entities = log_entities(&items[..2]).expect("valid");
    let texts: Vec<(String, String)> = entities
        .iter()
        .map(|entity| (entity.module.clone(), entity.enable_text()))
        .collect();
    assert_eq!(
        texts,
        [
            ("DEFAULT".to_owned(), "info+".to_owned()),
            ("ROUTER".to_owned(), "trace+".to_owned())
        ]
    );
    let error = log_entities(&items).expect_err("no level");
    assert!(error.to_string().ends_with("nonsense"), "{error}");
}
