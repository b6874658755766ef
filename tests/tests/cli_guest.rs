//! Sites on a whole host: users who linger or do not, and what is there after the host was restarted.
#![allow(clippy::unwrap_used)]

mod cli_support;
mod guest_support;

use cli_support::eventually;
use guest_support::{Guest, NAME};

const ECHO_PORT: u16 = 7007;
const SERVICE_PORT: u16 = 7008;

/// A server among the user's own units: systemd hands it each connection
fn install_echo(guest: &Guest) {
    let script = format!(
        "mkdir -p ~/.config/systemd/user/default.target.wants && cd ~/.config/systemd/user && \
         printf '[Socket]\\nListenStream=127.0.0.1:{ECHO_PORT}\\nAccept=yes\\n' >echo.socket && \
         printf '[Service]\\nExecStart=/bin/cat\\nStandardInput=socket\\n' >echo@.service && \
         ln -s ../echo.socket default.target.wants/ && \
         systemctl --user daemon-reload && systemctl --user start echo.socket"
    );
    let ended = guest.shell(&script);
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// A word goes through the link and back
fn answers(guest: &Guest) {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{SERVICE_PORT} && echo ping >&3 && read -r -t 8 line <&3 && echo \"$line\""
    );
    eventually("a reply through the link", || {
        guest.shell(&script).stdout == "ping\n"
    });
}

fn init(guest: &Guest, words: &str) -> cli_support::Ended {
    guest.user(&format!(
        "skupper init --platform linux --ingress-host 127.0.0.1 {words}"
    ))
}

/// Two linked sites of the user and a service
fn link_sites(guest: &Guest) {
    for line in [
        "skupper token create west.yaml -n west".to_owned(),
        "skupper link create west.yaml -n east".to_owned(),
        "skupper link status link1 --wait 60 -n east".to_owned(),
        "skupper service create hello 8080 --host-port 7009 -n east".to_owned(),
        format!("skupper service bind hello host 127.0.0.1 --target-port {ECHO_PORT} -n east"),
        format!("skupper service create hello 8080 --host-port {SERVICE_PORT} -n west"),
    ] {
        guest.ok(&line);
    }
}

/// Neither files nor units nor processes of sites; the user's own units are still there
fn nothing_is_left(guest: &Guest) {
    let files = guest.shell(
        "cd && find .config .local /run/user/$(id -u) -name '*skupper-*' ; ls .local/share/skupper/sites",
    );
    assert_eq!(files.stdout, "", "{files:?}");
    let units =
        guest.ok("systemctl --user list-units --type service --all --plain --no-legend *skupper-*");
    assert_eq!(units.stdout, "", "{units:?}");
    let processes = guest.root(&format!("pgrep --uid {NAME} --exact skupper"));
    assert_eq!(processes.stdout, "", "{processes:?}");
    guest.ok("systemctl --user is-active echo.socket");
}

#[test]
fn sites_of_a_user_who_lingers_are_back_after_restarts_with_nobody_logged_in() {
    let Some(mut guest) = Guest::boot_one() else {
        return;
    };
    if guest.root("test -x /usr/lib/polkit-1/polkitd").code != 0 {
        e2e::did_not_run("there is no polkitd, users can't enable lingering", true);
        return;
    }
    // never logged in: there is no systemd of the user
    let made = init(&guest, "-n west");
    assert_eq!(made.code, 0, "{made:?}");
    for text in [
        "the site will not come back by itself after a restart of this host",
        "init --enable-linger starts it",
    ] {
        assert!(made.stderr.contains(text), "no {text:?} in {made:?}");
    }
    guest.ok("skupper delete -n west");

    let made = init(&guest, "-n west --enable-linger");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(!made.stdout.contains("lingering"), "{made:?}");
    let property = guest.root(&format!("loginctl show-user {NAME} --property Linger"));
    assert_eq!(property.stdout, "Linger=yes\n", "{property:?}");
    // a mark that the user can't see: logind is asked
    guest.root_ok("chmod 0700 /var/lib/systemd/linger");
    let made = init(&guest, "-n east");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(!made.stdout.contains("lingering"), "{made:?}");
    install_echo(&guest);
    link_sites(&guest);
    answers(&guest);

    guest.crash();
    guest.boot();
    answers(&guest);
    let sessions = guest.root_ok("loginctl list-sessions --no-legend");
    assert_eq!(sessions.stdout, "", "{sessions:?}");

    guest.power_off();
    guest.boot();
    answers(&guest);

    guest.ok("skupper delete -n west");
    guest.ok("skupper delete -n east");
    nothing_is_left(&guest);
}

