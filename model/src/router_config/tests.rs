mod difference;
mod forms;
mod refused;
mod round_trip;

use super::*;

/// A router with one of everything, as Skupper 1.4 writes it when `init` has run
const INITIAL: &str = include_str!("tests/initial.json");

fn parse(entities: &str) -> Result<Parsed, ConfigError> {
    RouterConfig::parse(&format!(
        "[[\"router\", {{\"id\": \"r\", \"mode\": \"interior\"}}], {entities}]"
    ))
}

fn parsed(entities: &str) -> RouterConfig {
    let Parsed { config, warnings } = parse(entities).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    config
}

fn refusal(entities: &str) -> String {
    parse(entities).unwrap_err().to_string()
}
