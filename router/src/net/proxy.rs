//! HTTP proxies: a connector may reach its peer through a tunnel made with CONNECT (RFC 9110 §9.3.6).
//!
//! A connector's `proxyProfile` decides. Without one the environment does, as for most programs: `HTTPS_PROXY`, else
//! `ALL_PROXY` (or in small letters), except for hosts that `NO_PROXY` names, and never for this host itself. What is in
//! a URL between `//` and `@` is a secret and is shown nowhere.

mod bypass;

use std::{fmt, io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use model::router_config::{ProxyProfile, Sensitive};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use self::bypass::Bypass;
use crate::adaptor::tcp::host_port;

/// A proxy has to connect and answer by then; connectors give up a little later.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Longest head of an answer.
const HEAD_LIMIT: usize = 8 * 1024;
/// Reason phrases are cut to so many characters.
const REASON_LIMIT: usize = 80;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// A variable of the environment names no proxy that can be used.
    #[error(
        "the variable {variable} is not the URL of an HTTP proxy (http://[USER:PASSWORD@]HOST[:PORT]): {reason}"
    )]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong, without the value.
        reason: &'static str,
    },
    /// The proxy cannot be reached.
    #[error("cannot connect to the proxy {proxy}: {source}")]
    Unreachable {
        /// `host:port`.
        proxy: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection to the proxy broke.
    #[error("the proxy {proxy} broke off: {source}")]
    Lost {
        /// `host:port`.
        proxy: String,
        /// What the system said.
        source: io::Error,
    },
    /// It wants to know who asks, or knows nobody of that name.
    #[error("the proxy {proxy} wants a user name and password, or other ones (407)")]
    Unauthorized {
        /// `host:port`.
        proxy: String,
    },
    /// It said no.
    #[error("the proxy {proxy} refuses to connect to {target}: {status}")]
    Refused {
        /// `host:port`.
        proxy: String,
        /// `host:port` asked for.
        target: String,
        /// Status code and reason.
        status: String,
    },
    /// It does not speak HTTP.
    #[error("the proxy {proxy} does not answer in HTTP")]
    Garbage {
        /// `host:port`.
        proxy: String,
    },
    /// It did not answer.
    #[error("the proxy {proxy} did not answer within {} s", TIMEOUT.as_secs())]
    Slow {
        /// `host:port`.
        proxy: String,
    },
}

/// A proxy to dial through.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
    /// Value of `Proxy-Authorization`.
    authorization: Option<Sensitive>,
}

/// What the environment says about proxies.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    proxy: Option<Result<Proxy, (&'static str, &'static str)>>,
    bypass: Bypass,
}

impl Proxy {
    /// The proxy of a profile.
    pub(crate) fn of_profile(profile: &ProxyProfile) -> Self {
        let password = profile.password.as_ref().map_or("", Sensitive::expose);
        Self {
            host: profile.host.trim_matches(['[', ']']).to_owned(),
            port: profile.port,
            authorization: profile
                .username
                .as_ref()
                .map(|user| basic(user.as_bytes(), password.as_bytes())),
        }
    }