/// Starts what a login starts, and waits for the user's file of the journal
fn log_in(guest: &Guest, manager: &str) {
    guest.root_ok(&format!("systemctl start {manager}"));
    eventually("a journal of the user", || {
        guest
            .shell("cat /var/log/journal/*/user-$(id -u).journal >/dev/null")
            .code
            == 0
    });
}

#[test]
fn a_router_that_cannot_start_is_rolled_back_with_what_the_journal_has_of_it() {
    let Some(guest) = Guest::boot_one() else {
        return;
    };
    let id = guest.ok("id -u").stdout;
    log_in(&guest, &format!("user@{}.service", id.trim()));
    let spoiled = guest.shell(
        "mkdir -p ~/.config/systemd/user/skupper-router.service.d && \
         printf '[Service]\nExecStartPre=/bin/sh -c \"echo out of luck >&2; exit 1\"\n' \
         >~/.config/systemd/user/skupper-router.service.d/spoiled.conf",
    );
    assert_eq!(spoiled.code, 0, "{spoiled:?}");
    init(&guest, "").fails_with(&[
        "skupper-router.service could not be started: failed",
        "The end of its log:",
        "out of luck",
    ]);
    let left = guest.shell(
        "find ~/.config/systemd -name 'skupper-*.service'; ls -A ~/.local/share/skupper/sites",
    );
    assert_eq!(left.stdout, "", "{left:?}");
}

#[test]
fn a_site_of_a_user_who_does_not_linger_ends_with_the_last_login_and_init_says_so() {
    let Some(guest) = Guest::boot_one() else {
        return;
    };
    // what a login starts
    let id = guest.ok("id -u").stdout;
    let manager = format!("user@{}.service", id.trim());
    log_in(&guest, &manager);
    let made = init(&guest, "");
    assert_eq!(
        made.stdout,
        format!(
            "It is recommended to enable lingering for {NAME}, otherwise Skupper may not start on boot.\n\
             Skupper is now installed for user '{NAME}'.  Use 'skupper status' to get more information.\n"
        ),
        "{made:?}"
    );
    assert!(
        made.stderr.contains(&format!(
            "stops when you log out. To enable lingering: loginctl enable-linger {NAME}\n"
        )),
        "{made:?}"
    );
    // which the user can read
    eventually("the router's log", || {
        guest
            .user("journalctl --user --unit skupper-router --output short --priority info")
            .stdout
            .contains("ROUTER (info) router starts")
    });
    for log in ["controller.log", "router.log"] {
        let file = guest.shell(&format!(
            "cat ~/.local/share/skupper/sites/default/run/{log}"
        ));
        assert_ne!(file.code, 0, "{file:?}");
    }
    guest.root_ok(&format!("systemctl stop {manager}"));
    let processes = guest.root(&format!("pgrep --uid {NAME} --exact skupper"));
    assert_eq!(processes.stdout, "", "{processes:?}");

    // the next login
    guest.root_ok(&format!("systemctl start {manager}"));
    eventually("the site is back", || {
        guest
            .user("systemctl --user is-active skupper-router")
            .stdout
            == "active\n"
    });
    guest.ok("skupper delete");
    let units =
        guest.ok("systemctl --user list-units --type service --all --plain --no-legend *skupper*");
    assert_eq!(units.stdout, "", "{units:?}");
}

#[test]
fn a_site_of_root_is_run_by_the_system_and_back_after_a_restart() {
    let Some(mut guest) = Guest::boot_one() else {
        return;
    };
    let made = guest.root_ok("skupper init --platform linux --ingress-host 127.0.0.1");
    assert!(!made.stdout.contains("lingering"), "{made:?}");
    let active = |guest: &Guest| {
        guest
            .root("systemctl is-active skupper-controller skupper-router")
            .stdout
            == "active\nactive\n"
    };
    assert!(active(&guest));
    guest.crash();
    guest.boot();
    eventually("the site is back", || active(&guest));
    let status = guest.root_ok("skupper status");
    assert!(status.stdout.contains("is enabled"), "{status:?}");
    guest.root_ok("skupper delete");
    let left =
        guest.root("find /etc/systemd/system /var/lib/skupper/sites /run/skupper -name *skupper*");
    assert_eq!(left.stdout, "", "{left:?}");
    let processes = guest.root("pgrep --exact skupper");
    assert_eq!(processes.stdout, "", "{processes:?}");
}
