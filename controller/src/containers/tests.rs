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
    site_support::fake_controller();
}

async fn site_with_service() -> (User, Context) {
    let user = User::new();
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

#[tokio::test]
async fn what_ended_or_disappeared_is_started_again() {
    let (user, ctx) = site_with_service().await;
    let mut engine: Option<Arc<dyn Engine>> = None;
    look_after(&ctx, &mut engine).await.expect("fine");
    assert_eq!(states(&user), all_running());
    let calls = user.engine.state().changes.len();
    look_after(&ctx, &mut engine).await.expect("fine");
    assert_eq!(user.engine.state().changes.len(), calls, "nothing to do");

    user.engine.state().containers.remove("db");
    look_after(&ctx, &mut engine).await.expect("fine");
    assert_eq!(states(&user), all_running());
    if let Some((_, router)) = user.engine.state().containers.get_mut("skupper-router") {
        *router = ContainerState::Exited(137);
    }
    look_after(&ctx, &mut engine).await.expect("fine");
    assert_eq!(states(&user), all_running());
}

#[tokio::test]
async fn a_paused_container_is_left_alone() {
    let (user, ctx) = site_with_service().await;
    let paused = ContainerState::Other("paused".to_owned());
    if let Some((_, db)) = user.engine.state().containers.get_mut("db") {
        *db = paused.clone();
    }
    look_after(&ctx, &mut None).await.expect("fine");
    assert_eq!(states(&user)[0].1, paused);
}

#[tokio::test]
async fn nothing_is_done_while_a_command_works_or_was_interrupted() {
    let (user, ctx) = site_with_service().await;
    user.engine.state().containers.remove("db");
    let paths = user.site("default");
    let lock = HeldLock::try_acquire(&paths.lock_file(), "skupper service delete")
        .expect("usable")
        .expect("free");
    look_after(&ctx, &mut None).await.expect("fine");
    assert_eq!(states(&user).len(), 1);
    drop(lock);
    let header = "{\"operation\": \"skupper service delete\", \"direction\": \"back\", \"namespace\": \"default\", \
                  \"platform\": null, \"engine_endpoint\": null, \"site_id\": null}\n";
    std::fs::write(paths.journal(), header).expect("writable");
    look_after(&ctx, &mut None).await.expect("fine");
    assert_eq!(states(&user).len(), 1);
    std::fs::remove_file(paths.journal()).expect("there");
    look_after(&ctx, &mut None).await.expect("fine");
    assert_eq!(states(&user), all_running());
}

#[tokio::test]
async fn a_foreign_container_with_our_name_is_never_touched() {
    let (user, ctx) = site_with_service().await;
    user.engine.state().containers.remove("db");
    user.engine.add_foreign("db", "bridge", &[]);
    if let Some((_, db)) = user.engine.state().containers.get_mut("db") {
        *db = ContainerState::Exited(0);
    }
    let error = look_after(&ctx, &mut None).await.expect_err("not ours");
    assert!(
        matches!(error, SiteError::ForeignContainer { .. }),
        "{error}"
    );
    assert_eq!(states(&user)[0].1, ContainerState::Exited(0));
}

#[tokio::test]
async fn a_container_that_cannot_be_started_does_not_stop_the_others() {
    let (user, ctx) = site_with_service().await;
    let web = Service::new(ServiceName::parse("web").expect("a name"), vec![80]);
    site::service_create(&ctx, &web).await.expect("a service");
    for name in ["db", "web"] {
        user.engine.state().containers.remove(name);
    }
    user.engine.add_foreign("db", "bridge", &[]);
    look_after(&ctx, &mut None).await.expect_err("not ours");
    assert_eq!(
        states(&user).last(),
        Some(&("web".to_owned(), ContainerState::Running))
    );
}
