use std::fmt::{self, Display};
use std::net::IpAddr;
use std::path::PathBuf;

/// Place an engine listens at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    /// Plain TCP on this host only: sites mount directories of this host, and the API has no access control.
    Tcp {
        host: String,
        port: u16,
    },
}

impl Endpoint {
    /// Reads `/path`, `unix:///path`, `unix:/path`, `tcp://host:port` and `http://host:port`; the error is a reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err("expected unix:///path or tcp://127.0.0.1:port".to_owned());
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err("the path of the socket must be absolute".to_owned()),
            "tcp" | "http" => Self::parse_tcp(rest.trim_end_matches('/')),
            _ => Err(format!(
                "scheme \"{scheme}\" is not supported, use the engine's unix socket on this host"
            )),
        }
    }

    fn parse_tcp(authority: &str) -> Result<Self, String> {
        let Some((host, port)) = authority.rsplit_once(':') else {
            return Err("a port is missing".to_owned());
        };
        let port = port
            .parse()
            .map_err(|_| format!("\"{port}\" is not a port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let local = host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if !local {
            return Err(format!(
                "\"{host}\" is not this host; sites need an engine that runs here"
            ));
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => {
                write!(formatter, "tcp://[{host}]:{port}")
            }
            Self::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_is_shown_as_a_url() {
        for (text, shown) in [
            ("/run/podman/podman.sock", "unix:///run/podman/podman.sock"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix:/run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("http://localhost:2375/", "tcp://localhost:2375"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_on_this_host_is_refused_with_the_reason() {
        for (text, reason) in [
            ("ssh://user@host/run/podman.sock", "\"ssh\""),
            ("tcp://192.0.2.1:2375", "not this host"),
            ("tcp://localhost", "port is missing"),
            ("tcp://localhost:99999", "not a port"),
            ("unix://relative", "absolute"),
            ("podman.sock", "expected unix"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
