//! `skupper router`: runs a router from its configuration file, in the foreground.

use std::path::PathBuf;

use clap::Args;
use router::RouterOptions;

use crate::args::cobra;
use crate::error::CommandError;
use crate::supervisor;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Configuration file (skrouterd.json)
    #[arg(long, value_name = "string")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    /// File to hold locked while the router runs
    #[arg(long, value_name = "string")]
    lock: Option<PathBuf>,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Returns when the router was asked to stop and is drained
pub(crate) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    cobra::no_words("router", &arguments.words)?;
    let Some(config) = arguments.config.clone() else {
        return Err(cobra::usage_error("--config is required"));
    };
    let options = RouterOptions {
        config,
        check: arguments.check,
        lock: arguments.lock.clone(),
    };
    router::run(&options, supervisor::tell_ready).map_err(CommandError::failed)
}
