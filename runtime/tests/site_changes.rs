//! Tokens, links and services of a site on `linux`, with routers that answer from their configuration files.

mod site_support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use model::name::{LinkCost, LinkName, ServiceName};
use model::platform::Platform;
use model::router_config::RouterConfig;
use model::service::{Service, Target};
use model::site::IngressKind;
use pki::{LinkToken, Token, TokenKind};
use runtime::site::{self, Context, LinkRequest, SiteError, SiteHandle, TokenFormat, TokenRequest};
use tokio_util::sync::CancellationToken;

use site_support::progress::{Disturbing, Event};
use site_support::{User, free_port, request};

#[test]
fn fake_controller() {
    site_support::fake_controller();
}

fn config(user: &User) -> RouterConfig {
    let text = fs::read_to_string(user.site("default").router_config()).expect("there");
    RouterConfig::parse(&text).expect("valid").config
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("a name")
}

fn service(text: &str, port: u16) -> Service {
    Service::new(name(text), vec![port])
}

fn target(host: &str, port: u16, target_port: u16) -> Target {
    Target {
        host: host.to_owned(),
        ports: [(port, target_port)].into(),
    }
}

fn token_request(file: PathBuf) -> TokenRequest {
    TokenRequest {
        subject_name: "skupper".to_owned(),
        ingress_host: None,
        file,
        format: TokenFormat::V1,
        force: false,
    }
}

async fn token_of(ctx: &Context, user: &User, format: TokenFormat) -> LinkToken {
    let file = user.root.path().join("token.yaml");
    let request = TokenRequest {
        format,
        force: true,
        ..token_request(file.clone())
    };
    site::token_create(ctx, &request).await.expect("a token");
    let text = fs::read_to_string(file).expect("there");
    let mut tokens = Token::parse(&text).expect("valid");
    match tokens.remove(0).kind {
        TokenKind::Link(token) => token,
        TokenKind::Claim(_) => panic!("a claim"),
    }
}

fn link_request(token: LinkToken) -> LinkRequest {
    LinkRequest {
        tokens: vec![token],
        name: None,
        cost: None,
    }
}

#[tokio::test]
async fn tokens_hold_the_first_host_and_are_private() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let file = user.root.path().join("token.yaml");
    let issued = site::token_create(&ctx, &token_request(file.clone()))
        .await
        .expect("a token");
    let handle = SiteHandle::required(&ctx).expect("a site");
    assert_eq!(issued.inter_router.host, "host.example");
    assert_eq!(issued.inter_router.port, handle.site().ingress.port);
    assert_eq!(issued.edge.port, handle.site().ingress.edge_port);
    assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);

    let error = site::token_create(&ctx, &token_request(file.clone()))
        .await
        .expect_err("there already");
    assert!(
        matches!(error, SiteError::TokenFileExists { .. }),
        "{error}"
    );
    let other = TokenRequest {
        ingress_host: Some("192.0.2.1".to_owned()),
        force: true,
        ..token_request(file.clone())
    };
    let issued = site::token_create(&ctx, &other).await.expect("a token");
    assert_eq!(issued.inter_router.host, "192.0.2.1");
    for unknown in ["skupper-router", "elsewhere.example"] {
        let request = TokenRequest {
            ingress_host: Some(unknown.to_owned()),
            ..token_request(user.root.path().join("other.yaml"))
        };
        let error = site::token_create(&ctx, &request)
            .await
            .expect_err("not ours");
        assert_eq!(
            error.to_string(),
            "tokens can only be generated for the available ingress hosts: [host.example 192.0.2.1]"
        );
        assert!(!request.file.exists());
    }
    let nowhere = token_request(user.root.path().join("missing/token.yaml"));
    let error = site::token_create(&ctx, &nowhere)
        .await
        .expect_err("no directory");
    assert!(error.to_string().contains("missing/token.yaml"), "{error}");
}

