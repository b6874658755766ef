//! Names and numbers with rules, as types.
//!
//! Every type here has `parse`, is ordered, prints as its text and is (de)serialised as that text, so a value in
//! hand is a valid one.

mod host_port;
mod number;
mod protocol;
mod text;

pub use self::{
    host_port::HostPort,
    number::{LinkCost, ServicePort},
    protocol::Protocol,
    text::{LinkName, Namespace, ServiceName, SiteId, SiteName},
};

/// A text is not a valid name, port, cost or address
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Any rule but those of service names
    #[error("invalid {kind} {value:?}: {reason}")]
    Invalid {
        /// What it should have been
        kind: &'static str,
        /// What was given, cut to a printable length
        value: String,
        /// The rule that it breaks
        reason: &'static str,
    },
    /// Service names keep the text of Skupper 1, which scripts look for: a list of quoted rules
    #[error("Invalid service name: [{}]", quoted(.rules))]
    Service {
        /// What was given, cut to a printable length
        value: String,
        /// The rules that it breaks
        rules: Vec<&'static str>,
    },
}

impl NameError {
    fn invalid(kind: &'static str, value: &str, reason: &'static str) -> Self {
        Self::Invalid {
            kind,
            value: printable(value),
            reason,
        }
    }
}

fn printable(value: &str) -> String {
    const LONGEST: usize = 80;
    if value.chars().count() <= LONGEST {
        return value.to_owned();
    }
    value.chars().take(LONGEST).chain("…".chars()).collect()
}

fn quoted(rules: &[&'static str]) -> String {
    rules
        .iter()
        .map(|rule| format!("\"{rule}\""))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
