//! Errors of sites in the words that scripts know, with their remedies as hints.

use runtime::site::SiteError;

use crate::error::{CommandError, ErrorKind};

impl From<SiteError> for CommandError {
    fn from(error: SiteError) -> Self {
        convert(&error, "")
    }
}

/// The same with a prefix such as `Failed to remove link: `
pub(crate) fn convert(error: &SiteError, prefix: &str) -> CommandError {
    let kind = match error.root() {
        SiteError::Busy { .. } => ErrorKind::Busy,
        SiteError::Cancelled => ErrorKind::Interrupted,
        _ => ErrorKind::Failed,
    };
    let mut converted = CommandError::new(kind, format!("{prefix}{}", text(error.root())));
    match error.root() {
        SiteError::Controller { log, .. } | SiteError::RouterNotReady { log, .. } => {
            converted.log.clone_from(log);
            converted.hints = error
                .remedy()
                .into_iter()
                .filter(|line| !log.contains(line))
                .collect();
        }
        SiteError::Supervisor(supervisor) => {
            converted.log.clone_from(&supervisor.log);
            converted.hints = supervisor.remedy.iter().cloned().collect();
        }
        SiteError::Engine(engine) => converted.hints = engine.hints(),
        _ => converted.hints = error.remedy(),
    }
    converted
}

fn text(error: &SiteError) -> String {
    match error {
        SiteError::LinkToSelf => "Can't create connection to self with token".to_owned(),
        SiteError::AlreadyLinked { site, .. } => format!("Already connected to {site:?}."),
        SiteError::ServiceExists { name } => format!("Service {name} already defined"),
        SiteError::NoSuchService { name } => format!("Service {name} not defined"),
        SiteError::NoSuchTarget { service, host } => {
            format!("Could not find target {host} for service interface {service}")
        }
        SiteError::ContainerExists { name, .. } => {
            format!("a container named {name} already exists")
        }
        other => with_sources(other),
    }
}

/// The error and its causes, without those whose text is part of the one before
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use model::{LinkName, ServiceName};

    use super::*;

    #[test]
    fn texts_of_skupper_1_with_remedies() {
        let error = CommandError::from(SiteError::NoSuchService {
            name: ServiceName::parse("backend").unwrap(),
        });
        assert_eq!(error.text, "Service backend not defined");
        assert!(!error.hints.is_empty());
        let error = convert(
            &SiteError::NoSuchLink {
                name: LinkName::parse("x").unwrap(),
            },
            "Failed to remove link: ",
        );
        assert_eq!(error.text, "Failed to remove link: no such link \"x\"");
    }

    #[test]
    fn a_busy_site_and_an_interruption_have_their_own_exit_codes() {
        let busy = SiteError::Busy {
            holder: None,
            waited: std::time::Duration::from_secs(10),
        };
        assert_eq!(CommandError::from(busy).exit_code(), 75);
        let interrupted = SiteError::RolledBack {
            failure: Box::new(SiteError::Cancelled),
            left: Vec::new(),
        };
        assert_eq!(CommandError::from(interrupted).exit_code(), 130);
    }
}
