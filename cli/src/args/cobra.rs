//! clap's errors in the words of cobra and pflag, which scripts match.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind as Clap};

use super::refused;
use crate::error::{CommandError, ErrorKind};

/// The words that name the command, and how many arguments come before the end of it
///
/// The last word may be unknown below its parent. Flags in between are skipped with their values.
pub(crate) fn command_words(root: &clap::Command, arguments: &[String]) -> (Vec<String>, usize) {
    let mut current = root;
    let mut parents = vec![root];
    let mut words = Vec::new();
    let mut end = 0;
    let mut index = 0;
    while let Some(argument) = arguments.get(index) {
        index += 1;
        if argument == "--" {
            break;
        }
        if argument.len() > 1 && argument.starts_with('-') {
            if !argument.contains('=') && takes_next_word(&parents, argument) {
                index += 1;
            }
            continue;
        }
        if !current.has_subcommands() {
            break;
        }
        words.push(argument.clone());
        end = index;
        match current.find_subcommand(argument) {
            Some(found) => {
                current = found;
                parents.push(found);
            }
            None => break,
        }
    }
    (words, end)
}

fn takes_next_word(commands: &[&clap::Command], flag: &str) -> bool {
    let known = |matches: &dyn Fn(&clap::Arg) -> bool| {
        commands
            .iter()
            .flat_map(|command| command.get_arguments())
            .find(|argument| matches(argument))
            .is_some_and(|argument| !argument.is_require_equals_set())
    };
    match flag.strip_prefix("--") {
        Some(name) => known(&|argument| argument.get_long() == Some(name)),
        // `-n x`; in a cluster the last letter may take the value
        None => flag
            .chars()
            .last()
            .is_some_and(|letter| known(&|argument| argument.get_short() == Some(letter))),
    }
}

/// An error of clap as cobra would have said it
pub(crate) fn translate(
    error: &clap::Error,
    words: &[String],
    arguments: &[String],
) -> CommandError {
    let flag = context(error, ContextKind::InvalidArg).unwrap_or_default();
    // clap names an argument with its value: `--cost <int32>`
    let flag = flag
        .split([' ', '=', '['])
        .next()
        .unwrap_or_default()
        .to_owned();
    match error.kind() {
        Clap::UnknownArgument => {
            if let Some(refusal) = refused::flag(words, &flag) {
                return refusal;
            }
            usage_error(unknown_flag(&flag, arguments))
        }
        Clap::ValueValidation => {
            let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            usage_error(format!(
                "invalid argument {value:?} for {:?} flag: {cause}",
                with_shorthand(&flag)
            ))
        }
        Clap::InvalidValue | Clap::WrongNumberOfValues | Clap::TooFewValues | Clap::NoEquals => {
            usage_error(format!(
                "flag needs an argument: {}",
                needing(&flag, arguments)
            ))
        }
        Clap::TooManyValues => usage_error(format!("flag {flag} takes one value")),
        _ => usage_error(
            error
                .to_string()
                .trim_start_matches("error: ")
                .trim()
                .to_owned(),
        ),
    }
}

/// `unknown command "x" for "skupper"`, with suggestions
pub(crate) fn unknown_command(root: &clap::Command, word: &str) -> CommandError {
    let mut text = format!("unknown command {word:?} for \"skupper\"");
    let similar: Vec<&str> = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .filter(|name| distance(word, name) <= 2 || name.starts_with(&word.to_lowercase()))
        .collect();
    if !similar.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for name in similar {
            text.push_str(&format!("\t{name}\n"));
        }
    }
    CommandError::new(ErrorKind::UnknownCommand, text)
}

/// An error in the command line, shown with the command's usage
pub(crate) fn usage_error(text: impl std::fmt::Display) -> CommandError {
    CommandError::new(ErrorKind::Usage, text)
}

/// The command takes no words
pub(crate) fn no_words(command: &str, words: &[String]) -> Result<(), CommandError> {
    match words.first() {
        None => Ok(()),
        Some(word) => Err(usage_error(format!(
            "unknown command {word:?} for \"skupper {command}\""
        ))),
    }
}

/// The command takes exactly one word
pub(crate) fn one_word(words: &[String]) -> Result<&str, CommandError> {
    match words {
        [word] => Ok(word),
        _ => Err(usage_error(format!(
            "accepts 1 arg(s), received {}",
            words.len()
        ))),
    }
}

/// The command takes one word or none
pub(crate) fn at_most_one_word(words: &[String]) -> Result<Option<&str>, CommandError> {
    match words {
        [] => Ok(None),
        [word] => Ok(Some(word)),
        _ => Err(usage_error(format!(
            "accepts at most 1 arg(s), received {}",
            words.len()
        ))),
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

fn unknown_flag(flag: &str, arguments: &[String]) -> String {
    if flag.starts_with("--") {
        return format!("unknown flag: {flag}");
    }
    let letter = flag.trim_start_matches('-').chars().next().unwrap_or('-');
    let cluster = arguments
        .iter()
        .find(|argument| {
            argument.starts_with('-') && !argument.starts_with("--") && argument.contains(letter)
        })
        .map_or(flag, String::as_str);
    format!("unknown shorthand flag: '{letter}' in {cluster}")
}

/// pflag names the letter when that is how the flag was written
fn needing(flag: &str, arguments: &[String]) -> String {
    match arguments.last() {
        Some(last) if last.starts_with('-') && !last.starts_with("--") => {
            let letter = last.chars().last().unwrap_or('-');
            format!("'{letter}' in {last}")
        }
        _ => flag.to_owned(),
    }
}

fn with_shorthand(flag: &str) -> String {
    match flag {
        "--namespace" => "-n, --namespace".to_owned(),
        "--output" => "-o, --output".to_owned(),
        "--token-type" => "-t, --token-type".to_owned(),
        "--verbose" => "-v, --verbose".to_owned(),
        _ => flag.to_owned(),
    }
}

/// Levenshtein distance without regard to case
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
