//! `skupper service delete`: takes a service away.

use clap::Args;
use model::ServiceName;
use runtime::site;

use crate::args::{Changing, cobra};
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    changing: Changing,
    #[arg(value_name = "<name>")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let word = cobra::one_word(&arguments.words)?;
    session.site()?;
    let name = known_name(word)?;
    let context = session.context()?;
    if arguments.changing.dry_run {
        let plan = site::plan_service_delete(&context, &name)?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::service_delete(&context, &name).await?;
    Ok(())
}

/// The name of a service that should exist; a word that can't be a name is one that does not
pub(super) fn known_name(word: &str) -> Result<ServiceName, CommandError> {
    ServiceName::parse(word).map_err(|_| {
        CommandError::failed(format!("Service {word} not defined"))
            .hint("list them with: skupper service status")
    })
}
