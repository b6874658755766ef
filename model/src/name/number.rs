//! Names that are numbers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::NameError;

/// Cost of a link, 1 or more; routing prefers cheaper paths
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "u32", try_from = "u32")]
pub struct LinkCost(u32);

impl LinkCost {
    /// Checks the number: 1 to 2³¹ − 1, the range that routers exchange
    pub fn new(cost: u32) -> Result<Self, NameError> {
        if cost >= 1 && i32::try_from(cost).is_ok() {
            Ok(Self(cost))
        } else {
            Err(NameError::invalid(
                "link cost",
                &cost.to_string(),
                "must be 1 or more",
            ))
        }
    }

    /// Checks the text
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let cost: u32 = decimal(text)
            .ok_or_else(|| NameError::invalid("link cost", text, "must be 1 or more"))?;
        Self::new(cost)
    }

    /// The number
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for LinkCost {
    fn default() -> Self {
        Self(1)
    }
}

impl From<LinkCost> for u32 {
    fn from(cost: LinkCost) -> Self {
        cost.0
    }
}

impl TryFrom<u32> for LinkCost {
    type Error = NameError;

    fn try_from(cost: u32) -> Result<Self, NameError> {
        Self::new(cost)
    }
}

impl fmt::Display for LinkCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LinkCost {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// Port of a service, 1 to 65535
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct ServicePort(u16);

impl ServicePort {
    /// Checks the number
    pub fn new(port: u16) -> Result<Self, NameError> {
        if port == 0 {
            Err(NameError::invalid("port", "0", PORT_RANGE))
        } else {
            Ok(Self(port))
        }
    }

    /// Checks the text
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let port: u16 =
            decimal(text).ok_or_else(|| NameError::invalid("port", text, PORT_RANGE))?;
        Self::new(port)
    }

    /// The number
    pub fn get(self) -> u16 {
        self.0
    }
}

impl From<ServicePort> for u16 {
    fn from(port: ServicePort) -> Self {
        port.0
    }
}

impl TryFrom<u16> for ServicePort {
    type Error = NameError;

    fn try_from(port: u16) -> Result<Self, NameError> {
        Self::new(port)
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ServicePort {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

pub(super) const PORT_RANGE: &str = "must be a number from 1 to 65535";

/// Digits only: `str::parse` would take a leading `+` as well
pub(super) fn decimal<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
