//! `skupper completion`: completion code for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::args::{self, cobra};
use crate::error::CommandError;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[arg(value_name = "[bash|zsh|fish]")]
    words: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let shell = match cobra::at_most_one_word(&arguments.words)? {
        None | Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        Some(other) => {
            return Err(cobra::usage_error(format!(
                "invalid argument {other:?} for \"skupper completion\""
            )));
        }
    };
    let mut code = Vec::new();
    clap_complete::generate(shell, &mut args::root(), "skupper", &mut code);
    session.ui.text(&String::from_utf8_lossy(&code));
    Ok(())
}
