//! `skupper init`: makes the site.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use model::{IngressKind, SiteName};
use runtime::site::{self, InitRequest};
use tokio_util::sync::CancellationToken;

use crate::args::{Changing, cobra, values};
use crate::error::{CommandError, ErrorKind};
use crate::session::Session;
use crate::site_error;
use crate::supervisor::{self, Systemd};

/// Modules that a router logs by
const LOG_MODULES: [&str; 19] = [
    "ROUTER",
    "ROUTER_CORE",
    "ROUTER_HELLO",
    "ROUTER_LS",
    "ROUTER_MA",
    "MESSAGE",
    "SERVER",
    "AGENT",
    "AUTHSERVICE",
    "CONTAINER",
    "ERROR",
    "POLICY",
    "HTTP",
    "CONN_MGR",
    "PYTHON",
    "PROTOCOL",
    "TCP_ADAPTOR",
    "HTTP_ADAPTOR",
    "DEFAULT",
];
const LOG_LEVELS: [&str; 7] = [
    "trace", "debug", "info", "notice", "warning", "error", "critical",
];

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Provide a specific name for this skupper installation
    #[arg(long, value_name = "string")]
    site_name: Option<String>,
    /// Whether other sites can link to this one [external, none]
    #[arg(long, value_name = "string")]
    ingress: Option<String>,
    /// Skupper router-mode [interior]
    #[arg(long, value_name = "string", default_value = "interior")]
    router_mode: String,
    /// Labels to add to the site
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    labels: Vec<String>,
    /// Logging settings for router: 'trace', 'debug', 'info' (default), 'notice', 'warning', 'error', or MODULE:level
    #[arg(long, value_name = "string", value_delimiter = ',')]
    router_logging: Vec<String>,
    /// Hostnames or IPs by which other sites reach this host
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    ingress_host: Vec<String>,
    /// IP addresses of this host that the site's ports bind to
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    ingress_bind_ip: Vec<String>,
    /// Port for links from interior sites (default 55671)
    #[arg(long, value_name = "int", value_parser = values::int)]
    bind_port: Option<i64>,
    /// Port for links from edge sites (default 45671)
    #[arg(long, value_name = "int", value_parser = values::int)]
    bind_port_edge: Option<i64>,
    /// Container network name to use
    #[arg(long, value_name = "string")]
    container_network: Option<String>,
    /// Enable IPv6 on the container network, if it is created
    #[arg(long)]
    enable_ipv6: bool,
    /// Local endpoint of podman (or docker)
    #[arg(long, value_name = "string")]
    podman_endpoint: Option<String>,
    /// Synchronise services with other sites (not supported yet, false is accepted)
    #[arg(long)]
    enable_service_sync: bool,
    /// Keep the site running when nobody is logged in, by lingering of systemd
    #[arg(long)]
    enable_linger: bool,
    /// Longest time for the whole initialization
    #[arg(long, value_name = "duration", default_value = "2m0s", value_parser = values::duration)]
    timeout: Duration,
    #[command(flatten)]
    changing: Changing,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("init", &arguments.words)?;
    let dry_run = arguments.changing.dry_run;
    let limit = arguments.timeout;
    let enable_linger = arguments.enable_linger;
    if let Some(selection) = session.selection() {
        selection.managed()?;
    }
    if site::SiteHandle::open(&session.context()?)?.is_some() {
        session.ui.line(session.wording.already_initialized());
        return Ok(());
    }
    let mut request = request(arguments)?;
    request.supervision = supervisor::choice()?;
    let systemd = Systemd::new(&session.paths);
    if dry_run {
        request.platform = session.new_site_platform().await;
        let plan = site::plan_init(&session.context()?, &request)
            .await
            .map_err(|error| failure(&error))?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    // first: it also starts the manager, which the site is to be given to, and the sockets of engines
    let lingering_is_new =
        enable_linger && session.paths.uid != 0 && systemd.enable_linger(&session.cancel).await?;
    let hosts_chosen = !request.ingress_hosts.is_empty() || request.ingress == IngressKind::None;
    request.platform = session.new_site_platform().await;
    let site = match initialize(session, request, limit).await {
        Ok(site) => site,
        Err(error) if lingering_is_new => return Err(systemd.undo_linger(error).await),
        Err(error) => return Err(error),
    };
    if !hosts_chosen && let Some(host) = site.ingress.hosts.first() {
        session.ui.note(format!(
            "Tokens of this site will name the host \"{host}\"; choose other hosts with --ingress-host."
        ));
    }
    if site.systemd.is_some() && !systemd.lingers().await {
        session.ui.line(session.wording.linger_recommended());
        session.ui.note(format!(
            "Until then the site also stops when you log out. To enable lingering: {}",
            systemd.linger_command()
        ));
    }
    session.ui.line(session.wording.installed());
    Ok(())
}