#[tokio::test]
async fn a_site_without_ingress_issues_no_tokens() {
    let user = User::new();
    let ctx = user.context("default");
    let mut init = request(Platform::Linux);
    init.ingress = IngressKind::None;
    site::init(&ctx, &init).await.expect("a site");
    let error = site::token_create(&ctx, &token_request(user.root.path().join("t")))
        .await
        .expect_err("no ingress");
    assert_eq!(
        error.to_string(),
        "tokens cannot be generated for sites initialized with ingress type none"
    );
}

#[tokio::test]
async fn a_link_is_made_from_a_token_of_either_format_and_removed() {
    let (west, east) = (User::new(), User::new());
    let issuer = west.init("default", Platform::Linux).await;
    let ctx = east.init("default", Platform::Linux).await;
    let before = east.files();
    for format in [TokenFormat::V1, TokenFormat::V2] {
        let token = token_of(&issuer, &west, format).await;
        let endpoint = token.inter_router.clone().expect("an endpoint");
        let request = LinkRequest {
            cost: Some(LinkCost::new(7).expect("a cost")),
            ..link_request(token)
        };
        let made = site::link_create(&ctx, &request).await.expect("a link");
        assert_eq!(made.links[0].name.as_str(), "link1");
        let config = config(&east);
        let connector = &config.connectors["link1"];
        assert_eq!((connector.cost, connector.verify_hostname), (7, true));
        assert_eq!(
            (connector.host.as_str(), connector.port),
            (endpoint.host.as_str(), endpoint.port)
        );
        let profile = &config.ssl_profiles["link1-profile"];
        let directory = profile
            .cert_file
            .as_ref()
            .and_then(|file| file.parent())
            .expect("a directory");
        pki::Certificate::load(directory)
            .expect("stored")
            .verify()
            .expect("as issued");

        site::link_delete(&ctx, &made.links[0].name)
            .await
            .expect("removed");
        assert_eq!(east.files(), before);
    }
}

#[tokio::test]
async fn links_that_make_no_sense_change_nothing() {
    let (west, east) = (User::new(), User::new());
    let issuer = west.init("default", Platform::Linux).await;
    let ctx = east.init("default", Platform::Linux).await;
    let before = west.files();
    for format in [TokenFormat::V1, TokenFormat::V2] {
        let own = token_of(&issuer, &west, format).await;
        let error = site::link_create(&issuer, &link_request(own))
            .await
            .expect_err("to itself");
        assert!(matches!(error, SiteError::LinkToSelf), "{error}");
    }
    assert_eq!(west.files(), before);

    let token = token_of(&issuer, &west, TokenFormat::V1).await;
    let first = LinkRequest {
        name: Some(LinkName::parse("west").expect("a name")),
        ..link_request(token.clone())
    };
    site::link_create(&ctx, &first).await.expect("a link");
    let before = east.files();
    let error = site::link_create(&ctx, &link_request(token.clone()))
        .await
        .expect_err("linked already");
    assert!(matches!(error, SiteError::AlreadyLinked { .. }), "{error}");
    let error = site::link_create(&ctx, &first).await.expect_err("the name");
    assert!(matches!(error, SiteError::LinkExists { .. }), "{error}");

    let mut old = token.clone();
    old.origin.site_id = Some("5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11".to_owned());
    old.origin.version = Some("0.7.2".to_owned());
    let error = site::link_create(&ctx, &link_request(old.clone()))
        .await
        .expect_err("too old");
    assert_eq!(
        error.to_string(),
        "minimum version required 0.8.0 - remote site version is 0.7.2"
    );
    old.inter_router = None;
    let error = site::link_create(&ctx, &link_request(old))
        .await
        .expect_err("edge only");
    assert!(matches!(error, SiteError::NoEndpoint), "{error}");
    assert_eq!(east.files(), before);
}

