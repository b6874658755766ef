//! AMQP clients of an independent implementation (proton, in Python) on two linked routers.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{path::Path, time::Duration};

use e2e::{Plan, did_not_run, environment, mesh::listener, within};
use model::router_config::{AddressEntity, Distribution, Role};
use tokio::process::Command;

const CASES: [&str; 12] = [
    "second_settlement",
    "outcomes",
    "presettled",
    "multicast",
    "large",
    "request",
    "management",
    "refusals",
    "resend",
    "unavailable",
    "stranded",
    "large_multicast",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_another_implementation_are_served() {
    let Some(python) = environment::python() else {
        did_not_run("no python3 with proton (SKUPPER_TEST_PYTHON)", false);
        return;
    };
    let mut plan = Plan::routers(2).secured().chain();
    let mut urls = Vec::new();
    for config in &mut plan.configs {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        config
            .addresses
            .push(AddressEntity::prefix("multicast", Distribution::Multicast));
        config
            .addresses
            .push(AddressEntity::prefix("closed", Distribution::Unavailable));
        urls.push(format!("amqp://127.0.0.1:{port}"));
    }
    let mesh = plan.start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/clients.py");
    for case in CASES {
        let mut command = Command::new(&python);
        command
            .arg(&script)
            .arg(case)
            .args(&urls)
            .kill_on_drop(true);
        let output = within(case, Duration::from_secs(60), command.output())
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{case}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    mesh.converged().await;
}