    /// The proxy of a URL; the error says what is wrong without showing any of it.
    fn of_url(url: &str) -> Result<Self, &'static str> {
        let rest = match url.split_once("://") {
            None => url,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err("its scheme is not http"),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(literal) => {
                let (host, port) = literal.split_once(']').ok_or("its host is malformed")?;
                (host, port.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("its host is missing or malformed");
        }
        let port = match port {
            None | Some("") => 80,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or("its port is not a number from 1 to 65535")?,
        };
        let authorization = credentials
            .map(|credentials| {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                let user = percent_decoded(user).ok_or("its user name is malformed")?;
                let password = percent_decoded(password).ok_or("its password is malformed")?;
                Ok::<_, &'static str>(basic(&user, &password))
            })
            .transpose()?;
        Ok(Self {
            host: host.to_owned(),
            port,
            authorization,
        })
    }

    /// Connects to `host:port` through the proxy, which also resolves the name.
    ///
    /// # Errors
    /// See [`ProxyError`].
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ProxyError> {
        let connecting = async {
            let mut tcp = TcpStream::connect((self.host.as_str(), self.port))
                .await
                .map_err(|source| ProxyError::Unreachable {
                    proxy: self.to_string(),
                    source,
                })?;
            self.tunnel(&mut tcp, &host_port(host, port)).await?;
            Ok(tcp)
        };
        tokio::time::timeout(TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| {
                Err(ProxyError::Slow {
                    proxy: self.to_string(),
                })
            })
    }

    async fn tunnel(&self, tcp: &mut TcpStream, target: &str) -> Result<(), ProxyError> {
        let lost = |source| ProxyError::Lost {
            proxy: self.to_string(),
            source,
        };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request += &format!("Proxy-Authorization: {}\r\n", authorization.expose());
        }
        request += "\r\n";
        tcp.write_all(request.as_bytes()).await.map_err(lost)?;
        let head = self.answer(tcp).await?;
        let status = status_line(&head).ok_or_else(|| ProxyError::Garbage {
            proxy: self.to_string(),
        })?;
        match status.split(' ').next() {
            Some(code) if code.starts_with('2') => Ok(()),
            Some("407") => Err(ProxyError::Unauthorized {
                proxy: self.to_string(),
            }),
            _ => Err(ProxyError::Refused {
                proxy: self.to_string(),
                target: target.to_owned(),
                status,
            }),
        }
    }

    /// Head of the answer; what comes behind it stays in the socket.
    async fn answer(&self, tcp: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
        let mut head = Vec::new();
        let mut ahead = [0; 1024];
        loop {
            let lost = |source| ProxyError::Lost {
                proxy: self.to_string(),
                source,
            };
            let count = tcp.peek(&mut ahead).await.map_err(lost)?;
            if count == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let before = head.len();
            head.extend_from_slice(&ahead[..count]);
            let end = head_end(&head, before);
            head.truncate(end.unwrap_or(head.len()));
            let taken = head.len() - before;
            tcp.read_exact(&mut ahead[..taken]).await.map_err(lost)?;
            if end.is_some() {
                return Ok(head);
            }
            if head.len() > HEAD_LIMIT || !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
                return Err(ProxyError::Garbage {
                    proxy: self.to_string(),
                });
            }
        }
    }
}

/// Length of the head with the empty line, which ends behind `from`.
fn head_end(head: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    head[start..]
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| start + at + 4)
}

/// Status code and reason of `HTTP/1.x CODE REASON`, fit to be shown.
fn status_line(head: &[u8]) -> Option<String> {
    let line = head.split(|octet| *octet == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (version, status) = line.split_once(' ')?;
    let code = status.split(' ').next()?;
    if !version.starts_with("HTTP/1.")
        || code.len() != 3
        || !code.bytes().all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let shown = status.chars().filter(|c| !c.is_control());
    Some(
        shown
            .take(REASON_LIMIT)
            .collect::<String>()
            .trim_end()
            .to_owned(),
    )
}

fn basic(user: &[u8], password: &[u8]) -> Sensitive {
    let pair = [user, b":", password].concat();
    Sensitive::new(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

/// Octets of a text with `%XX` in it.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'%' => {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let value = digit(octets.next()?)? * 16 + digit(octets.next()?)?;
                u8::try_from(value).ok()?
            }
            octet => octet,
        });
    }
    Some(decoded)
}

impl Environment {
    /// What the variables of this process say.
    pub(crate) fn of_process() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        const PROXIES: [[&str; 2]; 2] =
            [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];
        let filled = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let proxy = PROXIES.iter().flatten().find_map(|name| {
            let url = filled(name)?;
            Some(Proxy::of_url(url.trim()).map_err(|reason| (*name, reason)))
        });
        let bypass = filled("NO_PROXY").or_else(|| filled("no_proxy"));
        Self {
            proxy,
            bypass: Bypass::parse(&bypass.unwrap_or_default()),
        }
    }

    /// The proxy for a host; none if it is to be dialled directly.
    ///
    /// # Errors
    /// There should be one, but the variable is unusable: dialling without would be worse than not dialling.
    pub(crate) fn proxy_for(&self, host: &str, port: u16) -> Result<Option<Proxy>, ProxyError> {
        match &self.proxy {
            Some(_) if self.bypass.covers(host, port) => Ok(None),
            None => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy.clone())),
            Some(Err((variable, reason))) => Err(ProxyError::Variable { variable, reason }),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_port(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests;