#[tokio::test]
async fn a_link_into_a_network_with_our_router_id_is_taken_back() {
    let (west, east) = (User::new(), User::new());
    let issuer = west.init("default", Platform::Linux).await;
    let ctx = east.init("default", Platform::Linux).await;
    let before = east.files();
    east.routers.connector(
        "link1",
        "FAILED",
        "router id east is already in the network",
    );
    let token = token_of(&issuer, &west, TokenFormat::V1).await;
    let error = site::link_create(&ctx, &link_request(token.clone()))
        .await
        .expect_err("a conflict");
    assert!(
        matches!(error, SiteError::RouterIdInNetwork { .. }),
        "{error}"
    );
    assert_eq!(east.files(), before);

    // an unreachable host is no reason to forget the link
    east.routers
        .connector("link1", "FAILED", "Connection refused");
    site::link_create(&ctx, &link_request(token))
        .await
        .expect("kept");
    let links = site::link_statuses(&ctx).await.expect("a site");
    assert!(!links[0].connected);
    assert_eq!(links[0].reason.as_deref(), Some("Connection refused"));
}

#[tokio::test]
async fn the_status_of_links_without_a_router_says_so() {
    let (west, east) = (User::new(), User::new());
    let issuer = west.init("default", Platform::Linux).await;
    let ctx = east.init("default", Platform::Linux).await;
    let token = token_of(&issuer, &west, TokenFormat::V1).await;
    site::link_create(&ctx, &link_request(token))
        .await
        .expect("a link");
    east.routers.set_down(true);
    let status = site::status(&ctx).await.expect("a site");
    let site::Running::No { reason } = &status.running else {
        panic!("{status:?}");
    };
    assert!(reason.contains("not running"), "{reason}");
    assert_eq!(status.links.len(), 1);
    assert!(!status.links[0].connected);
}

#[tokio::test]
async fn a_service_goes_through_its_life() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let before = user.files();
    let port = free_port();
    let mut db = service("db", 5432);
    db.host_ports.insert(5432, port);
    site::service_create(&ctx, &db).await.expect("a service");
    let listener = config(&user).tcp_listeners["db:5432"].clone();
    assert_eq!(
        (
            listener.host.as_str(),
            listener.port,
            listener.address.as_str()
        ),
        ("127.0.0.1", port, "db:5432")
    );
    let error = site::service_create(&ctx, &db).await.expect_err("twice");
    assert_eq!(error.to_string(), "service db already defined");

    site::service_bind(&ctx, &name("db"), &target("localhost", 5432, 15432))
        .await
        .expect("bound");
    let connector = config(&user).tcp_connectors["db@localhost:5432:15432"].clone();
    assert_eq!(
        (
            connector.host.as_str(),
            connector.port,
            connector.address.as_str()
        ),
        ("localhost", 15432, "db:5432")
    );
    let error = site::service_bind(&ctx, &name("db"), &target("localhost", 5432, 1))
        .await
        .expect_err("bound already");
    assert!(matches!(error, SiteError::TargetExists { .. }), "{error}");
    site::service_bind(&ctx, &name("db"), &target("2001:db8::1", 5432, 5432))
        .await
        .expect("bound");
    assert!(
        config(&user)
            .tcp_connectors
            .contains_key("db@[2001:db8::1]:5432:5432")
    );
    site::service_unbind(&ctx, &name("db"), "localhost")
        .await
        .expect("unbound");
    let error = site::service_unbind(&ctx, &name("db"), "localhost")
        .await
        .expect_err("gone");
    assert_eq!(
        error.to_string(),
        "could not find target localhost for service interface db"
    );
    assert_eq!(config(&user).tcp_connectors.len(), 1);
    site::service_delete(&ctx, &name("db"))
        .await
        .expect("removed");
    let error = site::service_delete(&ctx, &name("db"))
        .await
        .expect_err("gone");
    assert_eq!(error.to_string(), "service db not defined");
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn exposing_makes_only_a_connector_and_unexposing_the_last_target_removes_the_service() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let before = user.files();
    let mut web = service("web", 8080);
    web.listen = false;
    web.targets.push(target("127.0.0.1", 8080, 80));
    site::expose(&ctx, &web).await.expect("exposed");
    assert!(config(&user).tcp_listeners.is_empty());
    assert_eq!(config(&user).tcp_connectors.len(), 1);
    site::service_bind(&ctx, &name("web"), &target("other", 8080, 80))
        .await
        .expect("bound");
    site::unexpose(&ctx, &name("web"), "127.0.0.1")
        .await
        .expect("one is left");
    assert_eq!(config(&user).tcp_connectors.len(), 1);
    site::unexpose(&ctx, &name("web"), "other")
        .await
        .expect("none is left");
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn a_taken_port_is_refused_before_anything_changes() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let before = user.files();
    let error = site::service_create(&ctx, &service("db", port))
        .await
        .expect_err("taken");
    assert_eq!(
        error.to_string(),
        format!("ingress port {port} is already in use")
    );
    assert_eq!(user.files(), before);

    let shared = free_port();
    site::service_create(&ctx, &service("one", shared))
        .await
        .expect("a service");
    let error = site::service_create(&ctx, &service("two", shared))
        .await
        .expect_err("taken by the first");
    assert!(error.to_string().contains("by service one"), "{error}");
}

