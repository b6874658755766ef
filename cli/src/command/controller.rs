//! `skupper controller`: supervises the routers of a site. Started by `init`, not by people.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use controller::{ControllerOptions, Role};
use router::logging::journal::{self, Journal};
use runtime::engine::EngineEnvironment;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer, format};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::cobra;
use crate::error::CommandError;
use crate::session::{self, Session};
use crate::supervisor;

/// Variable that names what is logged, in the form of tracing-subscriber
const LOG_VARIABLE: &str = "SKUPPER_LOG";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Watch over the controller instead of being it
    #[arg(long)]
    guard: bool,
    /// Be run by a service manager: without a guard and without a router of its own
    #[arg(long)]
    supervised: bool,
    /// Directory of all sites, instead of the one that the environment leads to
    #[arg(long, value_name = "string")]
    data_home: Option<PathBuf>,
    /// Directory of the user's choices, likewise
    #[arg(long, value_name = "string")]
    config_home: Option<PathBuf>,
    /// Directory of short-lived files, likewise
    #[arg(long, value_name = "string")]
    runtime_dir: Option<PathBuf>,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Returns when the site is gone, or on SIGTERM, which the controller handles itself
pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("controller", &arguments.words)?;
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    // Its standard error is the site's log file, or the journal.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    if Journal::of_process().reads_stderr() {
        let line = format().without_time().with_ansi(false);
        subscriber.event_format(JournalLine(line)).init();
    } else {
        subscriber.init();
    }
    let mut paths = session.paths.clone();
    for (given, directory) in [
        (&arguments.data_home, &mut paths.data_home),
        (&arguments.config_home, &mut paths.config_home),
        (&arguments.runtime_dir, &mut paths.runtime_dir),
    ] {
        if let Some(given) = given {
            directory.clone_from(given);
        }
    }
    let options = ControllerOptions {
        paths,
        namespace: session.namespace.clone(),
        role: match (arguments.guard, arguments.supervised) {
            (true, _) => Role::Guard,
            (false, true) => Role::Supervised,
            (false, false) => Role::Controller,
        },
        executable: session::executable()?,
        engine_environment: EngineEnvironment::from_env(),
    };
    controller::run(&options, supervisor::tell_ready)
        .await
        .map_err(CommandError::failed)
}

/// Lines with the priorities of the journal and without a time of their own
#[derive(Debug)]
struct JournalLine(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for JournalLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", journal::priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}
