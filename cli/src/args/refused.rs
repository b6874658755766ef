//! What the documentation shows and this release does not do: refused by name, with the reason and the nearest thing
//! that works.

use crate::error::CommandError;

/// A documented command that is not built
#[derive(Debug)]
pub(crate) struct RefusedCommand {
    /// Words after `skupper`
    pub(crate) path: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) instead: &'static str,
}

/// A documented flag that is not built
#[derive(Debug)]
pub(crate) struct RefusedFlag {
    /// Commands that are documented with it
    pub(crate) commands: &'static [&'static str],
    /// Long names; one ending in `*` stands for all that begin so
    pub(crate) flags: &'static [&'static str],
    pub(crate) reason: &'static str,
    pub(crate) instead: &'static str,
}

pub(crate) const COMMANDS: &[RefusedCommand] = &[
    RefusedCommand {
        path: "gateway",
        reason: "gateways are not supported yet",
        instead: "create a site on this host with 'skupper init' and expose the process with 'skupper expose host'",
    },
    RefusedCommand {
        path: "debug",
        reason: "debug reports are not supported yet",
        instead: "see 'skupper status --verbose', and the logs in the site's directory 'run'",
    },
    RefusedCommand {
        path: "network",
        reason: "'skupper network status' is not supported yet",
        instead: "see 'skupper status --verbose' for the sites of the network",
    },
    RefusedCommand {
        path: "revoke-access",
        reason: "revoking access is not supported yet",
        instead: "'skupper delete' and 'skupper init' give the site a new certificate authority, which no old token fits",
    },
    RefusedCommand {
        path: "update",
        reason: "updating a site in place is not supported yet",
        instead: "delete the site and create it again with this version",
    },
    RefusedCommand {
        path: "token status",
        reason: "token reports are not supported yet",
        instead: "'skupper link create --dry-run' checks a token without using it",
    },
    RefusedCommand {
        path: "service label",
        reason: "labels of existing services cannot be changed yet",
        instead: "give labels when the service is made: 'skupper service create --label key=value'",
    },
    RefusedCommand {
        path: "version manifest",
        reason: "there is no manifest of images, because the image is made from this binary",
        instead: "'skupper version' shows the image that the site runs",
    },
    RefusedCommand {
        path: "bind",
        reason: "'bind' is a command below 'service'",
        instead: "use 'skupper service bind <service-name> host <host>'",
    },
    RefusedCommand {
        path: "unbind",
        reason: "'unbind' is a command below 'service'",
        instead: "use 'skupper service unbind <service-name> host <host>'",
    },
    RefusedCommand {
        path: "man",
        reason: "manual pages are not supported yet",
        instead: "use 'skupper <command> --help'",
    },
];

const KUBERNETES: &str = "it applies to sites on Kubernetes, which are not managed yet";
const LINK_KUBERNETES: &str =
    "create a token on the Kubernetes site and link to it with 'skupper link create'";
const SERVICES: &[&str] = &["expose", "service create", "service bind"];

