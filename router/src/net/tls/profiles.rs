//! Configured profiles and the configurations built from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::router_config::SslProfile;
use rustls::{ClientConfig, ServerConfig, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    TlsError,
    build::{ServerUse, build_client, build_server},
    credentials::{CredentialFiles, Credentials, Marks},
    identity::user_id,
    names::Names,
};

/// The `sslProfile` entities of a router.
#[derive(Debug, Default)]
pub struct TlsProfiles {
    profiles: Mutex<BTreeMap<String, Profile>>,
    /// Tells connections that the settings changed.
    changed: watch::Sender<()>,
}

/// The set of certificates with which a connection was made, if its profile numbers them (`ordinal`).
#[derive(Clone, Debug)]
pub struct Issue {
    profile: String,
    ordinal: u64,
}

impl Issue {
    /// Number of the set.
    pub(in crate::net) fn ordinal(&self) -> u64 {
        self.ordinal
    }
}

/// Server side of an adaptor.
#[derive(Clone, Debug)]
pub struct AdaptorServerConfig {
    /// Offers `http/1.1` and `h2`.
    pub(super) alpn: Arc<ServerConfig>,
    /// For clients that offer only other protocols; negotiates none instead of failing.
    pub(super) plain: Arc<ServerConfig>,
}

/// A profile whose files have changed.
#[derive(Debug)]
pub struct Refreshed {
    /// Name of the profile.
    pub profile: String,
    /// New files are in use, or why the old ones stay.
    pub outcome: Result<(), TlsError>,
}

#[derive(Debug)]
struct Profile {
    settings: Arc<SslProfile>,
    loaded: Option<Loaded>,
    /// Names of users, if the profile has a file of them.
    names: Option<Names>,
    /// Marks of files that could not be used, so that each state is reported once.
    refused: Option<Marks>,
}

#[derive(Clone, Debug)]
struct Loaded {
    credentials: Arc<Credentials>,
    servers: BTreeMap<ServerUse, Arc<ServerConfig>>,
    clients: BTreeMap<bool, Arc<ClientConfig>>,
}

/// A profile as [`TlsProfiles::refresh`] sees it.
struct InUse {
    name: String,
    settings: Arc<SslProfile>,
    credentials: Arc<Credentials>,
    refused: Option<Marks>,
}

impl TlsProfiles {
    /// Takes the configured profiles. Files are read at first use, so that one missing certificate does not keep the
    /// rest of a router from starting.
    pub fn new(profiles: &BTreeMap<String, SslProfile>) -> Self {
        let new = Self::default();
        new.replace(profiles);
        new
    }

    /// Takes a new set of profiles; what was built for unchanged ones stays. Connections whose set of certificates is
    /// older than the `oldestValidOrdinal` of its profile are told.
    pub fn replace(&self, profiles: &BTreeMap<String, SslProfile>) {
        self.put(profiles);
        self.changed.send_replace(());
    }

    /// The set of certificates that a connection made now uses; ask before the configuration is taken, so that a change
    /// in between is not missed.
    pub fn issue(&self, profile: &str) -> Option<Issue> {
        let profiles = self.lock();
        let ordinal = profiles.get(profile)?.settings.ordinal?;
        Some(Issue {
            profile: profile.to_owned(),
            ordinal,
        })
    }