/// Runs the initialization; when the time is up it is interrupted, so that it rolls itself back
async fn initialize(
    session: &Session,
    request: InitRequest,
    limit: Duration,
) -> Result<model::Site, CommandError> {
    let cancel: CancellationToken = session.cancel.child_token();
    let mut context = session.context()?;
    context.cancel = cancel.clone();
    let work = site::init(&context, &request);
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result.map_err(|error| failure(&error)),
        () = tokio::time::sleep(limit) => cancel.cancel(),
    }
    match work.await {
        Ok(site) => Ok(site),
        Err(error) => {
            let mut error = failure(&error);
            if error.kind == ErrorKind::Interrupted && !session.cancel.is_cancelled() {
                error.kind = ErrorKind::Failed;
                error.text =
                    format!("Error initializing Skupper - not done after {limit:?}, rolled back");
                error.hints.push(
                    "allow more time with --timeout, or see what takes long with --verbose"
                        .to_owned(),
                );
            }
            Err(error)
        }
    }
}

fn failure(error: &site::SiteError) -> CommandError {
    match error.root() {
        site::SiteError::Engine(_) => site_error::convert(error, "Unable to initialize Skupper - "),
        site::SiteError::Busy { .. } | site::SiteError::Cancelled => site_error::convert(error, ""),
        _ => site_error::convert(error, "Error initializing Skupper - "),
    }
}

/// Checks the flags in the order of Skupper 1; the platform is set by the caller
fn request(arguments: Arguments) -> Result<InitRequest, CommandError> {
    match arguments.router_mode.as_str() {
        "interior" => {}
        "edge" => {
            return Err(CommandError::refused("--router-mode edge: edge sites are not supported yet")
                .hint("leave it out: an interior site with '--ingress none' links to other sites and accepts no links"));
        }
        other => {
            return Err(CommandError::failed(format!(
                "invalid \"--router-mode={other}\", it must be one of \"interior, edge\""
            )));
        }
    }
    let router_logging = logging(&arguments.router_logging)?;
    let mut request = InitRequest::new(model::Platform::Linux);
    request.router_logging = router_logging;
    if let Some(name) = arguments.site_name.filter(|name| !name.is_empty()) {
        if name.contains(char::is_whitespace) {
            return Err(CommandError::failed(
                "invalid skupper site name: value contains spaces",
            ));
        }
        request.name = Some(SiteName::parse(&name).map_err(CommandError::failed)?);
    }
    request.ingress = ingress(arguments.ingress.as_deref().unwrap_or_default())?;
    if request.ingress == IngressKind::External {
        request.ingress_hosts = arguments
            .ingress_host
            .into_iter()
            .filter(|host| !host.is_empty())
            .collect();
    }
    for ip in arguments.ingress_bind_ip.iter().filter(|ip| !ip.is_empty()) {
        request.bind_ips.push(bind_ip(ip)?);
    }
    request.bind_port = arguments
        .bind_port
        .map(|port| self::port("--bind-port", port))
        .transpose()?;
    request.bind_port_edge = arguments
        .bind_port_edge
        .map(|port| self::port("--bind-port-edge", port))
        .transpose()?;
    request.container_network = arguments.container_network.filter(|name| !name.is_empty());
    request.enable_ipv6 = arguments.enable_ipv6;
    request.engine_endpoint = arguments
        .podman_endpoint
        .filter(|endpoint| !endpoint.is_empty());
    if arguments.enable_service_sync {
        return Err(CommandError::refused(
            "--enable-service-sync: service sync is not supported yet",
        )
        .hint("make the service on each site with 'skupper service create'"));
    }
    request.labels = labels(&arguments.labels)?;
    Ok(request)
}

fn ingress(word: &str) -> Result<IngressKind, CommandError> {
    match word {
        "" | "external" => Ok(IngressKind::External),
        "none" => Ok(IngressKind::None),
        "route" | "loadbalancer" | "nodeport" | "nginx-ingress-v1" | "contour-http-proxy"
        | "ingress" => Err(
            CommandError::refused(format!("Invalid value for ingress: {word}")).hint(
                "it applies to sites on Kubernetes; on a host the ingress is 'external' or 'none'",
            ),
        ),
        _ => Err(
            CommandError::failed(format!("Invalid value for ingress: {word}"))
                .hint("the ingress is 'external' or 'none'"),
        ),
    }
}

fn bind_ip(text: &str) -> Result<IpAddr, CommandError> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| {
            CommandError::failed(format!("Invalid value for --ingress-bind-ip: {text}"))
                .hint("give an IP address of this host")
        })
}

