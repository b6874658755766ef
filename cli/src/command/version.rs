//! `skupper version`: this program, and what the site runs.

use clap::Args;
use serde::Serialize;

use crate::args::{Reporting, cobra};
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reporting: Reporting,
    #[arg(hide = true)]
    words: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    product: &'static str,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("version", &arguments.words)?;
    let site = session.find_site();
    let transport = match &site {
        Ok(Some(handle)) => Some(session.transport(handle.site()).await?),
        _ => None,
    };
    let report = Report {
        client: model::COMPATIBILITY_VERSION.to_owned(),
        transport,
        product: model::PRODUCT_VERSION,
    };
    if let Some(format) = arguments.reporting.output {
        return session
            .ui
            .report(format, &report)
            .map_err(CommandError::failed);
    }
    // The client's line comes first, whatever is wrong with the site.
    session.ui.line(line("client version", &report.client));
    if let Some(transport) = &report.transport {
        session.ui.line(line("transport version", transport));
    }
    session.ui.line(line("product version", report.product));
    match site {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(CommandError::failed(session.wording.not_enabled())),
        Err(error) => Err(error),
    }
}

fn line(what: &str, version: &str) -> String {
    format!("{what:30} {version}")
}
