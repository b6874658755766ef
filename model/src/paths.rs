//! Where things are on disk.
//!
//! ```text
//! <data home>/                              /var/lib/skupper, $XDG_DATA_HOME/skupper or ~/.local/share/skupper
//!   platform.yaml                           Skupper 1's choice of platform, only read
//!   sites/<namespace>/
//!     site.yaml  links/  services/          desired state
//!     issuers/<name>/  certs/<name>/        credentials, 0600
//!     router/skrouterd.json                 configuration of the site's router
//!     service-routers/<service>/skrouterd.json
//!     run/                                  0700: locks, sockets, logs, journal
//! <config home>/platform.yaml               our choice of platform
//! <runtime directory>/<hash>/               sockets, when run/ is too long for a socket address
//! ```

use std::{
    env,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::name::{LinkName, Namespace, ServiceName};

/// Longest path used for a Unix socket, in octets; `sun_path` holds 108 with its terminator (unix(7))
pub const MAX_SOCKET_PATH: usize = 100;

const ROUTER_SOCKET: &str = "router.sock";
/// Sockets are in there when nothing shorter is left: `/<16 hex digits>/router.sock` has to fit
const MAX_RUNTIME_DIR: usize = MAX_SOCKET_PATH - 1 - 16 - 1 - ROUTER_SOCKET.len();

/// Directories of one user
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paths {
    /// State of all sites
    pub data_home: PathBuf,
    /// The user's choices
    pub config_home: PathBuf,
    /// Short-lived files with short paths; may not exist yet, must be 0700
    pub runtime_dir: PathBuf,
    /// The caller's user id
    pub uid: u32,
    /// The caller's login name without white space
    pub user: String,
}

/// The user's directories could not be found
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathsError {
    /// Neither the environment nor the user database names a home directory
    #[error("home directory of user {uid} is unknown: set HOME to an absolute path")]
    NoHome {
        /// The caller's user id
        uid: u32,
    },
}

impl Paths {
    /// Directories of the calling user, by the XDG base directory rules
    ///
    /// An empty or relative variable counts as unset, as the XDG specification says. Root keeps its state in
    /// `/var/lib/skupper`, where every root session finds it whatever its environment is.
    pub fn from_env() -> Result<Self, PathsError> {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let uid = rustix::process::geteuid().as_raw();
        Self::from_environment(
            |name| env::var_os(name).map(PathBuf::from),
            uid,
            &users,
            Path::is_dir,
        )
    }

    /// Directories below one root, for tests and tools that must not touch the user's own
    pub fn under(root: &Path) -> Self {
        Self {
            data_home: root.join("data"),
            config_home: root.join("config"),
            runtime_dir: root.join("runtime"),
            uid: rustix::process::geteuid().as_raw(),
            user: "user".to_owned(),
        }
    }

    fn from_environment(
        variable: impl Fn(&str) -> Option<PathBuf>,
        uid: u32,
        users: &str,
        exists: impl Fn(&Path) -> bool,
    ) -> Result<Self, PathsError> {
        let directory = |name: &str| variable(name).filter(|path| path.is_absolute());
        let entry = passwd_entry(users, uid);
        let user = entry
            .as_ref()
            .map(|entry| entry.name.to_owned())
            .or_else(|| {
                variable("USER")
                    .map(|text| text.to_string_lossy().into_owned())
                    .filter(|text| !text.is_empty())
            })
            .or_else(|| variable("USERNAME").map(|text| text.to_string_lossy().into_owned()))
            .unwrap_or_else(|| uid.to_string());
        let user: String = user.chars().filter(|c| !c.is_whitespace()).collect();

        let home = directory("HOME").or_else(|| {
            entry
                .map(|entry| PathBuf::from(entry.home))
                .filter(|home| home.is_absolute())
        });
        let home = || home.clone().ok_or(PathsError::NoHome { uid });
        let config_home = match directory("XDG_CONFIG_HOME") {
            Some(directory) => directory,
            None => home()?.join(".config"),
        };
        if uid == 0 {
            return Ok(Self {
                data_home: PathBuf::from("/var/lib/skupper"),
                config_home: config_home.join("skupper"),
                runtime_dir: PathBuf::from("/run/skupper"),
                uid,
                user,
            });
        }
        let data_home = match directory("XDG_DATA_HOME") {
            Some(directory) => directory,
            None => home()?.join(".local/share"),
        };
        let runtime_dir = directory("XDG_RUNTIME_DIR")
            .or_else(|| Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|path| exists(path)))
            .map(|directory| directory.join("skupper"))
            .filter(|directory| directory.as_os_str().len() <= MAX_RUNTIME_DIR)
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/skupper-{uid}")));
        Ok(Self {
            data_home: data_home.join("skupper"),
            config_home: config_home.join("skupper"),
            runtime_dir,
            uid,
            user,
        })
    }

    /// Parent of all sites
    pub fn sites_dir(&self) -> PathBuf {
        self.data_home.join("sites")
    }

    /// Paths of one site
    pub fn site(&self, namespace: &Namespace) -> SitePaths {
        let root = self.sites_dir().join(namespace.as_str());
        let run = root.join("run").join("sockets");
        let fits = run.join(ROUTER_SOCKET).as_os_str().len() <= MAX_SOCKET_PATH;
        let sockets = if fits {
            run
        } else {
            self.runtime_dir
                .join(short_hash(root.as_os_str().as_bytes()))
        };
        SitePaths { root, sockets }
    }

    /// Our choice of platform
    pub fn platform_file(&self) -> PathBuf {
        self.config_home.join("platform.yaml")
    }

    /// Skupper 1's choice of platform; only read, because a word that it does not know breaks it
    pub fn v1_platform_file(&self) -> PathBuf {
        self.data_home.join("platform.yaml")
    }
}

