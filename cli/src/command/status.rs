//! `skupper status`: the site in one sentence.

use clap::Args;
use runtime::site;

use crate::args::{Reporting, cobra};
use crate::error::{CommandError, ErrorKind};
use crate::report;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reporting: Reporting,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("status", &arguments.words)?;
    let output = arguments.reporting.output;
    match (session.site(), output) {
        (Ok(_), _) => {}
        (Err(error), Some(format)) if error.kind == ErrorKind::NotEnabled => {
            let absent =
                serde_json::json!({ "enabled": false, "namespace": session.namespace.to_string() });
            return session
                .ui
                .report(format, &absent)
                .map_err(CommandError::failed);
        }
        (Err(error), _) => return Err(error),
    }
    let status = site::status(&session.context()?).await?;
    let report = report::site(&status);
    if let Some(format) = output {
        return session
            .ui
            .report(format, &report)
            .map_err(CommandError::failed);
    }
    if session.ui.verbose() {
        session.ui.text(&report.details());
    } else {
        session.ui.line(report.sentence(&session.wording));
    }
    for warning in &report.warnings {
        session.ui.warn(warning);
    }
    Ok(())
}
