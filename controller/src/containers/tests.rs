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

fn set_state(user: &User, name: &str, new: ContainerState) {
    if let Some((_, state)) = user.engine.state().containers.get_mut(name) {
        *state = new;
    }
}

fn all_running() -> Vec<(String, ContainerState)> {
    ["db", "skupper-router"]
        .map(|name| (name.to_owned(), ContainerState::Running))
        .to_vec()
}

#[tokio::test]
async fn what_ended_or_disappeared_is_started_again() {
    let (user, ctx) = site_with_service().await;
    let mut keeper = Keeper::default();
    keeper.look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user), all_running());
    let calls = user.engine.state().changes.len();
    keeper.look_after(&ctx).await.expect("fine");
    assert_eq!(user.engine.state().changes.len(), calls, "nothing to do");

    user.engine.state().containers.remove("db");
    keeper.look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user), all_running());
    set_state(&user, "skupper-router", ContainerState::Exited(137));
    keeper.look_after(&ctx).await.expect("fine");
    keeper.look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user), all_running());
}

#[tokio::test]
async fn what_has_just_ended_is_left_to_the_engine_and_to_who_removes_it() {
    let (user, ctx) = site_with_service().await;
    let mut keeper = Keeper::default();
    // two ends with a start by the engine between them
    for state in [
        ContainerState::Exited(137),
        ContainerState::Running,
        ContainerState::Exited(137),
    ] {
        set_state(&user, "db", state.clone());
        let calls = user.engine.state().changes.len();
        keeper.look_after(&ctx).await.expect("fine");
        assert_eq!(states(&user)[0].1, state);
        assert_eq!(user.engine.state().changes.len(), calls);
    }
    set_state(&user, "db", ContainerState::Running);
    keeper.look_after(&ctx).await.expect("fine");
    // while another one is made again
    set_state(&user, "db", ContainerState::Exited(0));
    user.engine.state().containers.remove("skupper-router");
    keeper.look_after(&ctx).await.expect("fine");
    assert_eq!(
        states(&user),
        [
            ("db".to_owned(), ContainerState::Exited(0)),
            ("skupper-router".to_owned(), ContainerState::Running)
        ]
    );
    keeper.look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user), all_running());
}

#[tokio::test]
async fn a_paused_container_is_left_alone() {
    let (user, ctx) = site_with_service().await;
    let paused = ContainerState::Other("paused".to_owned());
    set_state(&user, "db", paused.clone());
    let mut keeper = Keeper::default();
    keeper.look_after(&ctx).await.expect("fine");
    keeper.look_after(&ctx).await.expect("fine");
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
    Keeper::default().look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user).len(), 1);
    drop(lock);
    let header = "{\"operation\": \"skupper service delete\", \"direction\": \"back\", \"namespace\": \"default\", \
                  \"platform\": null, \"engine_endpoint\": null, \"site_id\": null}\n";
    std::fs::write(paths.journal(), header).expect("writable");
    Keeper::default().look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user).len(), 1);
    std::fs::remove_file(paths.journal()).expect("there");
    Keeper::default().look_after(&ctx).await.expect("fine");
    assert_eq!(states(&user), all_running());
}

#[tokio::test]
async fn a_foreign_container_with_our_name_is_never_touched() {
    let (user, ctx) = site_with_service().await;
    user.engine.state().containers.remove("db");
    user.engine.add_foreign("db", "bridge", &[]);
    set_state(&user, "db", ContainerState::Exited(0));
    let mut keeper = Keeper::default();
    keeper.look_after(&ctx).await.expect("just ended");
    let error = keeper.look_after(&ctx).await.expect_err("not ours");
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
    user.engine.state().containers.remove("db");
    user.engine.add_foreign("db", "bridge", &[]);
    for name in ["db", "web"] {
        set_state(&user, name, ContainerState::Exited(0));
    }
    let mut keeper = Keeper::default();
    keeper.look_after(&ctx).await.expect("just ended");
    keeper.look_after(&ctx).await.expect_err("not ours");
    assert_eq!(
        states(&user).last(),
        Some(&("web".to_owned(), ContainerState::Running))
    );
}
