//! `skupper service bind`: adds a target to a service.

use clap::Args;
use runtime::site::{self, SiteError};

use super::definition;
use super::delete::known_name;
use crate::args::{Changing, cobra};
use crate::error::CommandError;
use crate::session::Session;

const MISSING: &str = "Service name, target type and target value must all be specified (e.g. 'skupper bind \
                       <service-name> <target-type> <target-value>')";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The port the target is listening on: <target-port> or <service-port>:<target-port>
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    target_port: Vec<String>,
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "<service-name> <target-type> <target-name>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let (service, host) = service_and_host(&arguments.words)?;
    let handle = session.site()?;
    let name = known_name(service)?;
    let ports = handle
        .service(&name)
        .map(|service| service.ports.clone())
        .ok_or_else(|| CommandError::from(SiteError::NoSuchService { name: name.clone() }))?;
    let target = definition::target(host, &ports, &arguments.target_port)?;
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_service_bind(&context, &name, &target)?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::service_bind(&context, &name, &target).await?;
    Ok(())
}

/// The words of `bind` and `unbind`
pub(super) fn service_and_host(words: &[String]) -> Result<(&str, &str), CommandError> {
    match words {
        [service, rest @ ..] if !rest.is_empty() => {
            Ok((service, definition::target_host(rest, MISSING)?))
        }
        _ => Err(cobra::usage_error(MISSING)),
    }
}
