//! `skupper link delete`: takes a link away.

use clap::Args;
use model::LinkName;
use runtime::site::{self, SiteError};

use crate::args::{Changing, cobra};
use crate::error::CommandError;
use crate::session::Session;
use crate::site_error;

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
    let name = LinkName::parse(word).map_err(|_| {
        CommandError::failed(format!("Failed to remove link: no such link {word:?}"))
    })?;
    let context = session.context()?;
    let failed = |error: SiteError| match error.root() {
        SiteError::Busy { .. } | SiteError::Cancelled => site_error::convert(&error, ""),
        _ => site_error::convert(&error, "Failed to remove link: "),
    };
    if arguments.changing.dry_run {
        let plan = site::plan_link_delete(&context, &name).map_err(failed)?;
        session.ui.text(&plan.to_string());
        return Ok(());
    }
    site::link_delete(&context, &name).await.map_err(failed)?;
    session.ui.line(format!("Link '{name}' has been removed"));
    Ok(())
}
