//! `skupper token`

mod create;

use clap::{Args, Subcommand};

use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a token.  The 'link create' command uses the token to establish a link from a remote Skupper site.
    Create(create::Arguments),
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    match arguments.command {
        Some(Command::Create(arguments)) => create::run(arguments, session).await,
        // a bare parent prints its page before it gets here
        None => Ok(()),
    }
}