pub(crate) const FLAGS: &[RefusedFlag] = &[
    RefusedFlag {
        commands: &["*"],
        flags: &["kubeconfig", "context"],
        reason: KUBERNETES,
        instead: LINK_KUBERNETES,
    },
    RefusedFlag {
        commands: &["init"],
        flags: &["enable-console", "console-*"],
        reason: "the console is not supported yet",
        instead: "see 'skupper status --verbose' for the network",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &[
            "enable-flow-collector",
            "flow-collector-*",
            "bind-port-flow-collector",
            "external-prometheus-server",
            "prometheus-*",
            "enable-rest-api",
        ],
        reason: "the flow collector is not supported yet",
        instead: "see 'skupper status --verbose' for the network",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &[
            "router-cpu",
            "router-memory",
            "router-cpu-limit",
            "router-memory-limit",
            "controller-cpu",
            "controller-memory",
            "controller-cpu-limit",
            "controller-memory-limit",
            "config-sync-*",
        ],
        reason: "limits of CPU and memory are not supported yet",
        instead: "leave it out: the router uses all cores and bounds its own memory",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &["router-debug-mode"],
        reason: "there is no debug build of the router",
        instead: "use '--router-logging debug'",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &["router-data-connection-count"],
        reason: "the number of data connections is chosen by the router",
        instead: "leave it out",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &["router-disable-mutual-tls"],
        reason: "links without mutual TLS are not supported",
        instead: "leave it out",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &["service-sync-site-ttl"],
        reason: "service sync is not supported yet",
        instead: "make the service on each site with 'skupper service create'",
    },
    RefusedFlag {
        commands: &["init"],
        flags: &[
            "create-network-policy",
            "enable-cluster-permissions",
            "enable-skupper-events",
            "routers",
            "router-*",
            "controller-*",
            "annotations",
            "annotation-separator",
            "ingress-annotations",
            "run-as-user",
            "run-as-group",
        ],
        reason: KUBERNETES,
        instead: LINK_KUBERNETES,
    },
    RefusedFlag {
        commands: &["token create"],
        flags: &["expiry", "uses", "password"],
        reason: "it belongs to claim tokens, which are not supported yet",
        instead: "ask for a certificate token with '-t cert'",
    },
    RefusedFlag {
        commands: &["token create"],
        flags: &["template"],
        reason: "token templates are not supported yet",
        instead: "ask for a certificate token with '-t cert'",
    },
    RefusedFlag {
        commands: SERVICES,
        flags: &["aggregate", "event-channel"],
        reason: "it belongs to the protocol http, which is not supported yet",
        instead: "leave it out: tcp carries HTTP unchanged",
    },
    RefusedFlag {
        commands: SERVICES,
        flags: &[
            "generate-tls-secrets",
            "enable-tls",
            "tls-cert",
            "tls-trust",
        ],
        reason: "certificates of services are not supported yet",
        instead: "leave it out: links are encrypted, and tcp carries the service's own TLS unchanged",
    },
    RefusedFlag {
        commands: &[
            "expose",
            "service create",
            "service bind",
            "unexpose",
            "service unbind",
        ],
        flags: &[
            "target-namespace",
            "publish-not-ready-addresses",
            "headless",
            "proxy-*",
            "bridge-image",
        ],
        reason: KUBERNETES,
        instead: "use the target type 'host'",
    },
    RefusedFlag {
        commands: &["service create", "expose"],
        flags: &["enable-ingress", "enable-ingress-from-target-site"],
        reason: "the sites that a service is offered on cannot be chosen with it",
        instead: "make the service only on the sites that need it",
    },
    RefusedFlag {
        commands: &["delete"],
        flags: &["all-namespaces"],
        reason: "sites are removed one at a time",
        instead: "use 'skupper delete -n <namespace>' for each",
    },
];

/// The refusal of a documented command
pub(crate) fn command(words: &[String], rest: &[String]) -> Option<CommandError> {
    let path = words.join(" ");
    let next = rest.iter().find(|word| !word.starts_with('-'));
    let longer = next.map(|word| format!("{path} {word}"));
    COMMANDS
        .iter()
        .find(|entry| {
            path == entry.path
                || path.starts_with(&format!("{} ", entry.path))
                || longer.as_deref() == Some(entry.path)
        })
        .map(|entry| {
            CommandError::refused(format!("'skupper {}': {}", entry.path, entry.reason))
                .hint(entry.instead)
        })
}

/// The refusal of a documented flag, given as `--name` or `-c`
pub(crate) fn flag(words: &[String], flag: &str) -> Option<CommandError> {
    let path = words.join(" ");
    let name = match flag {
        "-c" => "context",
        _ => flag.strip_prefix("--")?,
    };
    FLAGS
        .iter()
        .find(|entry| {
            entry
                .commands
                .iter()
                .any(|command| *command == "*" || *command == path)
                && entry.flags.iter().any(|pattern| matches(pattern, name))
        })
        .map(|entry| {
            CommandError::refused(format!("--{name}: {}", entry.reason)).hint(entry.instead)
        })
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}