    /// Waits until the profile numbers its set of certificates higher than this.
    pub(in crate::net) async fn raised(&self, profile: &str, ordinal: u64) {
        let mut changed = self.changed.subscribe();
        while self
            .issue(profile)
            .is_none_or(|issue| issue.ordinal <= ordinal)
        {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Closes a connection, by its token, once its set of certificates is no longer valid.
    pub(in crate::net) async fn close_outdated(
        &self,
        issue: Option<Issue>,
        connection: &CancellationToken,
    ) -> Infallible {
        self.outdated(issue).await;
        connection.cancel();
        std::future::pending::<Infallible>().await
    }

    /// Waits until a set of certificates is no longer valid; for ever without one.
    async fn outdated(&self, issue: Option<Issue>) {
        let mut changed = self.changed.subscribe();
        while let Some(Issue { profile, ordinal }) = &issue {
            let oldest = self
                .lock()
                .get(profile)
                .and_then(|profile| profile.settings.oldest_valid_ordinal);
            if oldest.is_some_and(|oldest| oldest > *ordinal) {
                tracing::info!(target: "router::server", %profile, ordinal, "the certificates of a connection are no longer valid");
                return;
            }
            if changed.changed().await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    }

    fn put(&self, profiles: &BTreeMap<String, SslProfile>) {
        let mut current = self.lock();
        current.retain(|name, _| profiles.contains_key(name));
        for (name, settings) in profiles {
            if current
                .get(name)
                .is_none_or(|profile| *profile.settings != *settings)
            {
                let profile = Profile {
                    settings: Arc::new(settings.clone()),
                    loaded: None,
                    names: settings.uid_name_mapping_file.as_deref().map(Names::new),
                    refused: None,
                };
                current.insert(name.clone(), profile);
            }
        }
    }

    /// Configuration for accepting connections. A client certificate is requested and verified against `caCertFile` only
    /// if `require_client_cert` is set.
    ///
    /// # Errors
    /// The profile is unknown, incomplete for this use, or its files are unusable.
    pub fn server_config(
        &self,
        profile: &str,
        require_client_cert: bool,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        self.server(
            profile,
            ServerUse {
                require_client_cert,
                alpn: false,
            },
        )
    }

    /// Configurations for accepting connections of an adaptor: as [`Self::server_config`], with protocol negotiation.
    ///
    /// # Errors
    /// See [`Self::server_config`].
    pub fn adaptor_server_config(
        &self,
        profile: &str,
        authenticate_peer: bool,
    ) -> Result<AdaptorServerConfig, TlsError> {
        Ok(AdaptorServerConfig {
            alpn: self.server(
                profile,
                ServerUse {
                    require_client_cert: authenticate_peer,
                    alpn: true,
                },
            )?,
            plain: self.server(
                profile,
                ServerUse {
                    require_client_cert: authenticate_peer,
                    alpn: false,
                },
            )?,
        })
    }

    /// Configuration for connecting. The server's chain is always verified against `caCertFile`, its names only with
    /// `verify_hostname`. The profile's certificate is presented if it has one.
    ///
    /// # Errors
    /// See [`Self::server_config`].
    pub fn client_config(
        &self,
        profile: &str,
        verify_hostname: bool,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let (settings, loaded) = self.find(profile)?;
        if let Some(config) = loaded
            .as_ref()
            .and_then(|loaded| loaded.clients.get(&verify_hostname))
        {
            return Ok(config.clone());
        }
        let credentials = credentials(&settings, loaded)?;
        let config = Arc::new(build_client(
            profile,
            &settings,
            &credentials,
            verify_hostname,
        )?);
        self.keep(profile, &settings, &credentials, |loaded| {
            loaded.clients.insert(verify_hostname, config.clone());
        });
        Ok(config)
    }

    /// Name of the user whom a verified chain stands for, if the profile makes one of its parts (`uidFormat`).
    pub fn user(&self, profile: &str, chain: &[CertificateDer<'_>]) -> Option<String> {
        let (settings, _) = self.find(profile).ok()?;
        let id = user_id(chain, settings.uid_format.as_ref()?)?;
        let profiles = self.lock();
        let names = profiles.get(profile)?.names.as_ref();
        Some(match names.and_then(|names| names.of(&id)) {
            Some(name) => name.to_owned(),
            None => id,
        })
    }

    /// Reads the names of a profile's users, if it has a file of them.
    ///
    /// # Errors
    /// The file is unusable.
    pub fn check_names(&self, profile: &str) -> Result<(), TlsError> {
        let (settings, _) = self.find(profile)?;
        match &settings.uid_name_mapping_file {
            Some(path) => Names::read(path).map(drop),
            None => Ok(()),
        }
    }

    /// Looks whether files of profiles in use have changed and takes the new ones for future connections.
    ///
    /// Files that cannot be used (half written, key and certificate not belonging together yet, unreadable) leave the
    /// old ones in force; each such state is reported once. Unchanged profiles are not in the result.
    pub fn refresh(&self) -> Vec<Refreshed> {
        let in_use = self.in_use();
        let mut report = self.refresh_names();
        for InUse {
            name,
            settings,
            credentials,
            refused,
        } in in_use
        {
            let files = files(&settings);
            let marks = files.marks();
            if marks == credentials.marks || refused.as_ref() == Some(&marks) {
                continue;
            }
            let outcome = reload(&name, &settings, &credentials);
            let mut profiles = self.lock();
            let Some(profile) = profiles
                .get_mut(&name)
                .filter(|p| Arc::ptr_eq(&p.settings, &settings))
            else {
                continue;
            };
            let outcome = match outcome {
                Ok(credentials) => {
                    profile.loaded = Some(Loaded::new(Arc::new(credentials)));
                    profile.refused = None;
                    Ok(())
                }
                Err(error) => {
                    profile.refused = Some(marks);
                    Err(error)
                }
            };
            report.push(Refreshed {
                profile: name,
                outcome,
            });
        }
        report
    }

    fn refresh_names(&self) -> Vec<Refreshed> {
        let mut profiles = self.lock();
        let refreshed = profiles.iter_mut().filter_map(|(name, profile)| {
            let outcome = profile.names.as_mut()?.refresh()?;
            Some(Refreshed {
                profile: name.clone(),
                outcome,
            })
        });
        refreshed.collect()
    }

    /// Directories of all files that profiles name, to be watched for changes.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let profiles = self.lock();
        let mut directories = BTreeSet::new();
        for profile in profiles.values() {
            let files = files(&profile.settings);
            let names = profile.settings.uid_name_mapping_file.as_deref();
            let paths = files.paths().chain(names);
            directories.extend(paths.filter_map(Path::parent).map(|parent| {
                match parent.as_os_str().is_empty() {
                    true => PathBuf::from("."),
                    false => parent.to_owned(),
                }
            }));
        }
        directories
    }

    fn server(&self, profile: &str, server_use: ServerUse) -> Result<Arc<ServerConfig>, TlsError> {
        let (settings, loaded) = self.find(profile)?;
        if let Some(config) = loaded
            .as_ref()
            .and_then(|loaded| loaded.servers.get(&server_use))
        {
            return Ok(config.clone());
        }
        let credentials = credentials(&settings, loaded)?;
        let config = Arc::new(build_server(profile, &settings, &credentials, server_use)?);
        self.keep(profile, &settings, &credentials, |loaded| {
            loaded.servers.insert(server_use, config.clone());
        });
        Ok(config)
    }

    /// Profiles whose files have been read.
    fn in_use(&self) -> Vec<InUse> {
        let profiles = self.lock();
        let in_use = profiles.iter().filter_map(|(name, profile)| {
            Some(InUse {
                name: name.clone(),
                settings: profile.settings.clone(),
                credentials: profile.loaded.as_ref()?.credentials.clone(),
                refused: profile.refused.clone(),
            })
        });
        in_use.collect()
    }

    fn find(&self, profile: &str) -> Result<(Arc<SslProfile>, Option<Loaded>), TlsError> {
        let profiles = self.lock();
        let found = profiles
            .get(profile)
            .ok_or_else(|| TlsError::UnknownProfile {
                profile: profile.to_owned(),
            })?;
        Ok((found.settings.clone(), found.loaded.clone()))
    }

    /// Stores what was built outside the lock unless the profile or its files were exchanged meanwhile.
    fn keep(
        &self,
        profile: &str,
        settings: &Arc<SslProfile>,
        credentials: &Arc<Credentials>,
        store: impl FnOnce(&mut Loaded),
    ) {
        let mut profiles = self.lock();
        let Some(profile) = profiles
            .get_mut(profile)
            .filter(|profile| Arc::ptr_eq(&profile.settings, settings))
        else {
            return;
        };
        let loaded = profile
            .loaded
            .get_or_insert_with(|| Loaded::new(credentials.clone()));
        if Arc::ptr_eq(&loaded.credentials, credentials) {
            store(loaded);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Profile>> {
        self.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    fn new(credentials: Arc<Credentials>) -> Self {
        Self {
            credentials,
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }
}

/// Files of a profile. Each attribute may name a directory instead, with the files that Kubernetes secrets and v2 sites
/// have in it.
fn files(settings: &SslProfile) -> CredentialFiles {
    let file = |path: &Option<PathBuf>, name: &str| {
        let path = path.as_ref()?;
        Some(match path.is_dir() {
            true => path.join(name),
            false => path.clone(),
        })
    };
    CredentialFiles {
        certificate: file(&settings.cert_file, "tls.crt"),
        key: file(&settings.private_key_file, "tls.key"),
        authority: file(&settings.ca_cert_file, "ca.crt"),
    }
}

fn credentials(
    settings: &SslProfile,
    loaded: Option<Loaded>,
) -> Result<Arc<Credentials>, TlsError> {
    match loaded {
        Some(loaded) => Ok(loaded.credentials),
        None => Ok(Arc::new(Credentials::load(
            &files(settings),
            &aws_lc_rs::default_provider(),
        )?)),
    }
}

/// New files must serve every use that the old ones could serve.
fn reload(name: &str, settings: &SslProfile, old: &Credentials) -> Result<Credentials, TlsError> {
    let new = Credentials::load(&files(settings), &aws_lc_rs::default_provider())?;
    if old.own.is_some() {
        let require_client_cert = old.roots.is_some();
        build_server(
            name,
            settings,
            &new,
            ServerUse {
                require_client_cert,
                alpn: false,
            },
        )?;
    }
    if old.roots.is_some() {
        build_client(name, settings, &new, true)?;
    }
    Ok(new)
}
