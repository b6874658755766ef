//! `skupper unexpose`: takes a target away, and the service with its last one.

use clap::Args;
use model::ServiceName;
use runtime::site;

use super::service::definition;
use crate::args::{Changing, cobra};
use crate::error::CommandError;
use crate::session::Session;

const MISSING: &str = "Target type and target value must all be specified (e.g. 'skupper unexpose <target-type> <target-value>')";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Skupper address the target was exposed as
    #[arg(long, value_name = "string")]
    address: Option<String>,
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "host <hostname|ip>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let address = address(arguments.address.as_deref(), &arguments.words)?;
    let host = definition::target_host(&arguments.words, MISSING)?;
    session.site()?;
    let name = ServiceName::parse(address)
        .map_err(|_| CommandError::failed(format!("Service {address} not defined")))?;
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_unexpose(&context, &name, host)?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::unexpose(&context, &name, host).await?;
    Ok(())
}

/// The value of `--address`, which both commands need
pub(super) fn address<'a>(
    address: Option<&'a str>,
    words: &[String],
) -> Result<&'a str, CommandError> {
    match address.filter(|address| !address.is_empty()) {
        Some(address) => Ok(address),
        None => {
            definition::foreign_target(words)?;
            Err(cobra::usage_error("--address is required"))
        }
    }
}
