//! Which platform a command works with.
//!
//! First of: `--platform`, `SKUPPER_PLATFORM`, what `skupper switch` chose (our file, else the one of Skupper 1, which
//! is only read), the platform of the site that is there, and for a new site the first that answers of podman,
//! docker, linux.

use std::path::Path;

use model::{Paths, Platform, PlatformChoice, store};

use crate::error::CommandError;

/// Variable that names the platform for a session
pub(crate) const VARIABLE: &str = "SKUPPER_PLATFORM";

/// Who named the platform
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    Flag,
    Environment,
    Switch,
}

impl Source {
    /// What to change to choose another one
    fn remedy(self) -> &'static str {
        match self {
            Self::Flag => "leave out --platform",
            Self::Environment => "unset SKUPPER_PLATFORM",
            Self::Switch => "choose another platform with 'skupper switch'",
        }
    }
}

/// The platform asked for, if any
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Selection {
    pub(crate) platform: Platform,
    pub(crate) source: Source,
}

impl Selection {
    /// Reads flag, environment and files, in this order
    pub(crate) fn find(
        flag: Option<&str>,
        environment: Option<&str>,
        paths: &Paths,
    ) -> Result<Option<Self>, CommandError> {
        let word = flag.map(|word| (word, Source::Flag)).or_else(|| {
            environment
                .filter(|word| !word.is_empty())
                .map(|word| (word, Source::Environment))
        });
        if let Some((word, source)) = word {
            let platform = parse(word)?;
            return Ok(Some(Self { platform, source }));
        }
        Ok(choice(paths)?.map(|choice| Self {
            platform: choice.current,
            source: Source::Switch,
        }))
    }

    /// Sites on Kubernetes are for linking only
    pub(crate) fn managed(self) -> Result<Self, CommandError> {
        if self.platform != Platform::Kubernetes {
            return Ok(self);
        }
        Err(CommandError::refused("sites on Kubernetes are not managed yet")
            .hint("create a token on the Kubernetes site, and link a site on this host to it with 'skupper link create'")
            .hint(format!("to work with a site on this host, {}", self.source.remedy())))
    }

    /// The platform of the site that is there, unless the command line or the session says otherwise
    pub(crate) fn fits(self, site: Platform, site_name: &str) -> Result<(), CommandError> {
        if self.platform == site || self.source == Source::Switch {
            return Ok(());
        }
        Err(CommandError::failed(format!(
            "the site \"{site_name}\" runs on the platform {site}, not on {}",
            self.platform
        ))
        .hint(format!(
            "{}, or name another site with --namespace",
            self.source.remedy()
        )))
    }
}

/// A word of the command line or the environment as a platform
pub(crate) fn parse(word: &str) -> Result<Platform, CommandError> {
    word.parse().map_err(|_| {
        CommandError::failed(format!("invalid platform: {word}"))
            .hint("platforms are podman, docker, linux and kubernetes")
    })
}

/// What `switch` chose last
pub(crate) fn choice(paths: &Paths) -> Result<Option<PlatformChoice>, CommandError> {
    for file in [paths.platform_file(), paths.v1_platform_file()] {
        if let Some(choice) = read(&file)? {
            return Ok(Some(choice));
        }
    }
    Ok(None)
}

fn read(file: &Path) -> Result<Option<PlatformChoice>, CommandError> {
    if !file.exists() {
        return Ok(None);
    }
    store::read_yaml(file).map(Some).map_err(|error| {
        CommandError::failed(format!("error loading {}: {error}", file.display()))
            .hint("repair the file or remove it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        (root, paths)
    }

    fn write(file: &Path, text: &str) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    #[test]
    fn flag_then_environment_then_switch_then_the_file_of_skupper_1() {
        let (_root, paths) = paths();
        assert_eq!(Selection::find(None, None, &paths).unwrap(), None);
        write(
            &paths.v1_platform_file(),
            "current: podman\nprevious: kubernetes\n",
        );
        let found =
            |flag, environment| Selection::find(flag, environment, &paths).unwrap().unwrap();
        assert_eq!(
            found(None, None),
            Selection {
                platform: Platform::Podman,
                source: Source::Switch
            }
        );
        write(&paths.platform_file(), "current: docker\n");
        assert_eq!(found(None, Some("")).platform, Platform::Docker);
        assert_eq!(
            found(None, Some("linux")),
            Selection {
                platform: Platform::Linux,
                source: Source::Environment
            }
        );
        assert_eq!(
            found(Some("podman"), Some("linux")),
            Selection {
                platform: Platform::Podman,
                source: Source::Flag
            }
        );
    }

    #[test]
    fn unknown_words_and_broken_files_are_named() {
        let (_root, paths) = paths();
        let error = Selection::find(Some("vm"), None, &paths).unwrap_err();
        assert_eq!(error.text, "invalid platform: vm");
        write(&paths.platform_file(), "current: [");
        let error = Selection::find(None, None, &paths).unwrap_err();
        assert!(error.text.contains("platform.yaml"), "{}", error.text);
    }

    #[test]
    fn the_platform_of_a_site_is_fixed_but_a_switch_does_not_fight_it() {
        let from = |source| Selection {
            platform: Platform::Docker,
            source,
        };
        assert!(from(Source::Flag).fits(Platform::Podman, "a").is_err());
        assert!(
            from(Source::Environment)
                .fits(Platform::Podman, "a")
                .is_err()
        );
        assert!(from(Source::Switch).fits(Platform::Podman, "a").is_ok());
        assert!(from(Source::Flag).fits(Platform::Docker, "a").is_ok());
    }

    #[test]
    fn kubernetes_is_for_linking_only() {
        let selection = Selection {
            platform: Platform::Kubernetes,
            source: Source::Environment,
        };
        let error = selection.managed().unwrap_err();
        assert!(error.text.contains("not managed yet"));
        assert!(
            error
                .hints
                .iter()
                .any(|hint| hint.contains("unset SKUPPER_PLATFORM"))
        );
    }
}
