use std::collections::BTreeMap;

use super::*;

const USERS: &str =
    "root:x:0:0:root:/root:/bin/bash\nalice smith:x:1000:1000::/home/alice:/bin/sh\nbroken line\n";

fn paths(variables: &[(&str, &str)], uid: u32, run_user: bool) -> Result<Paths, PathsError> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Paths::from_environment(
        |name| variables.get(name).map(PathBuf::from),
        uid,
        USERS,
        |_| run_user,
    )
}

#[test]
fn users_follow_xdg() {
    let given = paths(
        &[
            ("XDG_DATA_HOME", "/d"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_RUNTIME_DIR", "/r"),
        ],
        1000,
        true,
    )
    .unwrap();
    assert_eq!(given.data_home, Path::new("/d/skupper"));
    assert_eq!(given.platform_file(), Path::new("/c/skupper/platform.yaml"));
    assert_eq!(
        given.v1_platform_file(),
        Path::new("/d/skupper/platform.yaml")
    );
    assert_eq!(given.runtime_dir, Path::new("/r/skupper"));
    assert_eq!(given.user, "alicesmith");
}

#[test]
fn empty_and_relative_variables_count_as_unset() {
    for value in ["", "relative"] {
        let variables = [
            ("XDG_DATA_HOME", value),
            ("XDG_CONFIG_HOME", value),
            ("XDG_RUNTIME_DIR", value),
            ("HOME", "/home/a"),
        ];
        let given = paths(&variables, 1000, true).unwrap();
        assert_eq!(given.data_home, Path::new("/home/a/.local/share/skupper"));
        assert_eq!(given.config_home, Path::new("/home/a/.config/skupper"));
        assert_eq!(given.runtime_dir, Path::new("/run/user/1000/skupper"));
    }
}

#[test]
fn home_comes_from_the_user_database_when_the_environment_is_bare() {
    assert_eq!(
        paths(&[], 1000, false).unwrap().data_home,
        Path::new("/home/alice/.local/share/skupper")
    );
    assert_eq!(
        paths(&[], 1000, false).unwrap().runtime_dir,
        Path::new("/tmp/skupper-1000")
    );
    assert_eq!(
        paths(&[("USER", "bob")], 1001, false),
        Err(PathsError::NoHome { uid: 1001 })
    );
    let unlisted = paths(&[("USER", "bob"), ("HOME", "/home/bob")], 1001, false).unwrap();
    assert_eq!(unlisted.user, "bob");
    assert_eq!(paths(&[("HOME", "/x")], 1001, false).unwrap().user, "1001");
}

#[test]
fn a_runtime_directory_too_long_for_sockets_is_not_used() {
    let runtime = |length: usize| {
        let directory = format!("/{}", "r".repeat(length));
        let variables = [("XDG_RUNTIME_DIR", directory.as_str()), ("HOME", "/h")];
        paths(&variables, 1000, false).unwrap().runtime_dir
    };
    assert!(runtime(60).ends_with("skupper"));
    let fits = runtime(MAX_RUNTIME_DIR - "//skupper".len());
    assert_eq!(fits.as_os_str().len(), MAX_RUNTIME_DIR);
    assert_eq!(
        runtime(MAX_RUNTIME_DIR - "/skupper".len()),
        Path::new("/tmp/skupper-1000")
    );
}

#[test]
fn root_has_system_directories_whatever_xdg_says() {
    let root = paths(
        &[
            ("XDG_DATA_HOME", "/d"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("HOME", "/root"),
        ],
        0,
        true,
    )
    .unwrap();
    assert_eq!(root.data_home, Path::new("/var/lib/skupper"));
    assert_eq!(root.runtime_dir, Path::new("/run/skupper"));
    assert_eq!(
        root.platform_file(),
        Path::new("/root/.config/skupper/platform.yaml")
    );
}

#[test]
fn a_site_keeps_everything_below_its_directory() {
    let paths = Paths::under(Path::new("/t"));
    let site = paths.site(&Namespace::parse("west").unwrap());
    let root = Path::new("/t/data/sites/west");
    let service = ServiceName::parse("backend").unwrap();
    for path in [
        site.site_file(),
        site.link_file(&LinkName::parse("link1").unwrap()),
        site.service_file(&service),
        site.issuer("skupper-site-ca"),
        site.cert("link1-profile"),
        site.router_config(),
        site.service_router_config(&service),
        site.lock_file(),
        site.controller_lock(),
        site.router_lock(),
        site.router_socket(),
        site.service_router_socket(&service),
        site.controller_log(),
        site.router_log(),
        site.journal(),
    ] {
        assert!(path.starts_with(root), "{}", path.display());
    }
    assert_eq!(site.socket_dir(), site.run_dir().join("sockets"));
    assert_eq!(
        site.service_router_socket(&service).file_name().unwrap(),
        "service-backend.sock"
    );
}

#[test]
fn socket_paths_are_always_short_enough() {
    let long_service = ServiceName::parse(&"s".repeat(63)).unwrap();
    let other_service = ServiceName::parse(&format!("{}t", "s".repeat(62))).unwrap();
    let mut seen = Vec::new();
    for depth in [1, 40, 70, 80, 200] {
        let mut paths = Paths::under(&Path::new("/").join("x".repeat(depth)));
        paths.runtime_dir = PathBuf::from("/run/user/4294967295/skupper");
        for namespace in ["a", &"n".repeat(63)] {
            let site = paths.site(&Namespace::parse(namespace).unwrap());
            let sockets = [
                site.router_socket(),
                site.service_router_socket(&long_service),
                site.service_router_socket(&other_service),
            ];
            for socket in sockets {
                assert!(
                    socket.as_os_str().len() <= MAX_SOCKET_PATH,
                    "{}",
                    socket.display()
                );
                assert!(!seen.contains(&socket), "{}", socket.display());
                seen.push(socket);
            }
        }
    }
}
