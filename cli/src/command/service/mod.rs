//! `skupper service`

mod bind;
mod create;
pub(crate) mod definition;
mod delete;
mod status;
mod unbind;

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
    /// Bind a target to a service
    Bind(bind::Arguments),
    /// Create a skupper service
    Create(create::Arguments),
    /// Delete a skupper service
    Delete(delete::Arguments),
    /// List services exposed over the service network
    Status(status::Arguments),
    /// Unbind a target from a service
    Unbind(unbind::Arguments),
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<(), CommandError> {
    match arguments.command {
        Some(Command::Bind(arguments)) => bind::run(&arguments, session).await,
        Some(Command::Create(arguments)) => create::run(arguments, session).await,
        Some(Command::Delete(arguments)) => delete::run(&arguments, session).await,
        Some(Command::Status(arguments)) => status::run(&arguments, session).await,
        Some(Command::Unbind(arguments)) => unbind::run(&arguments, session).await,
        None => Ok(()),
    }
}
