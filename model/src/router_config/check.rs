//! What must hold between entities.

use std::collections::BTreeMap;

use super::{ConfigError, Mode, MultiAddressStrategy, Role, RouterConfig};

pub(super) fn check(config: &RouterConfig) -> Result<(), ConfigError> {
    check_router(config)?;
    check_profiles(config)?;
    check_connections(config)?;
    check_listener_addresses(config)?;
    check_sockets(config)
}

fn check_router(config: &RouterConfig) -> Result<(), ConfigError> {
    let router = &config.router;
    let invalid = |attribute: &str, reason: &str| ConfigError::Invalid {
        entity: "router".to_owned(),
        attribute: attribute.to_owned(),
        reason: reason.to_owned(),
    };
    if router.id.is_empty() {
        return Err(invalid("id", "must not be empty"));
    }
    // The id is a segment of topological addresses and a part of message annotations.
    if router
        .id
        .chars()
        .any(|c| matches!(c, '|' | '$' | '/') || c.is_whitespace() || c.is_control())
    {
        return Err(invalid(
            "id",
            "must not contain '|', '$', '/' or white space",
        ));
    }
    if router.hello_max_age < router.hello_interval {
        return Err(invalid(
            "helloMaxAgeSeconds",
            "must not be less than helloIntervalSeconds",
        ));
    }
    Ok(())
}

fn check_profiles(config: &RouterConfig) -> Result<(), ConfigError> {
    for profile in config.ssl_profiles.values() {
        let attribute = match (&profile.cert_file, &profile.private_key_file) {
            (Some(_), None) => "privateKeyFile",
            (None, Some(_)) => "certFile",
            _ => continue,
        };
        return Err(ConfigError::Missing {
            entity: profile.label(),
            attribute,
        });
    }
    for listener in config.listeners.values() {
        let label = format!("listener {:?}", listener.name);
        check_server(
            config,
            &label,
            listener.ssl_profile.as_deref(),
            listener.authenticate_peer,
        )?;
    }
    for listener in config.tcp_listeners.values() {
        let label = format!("tcpListener {:?}", listener.name);
        check_server(
            config,
            &label,
            listener.ssl_profile.as_deref(),
            listener.authenticate_peer,
        )?;
    }
    for connector in config.connectors.values() {
        known_profile(
            config,
            &format!("connector {:?}", connector.name),
            connector.ssl_profile.as_deref(),
        )?;
        if let Some(name) = &connector.proxy_profile
            && !config.proxy_profiles.contains_key(name)
        {
            return Err(ConfigError::UnknownProxy {
                entity: format!("connector {:?}", connector.name),
                profile: name.clone(),
            });
        }
    }
    for connector in config.tcp_connectors.values() {
        known_profile(
            config,
            &format!("tcpConnector {:?}", connector.name),
            connector.ssl_profile.as_deref(),
        )?;
    }
    Ok(())
}

/// A TLS server needs a certificate, and authorities if it asks clients for theirs
fn check_server(
    config: &RouterConfig,
    label: &str,
    name: Option<&str>,
    authenticate_peer: bool,
) -> Result<(), ConfigError> {
    known_profile(config, label, name)?;
    let Some(profile) = name.and_then(|name| config.ssl_profiles.get(name)) else {
        return Ok(());
    };
    let attribute = match () {
        () if profile.cert_file.is_none() => "certFile",
        () if authenticate_peer && profile.ca_cert_file.is_none() => "caCertFile",
        () => return Ok(()),
    };
    Err(ConfigError::IncompleteProfile {
        entity: label.to_owned(),
        profile: profile.name.clone(),
        attribute,
    })
}

fn known_profile(
    config: &RouterConfig,
    label: &str,
    name: Option<&str>,
) -> Result<(), ConfigError> {
    match name {
        Some(name) if !config.ssl_profiles.contains_key(name) => Err(ConfigError::UnknownProfile {
            entity: label.to_owned(),
            profile: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_connections(config: &RouterConfig) -> Result<(), ConfigError> {
    let mode = config.router.mode;
    let forbidden = |label: String, role| {
        Err(ConfigError::RoleInMode {
            entity: label,
            role,
            mode,
        })
    };
    for listener in config.listeners.values() {
        let label = || format!("listener {:?}", listener.name);
        let allowed = match listener.role {
            Role::Normal => true,
            Role::InterRouter | Role::Edge => mode == Mode::Interior,
        };
        if !allowed {
            return forbidden(label(), listener.role);
        }
        let only_normal = |attribute: &str| {
            Err(ConfigError::Invalid {
                entity: label(),
                attribute: attribute.to_owned(),
                reason: format!("a listener of role {} cannot have it", listener.role),
            })
        };
        if !listener.sasl_mechanisms.is_empty() && listener.offered_mechanisms().next().is_none() {
            return Err(ConfigError::Invalid {
                entity: label(),
                attribute: "saslMechanisms".to_owned(),
                reason: format!(
                    "{} cannot be offered, since there is nothing to check passwords by; use EXTERNAL or ANONYMOUS",
                    listener.sasl_mechanisms.join(" ")
                ),
            });
        }
        if listener.role != Role::Normal {
            if listener.http {
                return only_normal("http");
            }
            if listener.socket.is_some() {
                return only_normal("unixSocket");
            }
        }
    }
    for connector in config.connectors.values() {
        let allowed = match connector.role {
            Role::Normal => true,
            Role::InterRouter => mode == Mode::Interior,
            Role::Edge => mode == Mode::Edge,
        };
        if !allowed {
            return forbidden(format!("connector {:?}", connector.name), connector.role);
        }
    }
    Ok(())
}

/// Each belongs to a TCP listener that takes several
fn check_listener_addresses(config: &RouterConfig) -> Result<(), ConfigError> {
    for address in config.listener_addresses.values() {
        let label = || format!("listenerAddress {:?}", address.name);
        let Some(listener) = config.tcp_listeners.get(&address.listener) else {
            return Err(ConfigError::UnknownTcpListener {
                entity: label(),
                listener: address.listener.clone(),
            });
        };
        if listener.strategy == MultiAddressStrategy::None {
            return Err(ConfigError::Invalid {
                entity: label(),
                attribute: "listener".to_owned(),
                reason: format!(
                    "tcpListener {:?} has one address only; give it a multiAddressStrategy",
                    listener.name
                ),
            });
        }
    }
    Ok(())
}

/// One socket for one listener
fn check_sockets(config: &RouterConfig) -> Result<(), ConfigError> {
    let mut taken = BTreeMap::new();
    let listeners = config.listeners.values().map(|listener| {
        let address = match &listener.socket {
            Some(path) => Some(path.display().to_string()),
            None => host_and_port(&listener.host, listener.port),
        };
        (format!("listener {:?}", listener.name), address)
    });
    let tcp_listeners = config.tcp_listeners.values().map(|listener| {
        (
            format!("tcpListener {:?}", listener.name),
            host_and_port(&listener.host, listener.port),
        )
    });
    for (label, address) in listeners.chain(tcp_listeners) {
        let Some(address) = address else { continue };
        if let Some(first) = taken.insert(address.clone(), label.clone()) {
            return Err(ConfigError::SameAddress {
                first,
                second: label,
                address,
            });
        }
    }
    Ok(())
}

/// Port 0 is any free one, which is never the same
fn host_and_port(host: &str, port: u16) -> Option<String> {
    if port == 0 {
        return None;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}
