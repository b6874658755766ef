use std::collections::BTreeMap;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_write_replaces_content_and_mode_and_leaves_nothing_beside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    write_secret(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(mode(&path), 0o600);
    write_atomic(&path, b"newer", 0o644).unwrap();
    assert_eq!(
        (fs::read(&path).unwrap().as_slice(), mode(&path)),
        (b"newer".as_slice(), 0o644)
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_link_at_the_path_is_replaced_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, target) = (directory.path().join("a"), directory.path().join("b"));
    fs::write(&target, "untouched").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    write_secret(&path, b"new").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/a");
    for error in [
        write_secret(&path, b"x").unwrap_err(),
        read_yaml::<String>(&path).unwrap_err(),
        read_text(directory.path()).unwrap_err(),
    ] {
        assert!(
            error
                .to_string()
                .contains(directory.path().to_str().unwrap()),
            "{error}"
        );
    }
    assert!(read_yaml::<String>(&path).unwrap_err().is_not_found());
    assert_eq!(read_yaml_if_present::<String>(&path).unwrap(), None);
}

#[test]
fn a_full_file_system_is_called_full() {
    let full = io::Error::from_raw_os_error(28);
    let error = StoreError::io("write", Path::new("/x/site.yaml"), full);
    assert_eq!(
        error.to_string(),
        "cannot write /x/site.yaml: the file system is full"
    );
}

#[test]
fn a_write_that_is_refused_names_the_file_that_was_asked_for_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing").join("a");
    let error = write_secret(&path, b"new").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write {}: No such file or directory (os error 2)",
            path.display()
        )
    );
}

#[test]
fn a_failed_write_keeps_the_old_content() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "x").unwrap();
    write_secret(&path, b"new").unwrap_err();
    assert_eq!(fs::read(path.join("inside")).unwrap(), b"x");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "the temporary file is gone"
    );
}

#[test]
fn newer_formats_are_refused_whatever_else_they_hold() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.yaml");
    fs::write(&path, "format: 2\nversion: 9.0.0\nshape: [unknown]\n").unwrap();
    let error = read_yaml::<BTreeMap<String, String>>(&path).unwrap_err();
    assert!(
        matches!(error, StoreError::NewerFormat { format: 2, .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("format 2 (written by version 9.0.0)"),
        "{error}"
    );
}

#[test]
fn yaml_round_trips_and_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    let value: BTreeMap<String, String> = [
        ("a", "no"),
        ("b", "010"),
        ("c", "x: y #z"),
        ("d", ""),
        ("e", "line\nline\n"),
        ("f", "1e3"),
        ("g", "~"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    write_yaml(&path, &value).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read_yaml::<BTreeMap<String, String>>(&path).unwrap(), value);
}

#[test]
fn damage_is_located() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    fs::write(&path, "a: b\nc: [\n").unwrap();
    let error = read_yaml::<BTreeMap<String, String>>(&path).unwrap_err();
    assert!(
        error.to_string().contains("is damaged") && error.to_string().contains("line"),
        "{error}"
    );
    fs::write(&path, vec![b' '; yaml::MAX_TEXT + 1]).unwrap();
    assert!(matches!(
        read_yaml::<String>(&path).unwrap_err(),
        StoreError::Content { .. }
    ));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    read_yaml::<String>(&path).unwrap_err();
}

#[test]
fn private_directories_are_made_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x/y");
    ensure_dir(&path, 0o755).unwrap();
    assert_eq!(mode(&path), 0o755);
    ensure_dir(&path, 0o700).unwrap();
    assert_eq!(mode(&path), 0o700);
    ensure_dir(&path, 0o755).unwrap();
    assert_eq!(
        mode(&path),
        0o700,
        "nothing is opened that its owner closed"
    );
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(
        ensure_dir(&link, 0o700).unwrap_err(),
        StoreError::Unsafe { .. }
    ));
    ensure_dir(&link, 0o755).unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    ensure_dir(&directory.path().join("file"), 0o700).unwrap_err();
}

#[test]
fn removal_accepts_what_is_already_gone() {
    let directory = tempfile::tempdir().unwrap();
    remove_file(&directory.path().join("a")).unwrap();
    remove_dir(&directory.path().join("a")).unwrap();
    ensure_dir(&directory.path().join("a/b"), 0o700).unwrap();
    remove_dir(&directory.path().join("a")).unwrap();
    assert!(!directory.path().join("a").exists());
    fs::create_dir(directory.path().join("d")).unwrap();
    remove_file(&directory.path().join("d")).unwrap_err();
}
