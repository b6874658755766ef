//! `skupper controller`: supervises the routers of a site. Started by `init`, not by people.

use clap::Args;
use controller::ControllerOptions;
use runtime::engine::EngineEnvironment;
use tracing_subscriber::EnvFilter;

use crate::args::cobra;
use crate::error::CommandError;
use crate::session::{self, Session};

/// Variable that names what is logged, in the form of tracing-subscriber
const LOG_VARIABLE: &str = "SKUPPER_LOG";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Watch over the controller instead of being it
    #[arg(long)]
    guard: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Returns when the site is gone, or on SIGTERM, which the controller handles itself
pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("controller", &arguments.words)?;
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    // Its standard error is the site's log file.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let options = ControllerOptions {
        paths: session.paths.clone(),
        namespace: session.namespace.clone(),
        guard: arguments.guard,
        executable: session::executable()?,
        engine_environment: EngineEnvironment::from_env(),
    };
    controller::run(&options)
        .await
        .map_err(CommandError::failed)
}
