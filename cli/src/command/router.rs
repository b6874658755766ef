//! `skupper router`: runs a router from its configuration file, in the foreground.

use std::path::PathBuf;
#[cfg(not(feature = "jemalloc"))]
use std::time::Duration;

use clap::{Args, ValueEnum};
use router::{RouterOptions, logging::Format};

use crate::args::cobra;
use crate::error::CommandError;
use crate::supervisor;

/// Between two looks at whether memory can be given back
#[cfg(not(feature = "jemalloc"))]
const UPKEEP: Duration = Duration::from_secs(5);

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
    /// How the log is written
    #[arg(
        long,
        value_name = "string",
        env = "SKUPPER_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Forms of the log
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
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
        log_format: match arguments.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
    };
    #[cfg(not(feature = "jemalloc"))]
    let _upkeep = heap::Upkeep::start(UPKEEP)
        .map_err(|error| CommandError::failed(format!("could not start: {error}")))?;
    router::run(&options, supervisor::tell_ready).map_err(CommandError::failed)
}
