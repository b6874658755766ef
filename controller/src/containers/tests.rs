use std::sync::Arc;

use model::name::ServiceName;
use model::platform::Platform;
use model::service::Service;
use runtime::engine::ContainerState;

use super::*;

#[path = "../../../runtime/tests/site_support/mod.rs"]
mod site_support;

use site_support::User;

#[test]
fn fake_controller() {
    site_support::fake_controller_named("containers::tests::fake_controller");
}

async fn site_with_service() -> (User, Context) {
    let user = User::new();
    user.write_holding_controller_in("containers::tests::fake_controller");
    let ctx = user.init("default", Platform::Podman).await;
    let db = Service::new(ServiceName::parse("db").expect("a name"), vec![5432]);
    site::service_create(&ctx, &db).await.expect("a service");
    (user, ctx)
}

fn states(user: &User) -> Vec<(String, ContainerState)> {
    let state = user.engine.state();
    state
        .containers
        .iter()
        .map(|(name, (_, container))| (name.clone(), container.clone()))
        .collect()
}

fn all_running() -> Vec<(String, ContainerState)> {
    ["db", "skupper-router"]
        .map(|name| (name.to_owned(), ContainerState::Running))
        .to_vec()
}
