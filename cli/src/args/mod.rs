//! What can be typed: the tree of commands and flags.
//!
//! The declarations are clap's, one struct per command beside the command's code. The words around them (error texts,
//! help pages, exit codes) are those of the program this one replaces, which was written with Go's cobra and pflag:
//! `cobra` turns clap's errors into them, `help` draws the pages, `normalize` undoes the spellings that the
//! documentation shows and clap does not know, and `refused` names everything documented that is not built.

pub(crate) mod cobra;
pub(crate) mod help;
pub(crate) mod normalize;
pub(crate) mod refused;
pub(crate) mod values;

#[cfg(test)]
pub(crate) mod tests;

use clap::builder::{ArgAction, ValueParser};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};

use crate::command::Command;
use crate::error::CommandError;
use crate::ui::Format;

/// Everything on a command line
#[derive(Debug, Parser)]
#[command(
    name = "skupper",
    about = "Join the services of several places into one service network",
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    args_override_self = true,
    subcommand_required = false
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that every command takes, before or after its name
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The platform type to use [podman, docker, linux, kubernetes]
    #[arg(long, global = true, value_name = "string")]
    pub(crate) platform: Option<String>,
    /// The site to act on, when you have more than one
    #[arg(long, short = 'n', global = true, value_name = "string")]
    pub(crate) namespace: Option<String>,
    /// Say more
    #[arg(long, short = 'v', global = true)]
    pub(crate) verbose: bool,
    /// Show the help of a command
    #[arg(long, short = 'h', global = true)]
    pub(crate) help: bool,
}

/// Flag of every command that reports
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Reporting {
    /// Machine-readable output [json, yaml]
    #[arg(long, short = 'o', value_name = "string", value_parser = values::format)]
    pub(crate) output: Option<Format>,
}

/// Flag of every command that changes the site and can say beforehand what it would do
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Changing {
    /// Print what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What a command line asks for
#[derive(Debug)]
pub(crate) enum Request {
    /// Print this page on standard output
    Help(String),
    /// A parent was called with a word it does not know: its page, and a word about it on standard error
    UnknownWord {
        page: String,
        word: String,
        parent: String,
    },
    /// Run it; the usage is for errors that the command finds in its words
    Run {
        arguments: Box<Arguments>,
        usage: String,
    },
}

/// Reads the arguments after the program's name
pub(crate) fn parse(arguments: &[String]) -> Result<Request, CommandError> {
    let arguments = normalize::normalize(arguments);
    let root = root();
    let (words, end) = cobra::command_words(&root, &arguments);
    let rest = &arguments[end..];
    if words.first().is_some_and(|word| word == "help") {
        let topic: Vec<String> = rest
            .iter()
            .filter(|word| !word.starts_with('-'))
            .cloned()
            .collect();
        return Ok(Request::Help(help::page(&root, &topic)));
    }
    if let Some(refusal) = refused::command(&words, rest) {
        return Err(refusal);
    }
    let known = help::resolve(&root, &words);
    if let Some(word) = words.get(known.len()) {
        return if known.is_empty() {
            Err(cobra::unknown_command(&root, word))
        } else {
            let parent = format!("skupper {}", known.join(" "));
            Ok(Request::UnknownWord {
                page: help::page(&root, &known),
                word: word.clone(),
                parent,
            })
        };
    }
    let usage = help::usage(&root, &known);
    let matched = root
        .clone()
        .try_get_matches_from(
            std::iter::once("skupper").chain(arguments.iter().map(String::as_str)),
        )
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let parsed = match matched {
        Ok(parsed) => parsed,
        Err(error) => return Err(cobra::translate(&error, &known, &arguments).with_usage(usage)),
    };
    if parsed.global.help || help::is_parent(&root, &known) {
        return Ok(Request::Help(help::page(&root, &known)));
    }
    Ok(Request::Run {
        arguments: Box::new(parsed),
        usage,
    })
}

/// The tree of commands with the conventions of pflag: `--flag=false`, and any next word as a flag's value
pub(crate) fn root() -> clap::Command {
    with_conventions(Arguments::command())
}

fn with_conventions(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .value_name("bool")
                .value_parser(ValueParser::new(values::boolean)),
            ArgAction::Set | ArgAction::Append if !argument.is_positional() => {
                argument.allow_hyphen_values(true)
            }
            _ => argument,
        })
        .mut_subcommands(with_conventions)
}
