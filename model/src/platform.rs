//! Where a site runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Kind of machinery that carries a site
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Containers of Podman
    Podman,
    /// Containers of Docker
    Docker,
    /// Processes of this host, no engine
    Linux,
    /// A namespace of a cluster; such sites can be linked to, not managed
    Kubernetes,
}

impl Platform {
    /// All platforms, in the order in which they are offered
    pub const ALL: [Self; 4] = [Self::Podman, Self::Docker, Self::Linux, Self::Kubernetes];

    /// Word used in flags, files and router metadata
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Linux => "linux",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Whether a site of this platform is a set of containers of an engine on this host
    pub fn is_container(self) -> bool {
        matches!(self, Self::Podman | Self::Docker)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(word: &str) -> Result<Self, UnknownPlatform> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.as_str() == word)
            .ok_or_else(|| UnknownPlatform(word.to_owned()))
    }
}

/// A word that names no platform
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid platform {0:?}: must be one of podman, docker, linux, kubernetes")]
pub struct UnknownPlatform(pub String);

/// Content of `platform.yaml`: the platform that commands use when nothing else names one
///
/// Two keys, as the Skupper 1 file of the same name, so that the same type reads that one too.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlatformChoice {
    /// In use now
    pub current: Platform,
    /// What `switch -` goes back to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Platform>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse(), Ok(platform));
            assert_eq!(
                crate::yaml::from_str::<Platform>(platform.as_str()).unwrap(),
                platform
            );
        }
    }

    #[test]
    fn other_words_are_refused_with_the_list() {
        for word in ["", "Podman", "podman ", "k8s", "systemd"] {
            let error = word.parse::<Platform>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("podman, docker, linux, kubernetes"),
                "{error}"
            );
        }
    }

    #[test]
    fn reads_the_file_of_skupper_1() {
        let choice: PlatformChoice =
            crate::yaml::from_str("current: podman\nprevious: kubernetes\n").unwrap();
        assert_eq!(
            choice,
            PlatformChoice {
                current: Platform::Podman,
                previous: Some(Platform::Kubernetes)
            }
        );
        let choice: PlatformChoice = crate::yaml::from_str("current: docker\n").unwrap();
        assert_eq!(choice.previous, None);
    }
}
