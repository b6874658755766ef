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
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    product: &'static str,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("version", &arguments.words)?;
    let site = session.find_site();
    let transport = match &site {
        Ok(Some(handle)) => session.transport(handle.site()).await.map(Some),
        _ => Ok(None),
    };
    let client = model::COMPATIBILITY_VERSION;
    let product = model::PRODUCT_VERSION;
    if let Some(format) = arguments.reporting.output {
        let report = Report {
            client,
            transport: transport?,
            product,
        };
        return session
            .ui
            .report(format, &report)
            .map_err(CommandError::failed);
    }
    // The client's line comes first, whatever is wrong with the site.
    session.ui.line(line("client version", client));
    if let Ok(Some(transport)) = &transport {
        session.ui.line(line("transport version", transport));
    }
    session.ui.line(line("product version", product));
    transport?;
    match site? {
        Some(_) => Ok(()),
        None => Err(CommandError::failed(session.wording.not_enabled())),
    }
}

fn line(what: &str, version: &str) -> String {
    format!("{what:30} {version}")
}
