use std::os::unix::ffi::OsStringExt as _;

use super::*;

fn service() -> Service {
    Service {
        description: "Skupper router of site 100% west".to_owned(),
        after: vec!["network-online.target".to_owned()],
        needs: "/home/a b/50%/site.yaml".into(),
        unless: "/home/a b/50%/run/stopping".into(),
        command: [
            "/opt/my $tools/skupper",
            "router",
            "--config",
            "/home/a b/it's \"$HOME\"\\50%/skrouterd.json",
            "--empty",
            "",
            "a$b%c",
            ";",
        ]
        .map(OsString::from)
        .to_vec(),
        environment: vec![("XDG_RUNTIME_DIR".to_owned(), "/run/a \"b\"\\$c%d".into())],
        output: Output::Append("/home/a b/run/router.log".into()),
        runtime_directory: Some("skupper/0123".to_owned()),
        stop_timeout: Duration::from_secs(15),
        wanted_by: "default.target".to_owned(),
        marks: vec![
            ("Site", "5a0c".to_owned()),
            ("Root", "/home/a b/50%".to_owned()),
        ],
    }
}

#[test]
fn the_file_is_as_in_the_golden_text() {
    let expected = r#"[Unit]
Description=Skupper router of site 100%% west
Wants=network-online.target
After=network-online.target
ConditionPathExists=/home/a b/50%%/site.yaml
ConditionPathExists=!/home/a b/50%%/run/stopping
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart="/opt/my $tools/skupper" router --config "/home/a b/it's \"$$HOME\"\\50%%/skrouterd.json" --empty "" a$$b%%c ";"
Environment="XDG_RUNTIME_DIR=/run/a \"b\"\\$c%%d"
RuntimeDirectory=skupper/0123
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
StandardOutput=append:/home/a b/run/router.log
StandardError=append:/home/a b/run/router.log
UMask=0077
NoNewPrivileges=yes
Restart=always
RestartSec=500ms
RestartSteps=5
RestartMaxDelaySec=10s
TimeoutStartSec=30s
TimeoutStopSec=15s
KillMode=mixed

[Install]
WantedBy=default.target

[X-Skupper]
Site=5a0c
Root=/home/a b/50%%
"#;
    assert_eq!(service().render().unwrap(), expected);
}

#[test]
fn output_goes_to_the_journal_by_name() {
    let mut unit = service();
    unit.output = Output::Journal;
    let text = unit.render().unwrap();
    assert!(
        text.contains("\nStandardOutput=journal\nStandardError=journal\n"),
        "{text}"
    );
    assert!(!text.contains("append:"), "{text}");
}

#[test]
fn what_a_unit_file_cannot_say_is_refused_by_directive() {
    type Spoil = fn(&mut Service);
    let cases: [(&str, Spoil); 9] = [
        ("Description", |unit| {
            unit.description = "two\nlines".to_owned();
        }),
        ("Description", |unit| unit.description.clear()),
        ("ConditionPathExists", |unit| {
            unit.needs = "/ends with blank ".into();
        }),
        ("ConditionPathExists", |unit| {
            unit.needs = "/joins the next line\\".into();
        }),
        ("ConditionPathExists", |unit| {
            unit.needs = OsString::from_vec(b"/no text \xff".to_vec()).into();
        }),
        ("ExecStart", |unit| unit.command[0] = "-/bin/true".into()),
        ("ExecStart", |unit| unit.command.clear()),
        ("ExecStart", |unit| {
            unit.command.push("a\nExecStartPost=/bin/sh".into());
        }),
        ("Environment", |unit| unit.environment[0].1 = "a\r".into()),
    ];
    for (directive, spoil) in cases {
        let mut unit = service();
        spoil(&mut unit);
        let error = unit.render().unwrap_err();
        assert!(
            matches!(&error, UnitError::Value { key, .. } if *key == directive),
            "{directive}: {error}"
        );
    }
}

#[test]
fn a_mark_is_found_in_its_section_only() {
    let text = service().render().unwrap();
    assert!(has_mark(&text, "Root", "/home/a b/50%"));
    assert!(!has_mark(&text, "Root", "/home/a b"));
    assert!(!has_mark("[Unit]\nRoot=/x\n", "Root", "/x"));
    assert!(!has_mark("[X-Skupper]\n[Unit]\nRoot=/x\n", "Root", "/x"));
    assert!(has_mark(
        "[X-Skupper]\nSite=y\nRoot=/x\n[Unit]\n",
        "Root",
        "/x"
    ));
}

#[test]
fn names_of_units() {
    assert_eq!(
        UnitName::service("west-skupper-router").unwrap().as_str(),
        "west-skupper-router.service"
    );
    for bad in ["", "a b", "a/b", "a@b", "ä", &"x".repeat(250)] {
        assert!(UnitName::service(bad).is_err(), "{bad:?}");
    }
}
