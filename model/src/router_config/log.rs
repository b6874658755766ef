//! What is logged.

use super::{ConfigError, LogLevel, attributes::Attributes, value::Word as _};

/// Entity `log`: which lines of a module are written, and where
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntity {
    /// `DEFAULT`, `ROUTER_CORE`, `TCP_ADAPTOR`, …
    pub module: String,
    /// Levels; empty: none
    pub enable: Vec<LogSelector>,
    /// Whether lines begin with the time; `None`: as the default
    pub include_timestamp: Option<bool>,
    /// Whether lines name the place in the source; `None`: as the default
    pub include_source: Option<bool>,
    /// File, or the words `stderr`, `stdout`, `syslog`; `None`: standard error
    pub output_file: Option<String>,
}

/// One item of `enable`: `info` or `info+`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogSelector {
    /// This level
    pub level: LogLevel,
    /// And all above
    pub and_above: bool,
}

impl LogEntity {
    /// A level and all above
    pub fn at_least(module: impl Into<String>, level: LogLevel) -> Self {
        Self {
            module: module.into(),
            enable: vec![LogSelector {
                level,
                and_above: true,
            }],
            include_timestamp: None,
            include_source: None,
            output_file: None,
        }
    }

    /// Whether a line of a level is written
    pub fn enables(&self, level: LogLevel) -> bool {
        self.enable
            .iter()
            .any(|item| item.level == level || (item.and_above && level > item.level))
    }

    /// Lowest level that is written; `None`: none is
    pub fn minimum(&self) -> Option<LogLevel> {
        self.enable.iter().map(|item| item.level).min()
    }

    /// The attribute's text: `info+`, `debug,error+`, `none`
    pub fn enable_text(&self) -> String {
        if self.enable.is_empty() {
            return "none".to_owned();
        }
        let item =
            |item: &LogSelector| format!("{}{}", item.level, if item.and_above { "+" } else { "" });
        self.enable.iter().map(item).collect::<Vec<_>>().join(",")
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let module = attributes.required("module")?;
        if !LOG_MODULES.contains(&module.as_str()) {
            attributes.warn(format_args!("unknown module {module:?}"));
        }
        let enable = attributes
            .text("enable")?
            .unwrap_or_else(|| "default".to_owned());
        let entity = Self {
            enable: log_selectors(&enable).map_err(|item| {
                attributes.invalid(
                    "enable",
                    format_args!("{item:?} is not one of {}, none", LogLevel::choices()),
                )
            })?,
            module,
            include_timestamp: attributes.boolean("includeTimestamp")?,
            include_source: attributes.boolean("includeSource")?,
            output_file: attributes.filled("outputFile")?,
        };
        attributes.without_effect(&["name"]);
        Ok(entity)
    }
}

/// `info+`, `debug,error+`, `none`, `default`; the error is the item that is none of these
fn log_selectors(text: &str) -> Result<Vec<LogSelector>, String> {
    let mut selectors = Vec::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let (word, and_above) = item
            .strip_suffix('+')
            .map_or((item, false), |word| (word, true));
        match word {
            "none" => {}
            "default" => selectors.push(LogSelector {
                level: LogLevel::Info,
                and_above: true,
            }),
            word => {
                let level = LogLevel::from_word(word).ok_or_else(|| item.to_owned())?;
                selectors.push(LogSelector { level, and_above });
            }
        }
    }
    Ok(selectors)
}

/// Modules that log entities may name; others are kept with a warning, later routers have more
pub const LOG_MODULES: [&str; 24] = [
    "ADDRESS_WATCH",
    "AGENT",
    "AUTHSERVICE",
    "CONN_MGR",
    "CONTAINER",
    "DEFAULT",
    "ERROR",
    "FLOW_LOG",
    "HTTP",
    "HTTP1_OBSERVER",
    "HTTP2_DECODER",
    "HTTP2_OBSERVER",
    "HTTP_ADAPTOR",
    "MESSAGE",
    "POLICY",
    "PROTOCOL",
    "PYTHON",
    "ROUTER",
    "ROUTER_CORE",
    "ROUTER_HELLO",
    "ROUTER_LS",
    "ROUTER_MA",
    "SERVER",
    "TCP_ADAPTOR",
];
