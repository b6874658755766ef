//! Links through HTTP proxies.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use e2e::{
    Backend, Certificates, SOON, TestRouter, free_port,
    mesh::{self, connector, interior, listener, secure_connector, secure_listener},
    tcp::{tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{ProxyProfile, Role, RouterConfig, Sensitive};
use pki::{KeyKind, LeafRequest};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A name that only the proxy knows.
const FAR: &str = "far.invalid";

/// A proxy that connects to one port of this host, whatever it is asked for.
struct Proxy {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn to(target: u16, answer: &'static str) -> Self {
        let port = free_port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await?);
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    seen.lock().unwrap().push(head);
                    client.write_all(answer.as_bytes()).await?;
                    if answer.contains(" 200 ") {
                        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
                    } else {
                        // A slow one says nothing for as long as it is waited for.
                        let _ = client.read_u8().await;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        Self {
            port,
            requests,
            task,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The far router with a service, and a near one that has to find the way; the port is where the far one listens.
fn network() -> (RouterConfig, RouterConfig, u16, u16, e2e::tcp::Echo) {
    let certificates = Certificates::new();
    let echo = Backend::new().echo();
    let (links, link_port) = listener("links", Role::InterRouter);
    let mut far = interior("far");
    let request = LeafRequest::new(FAR, vec![FAR.to_owned()], KeyKind::P256);
    far.put_ssl_profile(mesh::profile(&keep(
        &certificates.issue_as("far", &request),
    )));
    far.put_listener(secure_listener(links));
    far.put_tcp_connector(tcp_connector("c", "service:80", echo.port));
    let mut near = interior("near");
    near.put_ssl_profile(mesh::profile(&keep(&certificates.issue("near"))));
    let mut dial = connector("link", link_port, Role::InterRouter);
    dial.host = FAR.to_owned();
    near.put_connector(secure_connector(dial));
    let (clients, port) = tcp_listener("l", "service:80");
    near.put_tcp_listener(clients);
    (far, near, link_port, port, echo)
}

/// The folder outlives its authority.
fn keep(folder: &Path) -> PathBuf {
    let kept = e2e::scratch().keep();
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        std::fs::copy(folder.join(file), kept.join(file)).unwrap();
    }
    kept
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_goes_through_the_proxy_of_its_profile() {
    let (far, mut near, link_port, port, _echo) = network();
    let proxy = Proxy::to(link_port, ESTABLISHED).await;
    let mut profile = ProxyProfile::new("way-out", "127.0.0.1", proxy.port);
    profile.username = Some("jane".to_owned());
    profile.password = Some(Sensitive::new("pro:secret"));
    near.put_proxy_profile(profile);
    near.connectors.get_mut("link").unwrap().proxy_profile = Some("way-out".to_owned());
    let _far = TestRouter::start(far).await;
    let mut near = TestRouter::start(near).await;
    near.until_nodes(&["far"]).await;
    works(port).await;
    let request = proxy.requests.lock().unwrap()[0].clone();
    assert!(
        request.starts_with(&format!("CONNECT {FAR}:{link_port} HTTP/1.1\r\n")),
        "{request}"
    );
    assert!(
        request.contains("\r\nProxy-Authorization: Basic amFuZTpwcm86c2VjcmV0\r\n"),
        "{request}"
    );

    // Proxies that do not do their part are named, without the password; the link comes back with the next one.
    let refuses = Proxy::to(link_port, "HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let wants = Proxy::to(link_port, "HTTP/1.1 407 Who are you\r\n\r\n").await;
    let garbage = Proxy::to(link_port, "220 mail.example ESMTP\r\n").await;
    let slow = Proxy::to(link_port, "").await;
    for (through, reason) in [
        (
            refuses.port,
            format!("refuses to connect to {FAR}:{link_port}: 403 Forbidden"),
        ),
        (wants.port, "wants a user name and password".to_owned()),
        (garbage.port, "does not answer in HTTP".to_owned()),
        (free_port(), "cannot connect to the proxy".to_owned()),
        (slow.port, "did not answer within 8 s".to_owned()),
    ] {
        near.reconfigure(|config| {
            config.proxy_profiles.get_mut("way-out").unwrap().port = through;
        });
        near.until_connector("link", "FAILED", &reason).await;
        near.until_connector("link", "FAILED", &format!("127.0.0.1:{through}"))
            .await;
    }
    near.reconfigure(|config| {
        config.proxy_profiles.get_mut("way-out").unwrap().port = proxy.port;
    });
    near.until_nodes(&["far"]).await;
    works(port).await;
    let log = near.log();
    assert!(!log.contains("pro:secret") && !log.contains("amFuZTpwcm86c2VjcmV0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_names_a_proxy_and_exceptions() {
    let (far, near, link_port, port, _echo) = network();
    let proxy = Proxy::to(link_port, ESTABLISHED).await;
    let _far = TestRouter::start(far).await;
    let url = format!("http://jane:pro%3Asecret@127.0.0.1:{}", proxy.port);
    let through = TestRouter::start_with(near.clone(), vec![("HTTPS_PROXY", url.clone())]).await;
    through.until_nodes(&["far"]).await;
    works(port).await;
    assert!(!through.log().contains("secret"));
    drop(through);
    // Without the proxy nobody knows the name.
    for variables in [
        vec![],
        vec![
            ("HTTPS_PROXY", url.clone()),
            ("NO_PROXY", "other.example,.invalid".to_owned()),
        ],
    ] {
        let asked = proxy.requests.lock().unwrap().len();
        let direct = TestRouter::start_with(near.clone(), variables).await;
        direct
            .until_connector("link", "FAILED", &format!("cannot connect to {FAR}"))
            .await;
        assert_eq!(proxy.requests.lock().unwrap().len(), asked);
    }
    // What is no URL of a proxy is named, and not shown.
    let wrong = vec![("HTTPS_PROXY", "socks5://u:hidden@p".to_owned())];
    let wrong = TestRouter::start_with(near, wrong).await;
    wrong
        .until_connector(
            "link",
            "FAILED",
            "HTTPS_PROXY is not the URL of an HTTP proxy",
        )
        .await;
    assert!(!wrong.log().contains("hidden"));
    within("the proxy ends", SOON, async { drop(proxy) }).await;
}