#[tokio::test]
async fn definitions_that_contradict_themselves_change_nothing() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let before = user.files();
    let mut wrong = service("db", 5432);
    wrong.host_ports.insert(1, 2);
    let error = site::service_create(&ctx, &wrong).await.expect_err("wrong");
    assert!(error.to_string().contains("does not specify"), "{error}");
    let mut http = service("db", 5432);
    http.protocol = model::name::Protocol::Http;
    let error = site::service_create(&ctx, &http).await.expect_err("http");
    assert!(matches!(error, SiteError::Unsupported { .. }), "{error}");
    let mut host = service("db", 5432);
    host.host_ip = Some("not an ip".to_owned());
    let error = site::service_create(&ctx, &host).await.expect_err("host");
    assert!(error.to_string().contains("not an ip"), "{error}");
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn a_listener_that_the_router_refuses_is_rolled_back() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let before = user.files();
    user.routers.refuse_listeners(Some("address in use"));
    let error = site::service_create(&ctx, &service("db", free_port()))
        .await
        .expect_err("refused");
    assert!(matches!(error.root(), SiteError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("address in use"), "{error}");
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn interrupted_and_crashed_changes_leave_the_site_as_it_was() {
    let (west, east) = (User::new(), User::new());
    let issuer = west.init("default", Platform::Linux).await;
    let ctx = east.init("default", Platform::Linux).await;
    let token = token_of(&issuer, &west, TokenFormat::V1).await;
    let db = service("db", free_port());
    site::service_create(&ctx, &db).await.expect("a service");
    let before = east.files();
    let request = link_request(token);
    let links = site::plan_link_create(&ctx, &request)
        .expect("a plan")
        .steps
        .len();
    let deletes = site::plan_service_delete(&ctx, &name("db"))
        .expect("a plan")
        .steps
        .len();
    for crash in [false, true] {
        for (what, steps) in [("link", links), ("delete", deletes)] {
            for at in 0..steps {
                let cancel = CancellationToken::new();
                let event = if crash {
                    Event::Crash
                } else {
                    Event::Cancel(cancel.clone())
                };
                let progress = Arc::new(Disturbing::new(at, event));
                let ctx = east.context_with("default", progress, &cancel);
                let outcome = tokio::spawn({
                    let (ctx, request) = (ctx.clone(), link_request(request.tokens[0].clone()));
                    async move {
                        match what {
                            "link" => site::link_create(&ctx, &request).await.map(|_| ()),
                            _ => site::service_delete(&ctx, &name("db")).await,
                        }
                    }
                })
                .await;
                match outcome {
                    Err(error) => assert!(crash && error.is_panic()),
                    Ok(outcome) => {
                        let error = outcome.expect_err("interrupted");
                        assert!(matches!(error.root(), SiteError::Cancelled), "{error}");
                    }
                }
                if crash {
                    // any command finishes it, also one that fails
                    let ctx = east.context("default");
                    let none = LinkName::parse("none").expect("a name");
                    let error = site::link_delete(&ctx, &none).await.expect_err("none");
                    assert!(matches!(error, SiteError::NoSuchLink { .. }), "{error}");
                }
                assert_eq!(east.files(), before, "{what} {at} {crash}");
            }
        }
    }
}
