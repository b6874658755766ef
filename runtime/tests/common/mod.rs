//! Scenarios every engine must pass, and the bed they run in.

mod bed;
mod payload;
pub(crate) mod scenario;

use std::env;
use std::sync::Arc;

use model::Platform;
use runtime::engine::{Engine, EngineEnvironment, connect};

pub(crate) use bed::{Bed, bed};
pub(crate) use payload::payload_of_container;

/// One test per scenario, with the engine that `$engine` gives.
macro_rules! engine_tests {
    ($engine:ident: $($scenario:ident)*) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                if let Some(engine) = $engine().await {
                    common::bed(engine, stringify!($scenario), common::scenario::$scenario).await;
                }
            }
        )*
    };
    ($engine:ident) => {
        common::engine_tests! { $engine:
            version_is_told
            images_have_a_stable_id_and_go_only_when_unused
            broken_archives_are_refused
            networks_are_made_once_and_removed_only_when_empty
            networks_can_have_ipv6
            foreign_objects_are_left_alone
            containers_live_from_creation_to_removal
            a_killed_container_comes_back_and_a_stopped_one_does_not
            containers_find_each_other_by_name_and_alias
            a_taken_port_is_named
            missing_things_are_named
        }
    };
}
pub(crate) use engine_tests;

/// Socket in the variable; `None`, and said so, where there is no engine to test.
#[expect(clippy::print_stderr, reason = "a test that cannot run must say so")]
pub(crate) fn socket(variable: &str) -> Option<String> {
    let socket = env::var(variable).ok().filter(|value| !value.is_empty());
    if socket.is_none() {
        let required = env::var("SKUPPER_TEST_ENGINES").is_ok_and(|value| value == "required");
        assert!(
            !required,
            "{variable} must be the path of an engine's socket"
        );
        eprintln!("did not run: {variable} is not set");
    }
    socket
}

pub(crate) async fn engine_at(platform: Platform, socket: &str) -> Arc<dyn Engine> {
    connect(platform, Some(socket), &EngineEnvironment::from_env())
        .await
        .unwrap()
}
