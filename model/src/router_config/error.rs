//! Why a configuration is refused.

use super::{Mode, Role};

/// A configuration that cannot be used
///
/// `entity` is the type and name, such as `listener "amqp"`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON
    #[error("not valid JSON at line {line} column {column}: {message}")]
    Syntax {
        /// From 1
        line: usize,
        /// From 1
        column: usize,
        /// What is wrong there
        message: String,
    },
    /// JSON of another shape
    #[error("entry {position} is not a pair of an entity type and an object of attributes")]
    Shape {
        /// From 1
        position: usize,
    },
    /// A type that no router knows
    #[error("unknown entity type {0:?}")]
    UnknownEntity(String),
    /// Known, but not built yet
    #[error("{0} is not supported yet")]
    NotSupported(String),
    /// An attribute that no router knows, of an entity that is made alone
    #[error("{entity} has an unknown attribute {attribute:?}")]
    UnknownAttribute {
        /// Type and name
        entity: String,
        /// The attribute
        attribute: String,
    },
    /// An attribute that must be there
    #[error("{entity} has no {attribute}")]
    Missing {
        /// Type and name
        entity: String,
        /// The attribute
        attribute: &'static str,
    },
    /// An attribute with a value that it cannot have
    #[error("{entity} has an invalid {attribute}: {reason}")]
    Invalid {
        /// Type and name
        entity: String,
        /// The attribute
        attribute: String,
        /// What is wrong with the value
        reason: String,
    },
    /// Two entities of one name, or one entity twice
    #[error("{0} is defined twice")]
    Duplicate(String),
    /// A TLS profile that is not defined
    #[error("{entity} uses the sslProfile {profile:?}, which is not defined")]
    UnknownProfile {
        /// Type and name
        entity: String,
        /// The profile
        profile: String,
    },
    /// A proxy profile that is not in the file
    #[error("{entity} uses the proxyProfile {profile:?}, which is not defined")]
    UnknownProxy {
        /// Type and name
        entity: String,
        /// What it names
        profile: String,
    },
    /// A TCP listener that is not defined
    #[error("{entity} is for the tcpListener {listener:?}, which is not defined")]
    UnknownTcpListener {
        /// Type and name
        entity: String,
        /// What it names
        listener: String,
    },
    /// A TLS profile without the files that its use needs
    #[error("{entity} uses the sslProfile {profile:?}, which has no {attribute}")]
    IncompleteProfile {
        /// Type and name
        entity: String,
        /// The profile
        profile: String,
        /// What the profile lacks
        attribute: &'static str,
    },
    /// A role that the router's mode does not allow
    #[error("{entity} has the role {role}, which a router of mode {mode} cannot have")]
    RoleInMode {
        /// Type and name
        entity: String,
        /// Its role
        role: Role,
        /// The router's mode
        mode: Mode,
    },
    /// Two listeners on one socket
    #[error("{first} and {second} listen on the same address {address}")]
    SameAddress {
        /// Type and name
        first: String,
        /// Type and name
        second: String,
        /// Host and port
        address: String,
    },
    /// A variable without value in a path
    #[error("{entity} uses the variable {variable:?} in {attribute}, which is not set")]
    UnknownVariable {
        /// Type and name
        entity: String,
        /// The attribute
        attribute: &'static str,
        /// The variable's name
        variable: String,
    },
}
