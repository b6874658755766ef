//! `skupper switch`: chooses the platform that commands work with from now on.

use clap::Args;
use model::{Platform, PlatformChoice, store};

use crate::args::cobra;
use crate::error::CommandError;
use crate::platform;
use crate::session::Session;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[arg(value_name = "[podman|docker|linux|kubernetes|-]")]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    let Some(word) = cobra::at_most_one_word(&arguments.words)? else {
        session
            .ui
            .line(session.effective_platform().await?.to_string());
        return Ok(());
    };
    let stored = platform::choice(&session.paths)?;
    if word == "-" {
        let back_to = match stored.and_then(|choice| choice.previous) {
            Some(previous) => previous,
            None => session.effective_platform().await?,
        };
        save(session, next(stored, back_to))?;
        session.ui.line(format!("Switched to: {back_to}"));
        return Ok(());
    }
    let chosen: Platform = word.parse().map_err(|_| {
        cobra::usage_error(format!("invalid argument {word:?} for \"skupper switch\""))
    })?;
    save(session, next(stored, chosen))
}

/// The rule of Skupper 1: what was current becomes previous, also when nothing changes
fn next(stored: Option<PlatformChoice>, chosen: Platform) -> PlatformChoice {
    PlatformChoice {
        current: chosen,
        previous: Some(stored.map_or(chosen, |choice| choice.current)),
    }
}

fn save(session: &Session, choice: PlatformChoice) -> Result<(), CommandError> {
    let file = session.paths.platform_file();
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            CommandError::failed(format!(
                "unable to create base directory {} - \"{error}\"",
                directory.display()
            ))
        })?;
    }
    store::write_yaml(&file, &choice).map_err(|error| {
        CommandError::failed(format!("error saving file: {}: {error}", file.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_switch_has_itself_as_previous() {
        let first = next(None, Platform::Podman);
        assert_eq!(
            first,
            PlatformChoice {
                current: Platform::Podman,
                previous: Some(Platform::Podman)
            }
        );
        let second = next(Some(first), Platform::Linux);
        assert_eq!(
            second,
            PlatformChoice {
                current: Platform::Linux,
                previous: Some(Platform::Podman)
            }
        );
        let third = next(Some(second), Platform::Linux);
        assert_eq!(third.previous, Some(Platform::Linux));
    }
}
