//! `skupper delete`: removes the site.

use clap::Args;
use runtime::site::{self, DeleteReport};

use crate::args::{Changing, cobra};
use crate::error::{CommandError, ErrorKind};
use crate::session::Session;
use crate::site_error;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Remove the site although containers of yours are attached to its network; the network stays
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    changing: Changing,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("delete", &arguments.words)?;
    if let Some(selection) = session.selection() {
        selection.managed()?;
    }
    // A site that can't be read is removed all the same, by its labels and directory.
    if let Ok(Some(handle)) = site::SiteHandle::open(&session.context()?)
        && let Some(selection) = session.selection()
    {
        selection.fits(handle.site().platform, handle.site().name.as_str())?;
    }
    let context = session.context()?;
    if arguments.changing.dry_run {
        for line in site::plan_delete(&context).await? {
            session.ui.line(line);
        }
        return Ok(());
    }
    let report = site::delete(&context, arguments.force)
        .await
        .map_err(|error| match error.root() {
            site::SiteError::Engine(_) => {
                site_error::convert(&error, "Unable to delete Skupper - ")
            }
            _ => site_error::convert(&error, ""),
        })?;
    match report {
        DeleteReport::NotFound => Err(CommandError::new(
            ErrorKind::NotEnabled,
            session.wording.not_enabled(),
        )),
        DeleteReport::Removed { kept_network, .. } => {
            if let Some(network) = kept_network {
                session.ui.warn(format!(
                    "the network \"{}\" stays, because containers are attached to it: {}",
                    network.name,
                    network.attached.join(", ")
                ));
            }
            session.ui.line(session.wording.removed());
            Ok(())
        }
    }
}
