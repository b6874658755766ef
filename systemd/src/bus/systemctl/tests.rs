use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::bus::connect;

/// A program in place of `systemctl` that notes its words and runs `script`.
fn fake(script: &str) -> (tempfile::TempDir, Surroundings) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("systemctl");
    let text = format!(
        "#!/bin/sh\necho \"$XDG_RUNTIME_DIR $*\" >>{}\n{script}\n",
        directory.path().join("words").display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let surroundings = Surroundings {
        scope: Scope::User,
        uid: 1000,
        addresses: vec!["unix:path=/nowhere/bus".to_owned()],
        runtime_directory: "/run/user/1000".into(),
        systemctl: program.into_os_string(),
    };
    (directory, surroundings)
}

fn words(directory: &tempfile::TempDir) -> String {
    fs::read_to_string(directory.path().join("words")).unwrap()
}

#[tokio::test]
async fn it_is_used_where_there_is_no_bus() {
    let (directory, surroundings) = fake("echo /a/systemd/user /etc/systemd/user");
    let bus = connect(&surroundings).await.unwrap();
    let path = bus.unit_path().await.unwrap();
    assert_eq!(
        path,
        [PathBuf::from("/a/systemd/user"), "/etc/systemd/user".into()]
    );
    assert!(
        words(&directory).starts_with(
            "/run/user/1000 --user --no-pager --no-ask-password show --property=UnitPath --value\n"
        ),
        "{}",
        words(&directory)
    );
}

#[tokio::test]
async fn without_bus_and_program_everything_that_was_tried_is_named() {
    let (_directory, mut surroundings) = fake("exit 1");
    let error = connect(&surroundings).await.unwrap_err().to_string();
    assert!(error.contains("unix:path=/nowhere/bus: "), "{error}");
    surroundings.systemctl = "/nowhere/systemctl".into();
    let error = connect(&surroundings).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/systemctl: "), "{error}");
}

#[tokio::test]
async fn a_start_that_fails_tells_the_state_of_the_unit() {
    let (_directory, surroundings) = fake(
        "case \"$*\" in *' start '*) echo 'Job failed.' >&2; exit 1;; esac\n\
         echo ActiveState=failed; echo SubState=failed; echo Result=exit-code",
    );
    let unit = UnitName::service("x").unwrap();
    let error = Systemctl::new(&surroundings)
        .start(&unit)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "x.service could not be started: Job failed. (failed, exit-code)"
    );
}

#[tokio::test]
async fn what_is_not_there_need_not_be_stopped_or_disabled() {
    let (directory, surroundings) =
        fake("case \"$*\" in *LoadState*) echo not-found;; *) echo ActiveState=inactive;; esac");
    let unit = UnitName::service("x").unwrap();
    let bus = Systemctl::new(&surroundings);
    bus.stop(&unit).await.unwrap();
    bus.disable(std::slice::from_ref(&unit)).await.unwrap();
    bus.reset_failed(&unit).await.unwrap();
    let words = words(&directory);
    assert!(
        [" stop ", " disable ", " reset-failed "]
            .iter()
            .all(|verb| !words.contains(verb)),
        "{words}"
    );
}
