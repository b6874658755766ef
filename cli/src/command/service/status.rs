//! `skupper service status`: the services of this site.

use clap::Args;
use runtime::site;

use crate::args::{Reporting, cobra};
use crate::error::CommandError;
use crate::render;
use crate::report;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Show service labels
    #[arg(long)]
    show_labels: bool,
    #[command(flatten)]
    reporting: Reporting,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("service status", &arguments.words)?;
    session.site()?;
    let status = site::status(&session.context()?).await?;
    let services = report::services(&status);
    match arguments.reporting.output {
        Some(format) => session
            .ui
            .report(format, &services)
            .map_err(CommandError::failed),
        None => {
            session
                .ui
                .text(&render::service::tree(&services, arguments.show_labels));
            Ok(())
        }
    }
}
