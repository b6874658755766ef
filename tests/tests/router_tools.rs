//! What operators of C routers have at hand, `skstat` and `skmanage` of three releases, used with this project's router.
//! The variable `SKUPPER_TEST_SKTOOLS` names a directory with `skstat-24`, `skmanage-24`, and the same of 27 and 35.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use e2e::{
    Backend, Plan, SOON, TestRouter, did_not_run,
    mesh::{Mesh, listener},
    tcp::{connect, tcp_connector, tcp_listener},
    within,
};
use model::router_config::Role;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

/// Releases whose tools are used.
const RELEASES: [&str; 3] = ["24", "27", "35"];

/// The tools of one release, and the router that they ask.
struct Tools {
    folder: PathBuf,
    release: &'static str,
    bus: String,
}

impl Tools {
    /// Those of all releases, if the machine has them.
    fn find(port: u16) -> Vec<Self> {
        let Some(folder) = std::env::var_os("SKUPPER_TEST_SKTOOLS").map(PathBuf::from) else {
            did_not_run("no tools of C routers (SKUPPER_TEST_SKTOOLS)", true);
            return Vec::new();
        };
        let tools = RELEASES.into_iter().map(|release| Self {
            folder: folder.clone(),
            release,
            bus: format!("127.0.0.1:{port}"),
        });
        tools.collect()
    }

    async fn run(&self, tool: &str, arguments: &[&str]) -> Output {
        let program = self.folder.join(format!("{tool}-{}", self.release));
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .args(["-b", &self.bus])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let what = format!("{} {arguments:?}", program.display());
        within(&what, SOON, command.output()).await.unwrap()
    }

    /// The table that `skstat` prints.
    async fn stat(&self, option: &str) -> String {
        let output = self.run("skstat", &[option]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{} {option}: {output:?}",
            self.release
        );
        text
    }

