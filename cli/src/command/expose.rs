//! `skupper expose`: a service and its target in one go.

use clap::Args;
use runtime::site;

use super::service::definition::{self, ServiceFlags};
use crate::args::{Changing, cobra, values};
use crate::error::CommandError;
use crate::session::Session;

const MISSING: &str = "Target type and target value must all be specified (e.g. 'skupper expose <target-type> <target-value>')";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The Skupper address to expose
    #[arg(long, value_name = "string")]
    address: Option<String>,
    /// The ports to expose on
    #[arg(long, value_name = "ints", value_delimiter = ',', value_parser = values::list_int)]
    port: Vec<i64>,
    /// The ports to target on the host: <target-port> or <port>:<target-port>
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    target_port: Vec<String>,
    #[command(flatten)]
    flags: ServiceFlags,
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "host <hostname|ip>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    let (address, host) = checked(&arguments)?;
    if let Some(notice) = arguments.flags.notice() {
        session.ui.note(notice);
    }
    let handle = session.site()?;
    let ports = definition::ports_of_numbers(&arguments.port)?;
    // A container of the service's name always offers it; on a bare host only a host port does.
    let listen = handle.site().platform.is_container();
    let mut service = arguments.flags.service(address, &ports, listen)?;
    service.targets = vec![definition::target(host, &ports, &arguments.target_port)?];
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_expose(&context, &service).await?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::expose(&context, &service).await?;
    Ok(())
}

/// Address and host, checked in the order of Skupper 1
fn checked(arguments: &Arguments) -> Result<(&str, &str), CommandError> {
    let address = super::unexpose::address(arguments.address.as_deref(), &arguments.words)?;
    if arguments.port.is_empty() {
        definition::foreign_target(&arguments.words)?;
        return Err(cobra::usage_error("--port is required"));
    }
    Ok((address, definition::target_host(&arguments.words, MISSING)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::command;
    use crate::command::Command;

    fn error(line: &str) -> String {
        let Command::Expose(arguments) = command(line) else {
            panic!("not expose")
        };
        checked(&arguments).unwrap_err().text
    }

    #[test]
    fn words_are_checked_in_order() {
        assert_eq!(error("expose"), "--address is required");
        assert_eq!(error("expose host h --address a"), "--port is required");
        assert_eq!(error("expose --address a --port 80"), MISSING);
        assert_eq!(
            error("expose host h x --address a --port 80"),
            "illegal argument: x"
        );
        assert_eq!(
            error("expose vm h --address a --port 80"),
            "invalid target type: vm - valid target types are: [host]"
        );
        // the document's form for Kubernetes, which has neither flag
        assert_eq!(
            error("expose deployment/backend --port 8080"),
            "invalid target type: deployment - valid target types are: [host]"
        );
    }

    #[test]
    fn ports_are_a_list() {
        let Command::Expose(arguments) =
            command("expose host h --address a --port 80,81 --port 82")
        else {
            panic!("not expose")
        };
        assert_eq!(arguments.port, [80, 81, 82]);
    }
}
