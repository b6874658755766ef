//! The certificate authorities of a site and what they issue at `init`.
//!
//! | authority | issues | trusted by |
//! |---|---|---|
//! | `skupper-local-ca` (P-256) | `skupper-local-server`, `skupper-local-client` | processes of this site |
//! | `skupper-site-ca` (RSA) | `skupper-site-server`, tokens | other sites, routers of services |
//! | `skupper-service-ca` (P-256) | credentials of TLS services | applications |

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::thread;

use model::paths::SitePaths;
use pki::{Authority, KeyKind, LeafRequest};

use super::error::{Cause, SiteError};
use super::naming::{ROUTER, ROUTER_LOCAL};

pub(crate) const LOCAL_CA: &str = "skupper-local-ca";
pub(crate) const SITE_CA: &str = "skupper-site-ca";
pub(crate) const SERVICE_CA: &str = "skupper-service-ca";
pub(crate) const LOCAL_SERVER: &str = "skupper-local-server";
pub(crate) const LOCAL_CLIENT: &str = "skupper-local-client";
pub(crate) const SITE_SERVER: &str = "skupper-site-server";
pub(crate) const SERVICE_CLIENT: &str = "skupper-service-client";

/// The certificates of a new site: where they go and which hosts the site is reached by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePlan {
    issuers: PathBuf,
    certs: PathBuf,
    ingress_hosts: Vec<String>,
}

impl CertificatePlan {
    pub(crate) fn new(paths: &SitePaths, ingress_hosts: &[String]) -> Self {
        Self {
            issuers: paths.issuers_dir(),
            certs: paths.certs_dir(),
            ingress_hosts: ingress_hosts.to_vec(),
        }
    }

    /// Generates and writes everything; RSA keys take most of the time, so authorities work in parallel.
    ///
    /// # Errors
    /// Names the certificate that could not be made or written.
    pub(crate) fn carry_out(&self) -> Result<(), SiteError> {
        let mut server_hosts = vec![ROUTER.to_owned()];
        server_hosts.extend(self.ingress_hosts.iter().cloned());
        thread::scope(|scope| {
            let work = [
                scope.spawn(|| {
                    let local = vec![ROUTER_LOCAL.to_owned()];
                    self.issue(
                        LOCAL_CA,
                        KeyKind::P256,
                        &[
                            (LOCAL_SERVER, ROUTER_LOCAL, &local),
                            (LOCAL_CLIENT, ROUTER_LOCAL, &[]),
                        ],
                    )
                }),
                scope.spawn(|| {
                    self.issue(
                        SITE_CA,
                        KeyKind::Rsa2048,
                        &[(SITE_SERVER, ROUTER, &server_hosts)],
                    )
                }),
                scope.spawn(|| self.issue_service_authority()),
            ];
            let results: Vec<Result<(), SiteError>> = work
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(failed("certificates")("generation panicked")))
                })
                .collect();
            results.into_iter().collect()
        })
    }

    fn issue(
        &self,
        authority_name: &str,
        key: KeyKind,
        leaves: &[(&str, &str, &[String])],
    ) -> Result<(), SiteError> {
        let authority = self.authority(authority_name, key)?;
        for (name, common_name, hosts) in leaves {
            authority
                .issue(&LeafRequest::new(*common_name, hosts.to_vec(), key))
                .map_err(failed(name))?
                .store(&self.certs.join(name))
                .map_err(failed(name))?;
        }
        Ok(())
    }

    /// Only the authority's certificate is there for clients: they have no certificate of their own.
    fn issue_service_authority(&self) -> Result<(), SiteError> {
        let authority = self.authority(SERVICE_CA, KeyKind::P256)?;
        let dir = self.certs.join(SERVICE_CLIENT);
        model::store::ensure_dir(&dir, 0o700).map_err(failed(SERVICE_CLIENT))?;
        model::store::write_secret(&dir.join("ca.crt"), authority.certificate_pem().as_bytes())
            .map_err(failed(SERVICE_CLIENT))
    }

    fn authority(&self, name: &str, key: KeyKind) -> Result<Authority, SiteError> {
        let authority = Authority::generate(name, key).map_err(failed(name))?;
        authority
            .store(&self.issuers.join(name))
            .map_err(failed(name))?;
        Ok(authority)
    }
}

impl Display for CertificatePlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("certificate authorities and certificates")?;
        if !self.ingress_hosts.is_empty() {
            write!(f, " for {}", self.ingress_hosts.join(", "))?;
        }
        Ok(())
    }
}

fn failed<E: Into<Cause>>(name: &str) -> impl FnOnce(E) -> SiteError + '_ {
    move |source| SiteError::state(format!("certificate {name}"), source)
}
