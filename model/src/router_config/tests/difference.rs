//! What a reload has to do.

use super::*;

fn initial() -> RouterConfig {
    RouterConfig::parse(INITIAL).unwrap().config
}

#[test]
fn nothing_changes_between_equal_files() {
    assert!(RouterConfig::difference(&initial(), &initial()).is_empty());
}

#[test]
fn entities_are_told_apart_by_name() {
    let old = initial();
    let mut new = initial();
    new.listeners.remove("amqp");
    new.listeners.get_mut("amqps").unwrap().port = 6671;
    new.put_connector(Connector::new("link1", "hub", 55671));
    new.put_tcp_listener(TcpListener::new("t", "a", 1));
    new.put_tcp_connector(TcpConnector::new("t", "a", "h", 1));
    new.put_ssl_profile(SslProfile::new("p"));
    new.addresses = vec![
        AddressEntity::prefix("mc", Distribution::Closest),
        AddressEntity::prefix("x", Distribution::Closest),
    ];
    new.logs
        .push(LogEntity::at_least("SERVER", LogLevel::Debug));
    new.site = Some(SiteEntity::default());

    let difference = RouterConfig::difference(&old, &new);
    assert!(!difference.is_empty());
    assert_eq!(difference.refused, None);
    assert_eq!(difference.router, None);
    assert_eq!(
        difference.listeners.removed,
        [old.listeners["amqp"].clone()]
    );
    assert_eq!(
        difference.listeners.changed,
        [(
            old.listeners["amqps"].clone(),
            new.listeners["amqps"].clone()
        )]
    );
    assert!(difference.listeners.added.is_empty());
    assert_eq!(difference.connectors.added.len(), 1);
    assert_eq!(
        (
            difference.tcp_listeners.added.len(),
            difference.tcp_connectors.added.len()
        ),
        (1, 1)
    );
    assert_eq!(difference.ssl_profiles.added[0].name, "p");
    assert_eq!(
        (
            difference.addresses.changed.len(),
            difference.addresses.added.len()
        ),
        (1, 1)
    );
    assert_eq!(difference.logs.added.len(), 1);
    assert!(difference.site.is_some());

    let back = RouterConfig::difference(&new, &old);
    assert_eq!(back.listeners.added, difference.listeners.removed);
    assert_eq!(back.connectors.removed, difference.connectors.added);
}

#[test]
fn another_id_or_mode_needs_a_restart() {
    let mut renamed = initial();
    renamed.router.id = "other".to_owned();
    let refused = RouterConfig::difference(&initial(), &renamed)
        .refused
        .unwrap();
    assert_eq!(
        refused,
        "the router's id changes from \"host1-alice\" to \"other\", which needs a restart"
    );
    let mut edge = initial();
    edge.router.mode = Mode::Edge;
    let refused = RouterConfig::difference(&initial(), &edge).refused.unwrap();
    assert_eq!(
        refused,
        "the router's mode changes from interior to edge, which needs a restart"
    );
    let mut slower = initial();
    slower.router.hello_max_age *= 2;
    let difference = RouterConfig::difference(&initial(), &slower);
    assert_eq!(difference.refused, None);
    assert_eq!(difference.router.as_ref().unwrap().1, slower.router);
    assert!(!difference.is_empty());
}

#[test]
fn a_connector_dials_anew_when_its_proxy_changes() {
    let mut old = initial();
    let mut profile = ProxyProfile::new("p", "proxy.example", 3128);
    profile.username = Some("u".to_owned());
    profile.password = Some(Sensitive::new("secret"));
    old.put_proxy_profile(profile);
    let mut through = Connector::new("through", "hub", 55671);
    through.proxy_profile = Some("p".to_owned());
    old.put_connector(through.clone());
    old.put_connector(Connector::new("direct", "hub", 55671));
    assert_eq!(RouterConfig::parse(&old.to_json()).unwrap().config, old);
    let mut new = old.clone();
    new.put_proxy_profile(ProxyProfile::new("p", "other.example", 3128));
    let difference = RouterConfig::difference(&old, &new);
    assert_eq!(difference.connectors.changed, [(through.clone(), through)]);
    assert!(difference.connectors.added.is_empty() && difference.connectors.removed.is_empty());
    assert!(!format!("{old:?}").contains("secret"));
}
