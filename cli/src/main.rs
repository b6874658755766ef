//! The `skupper` program: command line, router and site controller in one binary.
//!
//! ```text
//! words ─▶ args (clap, in cobra's words) ─▶ command/<noun>/<verb> ─▶ runtime::site ─▶ engines, routers
//!                                                └▶ render ─▶ ui (stdout: results, stderr: all else)
//! ```
//!
//! Nothing below this crate prints or exits; everything printed goes through [`ui::Ui`].
#![forbid(unsafe_code)]

mod args;
mod command;
mod error;
mod interrupt;
mod platform;
mod render;
mod report;
mod session;
mod site_error;
mod supervisor;
mod ui;
mod wording;

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::args::{Arguments, Global, Request};
use crate::command::Command;
use crate::error::CommandError;
use crate::interrupt::Interrupts;
use crate::session::Session;
use crate::ui::Ui;

/// Takes less CPU than the C library's, which has to be asked for what is free (see `command::run_router`), and a little more
/// memory. Its options are in `.cargo/config.toml`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    keep_own_permissions();
    let (words, foreign) = words();
    let ui = Ui::new(false);
    if let Some(word) = foreign {
        CommandError::failed(format!("the argument {word:?} is not valid UTF-8")).show(&ui);
        return ExitCode::FAILURE;
    }
    let result = match args::parse(&words) {
        Ok(Request::Help(page)) => {
            ui.text(&page);
            Ok(())
        }
        Ok(Request::UnknownWord { page, word, parent }) => {
            ui.text(&page);
            ui.warn(format!("unknown command {word:?} for {parent:?}"));
            Ok(())
        }
        Ok(Request::Run { arguments, usage }) => {
            run(*arguments).map_err(|error| error.with_usage(usage))
        }
        Err(error) => Err(error),
    };
    let mut code = 0;
    if let Err(error) = result {
        error.show(&ui);
        code = error.exit_code();
    }
    if let Some(error) = ui.finish() {
        ui.note(format!(
            "Error: could not write to standard output: {error}"
        ));
        code = code.max(1);
    }
    ExitCode::from(code)
}

/// A umask that takes permissions from the owner would lock us out of what we make; the rest of it is the user's choice
fn keep_own_permissions() {
    let mask = rustix::process::umask(rustix::fs::Mode::RWXU);
    rustix::process::umask(mask - rustix::fs::Mode::RWXU);
}

/// The arguments, and the first that is no text
fn words() -> (Vec<String>, Option<String>) {
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1) {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => return (words, Some(word.to_string_lossy().into_owned())),
        }
    }
    (words, None)
}

/// What threads, signals and timers need before a command has opened anything: where it is missing they panic
fn check_descriptors() -> Result<(), CommandError> {
    const PAIRS: usize = 6;
    let pairs: std::io::Result<Vec<_>> = (0..PAIRS).map(|_| UnixStream::pair()).collect();
    match pairs {
        Err(error) if is_out_of_descriptors(&error) => {
            Err(CommandError::failed(format!("could not start: {error}"))
                .hint("raise the limit of open files (ulimit -n), 64 are enough for most commands"))
        }
        // Whatever else it is, those who need it say it better.
        _ => Ok(()),
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|number| error.raw_os_error() == Some(number.raw_os_error()))
}

fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { global, command } = arguments;
    if command.is_some() {
        check_descriptors()?;
    }
    match command {
        None => Ok(()),
        // The router makes its own threads and must not inherit any.
        Some(Command::Router(arguments)) => command::run_router(&arguments),
        Some(command) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .map_err(|error| CommandError::failed(format!("could not start: {error}")))?;
            let result = runtime.block_on(run_in_runtime(command, &global));
            // After a second Ctrl-C nothing is waited for.
            runtime.shutdown_background();
            result
        }
    }
}

async fn run_in_runtime(command: Command, global: &Global) -> Result<(), CommandError> {
    let ui = Ui::new(global.verbose);
    let cancel = CancellationToken::new();
    let result = if command.handles_signals() {
        let session = Session::new(ui.clone(), global, cancel)?;
        command.run(&session).await
    } else {
        let interrupts = Interrupts::catch()
            .map_err(|error| CommandError::failed(format!("could not catch signals: {error}")))?;
        let session = Session::new(ui.clone(), global, cancel.clone())?;
        tokio::select! {
            result = command.run(&session) => result,
            error = interrupts.watch(ui.clone(), cancel) => Err(error),
        }
    };
    match ui.finish() {
        None => result,
        Some(error) => Err(CommandError::failed(format!(
            "could not write to standard output: {error}"
        ))),
    }
}
