//! What operators do to a running router, and what they get wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::Ipv4Addr,
    process::Output,
    time::{Duration, Instant},
};

use e2e::{
    Backend, Certificates, Pattern, Plan, SOON, TestRouter, environment, eventually, free_port,
    mesh::{self, Mesh, connector, interior, listener},
    rows,
    tcp::{Echo, connect, ends, goes_on, over, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{Role, SslProfile};
use pki::{KeyKind, LeafRequest};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command};

const ADDRESS: &str = "service:80";

/// Two linked routers, a service across the link, and a flow in it.
struct Running {
    mesh: Mesh,
    port: u16,
    flow: TcpStream,
    echo: Echo,
}

impl Running {
    async fn new(plan: Plan) -> Self {
        let mut plan = plan;
        let echo = Backend::new().echo();
        let (listener, port) = tcp_listener("l", ADDRESS);
        plan.configs[0].put_tcp_listener(listener);
        plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, echo.port));
        let mesh = plan.start().await;
        let mut running = Self {
            flow: connect(port).await,
            mesh,
            port,
            echo,
        };
        running.flows().await;
        running
    }

    /// The flow that was opened at the beginning still works.
    async fn flows(&mut self) {
        goes_on(&mut self.flow).await;
    }
}

async fn refused(port: u16) {
    eventually(
        &format!("port {port} is closed"),
        async || match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(_) => Err("open".to_owned()),
            Err(_) => Ok(()),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_links_come_and_go_without_hurting_others() {
    let mut running = Running::new(Plan::routers(2).secured().chain()).await;
    // A second service appears, changes its port, its server, its address, and disappears.
    let second = Backend::new().echo();
    let (mut listener, port) = tcp_listener("l2", "other:80");
    running.mesh.routers[0].reconfigure(|config| config.put_tcp_listener(listener.clone()));
    running.mesh.routers[1].reconfigure(|config| {
        config.put_tcp_connector(tcp_connector("c2", "other:80", second.port));
    });
    works(port).await;
    running.flows().await;
    let new_port = free_port();
    listener.port = new_port;
    running.mesh.routers[0].reconfigure(|config| config.put_tcp_listener(listener.clone()));
    works(new_port).await;
    refused(port).await;
    let third = Backend::new();
    running.mesh.routers[1].reconfigure(|config| {
        config.put_tcp_connector(tcp_connector("c2", "other:80", third.port));
    });
    eventually("the new server gets the clients", async || {
        let _client = connect(new_port).await;
        tokio::time::timeout(Duration::from_secs(1), third.accept())
            .await
            .map_err(|_| "nobody comes".to_owned())
    })
    .await;
    drop(second);
    listener.address = "third:80".to_owned();
    running.mesh.routers[0].reconfigure(|config| config.put_tcp_listener(listener.clone()));
    refused(new_port).await;
    running.mesh.routers[1].reconfigure(|config| {
        config.tcp_connectors.remove("c2");
        config.put_tcp_connector(tcp_connector("c3", "third:80", running.echo.port));
    });
    works(new_port).await;
    running.mesh.routers[0].reconfigure(|config| {
        config.tcp_listeners.remove("l2");
    });
    refused(new_port).await;
    running.flows().await;

    // A link to a third router appears and disappears.
    let mut other = interior("r2");
    let (links, link_port) = listener_of_links();
    other.put_listener(links);
    let other = TestRouter::start(other).await;
    running.mesh.routers[0].reconfigure(|config| {
        config.put_connector(connector("to-r2", link_port, Role::InterRouter));
    });
    running.mesh.routers[0].until_nodes(&["r1", "r2"]).await;
    running.mesh.routers[1].until_nodes(&["r0", "r2"]).await;
    running.flows().await;
    running.mesh.routers[0].reconfigure(|config| {
        config.connectors.remove("to-r2");
    });
    running.mesh.routers[1].until_nodes(&["r0"]).await;
    other.until_nodes(&[]).await;
    running.mesh.routers[0]
        .until("the removed connector is not shown", "connector", |found| {
            rows::named(found, "to-r2").is_none()
        })
        .await;
    running.flows().await;
    works(running.port).await;
}

fn listener_of_links() -> (model::router_config::Listener, u16) {
    listener("links", Role::InterRouter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_link_listener_keeps_its_port() {
    let mut running = Running::new(Plan::routers(2).chain()).await;
    running.mesh.routers[1].reconfigure(|config| {
        config.listeners.get_mut("from-r0").unwrap().cost = 7;
    });
    eventually("the link comes back at the new cost", async || {
        let nodes = running.mesh.routers[0].rows("router.node").await?;
        match nodes.iter().find(|node| rows::text(node, "id") == "r1") {
            Some(node) if rows::number(node, "cost") == 7 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    works(running.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_link_listener_keeps_its_port() {
    let mut running = Running::new(Plan::routers(2).chain()).await;
    running.mesh.routers[1].reconfigure(|config| {
        let mut links = config.listeners.remove("from-r0").unwrap();
        links.name = "renamed".to_owned();
        links.cost = 9;
        config.put_listener(links);
    });
    eventually("the link comes back at the new cost", async || {
        let nodes = running.mesh.routers[0].rows("router.node").await?;
        match nodes.iter().find(|node| rows::text(node, "id") == "r1") {
            Some(node) if rows::number(node, "cost") == 9 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    works(running.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_file_changes_nothing_and_is_named() {
    let mut running = Running::new(Plan::routers(2).chain()).await;
    let router = &running.mesh.routers[0];
    let good = std::fs::read_to_string(router.file()).unwrap();
    let unusable = [
        ("{ no list", "router.json"),
        (
            r#"[["router",{"id":"r0","mode":"interior"}],["toaster",{}]]"#,
            "toaster",
        ),
        (
            r#"[["router",{"id":"r0","mode":"interior"}],["tcpListener",{"name":"l","port":"http-alt-x","address":"a"}]]"#,
            "port",
        ),
        (
            r#"[["router",{"id":"another","mode":"interior"}]]"#,
            "needs a restart",
        ),
        (
            r#"[["router",{"id":"r0","mode":"interior"}],["httpListener",{"name":"h","port":"8080","address":"a"}]]"#,
            "not supported",
        ),
    ];
    for (text, named) in unusable {
        router.write_file(text);
        router.until_connector("to-r1", "SUCCESS", named).await;
        works(running.port).await;
    }
    router.write_file(&good);
    router
        .until("the complaint is withdrawn", "connector", |found| {
            rows::named(found, "to-r1")
                .is_some_and(|row| rows::text(row, "connectionMsg").is_empty())
        })
        .await;
    running.flows().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_a_running_link() {
    let mut running = Running::new(Plan::routers(2).secured().chain()).await;
    let old = running.mesh.certificates.take().unwrap();
    let dial = running.mesh.routers[0].config.connectors["to-r1"].clone();
    let new = Certificates::new();
    for router in &running.mesh.routers {
        let profile = &router.config.ssl_profiles[mesh::PROFILE];
        let folder = profile.cert_file.as_ref().unwrap().parent().unwrap();
        new.replace(&router.id, folder);
    }
    for router in &running.mesh.routers {
        eventually("the router takes the new certificates", async || {
            let log = router.log();
            if log.contains("files replaced") {
                Ok(())
            } else {
                Err("not logged".to_owned())
            }
        })
        .await;
    }
    // The link that is up stays up; new ones need the new authority.
    running.flows().await;
    let newcomer = |id: &str, certificates: &Certificates| {
        let mut config = interior(id);
        config.put_ssl_profile(mesh::profile(&certificates.issue(id)));
        config.put_connector(dial.clone());
        config
    };
    let welcome = TestRouter::start(newcomer("r2", &new)).await;
    welcome.until_nodes(&["r0", "r1"]).await;
    let outdated = TestRouter::start(newcomer("r3", &old)).await;
    outdated
        .until_connector(
            "to-r1",
            "FAILED",
            "not issued by a certificate of caCertFile",
        )
        .await;
    // The old link made anew uses the new certificates at both ends.
    running.mesh.routers[0].reconfigure(|config| config.connectors.clear());
    running.mesh.routers[0].until_nodes(&[]).await;
    running.mesh.routers[0].reconfigure(|config| config.put_connector(dial.clone()));
    running.mesh.routers[0].until_nodes(&["r1", "r2"]).await;
    works(running.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_without_the_right_certificates_are_refused_and_say_why() {
    let plan = Plan::routers(2).secured().chain();
    let mut running = Running::new(plan).await;
    let certificates = running.mesh.certificates.take().unwrap();
    let dial = running.mesh.routers[0].config.connectors["to-r1"].clone();
    let foreign = Certificates::of("another authority");

    // It trusts another authority: it does not believe the listener.
    let distrusting = mesh::profile(&foreign.issue("distrusting"));
    // It trusts the right one and was issued by another one: the listener does not believe it.
    let mut mixed = mesh::profile(&foreign.issue("mixed"));
    let right = certificates.issue("right");
    mixed.ca_cert_file = Some(right.join("ca.crt"));
    // Its certificate is over.
    let mut request = LeafRequest::new("expired", vec!["127.0.0.1".to_owned()], KeyKind::P256);
    request.validity = Duration::ZERO;
    let expired = mesh::profile(&certificates.issue_as("expired", &request));
    let issued = Instant::now();
    // It has none.
    let anonymous = SslProfile {
        ca_cert_file: Some(right.join("ca.crt")),
        ..SslProfile::new(mesh::PROFILE)
    };
    // The listener's name is not what it dials.
    let mut plain = dial.clone();
    plain.ssl_profile = None;
    plain.sasl_mechanisms = Vec::new();

    // Certificates say full seconds.
    tokio::time::sleep(Duration::from_millis(2100).saturating_sub(issued.elapsed())).await;
    let mut unwelcome = Vec::new();
    for (id, profile, reason) in [
        (
            "distrusting",
            Some(distrusting),
            "not issued by a certificate of caCertFile",
        ),
        ("mixed", Some(mixed), "does not know the issuer"),
        ("expired", Some(expired), "expired"),
        ("anonymous", Some(anonymous), "demands a certificate"),
        ("plain", None, ""),
    ] {
        let mut config = interior(id);
        match profile {
            Some(profile) => {
                config.put_ssl_profile(profile);
                let mut dial = dial.clone();
                if id == "anonymous" {
                    dial.sasl_mechanisms = Vec::new();
                }
                config.put_connector(dial);
            }
            None => config.put_connector(plain.clone()),
        }
        unwelcome.push((TestRouter::start(config).await, reason));
    }
    for (router, reason) in &unwelcome {
        router.until_connector("to-r1", "FAILED", reason).await;
        router
            .until("a reason is shown", "connector", |found| {
                found
                    .iter()
                    .all(|row| !rows::text(row, "connectionMsg").is_empty())
            })
            .await;
        router.until_nodes(&[]).await;
    }
    // What is no AMQP at all.
    for octets in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"AMQP\x00\x01\x00\x00",
        &[0x16; 2000],
    ] {
        let mut stranger = connect(dial.port).await;
        let _ = stranger.write_all(octets).await;
        over(&mut stranger).await;
    }
    running.mesh.routers[1].until_nodes(&["r0"]).await;
    running.flows().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_and_used_once_it_is_free() {
    let mut running = Running::new(Plan::routers(2).chain()).await;
    // Of a service: the router runs, and says what is wrong.
    let taken = Backend::new();
    let (mut listener, _) = tcp_listener("l2", ADDRESS);
    listener.port = taken.port;
    let port = taken.port;
    running.mesh.routers[0].reconfigure(|config| config.put_tcp_listener(listener));
    let text = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
    running.mesh.routers[0]
        .until("the taken port is named", "tcpListener", |found| {
            rows::named(found, "l2").is_some_and(|row| {
                rows::text(row, "operStatus") == "down"
                    && rows::text(row, "connectionMsg").starts_with(&text)
            })
        })
        .await;
    drop(taken);
    running.mesh.routers[0].until_listening("l2", true).await;
    works(port).await;
    // Of a link, later: the changed file is refused as a whole.
    let taken = Backend::new();
    let (mut links, _) = listener_of_links();
    links.port = taken.port;
    let text = format!("cannot listen on 127.0.0.1:{}", taken.port);
    running.mesh.routers[0].reconfigure(|config| config.put_listener(links.clone()));
    running.mesh.routers[0]
        .until_connector("to-r1", "SUCCESS", &text)
        .await;
    running.flows().await;
    // Of a link, at the start: the router does not start.
    let mut config = interior("r9");
    config.put_listener(links);
    let mut doomed = TestRouter::start_doomed(config);
    let status = doomed.ended(SOON).await.unwrap();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(doomed.log().contains(&text), "{}", doomed.log());
}

async fn check(text: &str) -> Output {
    let folder = e2e::scratch();
    let file = folder.path().join("router.json");
    std::fs::write(&file, text).unwrap();
    Command::new(environment::skupper())
        .args(["router", "--check", "--config"])
        .arg(file)
        .output()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_only_checks() {
    let mut good = interior("r0");
    // It is not bound: the port may be taken.
    let taken = Backend::new();
    let (mut listener, _) = tcp_listener("l", ADDRESS);
    listener.port = taken.port;
    good.put_tcp_listener(listener);
    let output = check(&good.to_json()).await;
    assert!(output.status.success(), "{output:?}");
    for (text, named) in [
        ("", "router.json"),
        (r#"[["router",{"id":"r0","mode":"submarine"}]]"#, "mode"),
        (r#"[["router",{"mode":"interior"}]]"#, "id"),
        (
            r#"[["router",{"id":"r0","mode":"interior"}],["connector",{"name":"c","host":"h","port":"1","sslProfile":"none-such"}]]"#,
            "none-such",
        ),
        (
            r#"[["router",{"id":"r0","mode":"interior"}],["listener",{"name":"x","port":"1"}],["listener",{"name":"x","port":"2"}]]"#,
            "x",
        ),
    ] {
        let output = check(text).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}: {complaint}");
        assert!(complaint.contains(named), "{text}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_wants_the_authorities_of_listeners_that_ask_for_certificates() {
    let certificates = Certificates::new();
    let folder = certificates.issue("r0");
    let config = |mechanisms: &str| {
        let mut config = interior("r0");
        let mut profile = mesh::profile(&folder);
        profile.name = "links".to_owned();
        profile.ca_cert_file = None;
        config.put_ssl_profile(profile);
        let (mut links, _) = listener_of_links();
        links.ssl_profile = Some("links".to_owned());
        links.sasl_mechanisms = vec![mechanisms.to_owned()];
        config.put_listener(links);
        config.to_json()
    };
    let output = check(&config("ANONYMOUS")).await;
    assert!(output.status.success(), "{output:?}");
    let output = check(&config("EXTERNAL")).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("caCertFile"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_is_told_to_end_lets_flows_end_first() {
    let backend = Backend::new();
    let mut plan = Plan::routers(2).chain();
    let (listener, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(listener);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    let mut mesh = plan.start().await;
    let server_port = backend.port;
    let (mut client, mut server) = tokio::join!(connect(port), backend.accept());
    let request = Pattern::new(1, 1_000_000);
    let sending = request.send(&mut client);
    let (received, sent) = tokio::join!(request.receive(&mut server), sending);
    received.unwrap();
    sent.unwrap();
    // Clients that still get in are not served.
    let turn_away = tokio::spawn(async move {
        loop {
            drop(backend.accept().await);
        }
    });
    mesh.routers[0].signal(Signal::TERM);
    refused(port).await;
    // The answer is still delivered, and the router ends right after it.
    let answer = Pattern::new(2, 5_000_000);
    let answering = async {
        answer.send(&mut server).await.unwrap();
        server.shutdown().await.unwrap();
        ends(&mut server).await.unwrap();
    };
    let asking = async {
        answer.receive_all(&mut client).await.unwrap();
        client.shutdown().await.unwrap();
    };
    within("the answer while the router drains", SOON, async {
        tokio::join!(answering, asking)
    })
    .await;
    let status = mesh.routers[0].ended(Duration::from_secs(3)).await.unwrap();
    assert!(status.success(), "{status}");
    turn_away.abort();

    // A flow that does not end is broken off after eight seconds.
    let _ = turn_away.await;
    let backend = Backend::on(server_port);
    mesh.routers[0] = TestRouter::start(mesh.routers[0].config.clone()).await;
    let (mut client, _server) = tokio::join!(connect(port), backend.accept());
    let told = Instant::now();
    mesh.routers[0].signal(Signal::TERM);
    over(&mut client).await;
    let took = told.elapsed();
    assert!(
        took > Duration::from_secs(7) && took < Duration::from_secs(11),
        "broken off after {took:?}"
    );
    let status = mesh.routers[0].ended(Duration::from_secs(3)).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_is_told_to_end_lets_flows_through_it_end_first() {
    let backend = Backend::new();
    let mut plan = Plan::routers(3).chain();
    // An edge of the middle one, with a flow that only edge and interior carry.
    let mut far = mesh::edge("e");
    let (uplinks, uplink) = listener("edges", Role::Edge);
    plan.configs[1].put_listener(uplinks);
    far.put_connector(connector("up", uplink, Role::Edge));
    // Beside the service, one that tells when the way there and back is known.
    let echo = Backend::new().echo();
    let mut ports = Vec::new();
    for config in [&mut plan.configs[0], &mut far] {
        let (service, port) = tcp_listener("l", ADDRESS);
        let (other, other_port) = tcp_listener("l2", "other:80");
        config.put_tcp_listener(service);
        config.put_tcp_listener(other);
        ports.push((port, other_port));
    }
    plan.configs[2].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    plan.configs[2].put_tcp_connector(tcp_connector("c2", "other:80", echo.port));
    let mut mesh = plan.start().await;
    let _far = TestRouter::start(far).await;
    for (port, other) in ports {
        works(other).await;
        let (mut client, mut server) = tokio::join!(connect(port), backend.accept());
        there_and_back_while_it_ends(&mut mesh, &mut client, &mut server).await;
        mesh.routers[1].restart().await;
        mesh.converged().await;
    }

    // Links on which nothing moves any more do not hold it up.
    let told = Instant::now();
    mesh.routers[1].signal(Signal::TERM);
    let status = mesh.routers[1].ended(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    let took = told.elapsed();
    assert!(took < Duration::from_secs(6), "ended after {took:?}");
}

/// Octets both ways before and after the middle router is told to end; then the flow ends, and the router after it.
async fn there_and_back_while_it_ends(
    mesh: &mut Mesh,
    client: &mut TcpStream,
    server: &mut TcpStream,
) {
    let request = Pattern::new(1, 1_000_000);
    let (received, sent) = tokio::join!(request.receive(server), request.send(client));
    received.unwrap();
    sent.unwrap();
    mesh.routers[1].signal(Signal::TERM);
    mesh.routers[1].until_log("draining").await;
    let (more, answer) = (Pattern::new(2, 3_000_000), Pattern::new(3, 3_000_000));
    let asking = async {
        more.send(client).await.unwrap();
        client.shutdown().await.unwrap();
        answer.receive_all(client).await.unwrap();
    };
    let answering = async {
        more.receive_all(server).await.unwrap();
        answer.send(server).await.unwrap();
        server.shutdown().await.unwrap();
    };
    within("the flow while the router drains", SOON, async {
        tokio::join!(asking, answering)
    })
    .await;
    let status = mesh.routers[1].ended(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    let log = mesh.routers[1].log();
    assert!(!log.contains("broken off"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_router_ends_flows_at_once_and_service_resumes() {
    let mut running = Running::new(Plan::routers(2).secured().chain()).await;
    let killed = Instant::now();
    running.mesh.routers[1].kill().await;
    over(&mut running.flow).await;
    assert!(
        killed.elapsed() < Duration::from_secs(3),
        "the client learned of it after {:?}",
        killed.elapsed()
    );
    running.mesh.routers[1].restart().await;
    running.mesh.converged().await;
    works(running.port).await;
    // A socket left behind by a killed router is no obstacle either.
    running.mesh.routers[0].kill().await;
    running.mesh.routers[0].restart().await;
    running.mesh.converged().await;
    works(running.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_is_told_twice_to_end_does_so_at_once() {
    let backend = Backend::new();
    let mut plan = Plan::routers(2).chain();
    let (listener, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(listener);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    let mut mesh = plan.start().await;
    let (mut client, _server) = tokio::join!(connect(port), backend.accept());
    mesh.routers[0].signal(Signal::TERM);
    refused(port).await;
    let told = Instant::now();
    mesh.routers[0].signal(Signal::TERM);
    over(&mut client).await;
    let status = mesh.routers[0].ended(Duration::from_secs(3)).await.unwrap();
    assert!(status.success(), "{status}");
    let took = told.elapsed();
    assert!(took < Duration::from_secs(3), "ended after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_text_or_json_and_tells_the_journal_its_priorities() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = e2e::scratch();
    let file = folder.path().join("router.json");
    let text = r#"[["router",{"id":"r0","mode":"interior","colour":"blue"}]]"#;
    std::fs::write(&file, text).unwrap();
    let log = folder.path().join("log");
    let line = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = std::fs::File::create(&log).unwrap();
        let facts = output.metadata().unwrap();
        let mut command = Command::new(environment::skupper());
        command
            .args(["router", "--check", "--config"])
            .arg(&file)
            .args(arguments)
            .env_remove("JOURNAL_STREAM")
            .stderr(output);
        for (name, value) in variables {
            let stream = format!("{}:{}", facts.dev(), facts.ino());
            command.env(name, value.replace("STDERR", &stream));
        }
        let status = command.status().await.unwrap();
        assert!(status.success(), "{status}");
        std::fs::read_to_string(&log).unwrap()
    };
    let plain = line(&[], &[]).await;
    let (time, rest) = plain.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{plain}");
    assert!(
        rest.starts_with("CONN_MGR (warning) ") && rest.contains("colour"),
        "{plain}"
    );
    let journal = line(&[], &[("JOURNAL_STREAM", "STDERR")]).await;
    assert!(journal.starts_with("<4>CONN_MGR (warning) "), "{journal}");
    // A stream of something else, as after a redirection.
    let redirected = line(&[], &[("JOURNAL_STREAM", "1:2")]).await;
    assert!(redirected.starts_with("20"), "{redirected}");
    for (arguments, variables) in [
        (&["--log-format", "json"][..], &[][..]),
        (
            &[],
            &[("SKUPPER_LOG_FORMAT", "json"), ("JOURNAL_STREAM", "STDERR")],
        ),
    ] {
        let json = line(arguments, variables).await;
        let event: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&event["level"], &event["target"]),
            (&"WARN".into(), &"router::config".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_when_their_certificates_are_too_old_by_number() {
    let mut plan = Plan::routers(2).secured().chain();
    for config in &mut plan.configs {
        config.ssl_profiles.get_mut(mesh::PROFILE).unwrap().ordinal = Some(1);
    }
    let mut running = Running::new(plan).await;
    // The 3.x routers tell groups of connections apart by this number.
    running.mesh.routers[1]
        .until("the number is told", "connection", |found| {
            found
                .iter()
                .any(|row| format!("{row:?}").contains("qd.group-correlator"))
        })
        .await;
    let certificates = running.mesh.certificates.take().unwrap();
    let ended = "the certificates of a connection are no longer valid";
    for (index, ordinal, oldest, ends) in [(1, 2, 1, false), (1, 3, 2, true), (0, 2, 2, true)] {
        let router = &mut running.mesh.routers[index];
        let folder = router.config.ssl_profiles[mesh::PROFILE]
            .cert_file
            .clone()
            .unwrap();
        certificates.replace(&router.id.clone(), folder.parent().unwrap());
        router.reconfigure(|config| {
            let profile = config.ssl_profiles.get_mut(mesh::PROFILE).unwrap();
            (profile.ordinal, profile.oldest_valid_ordinal) = (Some(ordinal), Some(oldest));
        });
        if ends {
            router.until_log(ended).await;
        } else {
            router.until_log("configuration applied").await;
        }
        running.mesh.converged().await;
        works(running.port).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_made_anew_resumes_its_session() {
    let mut running = Running::new(Plan::routers(2).secured().chain()).await;
    let router = &mut running.mesh.routers[0];
    router.until_log("resumed=false").await;
    let dial = router.config.connectors["to-r1"].clone();
    router.reconfigure(|config| config.connectors.clear());
    router.until_nodes(&[]).await;
    router.reconfigure(|config| config.put_connector(dial));
    router.until_nodes(&["r1"]).await;
    router.until_log("resumed=true").await;
    works(running.port).await;
}