    /// What `skmanage` prints as JSON; the error is what it complains of.
    async fn manage(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self.run("skmanage", arguments).await;
        if !output.status.success() {
            // The oldest ones complain on the other output.
            let said = [output.stdout, output.stderr].concat();
            return Err(String::from_utf8_lossy(&said).into_owned());
        }
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// Two linked routers with a service, of which the first takes clients.
async fn network() -> (Mesh, u16) {
    let mut plan = Plan::routers(2).chain();
    let (clients, port) = listener("clients", Role::Normal);
    plan.configs[0].put_listener(clients);
    let (tcp, _) = tcp_listener("in", "shop:80");
    plan.configs[0].put_tcp_listener(tcp);
    plan.configs[1].put_tcp_connector(tcp_connector("out", "shop:80", 1));
    let mesh = plan.start().await;
    until_known(&mesh.routers[0]).await;
    (mesh, port)
}

async fn until_known(router: &TestRouter) {
    router.until_listening("in", true).await;
}

/// A line that begins with the first word and has the others in it.
fn has(table: &str, first: &str, others: &[&str]) -> bool {
    table.lines().any(|line| {
        let mut words = line.split_whitespace();
        let begins = words.next() == Some(first);
        let words: Vec<&str> = words.collect();
        begins && others.iter().all(|other| words.contains(other))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_tables_show_this_router() {
    let (_mesh, port) = network().await;
    for tools in Tools::find(port) {
        let release = tools.release;
        let general = tools.stat("-g").await;
        assert!(
            has(&general, "Mode", &["interior"]) && has(&general, "Router", &["Id", "r0"]),
            "{release}: {general}"
        );
        let connections = tools.stat("-c").await;
        assert!(
            connections.contains("inter-router") && connections.contains("r1"),
            "{release}: {connections}"
        );
        let links = tools.stat("-l").await;
        assert!(
            has(&links, "router-control", &["in"]) && has(&links, "inter-router", &["out"]),
            "{release}: {links}"
        );
        let nodes = tools.stat("-n").await;
        assert!(
            has(&nodes, "r0", &["(self)"]) && has(&nodes, "r1", &[]),
            "{release}: {nodes}"
        );
        let addresses = tools.stat("-a").await;
        assert!(
            has(&addresses, "mobile", &["shop:80", "balanced"]),
            "{release}: {addresses}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_ask_and_change_this_router() {
    let (_mesh, port) = network().await;
    for tools in Tools::find(port) {
        let release = tools.release;
        let listeners = tools.manage(&["query", "--type", "tcpListener"]).await;
        let listeners = listeners.unwrap();
        assert_eq!(
            (&listeners[0]["name"], &listeners[0]["address"]),
            (&"in".into(), &"shop:80".into()),
            "{release}"
        );
        let made = format!("made-{release}");
        let name = format!("name={made}");
        let create = [
            "create",
            "--type",
            "tcpConnector",
            &name,
            "host=127.0.0.1",
            "port=9",
            "address=other:80",
        ];
        let created = tools.manage(&create).await.unwrap();
        assert_eq!(created["address"], "other:80", "{release}");
        let one = ["--type", "tcpConnector", "--name", &made];
        let read = tools.manage(&[&["read"][..], &one].concat()).await.unwrap();
        assert_eq!(read["port"], "9", "{release}");
        let again = tools.manage(&create).await.unwrap_err();
        assert!(again.contains("duplicate value"), "{release}: {again}");
        let deleted = tools.manage(&[&["delete"][..], &one].concat()).await;
        assert_eq!(deleted, Ok(Value::Null), "{release}");
        let gone = tools.manage(&[&["read"][..], &one].concat()).await;
        let gone = gone.unwrap_err();
        assert!(gone.contains("No entity with name"), "{release}: {gone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_they_ask_is_answered() {
    let (_mesh, port) = network().await;
    for tools in Tools::find(port) {
        let release = tools.release;
        let tables: [&[&str]; 14] = [
            &["-c", "-v"],
            &["-a", "-v"],
            &["-n", "-v"],
            &["-l", "-v"],
            &["-e"],
            &["-m", "-v"],
            &["-p"],
            &["-c", "--all-routers"],
            &["--autolinks"],
            &["--vhosts"],
            &["--vhostgroups"],
            &["--vhoststats"],
            &["--log", "--limit", "5"],
            &["--all-entities"],
        ];
        for options in tables {
            let output = tools.run("skstat", options).await;
            assert!(output.status.success(), "{release} {options:?}: {output:?}");
        }
        let held = tools.stat("-m").await;
        assert!(held.contains("Memory Summary"), "{release}: {held}");
        let addresses = tools.stat("-a").await;
        for (class, address) in [
            ("local", "qdhello"),
            ("mobile", "$management"),
            ("router", "r1"),
        ] {
            assert!(has(&addresses, class, &[address]), "{release}: {addresses}");
        }
        let operations: [&[&str]; 12] = [
            &["get-types"],
            &["get-attributes", "--type", "connection"],
            &["get-operations", "--type", "log"],
            &["get-annotations"],
            &["get-mgmt-nodes"],
            &["get-schema"],
            &["get-json-schema"],
            &["get-log"],
            &["query"],
            &["query", "--type", "entity"],
            &["query", "--type", "allocator"],
            &["read", "--type", "listener", "--name", "clients"],
        ];
        for arguments in operations {
            let answer = tools.run("skmanage", arguments).await;
            assert!(
                answer.status.success(),
                "{release} {arguments:?}: {answer:?}"
            );
        }
        for (arguments, complaint) in [
            (&["query", "--type", "nosuch"][..], "BadRequest"),
            (
                &["read", "--type", "listener", "--name", "nosuch"],
                "NotFound",
            ),
            (
                &["delete", "--type", "log", "--identity", "log/DEFAULT"],
                "NotImplemented",
            ),
        ] {
            let refusal = tools.manage(arguments).await.unwrap_err();
            assert!(
                refusal.contains(complaint),
                "{release} {arguments:?}: {refusal}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_end_flows() {
    let backend = Backend::new().echo();
    let mut plan = Plan::routers(1);
    let (clients, port) = listener("clients", Role::Normal);
    plan.configs[0].put_listener(clients);
    let (entry, entry_port) = tcp_listener("in", "shop:80");
    plan.configs[0].put_tcp_listener(entry);
    plan.configs[0].put_tcp_connector(tcp_connector("out", "shop:80", backend.port));
    let mesh = plan.start().await;
    until_known(&mesh.routers[0]).await;
    for tools in Tools::find(port) {
        let release = tools.release;
        let mut client = connect(entry_port).await;
        client.write_all(b"x").await.unwrap();
        let mut octets = [0; 1];
        client.read_exact(&mut octets).await.unwrap();
        let links = tools.stat("-l").await;
        let ends = |line: &&str| line.contains("shop:80");
        assert_eq!(links.lines().filter(ends).count(), 2, "{release}: {links}");
        let open = tools
            .manage(&["query", "--type", "connection"])
            .await
            .unwrap();
        let host = client.local_addr().unwrap().to_string();
        let mine = open
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["host"] == host);
        let identity = mine.unwrap()["identity"].as_str().unwrap().to_owned();
        let delete = ["update", "--type", "connection", "--identity", &identity];
        let answer = tools
            .manage(&[&delete[..], &["adminStatus=deleted"]].concat())
            .await
            .unwrap();
        assert_eq!(answer["operStatus"], "closing", "{release}");
        let end = within("the flow ends", SOON, client.read(&mut octets)).await;
        assert!(matches!(end, Err(_) | Ok(0)), "{release}: {end:?}");
        mesh.routers[0]
            .until("no flow is left", "tcpConnection", <[_]>::is_empty)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_give_listeners_several_addresses() {
    let (mesh, port) = network().await;
    let tools = Tools::find(port);
    let Some(tools) = tools.iter().find(|tools| tools.release == "35") else {
        return;
    };
    let free = format!("port={}", e2e::free_port());
    let several = [
        "create",
        "--type",
        "tcpListener",
        "name=several",
        "host=127.0.0.1",
        &free,
        "multiAddressStrategy=priority",
    ];
    tools.manage(&several).await.unwrap();
    let address = [
        "create",
        "--type",
        "listenerAddress",
        "name=one",
        "address=shop:80",
        "value=3",
        "listener=several",
    ];
    let created = tools.manage(&address).await.unwrap();
    assert_eq!(created["value"], 3);
    mesh.routers[0].until_listening("several", true).await;
    let listener = ["delete", "--type", "tcpListener", "--name", "several"];
    let refused = tools.manage(&listener).await.unwrap_err();
    assert!(refused.contains("several"), "{refused}");
    let address = ["delete", "--type", "listenerAddress", "--name", "one"];
    tools.manage(&address).await.unwrap();
    mesh.routers[0].until_listening("several", false).await;
    tools.manage(&listener).await.unwrap();
}
