//! Modules, the targets they cover, and what is configured for each.

use std::collections::BTreeMap;

use model::router_config::{LogEntity, LogLevel};
use tracing::{Level, level_filters::LevelFilter};

use super::output::{Output, Outputs};

/// Module that decides for all others that are not configured.
const DEFAULT: &str = "DEFAULT";

/// Targets and the module that they belong to; the longest prefix decides.
const TARGETS: &[(&str, &str)] = &[
    ("router", "ROUTER"),
    ("router::routing", "ROUTER"),
    ("router::routing::hello", "ROUTER_HELLO"),
    ("router::routing::link_state", "ROUTER_LS"),
    ("router::routing::path", "ROUTER_LS"),
    ("router::routing::mobile", "ROUTER_MA"),
    ("router::core", "ROUTER_CORE"),
    ("router::message", "MESSAGE"),
    ("router::net", "SERVER"),
    ("router::server", "SERVER"),
    ("router::tls", "SERVER"),
    ("router::worker", "SERVER"),
    ("router::net::connector", "CONN_MGR"),
    ("router::config", "CONN_MGR"),
    ("router::net::http", "HTTP"),
    ("router::adaptor", "TCP_ADAPTOR"),
    ("router::tcp", "TCP_ADAPTOR"),
    ("router::management", "AGENT"),
    ("router::agent", "AGENT"),
    ("router::flow", "FLOW_LOG"),
    ("router::protocol", "PROTOCOL"),
    ("amqp", "PROTOCOL"),
    // What a library says through the `log` crate; only that of TLS does.
    ("log", "SERVER"),
];

/// Tracing levels, one bit each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Levels(u8);

/// What is configured for a module.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) levels: Levels,
    pub(super) timestamp: bool,
    pub(super) source: bool,
    pub(super) output: Output,
}

/// What is configured for all modules.
#[derive(Debug)]
pub(super) struct Settings {
    default: Rule,
    modules: BTreeMap<String, Rule>,
}

/// Module that a target belongs to.
pub(super) fn module_of(target: &str) -> Option<&'static str> {
    let covers = |prefix: &str| {
        target
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let covering = TARGETS.iter().filter(|(prefix, _)| covers(prefix));
    covering
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, module)| *module)
}

/// Level in the words of the configuration.
pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

impl Levels {
    fn of(entity: &LogEntity) -> Self {
        // the configuration has more levels than tracing: notice counts as info, critical as error
        let named = [
            (Level::TRACE, &[LogLevel::Trace][..]),
            (Level::DEBUG, &[LogLevel::Debug]),
            (Level::INFO, &[LogLevel::Info, LogLevel::Notice]),
            (Level::WARN, &[LogLevel::Warning]),
            (Level::ERROR, &[LogLevel::Error, LogLevel::Critical]),
        ];
        let mut levels = Self::default();
        for (level, names) in named {
            if names.iter().any(|name| entity.enables(*name)) {
                levels.0 |= bit(level);
            }
        }
        levels
    }

    pub(super) fn contain(self, level: Level) -> bool {
        self.0 & bit(level) != 0
    }
}

fn bit(level: Level) -> u8 {
    match level {
        Level::TRACE => 1,
        Level::DEBUG => 2,
        Level::INFO => 4,
        Level::WARN => 8,
        Level::ERROR => 16,
    }
}

impl Settings {
    /// Settings that the entities describe, and what of them does not work, in words. The last entity of a module counts.
    pub(super) fn new(config: &[LogEntity]) -> (Self, Vec<String>) {
        let mut outputs = Outputs::default();
        let mut default = Rule {
            levels: Levels::of(&LogEntity::at_least(DEFAULT, LogLevel::Info)),
            timestamp: true,
            source: false,
            output: Output::Stderr,
        };
        for entity in config.iter().filter(|entity| entity.module == DEFAULT) {
            default = Rule::new(entity, &default, &mut outputs);
        }
        let mut modules = BTreeMap::new();
        for entity in config.iter().filter(|entity| entity.module != DEFAULT) {
            let rule = Rule::new(entity, &default, &mut outputs);
            modules.insert(entity.module.clone(), rule);
        }
        (Self { default, modules }, outputs.problems)
    }

    /// What holds for events of a target.
    pub(super) fn rule(&self, target: &str) -> &Rule {
        module_of(target)
            .and_then(|module| self.modules.get(module))
            .unwrap_or(&self.default)
    }

    /// The most verbose level of any module.
    pub(super) fn most_verbose(&self) -> LevelFilter {
        let rules = self.modules.values().chain([&self.default]);
        let all = rules.fold(0, |all, rule| all | rule.levels.0);
        match all.trailing_zeros() {
            0 => LevelFilter::TRACE,
            1 => LevelFilter::DEBUG,
            2 => LevelFilter::INFO,
            3 => LevelFilter::WARN,
            4 => LevelFilter::ERROR,
            _ => LevelFilter::OFF,
        }
    }
}

impl Rule {
    fn new(entity: &LogEntity, default: &Self, outputs: &mut Outputs) -> Self {
        Self {
            levels: Levels::of(entity),
            timestamp: entity.include_timestamp.unwrap_or(default.timestamp),
            source: entity.include_source.unwrap_or(default.source),
            output: match entity.output_file.as_deref() {
                None | Some("") => default.output.clone(),
                Some(file) => outputs.open(file),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        for (target, module) in [
            ("router", Some("ROUTER")),
            ("router::routing::node", Some("ROUTER")),
            ("router::routing::hello::x", Some("ROUTER_HELLO")),
            ("router::net::tls", Some("SERVER")),
            ("router::net::http", Some("HTTP")),
            ("router::network", Some("ROUTER")),
            ("routers", None),
            ("", None),
        ] {
            assert_eq!(module_of(target), module, "{target}");
        }
    }

    #[test]
    fn the_most_verbose_level_is_that_of_any_module() {
        let at_least = |module: &str, level| LogEntity::at_least(module, level);
        let (settings, _) = Settings::new(&[at_least("AGENT", LogLevel::Debug)]);
        assert_eq!(settings.most_verbose(), LevelFilter::DEBUG);
        assert_eq!(
            settings.rule("router::core").levels,
            settings.rule("x").levels
        );
        let mut off = at_least(DEFAULT, LogLevel::Critical);
        let (settings, _) = Settings::new(&[off.clone()]);
        assert_eq!(settings.most_verbose(), LevelFilter::ERROR);
        off.enable.clear();
        assert_eq!(Settings::new(&[off]).0.most_verbose(), LevelFilter::OFF);
    }
}