/// Paths of one site
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SitePaths {
    root: PathBuf,
    sockets: PathBuf,
}

impl SitePaths {
    /// Everything of the site
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// [`crate::Site`]
    pub fn site_file(&self) -> PathBuf {
        self.root.join("site.yaml")
    }

    /// Directory of the links
    pub fn links_dir(&self) -> PathBuf {
        self.root.join("links")
    }

    /// [`crate::Link`]
    pub fn link_file(&self, name: &LinkName) -> PathBuf {
        self.links_dir().join(format!("{name}.yaml"))
    }

    /// Directory of the services
    pub fn services_dir(&self) -> PathBuf {
        self.root.join("services")
    }

    /// [`crate::Service`]
    pub fn service_file(&self, name: &ServiceName) -> PathBuf {
        self.services_dir().join(format!("{name}.yaml"))
    }

    /// Directory of the certificate authorities
    pub fn issuers_dir(&self) -> PathBuf {
        self.root.join("issuers")
    }

    /// Directory of one authority: `tls.crt`, `tls.key`
    pub fn issuer(&self, name: &str) -> PathBuf {
        self.issuers_dir().join(name)
    }

    /// Directory of the issued and received credentials
    pub fn certs_dir(&self) -> PathBuf {
        self.root.join("certs")
    }

    /// Directory of one credential: `tls.crt`, `tls.key`, `ca.crt`
    pub fn cert(&self, name: &str) -> PathBuf {
        self.certs_dir().join(name)
    }

    /// Directory of the site router's configuration
    pub fn router_dir(&self) -> PathBuf {
        self.root.join("router")
    }

    /// The site router's configuration
    pub fn router_config(&self) -> PathBuf {
        self.router_dir().join("skrouterd.json")
    }

    /// Parent of the directories of the service routers
    pub fn service_routers_dir(&self) -> PathBuf {
        self.root.join("service-routers")
    }

    /// Directory of the configuration of a service's router
    pub fn service_router_dir(&self, name: &ServiceName) -> PathBuf {
        self.service_routers_dir().join(name.as_str())
    }

    /// Configuration of a service's router
    pub fn service_router_config(&self, name: &ServiceName) -> PathBuf {
        self.service_router_dir(name).join("skrouterd.json")
    }

    /// Locks, logs, journal; 0700
    pub fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Held by the command that changes the site
    pub fn lock_file(&self) -> PathBuf {
        self.run_dir().join("site.lock")
    }

    /// Held by the site's controller while it lives
    pub fn controller_lock(&self) -> PathBuf {
        self.run_dir().join("controller.lock")
    }

    /// Held by the site's router while it lives
    pub fn router_lock(&self) -> PathBuf {
        self.run_dir().join("router.lock")
    }

    /// Directory of the sockets and of nothing else, so that containers can be given it: below [`Self::run_dir`], unless
    /// that path is too long for a socket address; 0700
    pub fn socket_dir(&self) -> PathBuf {
        self.sockets.clone()
    }

    /// Management socket of the site's router
    pub fn router_socket(&self) -> PathBuf {
        self.sockets.join(ROUTER_SOCKET)
    }

    /// Management socket of a service's router
    pub fn service_router_socket(&self, name: &ServiceName) -> PathBuf {
        self.sockets.join(self.service_socket_name(name))
    }

    /// What the controller says
    pub fn controller_log(&self) -> PathBuf {
        self.run_dir().join("controller.log")
    }

    /// What the site's router says
    pub fn router_log(&self) -> PathBuf {
        self.run_dir().join("router.log")
    }

    /// Steps of a change that has not ended
    pub fn journal(&self) -> PathBuf {
        self.run_dir().join("journal")
    }

    /// File name of a service router's socket; the same wherever the directory is mounted
    ///
    /// A long service name gives way to a hash, so that the whole path stays a valid socket address.
    fn service_socket_name(&self, name: &ServiceName) -> String {
        let readable = format!("service-{name}.sock");
        if self.sockets.as_os_str().len() + 1 + readable.len() <= MAX_SOCKET_PATH {
            readable
        } else {
            // As long as the name of the router's socket, which always fits.
            format!("s{}", &short_hash(name.as_str().as_bytes())[..10])
        }
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    home: &'a str,
}

/// The user's line of passwd(5)
fn passwd_entry(users: &str, uid: u32) -> Option<PasswdEntry<'_>> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, _, home, ..] = fields[..] else {
            return None;
        };
        (id.parse() == Ok(uid) && !name.is_empty()).then_some(PasswdEntry { name, home })
    })
}

/// FNV-1a, 64 bits, as 16 hex digits: stable between releases, unlike the hasher of the standard library
fn short_hash(octets: &[u8]) -> String {
    let hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