fn port(flag: &str, value: i64) -> Result<u16, CommandError> {
    u16::try_from(value)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| {
            CommandError::failed(format!("Invalid value for {flag}: {value}"))
                .hint("ports are numbers from 1 to 65535")
        })
}

/// `level` or `MODULE:level`, a level with or without `+`
fn logging(items: &[String]) -> Result<Vec<String>, CommandError> {
    for item in items.iter().filter(|item| !item.is_empty()) {
        let (module, level) = item.split_once(':').unwrap_or(("DEFAULT", item));
        if !LOG_MODULES.contains(&module) {
            return Err(CommandError::failed(format!(
                "Bad value for --router-logging: Invalid logging module for router: {module}"
            )));
        }
        if !LOG_LEVELS.contains(&level.strip_suffix('+').unwrap_or(level)) {
            return Err(CommandError::failed(format!(
                "Bad value for --router-logging: Invalid logging level for router: {level}"
            )));
        }
    }
    Ok(items
        .iter()
        .filter(|item| !item.is_empty())
        .cloned()
        .collect())
}

fn labels(items: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    items
        .iter()
        .filter(|item| !item.is_empty())
        .map(|item| {
            values::pair(item)
                .map_err(|reason| CommandError::failed(format!("Bad value for --labels: {reason}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::command;
    use crate::command::Command;

    fn requested(line: &str) -> Result<InitRequest, CommandError> {
        let Command::Init(arguments) = command(line) else {
            panic!("not init")
        };
        request(arguments)
    }

    #[test]
    fn flags_reach_the_request() {
        let request = requested(
            "init --site-name hub --ingress-host a,b --ingress-host c --ingress-bind-ip 127.0.0.1,[::1] \
             --bind-port=1000 --bind-port-edge 1001 --container-network net --enable-ipv6 --labels a=b,c=d \
             --router-logging trace,ROUTER_CORE:debug+ --podman-endpoint unix:///x --enable-service-sync=false",
        )
        .unwrap();
        assert_eq!(request.name.unwrap().to_string(), "hub");
        assert_eq!(request.ingress_hosts, ["a", "b", "c"]);
        assert_eq!(request.bind_ips.len(), 2);
        assert_eq!(
            (request.bind_port, request.bind_port_edge),
            (Some(1000), Some(1001))
        );
        assert_eq!(request.container_network.as_deref(), Some("net"));
        assert!(request.enable_ipv6);
        assert_eq!(request.labels.len(), 2);
        assert_eq!(request.router_logging, ["trace", "ROUTER_CORE:debug+"]);
        assert_eq!(request.engine_endpoint.as_deref(), Some("unix:///x"));
        assert!(!request.enable_service_sync);
    }

    #[test]
    fn hosts_are_dropped_without_ingress() {
        let request = requested("init --ingress none --ingress-host a").unwrap();
        assert_eq!(request.ingress, IngressKind::None);
        assert!(request.ingress_hosts.is_empty());
    }

    #[test]
    fn bad_values_have_the_texts_of_skupper_1() {
        for (line, text) in [
            (
                "init --router-mode x",
                "invalid \"--router-mode=x\", it must be one of \"interior, edge\"",
            ),
            (
                "init --router-logging X:info",
                "Bad value for --router-logging: Invalid logging module for router: X",
            ),
            (
                "init --router-logging loud",
                "Bad value for --router-logging: Invalid logging level for router: loud",
            ),
            ("init --ingress tunnel", "Invalid value for ingress: tunnel"),
            ("init --ingress route", "Invalid value for ingress: route"),
            (
                "init --bind-port 65536",
                "Invalid value for --bind-port: 65536",
            ),
            (
                "init --bind-port-edge 0",
                "Invalid value for --bind-port-edge: 0",
            ),
            (
                "init --labels a",
                "Bad value for --labels: a must be formatted as key=value",
            ),
        ] {
            assert_eq!(requested(line).unwrap_err().text, text, "{line}");
        }
        let Command::Init(mut arguments) = command("init") else {
            panic!("not init")
        };
        arguments.site_name = Some("a b".to_owned());
        assert_eq!(
            request(arguments).unwrap_err().text,
            "invalid skupper site name: value contains spaces"
        );
    }

    #[test]
    fn service_sync_is_refused_not_ignored() {
        for line in [
            "init --enable-service-sync",
            "init --enable-service-sync true",
        ] {
            assert_eq!(
                requested(line).unwrap_err().kind,
                ErrorKind::Refused,
                "{line}"
            );
        }
        assert!(requested("init --enable-service-sync false").is_ok());
    }
}
