//! `skupper service unbind`: takes a target from a service.

use clap::Args;
use runtime::site;

use super::bind::service_and_host;
use super::delete::known_name;
use crate::args::Changing;
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "<service-name> <target-type> <target-name>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let (service, host) = service_and_host(&arguments.words)?;
    session.site()?;
    let name = known_name(service)?;
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_service_unbind(&context, &name, host)?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::service_unbind(&context, &name, host).await?;
    Ok(())
}
