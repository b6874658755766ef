use std::sync::Arc;
use std::time::Duration;

use model::Platform;
use serde::Deserialize;

use super::transport::{Answer, Call, Transport};
use super::{Endpoint, Engine, EngineEnvironment, EngineError, EngineVersion, default_endpoint};
use crate::docker::Docker;
use crate::podman::Podman;

/// Component name by which Podman answers `GET /version`, also on its Docker API.
const PODMAN: &str = "Podman Engine";
/// Socket activation starts the service first.
const VERSION_LIMIT: Duration = Duration::from_secs(20);
const DETECT_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the engine of `platform` at `endpoint`, else at [`default_endpoint`].
///
/// A Docker endpoint answered by Podman gives the Podman backend; [`Engine::platform`] tells.
pub async fn connect(
    platform: Platform,
    endpoint: Option<&str>,
    env: &EngineEnvironment,
) -> Result<Arc<dyn Engine>, EngineError> {
    if !platform.is_container() {
        return Err(EngineError::NoEngine { platform });
    }
    let transport = transport(platform, endpoint, env)?;
    let version = identify(&transport, VERSION_LIMIT).await?;
    if version.component == PODMAN {
        return Ok(Arc::new(Podman::connect(transport, &version, env).await?));
    }
    if platform == Platform::Podman {
        return Err(EngineError::InvalidEndpoint {
            platform,
            endpoint: transport.url().to_owned(),
            reason: format!(
                "{} answers there, use platform docker for it",
                version.component
            ),
        });
    }
    Ok(Arc::new(Docker::connect(&transport, version, env).await?))
}

/// Platform to use when nobody chose one: podman if its endpoint answers, then docker, else linux.
pub async fn detect(env: &EngineEnvironment) -> Platform {
    for platform in [Platform::Podman, Platform::Docker] {
        let Ok(transport) = transport(platform, None, env) else {
            continue;
        };
        let Ok(version) = identify(&transport, DETECT_LIMIT).await else {
            continue;
        };
        if platform == Platform::Docker || version.component == PODMAN {
            return platform;
        }
    }
    Platform::Linux
}

/// Who answers, and in which version. `GET /_ping` says so in its headers at once; Podman's `GET /version` runs several
/// programs to fill in the versions of its parts, so it is asked only when the headers do not tell.
async fn identify(transport: &Transport, limit: Duration) -> Result<EngineVersion, EngineError> {
    let answer = transport.send(Call::get("/_ping").limit(limit)).await?;
    match answer
        .status
        .is_success()
        .then(|| from_ping(&answer))
        .flatten()
    {
        Some(version) => Ok(version),
        None => version_within(transport, limit).await,
    }
}

fn from_ping(answer: &Answer) -> Option<EngineVersion> {
    let (product, version) = answer.header("server")?.split_once('/')?;
    let version = version.split_whitespace().next()?.to_owned();
    let (component, api) = match product {
        "Libpod" => (PODMAN, answer.header("libpod-api-version")?),
        "Docker" => ("Docker Engine", answer.header("api-version")?),
        _ => return None,
    };
    Some(EngineVersion {
        component: component.to_owned(),
        version,
        api_version: api.to_owned(),
    })
}

/// Asks any engine for its version.
pub(crate) async fn version(transport: &Transport) -> Result<EngineVersion, EngineError> {
    version_within(transport, VERSION_LIMIT).await
}

async fn version_within(
    transport: &Transport,
    limit: Duration,
) -> Result<EngineVersion, EngineError> {
    let answer = transport.send(Call::get("/version").limit(limit)).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    let version: VersionAnswer = answer.json()?;
    Ok(version.into())
}

fn transport(
    platform: Platform,
    endpoint: Option<&str>,
    env: &EngineEnvironment,
) -> Result<Transport, EngineError> {
    let text = endpoint.map_or_else(|| default_endpoint(platform, env), str::to_owned);
    let endpoint = Endpoint::parse(&text).map_err(|reason| EngineError::InvalidEndpoint {
        platform,
        endpoint: text,
        reason,
    })?;
    Ok(Transport::new(platform, endpoint, env.is_root()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    version: Option<String>,
    api_version: Option<String>,
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: Option<String>,
    version: Option<String>,
    details: Option<ComponentDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ComponentDetails {
    /// libpod's API version; the one at the top is that of the Docker API.
    #[serde(rename = "APIVersion")]
    api_version: Option<String>,
}

impl From<VersionAnswer> for EngineVersion {
    fn from(answer: VersionAnswer) -> Self {
        let components = answer.components.unwrap_or_default();
        let podman = components
            .into_iter()
            .find(|component| component.name.as_deref() == Some(PODMAN));
        match podman {
            Some(component) => {
                let version = component.version.or(answer.version).unwrap_or_default();
                let api = component.details.and_then(|details| details.api_version);
                Self {
                    component: PODMAN.to_owned(),
                    api_version: api.unwrap_or_else(|| version.clone()),
                    version,
                }
            }
            None => Self {
                component: "Docker Engine".to_owned(),
                version: answer.version.unwrap_or_default(),
                api_version: answer.api_version.unwrap_or_default(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
