//! The commands, one file each.

mod completion;
mod controller;
mod delete;
mod demo;
mod expose;
mod init;
mod link;
mod router;
mod service;
mod status;
mod switch;
mod token;
mod unexpose;
mod version;

use clap::Subcommand;

use crate::error::CommandError;
use crate::session::Session;

pub(crate) use self::demo::backend;
pub(crate) use self::router::run as run_router;

/// The words after `skupper`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Output shell completion code
    Completion(completion::Arguments),
    /// Run the controller of a site
    #[command(hide = true)]
    Controller(controller::Arguments),
    /// Delete skupper installation
    Delete(delete::Arguments),
    /// Show two linked sites and a request that travels between them
    Demo(demo::Arguments),
    /// Answer the requests of the demo
    #[command(hide = true)]
    DemoBackend(backend::Arguments),
    /// Expose a process of this host or a container through a Skupper address
    Expose(expose::Arguments),
    /// Initialise skupper installation
    Init(init::Arguments),
    /// Manage skupper links definitions
    #[command(subcommand_required = false)]
    Link(link::Arguments),
    /// Run a router
    Router(router::Arguments),
    /// Manage skupper service definitions
    #[command(subcommand_required = false)]
    Service(service::Arguments),
    /// Report the status of the current Skupper site
    Status(status::Arguments),
    /// Select the platform that commands work with
    Switch(switch::Arguments),
    /// Manage skupper tokens
    #[command(subcommand_required = false)]
    Token(token::Arguments),
    /// Unexpose a process or container previously exposed through a Skupper address
    Unexpose(unexpose::Arguments),
    /// Report the version of the Skupper CLI and services
    Version(version::Arguments),
}

impl Command {
    /// Whether the command listens to SIGTERM and Ctrl-C itself
    pub(crate) fn handles_signals(&self) -> bool {
        matches!(self, Self::Controller(_))
    }

    pub(crate) async fn run(self, session: &Session) -> Result<(), CommandError> {
        match self {
            Self::Completion(arguments) => completion::run(&arguments, session),
            Self::Controller(arguments) => controller::run(&arguments, session).await,
            Self::Delete(arguments) => delete::run(&arguments, session).await,
            Self::Demo(arguments) => demo::run(&arguments, session).await,
            Self::DemoBackend(arguments) => backend::run(&arguments, session).await,
            Self::Expose(arguments) => expose::run(arguments, session).await,
            Self::Init(arguments) => init::run(arguments, session).await,
            Self::Link(arguments) => link::run(arguments, session).await,
            // `main` runs it before any of this is set up
            Self::Router(arguments) => router::run(&arguments),
            Self::Service(arguments) => service::run(arguments, session).await,
            Self::Status(arguments) => status::run(&arguments, session).await,
            Self::Switch(arguments) => switch::run(&arguments, session).await,
            Self::Token(arguments) => token::run(arguments, session).await,
            Self::Unexpose(arguments) => unexpose::run(&arguments, session).await,
            Self::Version(arguments) => version::run(&arguments, session).await,
        }
    }
}
