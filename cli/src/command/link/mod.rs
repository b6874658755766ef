//! `skupper link`

mod create;
mod delete;
mod status;

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
    /// Links this skupper site to the site that issued the token
    Create(create::Arguments),
    /// Remove specified link
    Delete(delete::Arguments),
    /// Check whether a link to another Skupper site is connected
    Status(status::Arguments),
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    match arguments.command {
        Some(Command::Create(arguments)) => create::run(arguments, session).await,
        Some(Command::Delete(arguments)) => delete::run(&arguments, session).await,
        Some(Command::Status(arguments)) => status::run(&arguments, session).await,
        None => Ok(()),
    }
}
