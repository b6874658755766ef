//! Networks of routers: planned first, so that tests can change configurations, then started.

use std::path::{Path, PathBuf};

use model::router_config::{
    Connector, Listener, Mode, Role, RouterConfig, RouterEntity, SslProfile,
};
use pki::{Authority, KeyKind, LeafRequest};

use crate::{
    environment::{Family, free_port, scratch},
    process::TestRouter,
};

const LOOPBACK: &str = "127.0.0.1";
/// Name of the profile that links use.
pub const PROFILE: &str = "links";

/// An authority and the folders of certificates that it issued.
#[derive(Debug)]
pub struct Certificates {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// A new authority.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn new() -> Self {
        Self::of("test-links")
    }

    /// A new authority with a name of its own.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn of(name: &str) -> Self {
        Self {
            authority: Authority::generate(name, KeyKind::P256).expect("a key can be made"),
            folder: scratch(),
        }
    }

    /// Folder with `tls.crt`, `tls.key` and `ca.crt` for a name and the loopback address; issued anew at each call.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn issue(&self, name: &str) -> PathBuf {
        let request = LeafRequest::new(
            name,
            vec![LOOPBACK.to_owned(), "localhost".to_owned()],
            KeyKind::P256,
        );
        self.issue_as(name, &request)
    }

    /// As [`Self::issue`], with a request of its own.
    ///
    /// # Panics
    /// When it cannot be issued or written.
    pub fn issue_as(&self, name: &str, request: &LeafRequest) -> PathBuf {
        let folder = self.folder.path().join(name);
        let certificate = self.authority.issue(request).expect("it can be issued");
        certificate.store(&folder).expect("it can be written");
        folder
    }

    /// Replaces the certificate, key and authority in a folder, which may be of another authority.
    ///
    /// # Panics
    /// When it cannot be issued or written.
    pub fn replace(&self, name: &str, folder: &Path) {
        let issued = pki::Certificate::load(&self.issue(name)).expect("it was just written");
        issued.store(folder).expect("it can be written");
    }
}

/// Configurations of routers that will be linked.
#[derive(Debug, Default)]
pub struct Plan {
    /// By index; the id of router n is `r` and n.
    pub configs: Vec<RouterConfig>,
    certificates: Option<Certificates>,
}

/// Routers that run, and what has to outlive them.
#[derive(Debug)]
pub struct Mesh {
    /// By index, as planned.
    pub routers: Vec<TestRouter>,
    /// Of a secured plan.
    pub certificates: Option<Certificates>,
}

/// An interior router with an id and nothing else.
pub fn interior(id: impl Into<String>) -> RouterConfig {
    RouterConfig::new(RouterEntity::new(id, Mode::Interior))
}

/// An edge router with an id and nothing else.
pub fn edge(id: impl Into<String>) -> RouterConfig {
    RouterConfig::new(RouterEntity::new(id, Mode::Edge))
}

/// A listener of a role on a new port of the loopback address; the port comes with it.
pub fn listener(name: impl Into<String>, role: Role) -> (Listener, u16) {
    let port = free_port();
    let listener = Listener {
        host: LOOPBACK.to_owned(),
        role,
        ..Listener::new(name, port)
    };
    (listener, port)
}

/// A listener for HTTP, named `http`: metrics and readiness; the port comes with it.
pub fn http_listener() -> (Listener, u16) {
    let (http, port) = listener("http", Role::Normal);
    (Listener { http: true, ..http }, port)
}

/// A connector of a role to a port of the loopback address.
pub fn connector(name: impl Into<String>, port: u16, role: Role) -> Connector {
    Connector {
        role,
        ..Connector::new(name, LOOPBACK, port)
    }
}

/// A profile that uses a folder of [`Certificates`].
pub fn profile(folder: &Path) -> SslProfile {
    SslProfile::in_directory(PROFILE, folder)
}

/// Makes a listener demand and check certificates.
pub fn secure_listener(listener: Listener) -> Listener {
    Listener {
        ssl_profile: Some(PROFILE.to_owned()),
        sasl_mechanisms: vec!["EXTERNAL".to_owned()],
        authenticate_peer: true,
        require_ssl: true,
        ..listener
    }
}

/// Makes a connector present a certificate.
pub fn secure_connector(connector: Connector) -> Connector {
    Connector {
        ssl_profile: Some(PROFILE.to_owned()),
        sasl_mechanisms: vec!["EXTERNAL".to_owned()],
        ..connector
    }
}

impl Plan {
    /// `count` interior routers without links.
    pub fn routers(count: usize) -> Self {
        Self {
            configs: (0..count)
                .map(|index| interior(format!("r{index}")))
                .collect(),
            certificates: None,
        }
    }

    /// All links made from now on use mutual TLS.
    #[must_use]
    pub fn secured(mut self) -> Self {
        let certificates = Certificates::new();
        for config in &mut self.configs {
            let folder = certificates.issue(&config.router.id);
            config.put_ssl_profile(profile(&folder));
        }
        self.certificates = Some(certificates);
        self
    }

    /// Router `from` dials router `to`.
    #[must_use]
    pub fn link(mut self, from: usize, to: usize, cost: u32) -> Self {
        let name = format!("from-r{from}");
        let (listener, port) = listener(name, Role::InterRouter);
        let dial = Connector {
            cost,
            ..connector(format!("to-r{to}"), port, Role::InterRouter)
        };
        let (listener, dial) = if self.certificates.is_some() {
            (secure_listener(listener), secure_connector(dial))
        } else {
            (listener, dial)
        };
        self.configs[to].put_listener(listener);
        self.configs[from].put_connector(dial);
        self
    }

    /// Each router dials the next one.
    #[must_use]
    pub fn chain(self) -> Self {
        (1..self.configs.len()).fold(self, |plan, index| plan.link(index - 1, index, 1))
    }

    /// As [`Self::chain`], and the last one dials the first one.
    #[must_use]
    pub fn ring(self) -> Self {
        let last = self.configs.len() - 1;
        self.chain().link(last, 0, 1)
    }

    /// Starts all and waits until each knows all others.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn start(self) -> Mesh {
        self.start_as(&[]).await
    }

    /// As [`Self::start`], with C routers where a family is given.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn start_as(self, families: &[Option<Family>]) -> Mesh {
        let mut routers = Vec::new();
        for (index, config) in self.configs.into_iter().enumerate() {
            routers.push(match families.get(index).copied().flatten() {
                None => TestRouter::start(config).await,
                Some(family) => TestRouter::start_c(family, config).await,
            });
        }
        let mesh = Mesh {
            routers,
            certificates: self.certificates,
        };
        mesh.converged().await;
        mesh
    }
}

impl Mesh {
    /// Waits until each router knows all others.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn converged(&self) {
        let ids: Vec<&str> = self
            .routers
            .iter()
            .map(|router| router.id.as_str())
            .collect();
        for router in &self.routers {
            let others: Vec<&str> = ids.iter().copied().filter(|id| *id != router.id).collect();
            router.until_nodes(&others).await;
        }
    }
}
